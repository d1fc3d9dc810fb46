# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Capacity from measurement: how many replicas, until when they last, and how many may be away at the same time.

Goodput is the highest rate of requests that one replica answers within its SLO, measured. Plain data in and out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem, is_number
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_growth import Growth, growth_of, months_until
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_queue import busy_slots, waiting

SCHEMA = 1
# Utilisation at which to plan, to execute, and where it is an emergency; requirement H1.
LEVELS: tuple[tuple[str, float], ...] = (("plan", 50.0), ("execute", 70.0), ("emergency", 80.0))
QUEUE_PLAN, QUEUE_EMERGENCY = 5, 15
ADVICE = {
    "monitor": "Nothing to do. Look again next month.",
    "plan": "Choose hardware and a date for more replicas.",
    "execute": "Order or free the replicas now; the headroom is being used up.",
    "emergency": "Add replicas at once, or send load away: lower the queue limits, move batch work to another time.",
}
# The SLO of a replica holds up to about this share of its slots; what comes above waits inside the engine.
SLOT_SHARE = 0.8
# The range of headroom that is usual; the plan shows what each costs.
HEADROOMS = (20.0, 25.0, 30.0)
SMALL_FLEET = 5


class CapacityError(ValueError):
    """A figure is missing or impossible; the text names it, its value and the fix."""


@dataclass(frozen=True)
class Demand:
    """What is asked of a pool, and how carefully."""

    peak_requests_per_second: float
    growth_percent_per_month: float = 0.0
    weekly_peaks: tuple[float, ...] = ()
    lead_months: float = 0.0
    headroom_percent: float = 25.0
    failures: int = 1
    rollout_batch: int = 1


@dataclass(frozen=True)
class Supply:
    """What a pool has and what one replica of it does."""

    goodput_requests_per_second: float
    goodput_source: str = "given"
    replicas: int | None = None
    max_concurrency: int | None = None
    mean_seconds: float | None = None
    queue_depth: float | None = None
    latency_p95_seconds: float | None = None
    latency_p95_max_seconds: float | None = None


def replicas_for(rate: float, goodput: float, headroom_percent: float = 0.0) -> int:
    """Return how many replicas answer a rate and keep that share of themselves free."""
    return max(1, _ceil(rate / (goodput * (1 - headroom_percent / 100))))


def largest_batch(replicas: int, rate: float, goodput: float) -> int:
    """Return how many replicas may be away at the same time while the others answer the rate; 0 when none may."""
    return max(0, replicas - _ceil(rate / goodput))


def decide(
    utilisation_percent: float | None, queue_depth: float | None = None, over_slo: bool | None = None
) -> dict[str, Any]:
    """Return the level, monitor to emergency, and why: the worst of utilisation, queue and latency decides."""
    order = ["monitor", *(name for name, _limit in LEVELS)]
    found: list[tuple[str, str]] = []
    if utilisation_percent is not None:
        # Above 80 is an emergency; the other levels begin at their limit.
        level = next(
            (
                name
                for name, limit in reversed(LEVELS)
                if utilisation_percent > limit or (name != "emergency" and utilisation_percent >= limit)
            ),
            "monitor",
        )
        found.append((level, f"utilisation {_figure(utilisation_percent)} %"))
    if queue_depth is not None:
        level = "emergency" if queue_depth >= QUEUE_EMERGENCY else "plan" if queue_depth >= QUEUE_PLAN else "monitor"
        found.append((level, f"queue {_figure(queue_depth)}"))
    if over_slo is not None:
        found.append(("emergency", "latency over the SLO") if over_slo else ("monitor", "latency within the SLO"))
    if not found:
        return {"level": None, "reasons": [], "advice": "Give replicas, queue or latency to decide by."}
    worst = max((level for level, _why in found), key=order.index)
    return {"level": worst, "reasons": [why for level, why in found if level == worst], "advice": ADVICE[worst]}


def goodput_of_reports(reports: Mapping[str, Any]) -> tuple[float, str]:
    """Return (goodput of one replica, where it comes from) of benchmark reports by name: the smallest counts.

    The goodput is the rate that a search found. A run at some load tells only that this load was answered. Raises
    CapacityError when a report is none, is not valid, did not search or found no rate.
    """
    found: dict[str, float] = {}
    bounds: dict[str, str] = {}
    for name, report in reports.items():
        problem = benchmark_problem(report)
        if problem:
            raise CapacityError(f"benchmark {name}: {problem}; measure again with local_llm.ops.benchmark")
        if not report["valid"]:
            why = "; ".join(str(reason) for reason in report["invalid_reasons"])
            raise CapacityError(f"benchmark {name}: it is not valid ({why}); measure again")
        search = report.get("search")
        if not isinstance(search, Mapping):
            raise CapacityError(f"benchmark {name}: it measured no goodput, only one load; {_SEARCH}")
        value: Any = search.get("rate_per_second")
        if not is_number(value) or value <= 0:
            raise CapacityError(f"benchmark {name}: it measured no goodput, no rate kept the SLO; {_SEARCH}")
        ended = search.get("ended")
        if ended not in _SEARCH_ENDED:
            raise CapacityError(
                f"benchmark {name}: the search ended before its rate of {value:g}/s was confirmed ({ended}); raise "
                "max_seconds and search again"
            )
        found[name] = float(value)
        bounds[name] = _SEARCH_ENDED[ended]
    if not found:
        raise CapacityError("goodput: there is no benchmark report; run local_llm.ops.benchmark, or give the figure")
    worst = min(found, key=lambda name: found[name])
    more = f", the smallest of {len(found)}" if len(found) > 1 else ""
    return found[worst], f"benchmark {worst}{more}{bounds[worst]}"


_SEARCH = (
    "search for the highest rate within the SLO (local_llm_benchmark_run: {search: {start_rate: 2}}), or give "
    "goodput_requests_per_second"
)
# How a search may have ended, and what that says of its rate.
_SEARCH_ENDED = {"confirmed": "", "limited_by_max_rate": ", at least: the search ended at its max_rate"}


def capacity_plan(demand: Demand, supply: Supply) -> dict[str, Any]:
    """Return the plan, schema 1. Raises CapacityError for figures that cannot be."""
    _check(demand, supply)
    growth = growth_of(demand.growth_percent_per_month, demand.weekly_peaks)
    goodput, now = supply.goodput_requests_per_second, demand.peak_requests_per_second
    try:
        later = now * (1 + growth.percent_per_month / 100) ** demand.lead_months
    except OverflowError:
        raise CapacityError(
            f"weekly_peaks: {list(demand.weekly_peaks)} grow by {growth.percent_per_month:g} % per month, which no "
            f"lead_months = {demand.lead_months:g} can follow; give the peaks of more weeks"
        ) from None
    spare = max(demand.failures, demand.rollout_batch)

    def needed(headroom: float) -> int:
        return replicas_for(later, goodput, headroom) + spare

    replicas, total = supply.replicas, needed(demand.headroom_percent)
    over_slo = None
    if supply.latency_p95_seconds is not None and supply.latency_p95_max_seconds is not None:
        over_slo = supply.latency_p95_seconds > supply.latency_p95_max_seconds
    used = None if replicas is None else round(100 * now / (goodput * replicas), 1)
    return {
        "schema": SCHEMA,
        "kind": "capacity",
        "inputs": {**asdict(demand), **asdict(supply), "weekly_peaks": list(demand.weekly_peaks)},
        "growth": asdict(growth),
        "replicas": {
            "now": replicas,
            "for_peak": replicas_for(later, goodput),
            "with_headroom": total - spare,
            "spare": spare,
            "needed": total,
            "missing": None if replicas is None else max(0, total - replicas),
        },
        "choices": [{"headroom_percent": share, "needed": needed(share)} for share in HEADROOMS],
        "utilisation_percent": used,
        "thresholds": _thresholds(goodput, replicas, now, growth),
        "decision": decide(used, supply.queue_depth, over_slo),
        "concurrency": _concurrency(supply, now),
        "waiting": _waiting(supply, now),
        "rollout": _rollout(goodput, replicas, now, demand.failures),
        "notes": _notes(demand, supply, total - spare, growth),
    }


def _thresholds(goodput: float, replicas: int | None, rate: float, growth: Growth) -> list[dict[str, Any]]:
    """Return when each level begins, with the interval of the growth; null is never by this growth."""
    if replicas is None:
        return []
    result = []
    for name, limit in LEVELS:
        reached = goodput * replicas * limit / 100
        spread = [months_until(reached, rate, value) for value in (growth.high_percent, growth.low_percent)]
        result.append(
            {
                "level": name,
                "utilisation_percent": limit,
                "months": months_until(reached, rate, growth.percent_per_month),
                "months_earliest": spread[0] if growth.high_percent is not None else None,
                "months_latest": spread[1] if growth.low_percent is not None else None,
            }
        )
    return result


def _concurrency(supply: Supply, rate: float) -> dict[str, Any] | None:
    """Return Little's law: requests in flight on each replica against the slots it has."""
    if supply.mean_seconds is None or supply.replicas is None:
        return None
    per_replica = busy_slots(rate, supply.mean_seconds) / supply.replicas
    limit = None if supply.max_concurrency is None else supply.max_concurrency * SLOT_SHARE
    return {
        "per_replica": round(per_replica, 2),
        "limit": limit,
        "fits": None if limit is None else per_replica <= limit,
    }


def _waiting(supply: Supply, rate: float) -> dict[str, Any] | None:
    """Return Erlang C, which holds the service time for constant: answers slow down as an engine fills up."""
    if supply.mean_seconds is None or supply.replicas is None or supply.max_concurrency is None:
        return None
    found = waiting(supply.replicas * supply.max_concurrency, rate, supply.mean_seconds)
    return {"bound": "lower", **found}


def _rollout(goodput: float, replicas: int | None, rate: float, failures: int) -> dict[str, Any] | None:
    if replicas is None:
        return None
    return {
        "replicas_needed_now": _ceil(rate / goodput),
        "largest_batch": largest_batch(replicas, rate, goodput),
        "largest_batch_with_failures": largest_batch(max(0, replicas - failures), rate, goodput),
    }


def _notes(demand: Demand, supply: Supply, working: int, growth: Growth) -> list[str]:
    notes = []
    if working < SMALL_FLEET:
        notes.append("A small fleet: the spare replicas weigh more than the growth.")
    if growth.note:
        notes.append(growth.note)
    if supply.mean_seconds is not None:
        notes.append("The waiting time is a lower bound: in truth answers slow down as an engine fills up.")
    if demand.peak_requests_per_second > 0 and demand.headroom_percent < HEADROOMS[0]:
        notes.append(f"Below {_figure(HEADROOMS[0])} % headroom a burst fills the queue.")
    return notes


def _check(demand: Demand, supply: Supply) -> None:
    """Refuse a figure outside its limits; what is None was not given."""
    limits: tuple[tuple[str, float, float], ...] = (
        ("peak_requests_per_second", 1e-6, 1e9),
        ("goodput_requests_per_second", 1e-6, 1e9),
        ("headroom_percent", 0, 99),
        ("failures", 0, 1000),
        ("rollout_batch", 0, 1000),
        ("lead_months", 0, 60),
        ("growth_percent_per_month", -50, 200),
        ("replicas", 1, 1e6),
        ("max_concurrency", 1, 1e6),
        ("mean_seconds", 1e-6, 1e6),
        ("queue_depth", 0, 1e9),
        ("latency_p95_seconds", 0, 1e6),
        ("latency_p95_max_seconds", 1e-6, 1e6),
    )
    for name, low, high in limits:
        value = getattr(demand, name, getattr(supply, name, None))
        if value is not None and not (is_number(value) and low <= value <= high):
            raise CapacityError(f"{name}: {value!r} cannot be; use a number from {low:g} to {high:g}")
    if not all(peak > 0 for peak in demand.weekly_peaks):
        raise CapacityError(f"weekly_peaks: {list(demand.weekly_peaks)} cannot be; use rates above 0, the oldest first")


def _ceil(value: float) -> int:
    """Round up, but not for what floating point adds at the end: 50 / 8.333333 is 6."""
    return math.ceil(value - 1e-9)


def _figure(value: float) -> str:
    return f"{value:.4g}"


def numbers(values: Any, name: str) -> tuple[float, ...]:
    """Return a list of numbers as a tuple, or raise CapacityError."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not all(is_number(value) for value in values):
        raise CapacityError(f"{name}: {values!r} is no list of numbers")
    return tuple(float(value) for value in values)
