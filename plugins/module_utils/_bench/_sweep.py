# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A sweep: the same load at several strengths, and where the curve bends. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import stage

# Two lines through fewer points fit anything.
MIN_KNEE_POINTS = 5


def sweep_plan(
    users: Sequence[int] = (),
    rates: Sequence[float] = (),
    requests: int | None = None,
    seconds: float | None = None,
    arrivals: str = "poisson",
    seed: int = 1,
) -> dict[str, Any]:
    """Return the load plan that goes through some numbers of users, or some rates, from the smallest up."""
    if users:
        stages = [stage(users=value, requests=requests, seconds=seconds) for value in sorted(users)]
        return {"mode": "closed", "stages": stages, "seed": seed}
    stages = [
        stage(rate_per_second=value, requests=requests, seconds=seconds, arrivals=arrivals) for value in sorted(rates)
    ]
    return {"mode": "open", "stages": stages, "seed": seed}


def curve(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return where throughput stops to follow the load, found over the stages of a report; None when it cannot be told.

    Two straight lines, load against tokens per second, are fitted through the points left and right of every point in
    turn; the pair with the least error wins, when its second line is much flatter than its first.
    """
    points = []
    for entry in stages:
        load = entry["users"] or entry["rate_per_second"]
        rate = (entry.get("steady_state") or entry)["output_tokens_per_second"]
        if load and rate:
            points.append((float(load), float(rate)))
    points.sort()
    places = sorted({load for load, _rate in points})
    if len(places) < MIN_KNEE_POINTS or len(places) != len(points):
        return None
    return knee(points)


def knee(points: Sequence[tuple[float, float]]) -> dict[str, Any] | None:
    """Return the knee of a rising curve of at least MIN_KNEE_POINTS points, or None when it has none."""
    if len(points) < MIN_KNEE_POINTS:
        return None
    best: tuple[float, int, tuple[float, float], tuple[float, float]] | None = None
    for place in range(1, len(points) - 2):
        left, left_error = _line(points[: place + 1])
        right, right_error = _line(points[place + 1 :])
        total = left_error + right_error
        if best is None or total < best[0]:
            best = (total, place, left, right)
    if best is None:
        return None
    _error, place, left, right = best
    if left[0] <= 0 or right[0] > 0.5 * left[0]:
        return None
    crossing = (right[1] - left[1]) / (left[0] - right[0]) if left[0] != right[0] else points[place][0]
    low, high = points[place][0], points[place + 1][0]
    return {
        "load": round(min(max(crossing, low), high), 3),
        "between": [low, high],
        "output_tokens_per_second": round(left[0] * min(max(crossing, low), high) + left[1], 3),
        "points": len(points),
        "slope_before": round(left[0], 4),
        "slope_after": round(right[0], 4),
    }


def _line(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], float]:
    """Return ((slope, value at 0), sum of squared errors) of the best straight line."""
    count = len(points)
    middle = math.fsum(x for x, _y in points) / count
    level = math.fsum(y for _x, y in points) / count
    spread = math.fsum((x - middle) ** 2 for x, _y in points)
    slope = math.fsum((x - middle) * (y - level) for x, y in points) / spread if spread else 0.0
    at_zero = level - slope * middle
    return (slope, at_zero), math.fsum((y - at_zero - slope * x) ** 2 for x, y in points)
