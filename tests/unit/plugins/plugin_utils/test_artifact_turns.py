# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests for asking a source once for many hosts."""

from __future__ import annotations

import fcntl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_manifest import document, store
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex
from ansible_collections.local_llm.ops.plugins.plugin_utils import _artifact_turns
from ansible_collections.local_llm.ops.plugins.plugin_utils._artifact_turns import one_for_all

DATA = b"weights" * 100
DIGEST = sha256_hex(DATA)
HOSTS = 8


@pytest.fixture
def order(tmp_path: Path) -> dict[str, Any]:
    """Bring one file into a cache."""
    return {
        "state": "fetched",
        "name": "chat",
        "source": "http",
        "url": "http://192.0.2.1/m",
        "token": "a-secret-of-the-source",
        "files": {"model.gguf": DIGEST},
        "sizes": {"model.gguf": len(DATA)},
        "directory": str(tmp_path / "blobs"),
        "directory_layout": "sha256",
    }


class Turns:
    """Stands in for fcntl: knows how many came to wait for their turn."""

    LOCK_EX = fcntl.LOCK_EX

    def __init__(self) -> None:
        self.came = 0

    def flock(self, stream: Any, kind: int) -> None:
        self.came += 1
        fcntl.flock(stream, kind)

    def wait(self, count: int) -> None:
        """Wait until that many have come."""
        deadline = time.monotonic() + 20
        while self.came < count:
            assert time.monotonic() < deadline, f"{self.came} of {count} came"
            time.sleep(0.005)


@pytest.fixture(autouse=True)
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Count who waits."""
    it = Turns()
    monkeypatch.setattr(_artifact_turns, "fcntl", it)
    return it


def ask_from_all_hosts(
    turns: Turns, order: dict[str, Any], answer: dict[str, Any], cache: Path | None = None
) -> tuple[list[Any], int]:
    """Return what every host was told, and how often the source was asked. cache: where an answer puts the file."""
    everybody, asked = threading.Barrier(HOSTS), []

    def ask() -> dict[str, Any]:
        asked.append(1)
        turns.wait(HOSTS)
        if cache is not None:
            (cache / ".parts").mkdir(exist_ok=True)
            path = cache / DIGEST
            path.write_bytes(DATA)
            status = path.stat()
            stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
            (cache / ".parts" / f"{DIGEST}.ok").write_text(stamp, encoding="ascii")
        return dict(answer)

    def host(_number: int) -> dict[str, Any]:
        everybody.wait()
        return one_for_all(order, ask)

    with ThreadPoolExecutor(HOSTS) as pool:
        return list(pool.map(host, range(HOSTS))), len(asked)


def test_one_host_brings_a_file_and_the_others_find_it(turns: Turns, order: dict[str, Any]) -> None:
    came = {"changed": True, "fetched_files": ["model.gguf"]}
    told, asked = ask_from_all_hosts(turns, order, came, Path(order["directory"]))
    assert asked == 1
    assert sorted(answer["changed"] for answer in told) == [False] * (HOSTS - 1) + [True]
    assert all(answer["missing_files"] == [] for answer in told if not answer["changed"])


def test_a_source_that_fails_is_asked_once_and_every_host_is_told_why(turns: Turns, order: dict[str, Any]) -> None:
    told, asked = ask_from_all_hosts(turns, order, {"failed": True, "msg": "it broke off"})
    assert asked == 1
    assert {(answer["failed"], answer["msg"]) for answer in told} == {(True, "it broke off")}


def test_a_failure_of_before_does_not_count_for_the_next_run(turns: Turns, order: dict[str, Any]) -> None:
    ask_from_all_hosts(turns, order, {"failed": True, "msg": "it broke off"})
    assert one_for_all(order, lambda: {"changed": True}) == {"changed": True}


def test_another_order_does_not_take_over_a_failure(turns: Turns, order: dict[str, Any]) -> None:
    other = {**order, "url": "http://192.0.2.2/m"}
    begun = threading.Event()

    def fail() -> dict[str, Any]:
        begun.set()
        turns.wait(2)
        return {"failed": True, "msg": "it broke off"}

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one_for_all, order, fail)
        assert begun.wait(10)
        second = pool.submit(one_for_all, other, lambda: {"changed": True})
    assert (first.result()["failed"], second.result()) == (True, {"changed": True})


def test_a_manifest_that_is_kept_is_not_asked_for(tmp_path: Path) -> None:
    manifest = document({"source": "http"}, {"model.gguf": DIGEST}, {"model.gguf": len(DATA)})
    store(str(tmp_path), manifest)
    order: dict[str, Any] = {"state": "manifest", "name": "chat", "source": "http", "url": "http://192.0.2.1/m"}
    order.update(files={"model.gguf": DIGEST}, manifest_directory=str(tmp_path))
    told = one_for_all(order, lambda: pytest.fail("the source was asked"))
    assert (told["changed"], told["files"], told["total_bytes"]) == (False, {"model.gguf": DIGEST}, len(DATA))


def test_a_file_that_was_changed_in_the_cache_is_looked_at_again(turns: Turns, order: dict[str, Any]) -> None:
    ask_from_all_hosts(turns, order, {"changed": True}, Path(order["directory"]))
    (Path(order["directory"]) / DIGEST).write_bytes(b"something else")
    assert one_for_all(order, lambda: {"changed": True}) == {"changed": True}


def test_what_is_kept_of_a_failure_is_for_this_user_only_and_holds_no_token(order: dict[str, Any]) -> None:
    one_for_all(order, lambda: {"failed": True, "msg": "it broke off"})
    kept = Path(order["directory"]) / ".asking"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "a-secret-of-the-source" not in kept.read_text(encoding="utf-8")


def test_wrong_options_are_left_to_the_module(order: dict[str, Any]) -> None:
    assert one_for_all({**order, "stat": "fetched"}, lambda: {"failed": True, "msg": "no such option"})["failed"]
    assert one_for_all({**order, "directory": "/proc/nowhere"}, lambda: {"changed": True}) == {"changed": True}
