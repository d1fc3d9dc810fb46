# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Percentiles that are given only when there are samples enough, and how sure they are.

Percentiles have order-statistic intervals (two samples of the list that enclose the true percentile with the
confidence, whatever the distribution), means have Student's, shares have Wilson's. All take
the requests for independent. Requests that share a batch are not quite, so read an interval as the least of the doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

# Smallest number of samples for a percentile: about 6.64 / (1 - p), the early-stopping table of MLPerf at
# confidence 0.99.
MIN_SAMPLES = {"p50": 11, "p90": 64, "p95": 130, "p99": 662}
FRACTIONS = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
CONFIDENCE = 0.95
# Above this many samples the binomial distribution is taken for a normal one.
_EXACT_UP_TO = 5000

Interval = tuple[float, float]


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Return the percentile of ordered, non-empty samples, by linear interpolation between the two nearest."""
    position = fraction * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarize(samples: Sequence[float], digits: int = 6) -> dict[str, Any]:
    """Return p50, p90, p95, p99, mean, min, max and count; a percentile without enough samples is None."""
    ordered = sorted(samples)
    count = len(ordered)
    summary: dict[str, Any] = {
        name: round(percentile(ordered, fraction), digits) if count >= MIN_SAMPLES[name] else None
        for name, fraction in FRACTIONS.items()
    }
    summary["mean"] = round(math.fsum(ordered) / count, digits) if count else None
    summary["min"] = round(ordered[0], digits) if count else None
    summary["max"] = round(ordered[-1], digits) if count else None
    summary["count"] = count
    return summary


def intervals_of(samples: Sequence[float], confidence: float = CONFIDENCE, digits: int = 6) -> dict[str, Any]:
    """Return an interval [low, high] for each percentile that summarize() gives, and for the mean; else None."""
    ordered = sorted(samples)
    found: dict[str, Any] = {}
    for name, fraction in FRACTIONS.items():
        pair = percentile_interval(ordered, fraction, confidence) if len(ordered) >= MIN_SAMPLES[name] else None
        found[name] = [round(value, digits) for value in pair] if pair else None
    mean = mean_interval(ordered, confidence)
    found["mean"] = [round(value, digits) for value in mean] if mean else None
    return found


def percentile_interval(ordered: Sequence[float], fraction: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Return two samples that enclose the true percentile with the confidence; None when there are too few."""
    count = len(ordered)
    low, high = _ranks(count, fraction, (1 - confidence) / 2)
    if low is None or high is None:
        return None
    return ordered[low], ordered[high]


def _ranks(count: int, fraction: float, tail: float) -> tuple[int | None, int | None]:
    """Return the places (from 0) of the two samples. The number of samples below the percentile is binomial."""
    if count > _EXACT_UP_TO:
        middle, width = count * fraction, NormalDist().inv_cdf(1 - tail) * math.sqrt(count * fraction * (1 - fraction))
        low, high = math.floor(middle - width) - 1, math.ceil(middle + width)
        return (low if low >= 0 else None), (high if high < count else None)
    low_rank = high_rank = None
    at_most = 0.0  # P(that many samples or fewer lie below the percentile); then the sample in that place lies above it
    for number in range(count):
        at_most += _binomial(count, number, fraction)
        if at_most <= tail:
            low_rank = number
        if at_most >= 1 - tail:
            high_rank = number
            break
    return low_rank, high_rank


def _binomial(count: int, number: int, fraction: float) -> float:
    log = (
        math.lgamma(count + 1)
        - math.lgamma(number + 1)
        - math.lgamma(count - number + 1)
        + number * math.log(fraction)
        + (count - number) * math.log(1 - fraction)
    )
    return math.exp(log)


def mean_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return Student's interval of the mean; None below two samples."""
    count = len(samples)
    if count < 2:
        return None
    mean = math.fsum(samples) / count
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in samples) / (count - 1))
    width = student_quantile(0.5 + confidence / 2, count - 1) * deviation / math.sqrt(count)
    return mean - width, mean + width


def student_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's distribution; exact for 1 and 2, else a series with an error under 1 in 100."""
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))
    z = NormalDist().inv_cdf(probability)
    n = float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / n ** (power + 1) for power, term in enumerate(terms))


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Return Wilson's interval of a share; None without trials."""
    if trials <= 0:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    scale = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    width = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, middle - width), min(1.0, middle + width)
