# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity: replicas, months, the table of decisions, queues, and how many hosts a rollout may take."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity import (
    CapacityError,
    Demand,
    Supply,
    capacity_plan,
    decide,
    goodput_of_reports,
    largest_batch,
    replicas_for,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_growth import growth_of, months_until
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_queue import wait_probability, waiting
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.capacities import a_capacity_benchmark


def plan(demand: dict[str, Any] | None = None, **supply: Any) -> dict[str, Any]:
    asked = Demand(**{"peak_requests_per_second": 50, **(demand or {})})
    return capacity_plan(asked, Supply(**{"goodput_requests_per_second": 8, **supply}))


def test_fifty_requests_at_eight_per_replica_need_seven_and_two_to_three_more() -> None:
    found = plan()
    assert found["replicas"] == {
        "now": None, "for_peak": 7, "with_headroom": 9, "spare": 1, "needed": 10, "missing": None,
    }  # fmt: skip
    assert [choice["needed"] for choice in found["choices"]] == [9, 10, 10], "seven plus two, plus three, plus three"


@pytest.mark.parametrize(
    ("rate", "goodput", "headroom", "count"),
    [
        (50, 8, 0, 7),
        (56, 8, 0, 7),
        (56.1, 8, 0, 8),
        (50, 50 / 6, 0, 6),
        (50, 8, 25, 9),
        (0.1, 8, 0, 1),
        (60, 8, 25, 10),
    ],
)
def test_replicas_are_rounded_up_and_never_by_floating_point(
    rate: float, goodput: float, headroom: float, count: int
) -> None:
    assert replicas_for(rate, goodput, headroom) == count


@pytest.mark.parametrize(
    ("demand", "replicas"),
    [
        ({"failures": 2}, 11),
        ({"rollout_batch": 3}, 12),
        ({"failures": 0, "rollout_batch": 0}, 9),
        ({"growth_percent_per_month": 10, "lead_months": 6}, 16),
        ({"headroom_percent": 0}, 8),
    ],
)
def test_spare_growth_and_headroom_add_up(demand: dict[str, Any], replicas: int) -> None:
    assert plan(demand)["replicas"]["needed"] == replicas


@pytest.mark.parametrize(
    ("replicas", "rate", "goodput", "batch"),
    [(10, 50, 8, 3), (7, 50, 8, 0), (6, 50, 8, 0), (3, 10, 8, 1), (1, 1, 8, 0), (4, 24, 8, 1), (10, 0, 8, 10)],
)
def test_the_others_must_answer_while_a_batch_is_away(replicas: int, rate: float, goodput: float, batch: int) -> None:
    assert largest_batch(replicas, rate, goodput) == batch


def test_the_plan_says_how_many_may_be_away_now_and_when_one_has_failed_too() -> None:
    assert plan(replicas=10)["rollout"] == {
        "replicas_needed_now": 7, "largest_batch": 3, "largest_batch_with_failures": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("used", "queue", "over", "level"),
    [
        (49.9, 4, False, "monitor"),
        (50, 0, False, "plan"),
        (69.9, 0, None, "plan"),
        (70, 0, None, "execute"),
        (80, 0, None, "execute"),
        (80.1, 0, None, "emergency"),
        (10, 5, None, "plan"),
        (10, 14, None, "plan"),
        (10, 15, None, "emergency"),
        (10, 0, True, "emergency"),
        (75, 5, None, "execute"),
        (None, None, True, "emergency"),
    ],
)
def test_the_worst_of_utilisation_queue_and_latency_decides(
    used: float | None, queue: float | None, over: bool | None, level: str
) -> None:
    found = decide(used, queue, over)
    assert found["level"] == level and found["reasons"] and found["advice"]


def test_nothing_to_decide_by_is_said() -> None:
    assert decide(None)["level"] is None


# Growth.


def test_months_follow_from_growth() -> None:
    assert months_until(80, 50, 5) == pytest.approx(math.log(1.6) / math.log(1.05), abs=0.1)
    assert months_until(50, 50, 5) == 0 and months_until(80, 50, 0) is None and months_until(80, 50, -1) is None
    found = {part["level"]: part for part in plan({"growth_percent_per_month": 5}, replicas=12)["thresholds"]}
    assert found["plan"]["months"] == 0 and found["execute"]["months"] == 6.1 and found["emergency"]["months"] == 8.8
    assert found["execute"]["months_earliest"] is None, "a single figure has no interval"


def test_weekly_peaks_tell_the_growth_and_how_sure_it_is() -> None:
    steady = [50 * 1.05 ** (week / 4.348) for week in range(12)]
    assert growth_of(99, steady).percent_per_month == pytest.approx(5, abs=0.01)
    uneven = [peak * (1.1 if week % 2 else 0.9) for week, peak in enumerate(steady)]
    found = growth_of(0, uneven)
    assert found.low_percent is not None and found.high_percent is not None
    assert found.low_percent < 5 < found.high_percent and found.weeks == 12
    ends = plan({"weekly_peaks": tuple(uneven)}, replicas=12)["thresholds"][1]
    assert ends["months_earliest"] < ends["months"] and ends["months_latest"] is None, "the low end never gets there"


@pytest.mark.parametrize(
    ("peaks", "word"),
    [((50.0,), "One weekly peak"), ((50.0, 51.0, 52.0), "without an interval"), ((50.0,) * 6, "none at all")],
)
def test_weeks_that_tell_little_are_called_so(peaks: tuple[float, ...], word: str) -> None:
    assert word in growth_of(3, peaks).note
    assert any(word in note for note in plan({"weekly_peaks": peaks})["notes"])


# Queues. The figures are those of Erlang's formula for 64 slots and 8 seconds.


@pytest.mark.parametrize(
    ("rate", "chance", "late"), [(6, 0.0178, 0.0), (7, 0.2151, 1.5), (7.5, 0.5069, 4.6), (7.8, 0.776, 13.7)]
)
def test_the_wait_grows_as_the_slots_fill(rate: float, chance: float, late: float) -> None:
    found = waiting(64, rate, 8)
    assert found["wait_probability"] == pytest.approx(chance, abs=0.0001)
    assert found["wait_p95_seconds"] == pytest.approx(late, abs=0.05)


def test_erlang_c_with_one_slot_is_the_utilisation_and_overload_always_waits() -> None:
    assert wait_probability(1, 0.7) == pytest.approx(0.7)
    assert wait_probability(4, 4) == 1.0 and waiting(4, 1, 5)["wait_p95_seconds"] is None


@pytest.mark.parametrize(("slots", "fits"), [(64, True), (40, False), (None, None)])
def test_requests_in_flight_must_fit_into_the_slots(slots: int | None, fits: bool | None) -> None:
    found = plan(replicas=10, mean_seconds=8, max_concurrency=slots)
    assert found["concurrency"]["per_replica"] == 40 and found["concurrency"]["fits"] is fits
    assert (found["waiting"] or {"bound": "lower"})["bound"] == "lower"


# Reports.


def test_the_smallest_goodput_of_the_reports_counts() -> None:
    reports = {"gpu1-chat": a_capacity_benchmark(8.5), "gpu2-chat": a_capacity_benchmark(8.0)}
    assert goodput_of_reports(reports) == (8.0, "benchmark gpu2-chat, the smallest of 2")


def test_a_search_that_met_no_limit_is_told_as_a_lower_bound() -> None:
    search = {"rate_per_second": 64.0, "ended": "limited_by_max_rate"}
    _rate, source = goodput_of_reports({"a": {**a_capacity_benchmark(8), "search": search}})
    assert source == "benchmark a, at least: the search ended at its max_rate"


@pytest.mark.parametrize(
    ("reports", "word"),
    [
        ({}, "no benchmark report"),
        ({"a": {"kind": "quality"}}, "benchmark a: it is no benchmark report"),
        ({"a": a_capacity_benchmark(None)}, "measured no goodput"),
        ({"a": a_capacity_benchmark(0.0)}, "measured no goodput"),
        ({"a": {**a_capacity_benchmark(8), "search": None}}, "only one load; search for the highest rate"),
        (
            {"a": {**a_capacity_benchmark(8), "search": {"rate_per_second": 8.0, "ended": "stopped"}}},
            "ended before its rate of 8/s was confirmed .stopped.; raise max_seconds",
        ),
        ({"a": {**a_capacity_benchmark(8), "valid": False, "invalid_reasons": ["client too slow"]}}, "client too slow"),
    ],
)
def test_a_report_that_proves_nothing_is_refused(reports: dict[str, Any], word: str) -> None:
    with pytest.raises(CapacityError, match=word):
        goodput_of_reports(reports)


@pytest.mark.parametrize(
    ("demand", "supply", "word"),
    [
        ({}, {"goodput_requests_per_second": 0}, "goodput_requests_per_second: 0 cannot be"),
        ({"peak_requests_per_second": -1}, {}, "peak_requests_per_second"),
        ({"headroom_percent": 100}, {}, "headroom_percent"),
        ({"weekly_peaks": (50.0, 0.0)}, {}, "weekly_peaks"),
        ({"peak_requests_per_second": True}, {}, "peak_requests_per_second"),
        ({}, {"replicas": 0}, "replicas"),
        ({"weekly_peaks": (1.0, 60.0), "lead_months": 60}, {}, "weekly_peaks: .* which no lead_months = 60"),
    ],
)
def test_impossible_figures_are_refused(demand: dict[str, Any], supply: dict[str, Any], word: str) -> None:
    with pytest.raises(CapacityError, match=word):
        plan(demand, **supply)
