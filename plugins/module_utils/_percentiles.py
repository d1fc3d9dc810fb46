# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Percentiles that are given only when there are samples enough to stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Smallest number of samples for a percentile: about 6.64 / (1 - p), the early-stopping table of MLPerf at
# confidence 0.99.
MIN_SAMPLES = {"p50": 11, "p90": 64, "p95": 130, "p99": 662}
_FRACTIONS = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Return the percentile of ordered, non-empty samples, by linear interpolation between the two nearest."""
    position = fraction * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarize(samples: Sequence[float], digits: int = 6) -> dict[str, Any | None]:
    """Return p50, p90, p95, p99, mean, min, max and count; a percentile without enough samples is None."""
    ordered = sorted(samples)
    count = len(ordered)
    summary: dict[str, Any | None] = {
        name: round(percentile(ordered, fraction), digits) if count >= MIN_SAMPLES[name] else None
        for name, fraction in _FRACTIONS.items()
    }
    summary["mean"] = round(sum(ordered) / count, digits) if count else None
    summary["min"] = round(ordered[0], digits) if count else None
    summary["max"] = round(ordered[-1], digits) if count else None
    summary["count"] = count
    return summary
