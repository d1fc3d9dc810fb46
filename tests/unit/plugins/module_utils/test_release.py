# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is: validation, id, texts, deadlines, retention."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _release as release

DESCRIPTION: dict[str, Any] = {
    "schema": 1,
    "engine": "llamacpp",
    "engine_version": "0.7.0",
    "model": "tiny",
    "model_revision": "r1",
    "model_manifest_sha256": "a" * 64,
    "model_entry": "model.gguf",
    "served_name": "chat",
    "port": 8001,
    "gpus": "all",
    "config": {"context_tokens": 512},
}


def test_release_json_and_id_are_pinned() -> None:
    text = release.release_text(DESCRIPTION)
    assert release.release_id(DESCRIPTION) == "2eed1bf98113"
    assert json.loads(text) == {"schema": 1, "id": "2eed1bf98113", "description": DESCRIPTION}
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) + "\n"


def test_id_does_not_depend_on_the_order_of_keys() -> None:
    turned = dict(reversed(list(DESCRIPTION.items())))
    assert release.release_id(turned) == release.release_id(DESCRIPTION)


@pytest.mark.parametrize("key", release.DESCRIPTION_KEYS)
def test_every_key_is_needed_and_named_when_missing(key: str) -> None:
    problems = release.validate_description({k: v for k, v in DESCRIPTION.items() if k != key})
    assert len(problems) == 1
    assert repr(key) in problems[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("schema", True),
        ("engine", "../x"),
        ("engine_version", ""),
        ("model", "a/b"),
        ("model_revision", ".."),
        ("model_manifest_sha256", "A" * 64),
        ("model_entry", "/etc/passwd"),
        ("model_entry", "a/../../b"),
        ("model_entry", None),
        ("served_name", "two words"),
        ("port", "8001"),
        ("port", True),
        ("port", 0),
        ("port", 65536),
        ("gpus", "some"),
        ("gpus", [-1]),
        ("gpus", [True]),
        ("config", []),
        ("config", {1: 2}),
        ("config", {"x": float("nan")}),
    ],
)
def test_wrong_values_are_refused_with_key_and_value(key: str, value: Any) -> None:
    problems = release.validate_description({**DESCRIPTION, key: value})
    assert len(problems) == 1
    assert problems[0].startswith(key)


@pytest.mark.parametrize("gpus", ["all", "none", "0,1", [], [0, 1], ["GPU-0a-1"]])
def test_ways_to_name_gpus(gpus: Any) -> None:
    assert release.validate_description({**DESCRIPTION, "gpus": gpus}) == []


def test_unknown_key_is_refused() -> None:
    assert "'prot'" in release.validate_description({**DESCRIPTION, "prot": 1})[0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id":"2eed1bf98113","description":{"engine":"x"}}'])
def test_release_text_that_does_not_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"release\.json"):
        release.read_release_text(text, "2eed1bf98113")


def test_manifest_digest_is_the_same_in_both_forms() -> None:
    files = {"model.gguf": "b" * 64}
    plain = release.manifest_digest(files)
    assert release.manifest_digest({"schema": 1, "files": files}) == plain
    assert release.manifest_digest({"files": {"model.gguf": {"sha256": "b" * 64, "bytes": 5}}}) == plain


def test_manifest_without_digest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.gguf"):
        release.manifest_digest({"model.gguf": "short"})


def _armed() -> dict[str, Any]:
    return release.armed_record(
        boot_id="b1",
        uptime_seconds=100.2,
        commit_timeout_seconds=60,
        deadline_at="2026-11-21T00:01:00Z",
        release="new",
        revert_to="old",
        previous_before=None,
        rollout_id="r",
    )


@pytest.mark.parametrize(
    ("boot_id", "uptime", "due"),
    [("b1", 160.9, None), ("b1", 161.0, "not committed"), ("b2", 1.0, "restarted"), ("b2", 999.0, "restarted")],
)
def test_dead_man_is_due_by_deadline_and_by_restart(boot_id: str, uptime: float, due: str | None) -> None:
    reason = release.due_reason(_armed(), boot_id, uptime)
    assert (reason is None) if due is None else (reason is not None and due in reason)


def test_state_must_be_a_word_of_the_design() -> None:
    with pytest.raises(ValueError, match="fine"):
        release.state_record(
            instance="chat", state="fine", release=None, previous=None, rollout_id=None, updated_at="", detail=""
        )


@pytest.mark.parametrize(
    ("keep", "protected", "removed"),
    [
        (3, {"e", "d"}, ["a", "b"]),
        (1, {"e", "d"}, ["a", "b", "c"]),
        (1, {"a", "b"}, ["c", "d", "e"]),
        (5, set(), []),
        (9, set(), []),
        (4, {"a", None}, ["b"]),
    ],
)
def test_retention_takes_the_oldest_and_never_what_is_in_use(
    keep: int, protected: set[str | None], removed: list[str]
) -> None:
    staged = [("e", 5.0), ("a", 1.0), ("c", 3.0), ("b", 2.0), ("d", 4.0)]
    assert release.releases_to_remove(staged, keep, protected) == removed


@pytest.mark.parametrize("name", ["", "Chat", "a/b", "..", "-a", "a b", "a" * 64, "a@b", "a.b"])
def test_instance_names_that_do_not_fit_a_path_or_a_unit_are_refused(name: str) -> None:
    assert release.instance_name_problem(name)


@pytest.mark.parametrize("rollout_id", ["", 'a"b', "a b", "a\n"])
def test_rollout_ids_that_the_revert_script_could_not_read_are_refused(rollout_id: str) -> None:
    assert release.rollout_id_problem(rollout_id)
