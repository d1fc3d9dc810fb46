# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The closed loop: its limits, its order, its end."""

from __future__ import annotations

import threading
import time

from ansible_collections.local_llm.ops.plugins.module_utils._http_stream import RequestRecord
from ansible_collections.local_llm.ops.plugins.module_utils._load import Limits, run_closed_loop


class FakeClient:
    """A FAKE client: answers after a while, or waits to be aborted."""

    active = 0
    most_active = 0
    lock = threading.Lock()

    def __init__(self, seconds: float = 0.002, error: str | None = None, hang: bool = False) -> None:
        self._seconds, self._error = seconds, error
        self._aborted = threading.Event()
        self._hang = hang

    def send(self, index: int, body: bytes) -> RequestRecord:
        with self.lock:
            FakeClient.active += 1
            FakeClient.most_active = max(FakeClient.most_active, FakeClient.active)
        started = time.perf_counter()
        aborted = self._aborted.wait(30 if self._hang else self._seconds)
        with self.lock:
            FakeClient.active -= 1
        return RequestRecord(index, started, 0.0, "interrupted" if aborted else self._error)

    def abort(self) -> None:
        self._aborted.set()

    def close(self) -> None:
        pass


def body(index: int) -> bytes:
    return str(index).encode()


def test_every_request_is_sent_once_and_never_more_than_users_at_a_time() -> None:
    FakeClient.most_active = 0
    run = run_closed_loop(FakeClient, body, 4, Limits(41, 10), threading.Event())
    assert [record.index for record in run.records] == list(range(41))
    assert FakeClient.most_active == 4
    assert not run.interrupted and not run.out_of_time and not run.gave_up


def test_no_request_starts_after_the_time_is_over() -> None:
    run = run_closed_loop(lambda: FakeClient(0.02), body, 2, Limits(100000, 0.1), threading.Event())
    assert run.out_of_time and 4 <= len(run.records) <= 12


def test_it_gives_up_when_the_first_requests_all_fail() -> None:
    run = run_closed_loop(lambda: FakeClient(error="connection"), body, 4, Limits(1000, 10, 20), threading.Event())
    assert run.gave_up and 20 <= len(run.records) <= 24


def test_an_interrupt_keeps_what_is_there_and_drops_what_is_cut() -> None:
    stop = threading.Event()
    hanging = [False, True]
    threading.Timer(0.1, stop.set).start()
    started = time.monotonic()
    run = run_closed_loop(lambda: FakeClient(hang=hanging.pop()), body, 2, Limits(100000, 30), stop)
    assert run.interrupted and time.monotonic() - started < 3
    assert run.records and all(record.error is None for record in run.records)
