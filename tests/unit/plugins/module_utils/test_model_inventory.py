# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a host for the models, with real directories: releases, leftovers, engines, stores of Ollama."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _model_inventory as inventory
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex


def release(instances: Path, instance: str, identity: str, model: str, revision: str, staged_at: int = 1) -> None:
    directory = instances / instance / "releases" / identity
    directory.mkdir(parents=True)
    description = {"engine": "vllm", "engine_version": "0.33.0", "model": model, "model_revision": revision}
    (directory / "release.json").write_text(json.dumps({"description": description}))
    os.utime(directory, (staged_at, staged_at))


def link(instances: Path, instance: str, name: str, identity: str) -> None:
    (instances / instance / name).symlink_to(f"releases/{identity}")


def publish(models: Path, name: str, revision: str) -> None:
    directory = models / name / revision
    directory.mkdir(parents=True)
    (directory / "model.gguf").write_text("weights")
    files = {"model.gguf": sha256_hex("weights")}
    manifest = {"schema": 1, "files": files, "sizes": {"model.gguf": 7},
                "manifest_sha256": sha256_hex(canonical_json(files))}  # fmt: skip
    (directory / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def instances(tmp_path: Path) -> Path:
    """One instance whose current release serves r3, with a way back, an old one and a staged one."""
    root = tmp_path / "instances"
    for number, identity in enumerate(("old", "back", "now", "next"), start=1):
        release(root, "chat", identity, "chat-8b", f"r{number}", staged_at=number)
    link(root, "chat", "current", "now")
    link(root, "chat", "previous", "back")
    return root


def roles(instances: Path) -> dict[str, str]:
    return {item["release"]: item["role"] for item in inventory.read_releases(str(instances))[0]}


def test_every_release_on_the_host_has_a_role(instances: Path) -> None:
    assert roles(instances) == {"now": "current", "back": "previous", "next": "staged", "old": "kept"}


def test_while_a_dead_man_waits_both_sides_of_it_count_as_serving(instances: Path) -> None:
    armed = {"release": "now", "revert_to": "back", "previous_before": "old"}
    (instances / "chat/armed.json").write_text(json.dumps(armed))
    assert roles(instances) == {"now": "current", "back": "armed", "next": "staged", "old": "armed"}


@pytest.mark.parametrize("broken", ["release.json", "armed.json", "current"])
def test_what_cannot_be_read_keeps_everything_on_the_host(instances: Path, broken: str) -> None:
    if broken == "release.json":
        (instances / "chat/releases/old/release.json").write_text("{ half")
    elif broken == "armed.json":
        (instances / "chat/armed.json").write_text("")
    else:
        (instances / "chat/current").unlink()
        link(instances, "chat", "current", "gone")
    blocked = inventory.read_releases(str(instances))[1]
    assert blocked.startswith("nothing leaves this host: ")
    assert broken in blocked


def test_an_instance_behind_a_link_needs_its_models_as_before(instances: Path, tmp_path: Path) -> None:
    before = roles(instances)
    (instances / "chat").rename(tmp_path / "moved")
    (instances / "chat").symlink_to(tmp_path / "moved")
    assert roles(instances) == before


def test_a_host_without_instances_needs_nothing(tmp_path: Path) -> None:
    assert inventory.read_releases(str(tmp_path / "none")) == ([], "")
    assert inventory.read_models(str(tmp_path / "m"), str(tmp_path / "a"), str(tmp_path / "none")) == ([], "")


def test_a_revision_tells_its_bytes_its_releases_and_when_it_served_last(instances: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    publish(models, "chat-8b", "r2")
    publish(models, "chat-8b", "r0")
    line = {"event": "switching", "release": "now", "previous_release": "back", "at": "2026-11-20T10:00:00.123Z"}
    staged = {"event": "staged", "release": "next", "previous_release": None, "at": "2026-11-21T10:00:00.123Z"}
    (instances / "chat/journal.jsonl").write_text("cut off\n" + "".join(json.dumps(x) + "\n" for x in (line, staged)))
    (r0, r2), blocked = inventory.read_models(str(models), str(models / ".archive"), str(instances))
    assert not blocked
    assert (r2["revision"], r2["published"], r2["archived"], r2["problem"]) == ("r2", True, False, None)
    assert r2["bytes"] > 7
    assert r2["releases"] == [{"instance": "chat", "release": "back", "role": "previous"}]
    assert r2["last_used_at"] == "2026-11-20T10:00:00Z"
    assert (r0["releases"], r0["last_used_at"]) == ([], None)


def test_a_directory_that_was_not_published_by_the_collection_is_told_as_a_problem(tmp_path: Path) -> None:
    (tmp_path / "models/mine/v1").mkdir(parents=True)
    ((found,), _blocked) = inventory.read_models(str(tmp_path / "models"), str(tmp_path / "a"), str(tmp_path / "i"))
    assert "was not made by this collection" in found["problem"]


def test_leftovers_are_told_apart_from_what_a_next_run_goes_on_with(tmp_path: Path) -> None:
    models, archive = tmp_path / "models", tmp_path / "archive"
    names = ["a@r1", "b@r1", "c@r1", "a@r0.removed", "restore@d@r1", "restore@e@r1"]
    for name in names:
        (models / ".incoming" / name).mkdir(parents=True)
    for name in ("c@r1", "gone@r1"):
        (archive / ".incoming" / name).mkdir(parents=True)
    revisions: list[dict[str, Any]] = [{"name": "c", "revision": "r1", "published": True}]
    listed = [("a", "r1"), ("c", "r1"), ("d", "r1")]
    found = inventory.read_leftovers(str(models), str(archive), revisions, listed)
    actions = {os.path.relpath(item["path"], tmp_path): item["action"] for item in found}
    assert actions == {
        "models/.incoming/a@r1": "none",
        "models/.incoming/a@r0.removed": "tidy",
        "models/.incoming/b@r1": "tidy",
        "models/.incoming/c@r1": "tidy",
        "models/.incoming/restore@d@r1": "none",
        "models/.incoming/restore@e@r1": "tidy",
        "archive/.incoming/c@r1": "none",
        "archive/.incoming/gone@r1": "tidy",
    }


def test_an_engine_version_tells_what_needs_it(instances: Path, tmp_path: Path) -> None:
    for version in ("0.33.0", "0.32.0", "0.34.0"):
        (tmp_path / "engines/vllm" / version).mkdir(parents=True)
    found = inventory.read_engines(str(tmp_path / "engines"), str(instances), [("vllm", "0.34.0")])
    needed = {item["version"]: bool(item["needed_by"]) for item in found}
    assert needed == {"0.33.0": True, "0.32.0": False, "0.34.0": True}


def test_models_in_a_store_of_ollama_are_listed_with_those_that_are_kept_for_a_way_back(tmp_path: Path) -> None:
    library = tmp_path / "manifests/registry.ollama.ai/library/llama3.2"
    library.mkdir(parents=True)
    entry = {"digest": f"sha256:{'0' * 64}", "size": 500}
    for tag in ("1b", "prev-0123456789ab", "broken"):
        (library / tag).write_text("{" if tag == "broken" else json.dumps({"config": entry, "layers": []}))
    found = inventory.read_ollama([str(tmp_path), str(tmp_path / "none")])
    assert [(item["name"], item["bytes"], item["kept_for_rollback"]) for item in found] == [
        ("llama3.2:1b", 500, False),
        ("llama3.2:prev-0123456789ab", 500, True),
    ]
