# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What closed and open loops share: the clock, the client, bodies, the records, and when to end. Judges nothing."""

from __future__ import annotations

import dataclasses
import select
import threading
import time
from typing import Any, Callable, NamedTuple

from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import (
    Place,
    Workload,
    request_body,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client import Client
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_exchange import Exchange
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import (
    CLIENT_LIMIT,
    Limits,
    RequestRecord,
)

# A stop from outside is seen within this many seconds.
STOP_CHECK_SECONDS = 0.1
PROGRESS_SECONDS = 1.0
# select() takes no file with a higher number.
SELECT_FILES = 1024
# Bodies made before the clock starts, so that making long prompts holds up no stream.
PREPARED_BYTES = 16 * 1024 * 1024
PREPARED_REQUESTS = 20_000
# Gaps between tokens are most of what a long run would keep: an hour of 30 users has millions of them.
MAX_GAPS = 1_000_000

OnProgress = Callable[[dict[str, Any]], None]


class _Ticket(NamedTuple):
    """Which request an exchange is."""

    number: int
    stage: int
    user: int | None
    scheduled: float | None
    turn: int


class Bodies:
    """Bodies by their place. For work without conversations the first ones are made beforehand."""

    def __init__(self, workload: Workload, phase: str, requests: int) -> None:
        self._workload = workload
        self._phase = phase
        self._made: dict[int, bytes] = {}
        size = 0
        if workload.shape == "multi_turn":
            return
        for index in range(min(requests, PREPARED_REQUESTS)):
            body = request_body(workload, phase, Place(index))
            size += len(body)
            if size > PREPARED_BYTES:
                break
            self._made[index] = body

    def take(self, place: Place) -> bytes:
        return self._made.pop(place.index, None) or request_body(self._workload, self._phase, place)


class KeptGaps:
    """Gaps between tokens, of every request at first. When they become too many, those of every other one are let go,
    again and again: what is kept comes from the whole of the run, evenly."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._every = 1
        self._count = 0
        self._by_number: dict[int, tuple[float, ...]] = {}

    def add(self, number: int, gaps: list[float]) -> None:
        if not gaps or number % self._every:
            return
        self._by_number[number] = tuple(gaps)
        self._count += len(gaps)
        while self._count > self._most and len(self._by_number) > 1:
            self._every *= 2
            self._by_number = {key: own for key, own in self._by_number.items() if not key % self._every}
            self._count = sum(map(len, self._by_number.values()))

    def of(self, number: int) -> tuple[float, ...]:
        return self._by_number.get(number, ())


class Loop:
    """One run under way."""

    def __init__(
        self,
        plan: dict[str, Any],
        workload: Workload,
        client: Client,
        bodies: Bodies,
        limits: Limits,
        stop: threading.Event,
        on_progress: OnProgress | None,
    ) -> None:
        self.plan, self.workload, self.limits = plan, workload, limits
        self._client, self._bodies = client, bodies
        self._stop, self._on_progress = stop, on_progress
        self.records: list[RequestRecord] = []  # without their gaps, which result() puts in
        self._gaps = KeptGaps(MAX_GAPS)
        self.issued = 0
        self.failed = 0
        self.stage = -1
        self.stage_starts: list[float] = []
        self.gave_up = self.out_of_time = self.interrupted = False
        self.begin = time.perf_counter()
        self._told_at = 0.0

    def now(self) -> float:
        return time.perf_counter() - self.begin

    @property
    def in_flight(self) -> int:
        return self._client.in_flight

    def enter_stage(self, stage: int, at: float) -> None:
        while self.stage < stage:
            self.stage += 1
            self.stage_starts.append(at)

    def send(self, place: Place, user: int | None, scheduled: float | None, stage: int) -> None:
        self.issued += 1
        self._client.send(_Ticket(place.index, stage, user, scheduled, place.turn), self._bodies.take(place))

    def refuse(self, scheduled: float, stage: int) -> None:
        """Account for a request that would have been one too many under way."""
        record = RequestRecord(self.issued, stage, None, scheduled, scheduled, scheduled, CLIENT_LIMIT)
        self.issued += 1
        self.failed += 1
        self.records.append(record)

    def stopped(self) -> bool:
        """Tell whether the run was stopped from outside."""
        self.interrupted = self.interrupted or self._stop.is_set()
        return self.interrupted

    def may_issue(self) -> bool:
        """Tell whether another request may be sent: time left, hope left."""
        if self.now() >= self.limits.max_seconds:
            self.out_of_time = True
        patience = self.limits.give_up_after
        if patience and self.failed >= patience and self.failed == len(self.records):
            self.gave_up = True
        return not (self.out_of_time or self.gave_up)

    def wait(self, until: float) -> list[RequestRecord]:
        """Wait for answers, at most until the given time, and return the records of those that have ended."""
        timeout = min(max(0.0, until - self.now()), STOP_CHECK_SECONDS)
        number = self._client.fileno()
        if number is not None and number < SELECT_FILES and 0 < timeout < 0.002:
            # A selector waits in whole milliseconds; select() on it is exact.
            select.select([number], [], [], timeout)
            timeout = 0.0
        ended = [self._record(exchange) for exchange in self._client.poll(timeout)]
        self._tell()
        return ended

    def cut(self) -> None:
        for exchange in self._client.abort():
            self._record(exchange)

    def _record(self, exchange: Exchange) -> RequestRecord:
        ticket: _Ticket = exchange.ticket
        progress, started = exchange.progress, exchange.started
        counted = "events" if progress.token_events else "none"
        record = RequestRecord(
            index=ticket.number,
            stage=ticket.stage,
            user=ticket.user,
            scheduled=ticket.scheduled,
            started=started - self.begin,
            ended=(exchange.ended or started) - self.begin,
            error=exchange.error,
            retry_after_seconds=exchange.retry_after_seconds,
            ttft_seconds=None if progress.first_at is None else progress.first_at - started,
            e2el_seconds=None if progress.last_at is None else progress.last_at - started,
            coalesced_gaps=progress.coalesced,
            token_events=progress.token_events,
            prompt_tokens=progress.prompt_tokens,
            output_tokens=progress.output_tokens,
            token_source=counted if progress.output_tokens is None else "usage",
            cached_tokens=progress.cached_tokens,
            load_seconds=progress.load_seconds,
            turn=ticket.turn,
        )
        self._gaps.add(record.index, progress.gaps)
        self.records.append(record)
        self.failed += record.error is not None
        return record

    def result(self) -> tuple[RequestRecord, ...]:
        """Return the records in the order of their numbers, with the gaps that were kept."""
        ordered = sorted(self.records, key=lambda record: record.index)
        for place, record in enumerate(ordered):
            gaps = self._gaps.of(record.index)
            if gaps:
                ordered[place] = dataclasses.replace(record, gaps_seconds=gaps)
        return tuple(ordered)

    def _tell(self) -> None:
        now = self.now()
        if self._on_progress is None or now - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = now
        self._on_progress(
            {
                "issued": self.issued,
                "done": len(self.records),
                "failed": self.failed,
                "in_flight": self.in_flight,
                "elapsed_seconds": now,
                "stage": max(self.stage, 0),
            }
        )
