# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an instance counts as ready, and what ends the wait at once."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _release_ready as ready

ACTIVE = {"ActiveState": "active", "SubState": "running", "InvocationID": "new", "NRestarts": "0"}
OLD = {**ACTIVE, "InvocationID": "old"}
TCP = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0B03E70A:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 4711 1 0 100 0 0 10 0\n"
    "   1: 0B03E70A:1F41 0103E70A:D431 01 00000000:00000000 00:00000000 00000000   997        0 4712 1 0 20 4 30 9 -1\n"
)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(units: list[dict[str, str]], statuses: list[int | None], **more: Any) -> ready.Readiness:
    clock = Clock()
    shown, probed = iter(units), iter(statuses)
    last: dict[str, Any] = {}

    def show() -> dict[str, str]:
        last["unit"] = next(shown, last.get("unit"))
        return last["unit"]

    def probe() -> int | None:
        last["status"] = next(probed, last.get("status"))
        return last["status"]

    options: dict[str, Any] = {
        "owned": lambda _group: True,
        "moved": lambda: None,
        "invocation_before": "old",
        "timeout_seconds": 5.0,
        **more,
    }
    return ready.wait_ready(show=show, probe=probe, begun=1000.0, clock=clock, sleep=clock.sleep, **options)


def test_ready_tells_when_the_port_opened_and_when_it_answered() -> None:
    found = wait([ACTIVE], [None, 503, 503, 200])
    assert found.ready
    assert found.seconds["port_open"] == pytest.approx(0.1)
    assert found.seconds["ready"] == pytest.approx(0.3)


def test_an_answer_of_the_old_process_does_not_count() -> None:
    restarting = {**OLD, "Job": "17"}
    found = wait([restarting, restarting, ACTIVE], [200])
    assert found.ready
    assert found.seconds["ready"] == pytest.approx(0.2)


def test_an_answer_of_another_process_on_the_port_does_not_count() -> None:
    found = wait([ACTIVE], [200], owned=lambda _group: False)
    assert not found.ready
    assert "another process" in found.reason


def test_an_owner_that_cannot_be_told_is_believed() -> None:
    assert wait([ACTIVE], [200], owned=lambda _group: None).ready


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ({**ACTIVE, "ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "3"}, "exit status 3"),
        ({**ACTIVE, "ActiveState": "activating", "SubState": "auto-restart"}, "exited"),
        ({**ACTIVE, "NRestarts": "2"}, "2 restarts"),
        ({**ACTIVE, "ActiveState": "inactive", "SubState": "dead"}, "exited"),
        ({**OLD, "ActiveState": "inactive", "SubState": "dead"}, "did not start again"),
    ],
)
def test_a_service_that_will_not_come_ends_the_wait_at_once(unit: dict[str, str], words: str) -> None:
    found = wait([unit], [None])
    assert not found.ready
    assert words in found.reason


@pytest.mark.parametrize("state", ["activating", "failed", "inactive"])
def test_a_restart_under_way_from_any_state_is_waited_for(state: str) -> None:
    before = {**OLD, "ActiveState": state, "SubState": "auto-restart", "NRestarts": "7", "Job": "9"}
    assert wait([before, before, ACTIVE], [200]).ready


def test_without_a_restart_the_run_that_serves_counts_whatever_its_history() -> None:
    crashed_once = {**OLD, "NRestarts": "3"}
    found = wait([crashed_once], [503, 200], invocation_before=None)
    assert found.ready
    assert found.seconds["ready"] == pytest.approx(0.1)


def test_without_a_restart_of_ours_the_one_of_the_dead_man_is_waited_for() -> None:
    stopping = {**OLD, "ActiveState": "deactivating", "Job": "9"}
    between = {**OLD, "ActiveState": "inactive", "SubState": "dead", "Job": "9"}
    found = wait([{**OLD, "Job": "9"}, stopping, between, ACTIVE], [200], invocation_before=None)
    assert found.ready
    assert found.seconds["ready"] == pytest.approx(0.3), "the old process must not be asked"


@pytest.mark.parametrize(
    "state", [{"ActiveState": "failed"}, {"ActiveState": "activating", "SubState": "auto-restart"}]
)
def test_without_a_restart_a_service_that_crashes_ends_the_wait(state: dict[str, str]) -> None:
    assert not wait([{**OLD, **state}], [None], invocation_before=None).ready


@pytest.mark.parametrize(("status", "words"), [(None, "port is closed"), (503, "HTTP status 503"), (0, "no HTTP")])
def test_time_that_runs_out_says_what_was_seen_last(status: int | None, words: str) -> None:
    found = wait([ACTIVE], [status])
    assert not found.ready
    assert words in found.reason
    assert "not ready after 5.0 s" in found.reason


def test_a_dead_man_that_went_back_ends_the_wait() -> None:
    assert wait([ACTIVE], [503], moved=lambda: "taken back").reason == "taken back"


def test_unit_seconds_come_from_this_restart_only() -> None:
    unit = {
        "ActiveExitTimestampMonotonic": "1000500000",
        "InactiveEnterTimestampMonotonic": "1002000000",
        "InactiveExitTimestampMonotonic": "1002100000",
        "ActiveEnterTimestampMonotonic": "1002350000",
    }
    assert ready.unit_seconds(unit, 1000.0) == {"stop": 1.5, "start": 0.25}
    assert ready.unit_seconds(unit, 2000.0) == {"stop": 0.0}


def test_only_listening_sockets_of_the_port_are_found() -> None:
    assert ready.listening_inodes([TCP], 8001) == {"4711"}
    assert ready.listening_inodes([TCP], 8002) == set()
