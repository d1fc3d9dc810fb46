# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host remembers: events once, for a week; a broken file is no end; two runs at once lose nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _health_state as health_state
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import (
    StateBusy,
    changed_state,
    clear,
    counters_of,
    counting_events,
    empty_state,
    parse_state,
    read_state,
    record_action,
    with_events,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu, snapshot

NOW = 1_793_534_400.0


def event(
    ago_seconds: float | None = 0.0, message: str = "NVRM: Xid 79", pci: str | None = "0000:18:00.0"
) -> dict[str, Any]:
    at = None if ago_seconds is None else NOW - ago_seconds
    return {
        "at": None, "at_seconds": at, "boot_id": None, "kind": "xid", "code": 79, "sub_code": None, "pci": pci,
        "message": message,
    }  # fmt: skip


def messages(state: dict[str, Any]) -> list[str]:
    return [item["message"] for item in state["events"]]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "health" / "state.json")


def test_a_missing_file_is_an_empty_state(path: str) -> None:
    assert read_state(path) == (empty_state(), None)


def test_what_was_written_is_read_again_and_nobody_else_reads_it(path: str) -> None:
    with changed_state(path) as held:
        held.state["events"] = [event()]
    state, problem = read_state(path)
    assert (state["events"], problem) == ([event()], None)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o750


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"schema": 2}', '{"schema": 1, "events": {}}', '{"schema": 1, "events": [{}]}',
        '{"schema": 1, "cursor": []}', '{"schema": 1, "cursor": {"source": "file"}}', '{"schema": 1, "actions": [1]}',
        '{"schema": 1, "cleared_at_seconds": {"*": "x"}}', "\udcff",
    ],
)  # fmt: skip
def test_a_broken_file_is_kept_aside_and_the_state_begins_anew(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path))
    Path(path).write_bytes(text.encode("utf-8", "surrogateescape"))
    with changed_state(path) as held:
        assert held.state == empty_state()
        assert "broken" in (held.problem or "") and "kept as" in (held.problem or "")
    kept = [name for name in os.listdir(os.path.dirname(path)) if ".broken-" in name]
    assert len(kept) == 1
    assert read_state(path) == (empty_state(), None)


def test_reading_alone_moves_no_broken_file(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    Path(path).write_text("{")
    state, problem = read_state(path)
    assert state == empty_state() and "is broken" in (problem or "")
    assert os.listdir(os.path.dirname(path)) == ["state.json"]


def test_a_run_that_fails_leaves_the_file_as_it_was(path: str) -> None:
    with changed_state(path) as held:
        held.state["events"] = [event()]
    with pytest.raises(RuntimeError), changed_state(path) as held:
        held.state["events"] = []
        raise RuntimeError
    assert len(read_state(path)[0]["events"]) == 1


def test_a_second_run_waits_and_then_says_who_is_in_the_way(path: str) -> None:
    with (
        changed_state(path),
        pytest.raises(StateBusy, match="another run holds"),
        changed_state(path, wait_seconds=0.05),
    ):
        pass


def _record(path: str, number: int) -> None:
    record_action(path, rung="reboot", gpu_uuid=None, reason=str(number), xid=79, boot_id=None, result="started")


def test_actions_of_many_at_once_are_all_kept(path: str) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_record, args=(path, number)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert sorted(action["reason"] for action in read_state(path)[0]["actions"]) == list("012345")


def test_an_action_has_its_keys_and_known_words(path: str) -> None:
    action = record_action(
        path, rung="reset_gpu", gpu_uuid="GPU-1", reason="xid", xid=48, boot_id="b", result="verified", at_seconds=NOW
    )
    assert set(action) == {"at_seconds", "rung", "gpu_uuid", "reason", "xid", "boot_id", "result"}
    with pytest.raises(ValueError, match="'drive' is none of"):
        record_action(path, rung="drive", gpu_uuid=None, reason="", xid=None, boot_id=None, result="started")
    with pytest.raises(ValueError, match="'done' is none of"):
        record_action(path, rung="reboot", gpu_uuid=None, reason="", xid=None, boot_id=None, result="done")


def test_events_are_in_order_and_none_is_lost_though_two_are_alike() -> None:
    state = with_events(empty_state(), [event(5, "b"), event(10, "a"), event(5, "b")], NOW, overlap=False)
    assert messages(state) == ["a", "b", "b"]
    assert messages(with_events(state, [event(5, "b")], NOW, overlap=False)) == ["a", "b", "b", "b"]


def test_what_is_read_again_counts_once() -> None:
    state = with_events(empty_state(), [event(10, "a"), event(5, "b"), event(5, "b")], NOW, overlap=False)
    again = [event(10, "a"), event(5.4, "b"), event(5, "b"), event(5, "b"), event(1, "c")]
    assert messages(with_events(state, again, NOW, overlap=True)).count("a") == 1
    assert messages(with_events(state, again, NOW, overlap=True)).count("b") == 3
    assert messages(with_events(state, again, NOW, overlap=True))[-1] == "c"


def test_events_are_kept_for_a_week_and_two_thousand_of_them() -> None:
    old = with_events(empty_state(), [event(8 * 86400, "old"), event(6 * 86400, "new")], NOW, overlap=False)
    assert messages(old) == ["new"]
    many = with_events(old, [event(1, str(number)) for number in range(2500)], NOW, overlap=False)
    assert len(many["events"]) == 2000 and messages(many)[-1] == "2499"


def test_a_cleared_gpu_counts_again_only_with_what_comes_after() -> None:
    old, new, other = event(100), event(10), event(100, pci="0000:19:00.0")
    assert counting_events([old, new, other], {}, None) == [old, new, other]
    assert counting_events([old, new, other], {"0000:18:00.0": NOW - 50}, None) == [new, other]
    assert counting_events([old, new, other], {"*": NOW - 50}, None) == [new]
    assert counting_events([old, new, other], {"*": NOW}, NOW - 50) == [new]
    assert counting_events([event(None)], {"*": NOW}, None) == [event(None)]


def test_clearing_is_written_and_never_goes_back(path: str) -> None:
    assert clear(path, "0000:18:00.0", NOW) == NOW
    assert clear(path, "0000:18:00.0", NOW - 10) == NOW
    assert clear(path, at_seconds=NOW + 1) == NOW + 1
    assert read_state(path)[0]["cleared_at_seconds"] == {"0000:18:00.0": NOW, "*": NOW + 1}


def test_the_counters_of_a_run_are_what_the_next_one_compares_with() -> None:
    card = gpu(0)
    card["nvlink"][0].update(crc_errors=3, replay_errors=None)
    counters = counters_of(snapshot([card]))
    assert counters is not None and counters["gpus"][card["uuid"]]["nvlink_errors"] == 3
    assert counters["gpus"][card["uuid"]]["clock_event_seconds"] == card["clock_event_seconds"]
    assert counters_of(snapshot([])) is None


def test_a_state_is_plain_json() -> None:
    state = with_events(empty_state(), [event()], NOW, overlap=False)
    assert parse_state(json.dumps(state)) == state
    assert set(state) == {"schema", *health_state._SHAPE}
