# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How large a change is: ratios of medians with intervals that assume no shape of the distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_pairs import COLUMNS, rows_of


def median_interval(values: Sequence[float], alpha: float) -> tuple[float, float, float] | None:
    """Return (low, median, high) with certainty 1 - alpha, from the order of the values; None with too few of them.

    How many of n values lie below the median has the binomial distribution, whatever the values are.
    """
    ordered = sorted(values)
    count = len(ordered)
    probability, below = 0.5**count if count < 1000 else 0.0, 0.0
    rank = 0
    if count >= 1000:
        rank = int(count / 2 - _NORMAL * math.sqrt(count) / 2)
    else:
        while below + probability <= alpha / 2:
            below += probability
            probability *= (count - rank) / (rank + 1)
            rank += 1
    if rank < 1:
        return None
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return ordered[rank - 1], middle, ordered[count - rank]


# For 97.5 % on each side of two medians, and a little more.
_NORMAL = 2.3


def median_ratio(old: Sequence[float], new: Sequence[float], alpha: float) -> dict[str, Any] | None:
    """Return {"estimate", "lower", "upper"} of the ratio of the medians: each median has half of alpha."""
    before, after = median_interval(old, alpha / 2), median_interval(new, alpha / 2)
    if before is None or after is None or before[0] <= 0:
        return None
    return {
        "estimate": round(after[1] / before[1], 4),
        "lower": round(after[0] / before[2], 4),
        "upper": round(after[2] / before[0], 4),
    }


def ratios(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], alpha: float
) -> dict[str, dict[str, Any] | None]:
    """Return the ratio of the medians, new to old, of each measure; null without values enough."""
    found = {}
    for measure, (column, _floor, _key) in COLUMNS.items():
        sides = [
            [row[column] for report in reports for row in rows_of(report).values() if row[1] is None and row[column]]
            for reports in (old, new)
        ]
        found[measure] = median_ratio(sides[0], sides[1], alpha)
    return found
