# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Does something grow? A straight line through points by least squares, with the interval of its slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import CONFIDENCE, student_quantile

# A line through fewer points has an interval too wide to mean anything.
MIN_POINTS = 6


@dataclass(frozen=True)
class Line:
    """value = at_zero + slope * place; low and high enclose the slope with the confidence."""

    slope: float
    at_zero: float
    low: float
    high: float
    points: int

    @property
    def grows(self) -> bool:
        """Tell whether the whole interval lies above 0."""
        return self.low > 0


def fit_line(
    places: Sequence[float], values: Sequence[float], confidence: float = CONFIDENCE, min_points: int = MIN_POINTS
) -> Line | None:
    """Return the line, or None with too few points or all at one place."""
    count = len(places)
    if count < max(3, min_points) or count != len(values):
        return None
    middle, level = math.fsum(places) / count, math.fsum(values) / count
    spread = math.fsum((place - middle) ** 2 for place in places)
    if spread <= 0:
        return None
    slope = math.fsum((place - middle) * (value - level) for place, value in zip(places, values)) / spread
    at_zero = level - slope * middle
    rest = math.fsum((value - at_zero - slope * place) ** 2 for place, value in zip(places, values))
    doubt = student_quantile(0.5 + confidence / 2, count - 2) * math.sqrt(rest / (count - 2) / spread)
    return Line(slope, at_zero, slope - doubt, slope + doubt, count)
