# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Carries a load plan out: who sends when, until when, and the raw records of it. Judges nothing."""

from __future__ import annotations

import math
import resource
import threading
import time
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._arrivals import arrivals, plan_problem
from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import (
    MEASURED,
    Place,
    Workload,
    place_in_open_loop,
    workload_problem,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client import Client
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_exchange import Patience
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import Limits, Run, lateness_of
from ansible_collections.local_llm.ops.plugins.module_utils._bench._run_loop import Bodies, Loop, OnProgress
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint

# After a failure a user of a closed loop waits this long, so that a dead server is not asked
# thousands of times a second.
ERROR_PAUSE_SECONDS = 0.05
SPARE_FILES = 100


def run_load(
    plan: dict[str, Any],
    workload: Workload,
    endpoint: Endpoint,
    limits: Limits,
    stop: threading.Event,
    on_progress: OnProgress | None = None,
    phase: str = MEASURED,
) -> Run:
    """Run the plan until its end, a limit or `stop`. Raises ValueError for a plan or work that cannot be run, never
    for what the server does.

    on_progress is called about once a second with issued, done, failed, in_flight, elapsed_seconds and stage; it holds
    up the streams while it runs. `phase` is measured or warmup: they share no prompt but a shared prefix.
    """
    problem = plan_problem(plan) or workload_problem(workload)
    if problem:
        raise ValueError(problem)
    users = [one["users"] for one in plan["stages"]] if plan["mode"] == "closed" else [limits.max_in_flight]
    _allow_files(max(users))
    patience = Patience(limits.request_timeout_seconds, limits.silence_seconds)
    client = Client(endpoint, workload.url_path, patience, ndjson=workload.is_ollama)
    try:
        bodies = Bodies(workload, phase, _expected_requests(plan, limits))
        cpu_began, clock_offset = time.process_time(), time.time()
        loop = Loop(plan, workload, client, bodies, limits, stop, on_progress)
        if plan["mode"] == "closed":
            _ClosedLoop(loop).run()
        else:
            _run_open(loop)
        seconds, cpu_seconds = loop.now(), time.process_time() - cpu_began
    finally:
        client.close()
    records = loop.result()
    return Run(
        records=records,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        lateness_seconds=lateness_of(records),
        interrupted=loop.interrupted,
        gave_up=loop.gave_up,
        out_of_time=loop.out_of_time,
        started_at=datetime.fromtimestamp(clock_offset, timezone.utc).isoformat(timespec="seconds"),
        clock_offset=clock_offset,
        stage_starts=tuple(loop.stage_starts),
    )


def _allow_files(wanted: int) -> None:
    """Raise this process's own limit of open files, as far as it may. One connection is one file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        enough = min(enough, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def _expected_requests(plan: dict[str, Any], limits: Limits) -> int:
    """Return how many requests the plan may issue at most, as far as it says."""
    total = 0.0
    for one in plan["stages"]:
        if one.get("requests") is not None:
            total += one["requests"]
        elif plan["mode"] == "open":
            total += 1.2 * one["rate_per_second"] * min(one.get("seconds") or math.inf, limits.max_seconds)
        else:
            total += 100 * one["users"]
    return int(total)


class _ClosedLoop:
    """Users that send their next request when the last one has ended. Users come and go with the stages; one that is
    to go ends its request first."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._stages: list[dict[str, Any]] = loop.plan["stages"]
        self._number = -1
        self._users = 0
        self._more: float = 0  # requests that the stage may still issue
        self._ends_at = 0.0
        self._idle = set(range(max(one["users"] for one in self._stages)))
        self._pauses: dict[int, float] = {}  # user -> when it may send again after a failure
        self._talks: dict[int, tuple[int, int]] = {}  # user -> conversation and turn that come next
        self._talks_begun = 0

    def run(self) -> None:
        loop = self._loop
        sending = look = True
        while True:
            if loop.stopped():
                loop.cut()
                return
            if sending and self._next_stage():
                look = True
            sending = sending and self._number < len(self._stages) and loop.may_issue()
            now = loop.now()
            if self._pauses:
                look = self._wake(now) or look
            if sending and look:
                self._send_idle()
                look = False
                if self._more <= 0:
                    continue
            if not sending and not loop.in_flight:
                return
            wake = math.inf
            if sending:
                wake = min([self._ends_at, loop.limits.max_seconds, *self._pauses.values()])
            for record in loop.wait(wake):
                look = True
                if record.user is None:
                    continue
                if record.error is None:
                    self._idle.add(record.user)
                else:
                    self._pauses[record.user] = loop.now() + ERROR_PAUSE_SECONDS

    def _next_stage(self) -> bool:
        """Go to the stage of this moment; tell whether it is another one."""
        before = self._number
        while self._number < len(self._stages) and (self._more <= 0 or self._loop.now() >= self._ends_at):
            at = self._loop.now() if self._more <= 0 else self._ends_at
            self._number += 1
            if self._number == len(self._stages):
                break
            one = self._stages[self._number]
            self._loop.enter_stage(self._number, at)
            self._users = one["users"]
            self._ends_at = math.inf if one.get("seconds") is None else at + one["seconds"]
            self._more = math.inf if one.get("requests") is None else one["requests"]
        return self._number != before

    def _wake(self, now: float) -> bool:
        over = [user for user, until in self._pauses.items() if until <= now]
        for user in over:
            del self._pauses[user]
            self._idle.add(user)
        return bool(over)

    def _send_idle(self) -> None:
        for user in sorted(self._idle):
            if user >= self._users or self._more <= 0:
                return
            self._idle.discard(user)
            self._more -= 1
            self._loop.send(self._place(user), user, None, self._number)

    def _place(self, user: int) -> Place:
        index = self._loop.issued
        if self._loop.workload.shape != "multi_turn":
            return Place(index)
        conversation, turn = self._talks.pop(user, (self._talks_begun, 0))
        self._talks_begun = max(self._talks_begun, conversation + 1)
        if turn + 1 < self._loop.workload.turns:
            self._talks[user] = (conversation, turn + 1)
        return Place(index, conversation, turn)


def _run_open(loop: Loop) -> None:
    """Requests at their own times, whether or not earlier ones have been answered."""
    schedule = arrivals(loop.plan)
    due = next(schedule, None)
    while True:
        if loop.stopped():
            loop.cut()
            return
        if due is not None and not loop.may_issue():
            due = None
        while due is not None and due[0] <= loop.now():
            scheduled, stage = due
            loop.enter_stage(stage, scheduled)
            if loop.in_flight >= loop.limits.max_in_flight:
                loop.refuse(scheduled, stage)
            else:
                loop.send(place_in_open_loop(loop.workload, loop.issued), None, scheduled, stage)
            due = next(schedule, None)
            if not loop.may_issue():
                due = None
        if due is None and not loop.in_flight:
            return
        loop.wait(math.inf if due is None else min(due[0], loop.limits.max_seconds))
