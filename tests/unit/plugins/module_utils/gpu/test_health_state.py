# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host remembers: events once, for a week; a broken file is no end; two runs at once lose nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _health_state as health_state
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import (
    COMPARING_CHECKS,
    StateBusy,
    changed_state,
    counters_of,
    counting_events,
    empty_state,
    next_counters,
    parse_state,
    read_state,
    with_events,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import run_checks
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
    with changed_state(path) as held:
        held.state["actions"] = [*held.state["actions"], {"reason": str(number)}]


def test_actions_of_many_at_once_are_all_kept(path: str) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_record, args=(path, number)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert sorted(action["reason"] for action in read_state(path)[0]["actions"]) == list("012345")


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


@pytest.mark.parametrize(("shift", "count"), [(-1.0, 1), (0.0, 1), (1.0, 1), (-2.0, 2), (2.0, 2)])
def test_two_sources_may_differ_by_a_second(shift: float, count: int) -> None:
    state = with_events(empty_state(), [event(10, "a")], NOW, overlap=False)
    assert len(with_events(state, [event(10 - shift, "a")], NOW, overlap=True)["events"]) == count


def test_an_event_that_was_matched_matches_no_second_one() -> None:
    state = with_events(empty_state(), [event(10, "a")], NOW, overlap=False)
    assert len(with_events(state, [event(9, "a"), event(11, "a")], NOW, overlap=True)["events"]) == 2


def test_events_are_kept_for_a_week() -> None:
    found = with_events(empty_state(), [event(8 * 86400, "old"), event(6 * 86400, "new")], NOW, overlap=False)
    assert messages(found) == ["new"]


def noise(ago_seconds: float, kind: str = "io_error", message: str = "I/O error, dev sda") -> dict[str, Any]:
    return {**event(ago_seconds, message, None), "kind": kind, "code": None}


def test_a_flood_of_disk_errors_drives_out_no_xid() -> None:
    state = with_events(empty_state(), [event(5000, "the one")], NOW, overlap=False)
    for start in (4000, 3000, 2000, 1000):
        state = with_events(state, [noise(start - number) for number in range(1000)], NOW, overlap=False)
    assert messages(state)[0] == "the one" and len(state["events"]) <= 2000


def test_a_flood_of_one_xid_drives_out_no_other_one_and_stays_one_burst() -> None:
    one = {**event(90_000, "the one"), "code": 119}
    flood = [event(80_000 - number, "again") for number in range(4000)]
    kept = with_events(empty_state(), [one, *flood], NOW, overlap=False)["events"]
    assert kept[0] == one and kept[1] == flood[0] and kept[-1] == flood[-1] and len(kept) < 110
    steps = [later["at_seconds"] - earlier["at_seconds"] for earlier, later in pairwise(kept[1:])]
    assert max(steps) < 180


def test_of_too_many_events_noise_goes_first_then_what_was_answered_and_the_first_and_last_of_each_stay() -> None:
    tasks = [noise(70_000, "hung_task", f"task t{number}:1 blocked for more than 120 s") for number in range(1500)]
    answered = [{**event(50_000, "answered"), "code": number} for number in range(1000)]
    counting = [{**event(40_000, "counts", "0000:19:00.0"), "code": number} for number in range(1200)]
    state = {**empty_state(), "cleared_at_seconds": {"0000:18:00.0": NOW - 45_000}}
    kept = with_events(state, [*tasks, *answered, *counting], NOW, overlap=False)["events"]
    found = [item["message"] for item in kept]
    assert (len(found), found.count("counts"), found.count("answered")) == (2000, 1200, 800)
    many = [{**event(7 * 86400 - 1 - 300 * number, "x"), "code": code} for number in range(60) for code in range(40)]
    single = {**event(600_000, "single"), "code": 119}
    kept = with_events(empty_state(), [single, *many], NOW, overlap=False)["events"]
    assert len(kept) == 2000 and single in kept
    assert all(item in kept for item in [*many[:40], *many[-40:]])


def test_a_cleared_gpu_counts_again_only_with_what_comes_after() -> None:
    old, new, other = event(100), event(10), event(100, pci="0000:19:00.0")
    assert counting_events([old, new, other], {}, None) == [old, new, other]
    assert counting_events([old, new, other], {"0000:18:00.0": NOW - 50}, None) == [new, other]
    assert counting_events([old, new, other], {"*": NOW - 50}, None) == [new]
    assert counting_events([old, new, other], {"*": NOW}, NOW - 50) == [new]
    assert counting_events([event(None)], {"*": NOW}, None) == [event(None)]


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


@pytest.mark.parametrize(
    ("ran", "skipped", "boot", "moved"),
    [
        (health_state.COMPARING_CHECKS, (), "b1", True),
        (("xid",), (), "b1", False),
        (("xid",), (), "b0", False),
        (("throttle_time",), (), "b1", False),
        (("throttle_time",), (), "b0", True),
        (("throttle_time",), ("pcie_replay", "nvlink_errors"), "b1", True),
        ((), health_state.COMPARING_CHECKS, "b1", False),
    ],
)
def test_counters_move_only_when_what_compares_them_ran(
    ran: tuple[str, ...], skipped: tuple[str, ...], boot: str, moved: bool
) -> None:
    before = {"taken_at_seconds": 1.0, "boot_id": boot, "gpus": {}}
    now = {**snapshot(), "boot_id": "b1"}
    assert next_counters(before, now, ran, skipped) == (counters_of(now) if moved else before)


def test_the_first_comparison_begins_the_counters_and_a_host_without_gpus_keeps_them() -> None:
    assert next_counters(None, snapshot(), ("throttle_time",)) == counters_of(snapshot())
    assert next_counters(None, snapshot(), ("xid",)) is None
    before = {"taken_at_seconds": 1.0, "boot_id": "b1", "gpus": {}}
    assert next_counters(before, snapshot([]), health_state.COMPARING_CHECKS) == before


def test_card_that_is_gone_is_remembered_until_as_many_are_there_again() -> None:
    eight = next_counters(None, snapshot(), COMPARING_CHECKS)
    seven = next_counters(eight, snapshot([gpu(index) for index in range(7)]), COMPARING_CHECKS)
    again = next_counters(seven, snapshot([gpu(index) for index in range(7)]), COMPARING_CHECKS)
    assert eight and seven and again
    assert set(seven["gpus"]) == set(again["gpus"]) == set(eight["gpus"])
    replaced = next_counters(again, snapshot([gpu(index) for index in (*range(7), 9)]), COMPARING_CHECKS)
    assert replaced and set(replaced["gpus"]) == {gpu(index)["uuid"] for index in (*range(7), 9)}


def test_card_that_is_back_is_not_compared_with_what_it_counted_before() -> None:
    seven = next_counters(
        next_counters(None, snapshot(), COMPARING_CHECKS),
        snapshot([gpu(index) for index in range(7)]),
        COMPARING_CHECKS,
    )
    back = snapshot([gpu(index, pci__replay_count=9999) for index in range(8)], previous=seven)
    names = [item["check"] for item in run_checks(back, Context()) if item["gpu"] and item["gpu"]["index"] == 7]
    assert "pcie_replay" not in names
