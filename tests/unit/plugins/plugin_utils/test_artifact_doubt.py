# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller keeps for hosts is dropped and asked anew once a host has found it wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_bring import Order, _mark, bring
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_manifest import document, load_stored, store
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex
from ansible_collections.local_llm.ops.plugins.plugin_utils._artifact_doubt import doubt
from ansible_collections.local_llm.ops.tests.fakes.http_mirror.fake_mirror import Content, Fault, Mirror
from ansible_collections.local_llm.ops.tests.unit.plugins.action.playbook_runs import run_plays

DATA = b"weights" * 1000
DIGEST = sha256_hex(DATA)
FILES = {"model.gguf": DIGEST}


@pytest.fixture
def content() -> Content:
    return Content(files={"/m/model.gguf": DATA})


@pytest.fixture
def mirror(content: Content) -> Iterator[Mirror]:
    with Mirror(content) as server:
        yield server


def test_a_file_that_rotted_in_the_cache_is_dropped_and_comes_anew(mirror: Mirror, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    order = Order("model tiny", FILES, {"model.gguf": f"{mirror.url}/m/model.gguf"}, str(blobs), by_digest=True)

    def fetched() -> Any:
        return bring(order, lambda _text: None, False)["fetched_files"]

    assert fetched() == ["model.gguf"]
    (blobs / DIGEST).write_bytes(DATA[:-1] + b"X")
    _mark(order, "model.gguf")  # a disk does not tell that a bit has flipped
    assert fetched() == [], "it is believed, since nothing tells otherwise"
    asked = {"source": "controller", "controller_directory": str(blobs), "files": FILES}
    answer: dict[str, Any] = {"failed": True, "msg": "SHA-256 differs.", "wrong_content": True}
    doubt(asked, answer)
    assert str(blobs) in answer["msg"] and "run again" in answer["msg"]
    assert fetched() == ["model.gguf"] and (blobs / DIGEST).read_bytes() == DATA


def test_a_rotten_file_that_was_copied_to_a_host_is_dropped_too(mirror: Mirror, tmp_path: Path) -> None:
    blobs, models = tmp_path / "blobs", tmp_path / "models"
    order = Order("model tiny", FILES, {"model.gguf": f"{mirror.url}/m/model.gguf"}, str(blobs), by_digest=True)

    def fetched() -> Any:
        return bring(order, lambda _text: None, False)["fetched_files"]

    assert fetched() == ["model.gguf"]
    (blobs / DIGEST).write_bytes(DATA[:-1] + b"X")
    _mark(order, "model.gguf")
    incoming = models / ".incoming" / "tiny@r1"
    incoming.mkdir(parents=True)
    published = {
        "name": "tiny", "revision": "r1", "files": FILES, "models_directory": str(models),
        "controller_directory": str(blobs),
    }  # fmt: skip
    copied = {
        "ansible.builtin.copy": {"src": str(blobs / DIGEST), "dest": str(incoming / "model.gguf"), "mode": "0600"}
    }
    plays = [
        {"hosts": "localhost", "gather_facts": False, "tasks": [copied, {"local_llm.ops.model_directory": published}]}
    ]
    assert fetched() == [], "it is believed, since nothing tells otherwise"
    code, output = run_plays(tmp_path, plays)
    assert code != 0 and "cache of the controller" in output and "run again" in output
    assert fetched() == ["model.gguf"]
    code, output = run_plays(tmp_path, plays)
    assert code == 0, output
    assert (models / "tiny" / "r1" / "model.gguf").read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"failed": True, "msg": "full", "wrong_content": False}, True),
        ({"changed": True}, True),
        ({"failed": True, "msg": "x", "wrong_content": True}, False),
    ],
)
def test_only_a_wrong_file_is_a_reason_to_hash_the_cache_again(
    tmp_path: Path, answer: dict[str, Any], kept: bool
) -> None:
    mark = tmp_path / ".parts" / f"{DIGEST}.ok"
    mark.parent.mkdir()
    mark.write_text("7 7 7 7", encoding="ascii")
    doubt({"source": "controller", "controller_directory": str(tmp_path), "files": FILES}, answer)
    assert mark.exists() is kept


def test_sizes_that_did_not_hold_on_a_host_are_forgotten(tmp_path: Path) -> None:
    manifest = document({"source": "http"}, FILES, {"model.gguf": 1})
    store(str(tmp_path), manifest)
    asked = {"source": "http", "controller_manifest_directory": str(tmp_path), "files": FILES}
    doubt(asked, {"changed": True})
    assert load_stored(str(tmp_path), manifest["manifest_sha256"]) is not None
    doubt(asked, {"failed": True, "msg": "x"})
    assert load_stored(str(tmp_path), manifest["manifest_sha256"]) is None
    doubt(asked, {"failed": True, "msg": "x"})


def test_a_mirror_that_told_a_wrong_size_is_asked_again_by_the_next_run(
    mirror: Mirror, content: Content, tmp_path: Path
) -> None:
    common = {"name": "tiny", "source": "http", "url": f"{mirror.url}/m"}
    kept = str(tmp_path / "manifests")
    made = {**common, "state": "manifest", "files": FILES, "manifest_directory": kept}
    come = {**common, "state": "fetched", "files": "{{ made.files }}", "sizes": "{{ made.sizes }}", "retries": 0,
            "reserve_bytes": 0, "directory": str(tmp_path / "in"), "controller_manifest_directory": kept}  # fmt: skip
    tasks = [
        {"local_llm.ops.model_artifact": made, "register": "made"},
        {"local_llm.ops.model_artifact": come},
    ]
    plays = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    content.faults["/m/model.gguf"] = Fault(send_bytes=DATA[:-100], times=1)
    code, output = run_plays(tmp_path, plays)
    assert code != 0 and "wanted" in output, output
    content.faults.clear()
    code, output = run_plays(tmp_path, plays)
    assert code == 0, output
    assert (tmp_path / "in" / "model.gguf").read_bytes() == DATA
