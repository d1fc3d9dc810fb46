# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Percentiles, intervals and slopes: given only when they mean something, and right as often as they say."""

from __future__ import annotations

import math
import random

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import (
    intervals_of,
    mean_interval,
    percentile,
    percentile_interval,
    student_quantile,
    summarize,
    wilson,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._slope import fit_line


@pytest.mark.parametrize(("name", "least"), [("p50", 11), ("p90", 64), ("p95", 130), ("p99", 662)])
def test_a_percentile_without_samples_enough_is_null(name: str, least: int) -> None:
    assert summarize([0.1] * (least - 1))[name] is None
    assert summarize([0.1] * least)[name] == 0.1


def test_percentiles_lie_between_the_two_nearest_samples() -> None:
    assert percentile([0.0, 1.0], 0.5) == 0.5
    assert percentile([float(value) for value in range(101)], 0.95) == 95


def test_no_samples_give_no_figures() -> None:
    empty = summarize([])
    assert empty["count"] == 0 and all(value is None for key, value in empty.items() if key != "count")


@pytest.mark.parametrize(("count", "fraction"), [(11, 0.5), (64, 0.9), (200, 0.95), (700, 0.99), (6000, 0.95)])
def test_percentile_intervals_hold_the_truth_as_often_as_they_say(count: int, fraction: float) -> None:
    chooser, truth, held, rounds = random.Random(7), -math.log(1 - fraction), 0, 200 if count < 5000 else 40
    for _round in range(rounds):
        pair = percentile_interval(sorted(chooser.expovariate(1) for _sample in range(count)), fraction)
        assert pair is not None
        held += pair[0] <= truth <= pair[1]
    assert held >= 0.9 * rounds


def test_an_interval_that_samples_cannot_enclose_is_null() -> None:
    assert percentile_interval([float(value) for value in range(64)], 0.99) is None
    assert intervals_of([0.1] * 20)["p95"] is None


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)]
)
def test_students_quantiles_are_those_of_the_tables(freedom: int, value: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(value, abs=0.002)


def test_the_mean_has_an_interval_from_two_samples_on() -> None:
    assert mean_interval([1.0]) is None
    pair = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert pair is not None and pair[0] == pytest.approx(1.037, abs=0.01) and pair[1] == pytest.approx(4.963, abs=0.01)


def test_wilsons_interval_stays_inside_0_and_1() -> None:
    assert wilson(0, 0) is None
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)


def test_a_slope_is_told_with_its_doubt_and_growth_only_when_it_is_certain() -> None:
    places = [float(value) for value in range(20)]
    line = fit_line(places, [3 * place + 1 for place in places])
    assert line is not None and line.slope == pytest.approx(3) and line.grows
    noisy = fit_line(places, [(-1.0) ** place for place in range(20)])
    assert noisy is not None and not noisy.grows and noisy.low < 0 < noisy.high


def test_too_few_points_or_one_place_give_no_line() -> None:
    assert fit_line([0.0, 1.0], [1.0, 2.0]) is None
    assert fit_line([1.0] * 9, [float(value) for value in range(9)]) is None
