# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Growth of the peak rate, from weekly peaks with an interval, and the months until a rate is reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WEEKS_PER_MONTH = 365.25 / 7 / 12
# Weekly peaks that an interval needs; with fewer it would say nothing.
LEAST_WEEKS = 4
CONFIDENCE_PERCENT = 95
# Student's t for 95 % on two sides, by degrees of freedom from 1; beyond the table the normal one.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_T_LARGE = 1.96


@dataclass(frozen=True)
class Growth:
    """Growth per month; low and high are the ends of its interval, None when there is none."""

    percent_per_month: float
    low_percent: float | None = None
    high_percent: float | None = None
    weeks: int = 0
    note: str = ""


def growth_of(percent_per_month: float, weekly_peaks: Sequence[float] = ()) -> Growth:
    """Return the growth that was given, or that of the weekly peaks (oldest first), which go before it."""
    weeks = len(weekly_peaks)
    if weeks < 2:
        return Growth(percent_per_month, note="One weekly peak tells no growth." if weeks else "")
    logs = [math.log(peak) for peak in weekly_peaks]
    middle_x, middle_y = (weeks - 1) / 2, sum(logs) / weeks
    spread = sum((x - middle_x) ** 2 for x in range(weeks))
    slope = sum((x - middle_x) * (y - middle_y) for x, y in enumerate(logs)) / spread
    if weeks < LEAST_WEEKS:
        note = f"Growth of {weeks} weeks only, without an interval; {LEAST_WEEKS} or more tell how sure it is."
        return Growth(_percent(slope), weeks=weeks, note=note)
    residual = sum((y - middle_y - slope * (x - middle_x)) ** 2 for x, y in enumerate(logs))
    half = _t(weeks - 2) * math.sqrt(residual / (weeks - 2) / spread)
    low, high = _percent(slope - half), _percent(slope + half)
    note = "The interval of the growth includes none at all." if low <= 0 <= high else ""
    return Growth(_percent(slope), low, high, weeks, note)


def months_until(reached: float, rate: float, percent_per_month: float | None) -> float | None:
    """Return the months until a rate has grown to another: 0 when it is there, None for never by this growth."""
    if rate >= reached:
        return 0.0
    if percent_per_month is None or percent_per_month <= 0:
        return None
    return round(math.log(reached / rate) / math.log(1 + percent_per_month / 100), 1)


def _percent(slope_per_week: float) -> float:
    return round(100 * (math.exp(slope_per_week * WEEKS_PER_MONTH) - 1), 2)


def _t(degrees: int) -> float:
    return _T[degrees - 1] if degrees <= len(_T) else _T_LARGE
