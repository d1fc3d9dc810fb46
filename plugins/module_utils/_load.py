# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A closed loop of users as threads: measures, and judges nothing. What it gives back are raw records."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Callable, Protocol

from ansible_collections.local_llm.ops.plugins.module_utils._http_stream import RequestRecord

# After a stop is asked for, users get this long to hand in what they have.
STOP_GRACE_SECONDS = 5.0


class Client(Protocol):
    """What a user sends with; _http_stream.StreamClient in earnest."""

    def send(self, index: int, body: bytes) -> RequestRecord: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Limits:
    """The run ends at `requests` issued or `max_seconds`, whichever comes first; requests under way then still end.

    It also ends when the first `give_up_after` requests have all failed (0: never).
    """

    requests: int
    max_seconds: float
    give_up_after: int = 0


@dataclass(frozen=True)
class Run:
    """Raw result of one run. Requests that an interrupt cut are in no list."""

    records: tuple[RequestRecord, ...]
    seconds: float
    cpu_seconds: float
    interrupted: bool = False
    gave_up: bool = False
    out_of_time: bool = False


class _Counter:
    """Hands out request numbers until a limit is reached, and takes the records."""

    def __init__(self, limits: Limits, stop: threading.Event) -> None:
        self._limits = limits
        self._stop = stop
        self._lock = threading.Lock()
        self._end = time.perf_counter() + limits.max_seconds
        self._next = 0
        self._successes = 0
        self.records: list[RequestRecord] = []
        self.gave_up = False
        self.out_of_time = False

    def take(self) -> int | None:
        if self._stop.is_set() or self.gave_up:
            return None
        with self._lock:
            if self._next >= self._limits.requests:
                return None
            if time.perf_counter() >= self._end:
                self.out_of_time = True
                return None
            self._next += 1
            return self._next - 1

    def add(self, record: RequestRecord) -> None:
        if record.error == "interrupted":
            return
        with self._lock:
            self.records.append(record)
            self._successes += record.error is None
            give_up_after = self._limits.give_up_after
            if give_up_after and not self._successes and len(self.records) >= give_up_after:
                self.gave_up = True


def run_closed_loop(
    make_client: Callable[[], Client],
    make_body: Callable[[int], bytes],
    users: int,
    limits: Limits,
    stop: threading.Event,
) -> Run:
    """Run the users until a limit or `stop`, and return their records in the order of their numbers."""
    counter = _Counter(limits, stop)
    clients = [make_client() for _unused in range(min(users, limits.requests))]

    def user(client: Client) -> None:
        while (index := counter.take()) is not None:
            counter.add(client.send(index, make_body(index)))
        client.close()

    threads = [threading.Thread(target=user, args=(client,), daemon=True) for client in clients]
    started, cpu_started = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive() and not stop.is_set():
            thread.join(0.1)
    if stop.is_set():
        _cut(threads, clients)
    records = tuple(sorted(counter.records, key=lambda record: record.index))
    return Run(
        records=records,
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
        interrupted=stop.is_set(),
        gave_up=counter.gave_up,
        out_of_time=counter.out_of_time,
    )


def _cut(threads: list[threading.Thread], clients: list[Client]) -> None:
    """End the requests under way and wait a little for the users."""
    end = time.perf_counter() + STOP_GRACE_SECONDS
    for client in clients:
        client.abort()
    for thread in threads:
        thread.join(max(0.0, end - time.perf_counter()))
