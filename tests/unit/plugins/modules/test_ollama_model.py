# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ollama_model from option to result, against the stand-in for Ollama and a registry that misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.modules import ollama_model
from ansible_collections.local_llm.ops.tests.fakes.ollama_stand_in import models
from ansible_collections.local_llm.ops.tests.fakes.ollama_stand_in.models import Scheduler
from ansible_collections.local_llm.ops.tests.fakes.ollama_stand_in.registry import Registry
from ansible_collections.local_llm.ops.tests.fakes.ollama_stand_in.server import Server
from ansible_collections.local_llm.ops.tests.fakes.ollama_stand_in.store import Store

Run = Callable[..., dict[str, Any]]


class Lab:
    """A server, a registry, and a name that leads from one to the other."""

    def __init__(self, root: Path) -> None:
        self.registry = Registry()
        self.first = self.registry.add_model("tiny:1", b"GGUF first" * 1000)
        self.second = self.registry.add_model("tiny:2", b"GGUF second" * 1000, template="other")
        self.registry.start()
        self.store = Store(root, prune=True)
        self.server = Server(("127.0.0.1", 0), "0.32.15", self.store, Scheduler(self.store, {}))
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.name = f"{self.registry.host}/library/tiny:1"

    def move(self) -> None:
        self.registry.tags["tiny:1"] = self.registry.tags["tiny:2"]

    def tag(self, tag: str) -> str:
        return self.name.rpartition(":")[0] + ":" + tag

    def close(self) -> None:
        for server in (self.server, self.registry):
            server.shutdown()
            server.server_close()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    knobs = tmp_path / "knobs.json"
    knobs.write_text('{"load_seconds": 0}', encoding="utf-8")
    monkeypatch.setattr(models, "KNOBS", knobs)
    lab = Lab(tmp_path / "models")
    yield lab
    lab.close()


@pytest.fixture
def run(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Run:
    def _run(check: bool = False, **options: Any) -> dict[str, Any]:
        full = {"url": lab.url, "name": lab.name, "insecure": True, **options}
        with patch_module_args({**full, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            ollama_model.main()
        return json.loads(capsys.readouterr().out)

    return _run


def test_a_missing_model_is_fetched_once(lab: Lab, run: Run) -> None:
    done = run(digest=f"sha256:{lab.first}")
    assert (done["changed"], done["digest"], done["rollback_name"]) == (True, lab.first, None)
    assert done["diff"]["before"] == {"digest": None}
    again = run(digest=lab.first)
    assert (again["changed"], again["progress"]) == (False, [])


def test_check_mode_predicts_and_asks_the_registry_nothing(lab: Lab, run: Run) -> None:
    predicted = run(check=True, digest=lab.first, preload=True)
    assert (predicted["changed"], predicted["digest"]) == (True, lab.first)
    assert lab.store.names() == []
    assert lab.registry.requests == []


def test_without_a_digest_a_name_that_is_there_is_left_alone(lab: Lab, run: Run) -> None:
    run()
    lab.move()
    assert not run()["changed"]


def test_the_report_of_a_fetch_is_short(lab: Lab, run: Run) -> None:
    lab.registry.add_model("tiny:1", bytes(range(256)) * 20000)
    steps = run()["progress"]
    assert len(steps) < 10
    assert steps[-1]["status"] == "success"


def test_a_moved_tag_is_undone_and_says_so(lab: Lab, run: Run) -> None:
    run()
    lab.move()
    failed = run(digest="0" * 64)
    assert failed["failed"]
    assert f"has the digest {lab.second}" in failed["msg"]
    assert "is again what it was" in failed["msg"]
    assert lab.store.manifest(lab.name)[1] == lab.first
    assert lab.store.names() == [lab.name]
    assert lab.store.model_blob(lab.name).read_bytes().startswith(b"GGUF first")


def test_a_wrong_digest_of_a_new_model_leaves_no_model(lab: Lab, run: Run) -> None:
    assert "was removed again" in run(digest="0" * 64)["msg"]
    assert lab.store.names() == []


def test_the_old_content_is_kept_before_a_fetch_moves_the_name_and_comes_back_without_the_registry(
    lab: Lab, run: Run
) -> None:
    run()
    lab.move()
    moved = run(digest=lab.second)
    kept = lab.tag(f"prev-{lab.first[:12]}")
    assert moved["rollback_name"] == kept
    assert lab.store.model_blob(kept).read_bytes().startswith(b"GGUF first")
    asked = len(lab.registry.requests)
    back = run(digest=lab.first)
    assert (back["changed"], back["digest"]) == (True, lab.first)
    assert len(lab.registry.requests) == asked
    gone = run(state="absent", remove_rollback=True)
    assert len(gone["removed"]) == 3
    assert list((lab.store.root / "blobs").iterdir()) == []


def test_the_old_content_goes_when_it_is_not_wanted(lab: Lab, run: Run) -> None:
    run()
    lab.move()
    run(digest=lab.second, keep_rollback=False)
    assert lab.store.names() == [lab.name]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cut", "max retries exceeded"),
        ("wrong_digest", "not those that the manifest names"),
        ("html", "A web page came"),
    ],
)
def test_an_error_inside_the_stream_fails_and_a_second_run_heals(lab: Lab, run: Run, fault: str, words: str) -> None:
    lab.registry.fault = fault
    failed = run(models_directory=str(lab.store.root))
    assert failed["failed"]
    assert words in failed["msg"]
    lab.registry.fault = None
    healed = run(models_directory=str(lab.store.root), digest=lab.first)
    assert (healed["changed"], healed["verified_blobs"]) == (True, 3)


def test_a_failed_fetch_leaves_the_old_content_and_no_rollback_name(lab: Lab, run: Run) -> None:
    run()
    lab.move()
    lab.registry.fault = "html"
    assert run(digest=lab.second)["failed"]
    assert lab.store.names() == [lab.name]
    assert lab.store.manifest(lab.name)[1] == lab.first


def test_a_tag_that_is_not_in_the_registry_is_named(lab: Lab, run: Run) -> None:
    assert "no such tag" in run(name=lab.tag("nope"))["msg"]


def test_a_damaged_file_is_found_by_its_name_and_fetched_again(lab: Lab, run: Run) -> None:
    run()
    blob = lab.store.model_blob(lab.name)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert not run()["changed"]
    predicted = run(check=True, models_directory=str(lab.store.root))
    assert predicted["diff"]["before"]["damaged_blobs"] == [blob.name]
    assert run(models_directory=str(lab.store.root))["changed"]
    assert not run(models_directory=str(lab.store.root))["changed"]


def test_a_directory_of_another_server_is_refused(lab: Lab, run: Run, tmp_path: Path) -> None:
    run()
    assert "OLLAMA_MODELS" in run(models_directory=str(tmp_path / "else"))["msg"]


def test_a_model_is_loaded_pinned_and_its_spill_is_a_warning(
    lab: Lab, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(ollama_model.AnsibleModule, "warn", lambda module, text, **more: warned.append(text))
    done = run(preload=True)
    assert done["loaded"]["context_length"] == 4096
    assert done["spill"].startswith(f"spill: {lab.name} runs on the CPU alone")
    assert warned == [done["spill"]]
    assert not run(preload=True)["changed"]
    assert not run(preload=True, keep_alive_seconds=60)["changed"]
    lab.server.scheduler.unload(lab.name)
    run(preload=True, keep_alive_seconds=60)
    pinned = run(preload=True)
    assert pinned["changed"], "loaded for a minute is not pinned"


def test_a_model_that_cannot_be_loaded_is_an_error(lab: Lab, run: Run, tmp_path: Path) -> None:
    (tmp_path / "knobs.json").write_text('{"load_seconds": 0, "fail_load": true}', encoding="utf-8")
    assert "model failed to load" in run(preload=True)["msg"]


def test_absent_removes_the_named_content_only(lab: Lab, run: Run) -> None:
    assert not run(state="absent")["changed"]
    run()
    assert not run(state="absent", digest=lab.second)["changed"]
    assert run(state="absent", check=True)["removed"] == [lab.name]
    assert lab.store.names() == [lab.name]
    assert run(state="absent", digest=lab.first)["changed"]
    assert lab.store.names() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "a/b/c/d"}, "more than host"),
        ({"digest": "abc"}, "64 hex digits"),
        ({"keep_alive_seconds": -5}, "use -1"),
        ({"timeout_seconds": 0}, "leaves no time"),
        ({"url": "ftp://x"}, "http://"),
        ({"url": "http://127.0.0.1:9"}, "Is the server running"),
    ],
)
def test_a_bad_option_is_named_with_the_fix(run: Run, options: dict[str, Any], words: str) -> None:
    failed = run(**options)
    assert failed["failed"]
    assert words in failed["msg"]
