# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""When requests are meant to be sent: the load plan checked, and the schedule of an open loop from its seed.

A plan is plain data: {"mode": "closed"|"open", "seed": int, "stages": [{"seconds", "requests", "users",
"rate_per_second", "arrivals": "constant"|"poisson"}]}. A stage ends at its seconds or its requests, whichever comes
first, and the next begins at once; requests under way go on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

ARRIVALS = ("constant", "poisson")
MODES = ("closed", "open")


def plan_problem(plan: dict[str, Any]) -> str | None:
    """Return why this plan cannot be run, with thing, value and fix, or None."""
    if plan.get("mode") not in MODES:
        return f"mode: {plan.get('mode')!r} is not known; choose one of {', '.join(MODES)}"
    stages = plan.get("stages")
    if not isinstance(stages, list) or not stages:
        return "stages: there is none; give at least one"
    for number, one in enumerate(stages):
        problem = _stage_problem(plan["mode"], one)
        if problem:
            return f"stages[{number}].{problem}"
    return None


def _stage_problem(mode: str, one: dict[str, Any]) -> str | None:
    for name in ("seconds", "requests"):
        value = one.get(name)
        if value is not None and not (_is_number(value) and value > 0):
            return f"{name}: {value!r} is no number above 0; mend it or leave it out"
    requests = one.get("requests")
    if requests is not None and requests != int(requests):
        return f"requests: {requests!r} is no whole number; mend it"
    if mode == "closed":
        users = one.get("users")
        if not isinstance(users, int) or isinstance(users, bool) or users < 0:
            return f"users: {users!r} is no whole number from 0 up; say how many users send at a time"
        idle = users == 0
    else:
        rate = one.get("rate_per_second")
        if rate is None or not (_is_number(rate) and rate >= 0):
            return f"rate_per_second: {rate!r} is no number from 0 up; say how many requests per second to send"
        if one.get("arrivals") not in ARRIVALS:
            return f"arrivals: {one.get('arrivals')!r} is not known; choose one of {', '.join(ARRIVALS)}"
        idle = rate == 0
    if idle and one.get("seconds") is None:
        return "seconds: a stage without load has no end; give its seconds"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def arrivals(plan: dict[str, Any]) -> Iterator[tuple[float, int]]:
    """Yield (seconds since the run's start, stage) of every intended send of an open loop, in order.

    Constant arrivals begin with the stage. Gaps of Poisson arrivals are exponential, the first one before the first
    request. A stage of `requests` without `seconds` ends a gap after its last request.
    """
    begin = 0.0
    for number, one in enumerate(plan["stages"]):
        chooser = random.Random(f"{plan.get('seed', 1)}/arrivals/{number}")
        seconds = math.inf if one.get("seconds") is None else float(one["seconds"])
        requests = math.inf if one.get("requests") is None else one["requests"]
        rate = float(one["rate_per_second"])
        constant = one["arrivals"] == "constant"
        sent = 0
        offset = 0.0 if constant else _gap(chooser, rate)
        while sent < requests and offset < seconds:
            yield begin + offset, number
            sent += 1
            offset = sent / rate if constant else offset + _gap(chooser, rate)
        begin += min(seconds, offset)


def _gap(chooser: random.Random, rate: float) -> float:
    return -math.log(1.0 - chooser.random()) / rate if rate else math.inf
