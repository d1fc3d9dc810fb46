# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden sets: for their owner only, one for each origin, never an empty one out of a damaged one."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _mcnemar as mcnemar
from ansible_collections.local_llm.ops.plugins.module_utils import _quality_sets as sets
from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.module_utils._golden import (
    KEPT_SETS,
    GoldenError,
    Recorded,
    load_golden,
    make_golden,
    make_room,
    recorded,
    save_golden,
    set_path,
    sets_of_model,
)
from ansible_collections.local_llm.ops.plugins.module_utils._quality_judge import Reply
from ansible_collections.local_llm.ops.plugins.module_utils._quality_origin import (
    WORDLESS_OPTIONS,
    compare_mode,
    origin_id,
    origin_of,
)
from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import Item
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.plans import description

ITEM = Item("a", "say it", 8)


def golden(text: str = "text ä", origin: dict[str, Any] | None = None, at: str = "1") -> dict[str, Any]:
    return make_golden(origin, {ITEM.prompt_sha256: Recorded(text, "stop")}, recorded_at=at)


def test_the_golden_file_is_for_its_owner_only_and_comes_back_equal(tmp_path: Path) -> None:
    path = str(tmp_path / "golden.json")
    assert load_golden(path) is None
    save_golden(path, golden())
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert load_golden(path) == golden()
    assert os.listdir(tmp_path) == ["golden.json"]
    assert recorded(load_golden(path), ITEM.prompt_sha256) == Recorded("text ä", "stop")


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1}', "edited"])
def test_a_damaged_golden_file_is_an_error_and_never_an_empty_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "golden.json"
    if content == "edited":
        broken = golden()
        broken["entries"][ITEM.prompt_sha256]["text"] = "bad"
        content = json.dumps(broken)
    path.write_text(content)
    with pytest.raises(GoldenError, match="record=true"):
        load_golden(str(path))


def test_recording_the_same_again_changes_nothing() -> None:
    first = golden(at="1")
    assert make_golden(None, {ITEM.prompt_sha256: Recorded("text ä", "stop")}, first, "2") is first
    assert make_golden(None, {"other": Recorded("x")}, first, "2")["entries"].keys() == {ITEM.prompt_sha256, "other"}
    assert make_golden({"engine": "vllm"}, {"other": Recorded("x")}, first, "2")["entries"].keys() == {"other"}


def test_old_sets_of_a_model_make_room_and_directories_are_private(tmp_path: Path) -> None:
    directory = str(tmp_path / "golden")
    paths = [set_path(directory, {"model": "tiny", "n": n}) for n in range(KEPT_SETS + 3)]
    for number, path in enumerate(paths):
        make_room(directory, path)
        save_golden(path, golden())
        os.utime(path, (number, number))
    assert sets_of_model(directory, "tiny") == list(reversed(paths))[:KEPT_SETS]
    assert {stat.S_IMODE(place.stat().st_mode) for place in (tmp_path / "golden", tmp_path / "golden/tiny")} == {0o700}


# Origins.


@pytest.mark.parametrize("engine", WORDLESS_OPTIONS)
def test_options_that_do_not_change_words_are_options_of_the_engine(engine: str) -> None:
    assert set(WORDLESS_OPTIONS[engine]) <= set(get_engine(engine).complete_config({}))


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({}, "exact"),
        ({"config": {"threads": 4, "parallel_requests": 8}}, "exact"),
        ({"port": 9000, "served_name": "other", "gpus": "none"}, "exact"),
        ({"engine": "vllm"}, "checks"),
        ({"engine_version": "0.8.0"}, "checks"),
        ({"model": "other"}, "checks"),
        ({"model_revision": "r2"}, "checks"),
        ({"model_manifest_sha256": "2" * 64}, "checks"),
        ({"config": {"threads": 4, "cache_type_k": "q8_0"}}, "checks"),
        ({"config": {"threads": 4, "unheard_of": 1}}, "checks"),
    ],
)
def test_words_must_be_equal_only_within_one_origin(values: dict[str, Any], mode: str) -> None:
    old, new = origin_of(description()), origin_of(description(**values))
    assert compare_mode("auto", new, old) == mode
    assert compare_mode("exact", new, old) == "exact" and compare_mode("checks", new, old) == "checks"


@pytest.mark.parametrize(("asked", "kept"), [(None, None), (None, {"engine": "vllm"}), ({"engine": "vllm"}, None)])
def test_what_is_not_known_to_differ_must_be_equal(asked: Any, kept: Any) -> None:
    assert compare_mode("auto", asked, kept) == "exact"


# Which set.


class Host:
    """A host whose instance chat has a current and a previous release."""

    def __init__(self, root: Path) -> None:
        self.directory = str(root / "golden")
        self.descriptions: dict[str, Any] = {"new": description(engine="vllm"), "old": description()}
        self.links: dict[str, str | None] = {"current": "new", "previous": "old"}

    def link(self, name: str) -> str | None:
        return self.links[name]

    def description(self, identity: str | None) -> Any:
        return self.descriptions.get(identity or "")

    def record(self, which: str) -> str:
        origin = origin_of(self.descriptions[which]) or {}
        path = set_path(self.directory, origin)
        make_room(self.directory, path)
        save_golden(path, golden(which, origin))
        return path

    def sets(self, **params: Any) -> sets.Sets:
        given = {"instance": "chat", "golden_path": None, "golden_directory": self.directory, "record": False,
                 "compare_with": "release", **params}  # fmt: skip
        return sets.sets_of(given, lambda _text: None)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    it = Host(tmp_path)
    monkeypatch.setattr(sets, "InstanceStore", lambda _paths, _name: it)
    return it


@pytest.mark.parametrize(
    ("recorded_for", "compare_with", "reference"),
    [
        ((), "previous", None),
        (("old",), "previous", "old"),
        (("old",), "release", "old"),
        (("old", "new"), "previous", "old"),
        (("old", "new"), "release", "new"),
        (("new",), "previous", "new"),
    ],
)
def test_the_wanted_recording_is_taken_and_the_other_when_there_is_none(
    host: Host, recorded_for: tuple[str, ...], compare_with: str, reference: str | None
) -> None:
    for which in recorded_for:
        host.record(which)
    found = host.sets(compare_with=compare_with)
    text = recorded(found.reference, ITEM.prompt_sha256)
    assert (text.text if text else None) == reference
    assert found.own_path == set_path(host.directory, origin_of(host.descriptions["new"]) or {})


def test_the_newest_recording_of_the_model_serves_when_the_release_before_is_gone(host: Host) -> None:
    path = host.record("old")
    host.links["previous"] = None
    assert host.sets().reference_path == path


def test_a_damaged_recording_stops_a_comparison_and_is_mended_by_recording(host: Host) -> None:
    Path(host.record("new")).write_text("{")
    with pytest.raises(GoldenError):
        host.sets()
    assert host.sets(record=True).own is None


def test_an_instance_without_a_release_is_named(host: Host) -> None:
    host.links["current"] = None
    with pytest.raises(ReleaseError, match="chat has no release on this host"):
        host.sets()
    with pytest.raises(ReleaseError, match="instance"):
        host.sets(instance="../etc")


def test_missing_answers_are_added_and_what_was_recorded_stays() -> None:
    other = Item("b", "and this", 8)
    have = sets.Sets(own=golden("first"), reference=golden("first"))
    new = have.with_answers([ITEM, other], {"a": Reply("changed"), "b": Reply("new")})
    assert have.lacks([ITEM, other]) and not have.lacks([ITEM])
    done = have.completed(new)
    assert [recorded(done, one.prompt_sha256) for one in (ITEM, other)] == [Recorded("first", "stop"), Recorded("new")]
    assert have.filled(new)["entries"][ITEM.prompt_sha256]["text"] == "first"


def test_the_name_of_a_set_follows_from_the_origin_alone() -> None:
    one, other = origin_of(description()) or {}, origin_of(description(port=9)) or {}
    assert origin_id(one) == origin_id(other) and len(origin_id(one)) == 12


# McNemar.


@pytest.mark.parametrize(
    ("worse", "better", "one_sided", "two_sided"),
    [
        (0, 0, 1.0, 1.0),
        (5, 0, 0.03125, 0.0625),
        (4, 0, 0.0625, 0.125),
        (1, 1, 0.75, 1.0),
        (10, 2, 0.019287109375, 0.03857421875),
        (2, 10, 0.996826171875, 0.03857421875),
        (300, 200, 4.4e-06, 8.8e-06),
    ],
)
def test_mcnemar_is_exact(worse: int, better: int, one_sided: float, two_sided: float) -> None:
    assert mcnemar.worse_p_value(worse, better) == pytest.approx(one_sided, rel=0.02)
    assert mcnemar.p_value(worse, better) == pytest.approx(two_sided, rel=0.02)


def test_a_small_suite_cannot_prove_a_regression() -> None:
    assert mcnemar.smallest_provable() == 5
    assert mcnemar.paired_verdict(mcnemar.Paired(0, 4, 0, 0)) == "no_proof"
    assert mcnemar.paired_verdict(mcnemar.Paired(0, 0, 0, 0)) == "none"
