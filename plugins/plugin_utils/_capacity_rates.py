# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Rates of requests from what measured them: a benchmark report, or the answer of Prometheus to a query."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem, is_number


class RateError(ValueError):
    """There is no rate in it; the text names what was given and the fix."""


def rate_of(given: Any, name: str) -> float:
    """Return a rate in requests per second: a number, the rate of a benchmark report, or the highest of Prometheus."""
    if is_number(given):
        return float(given)
    if isinstance(given, Mapping) and given.get("kind") == "benchmark":
        problem = benchmark_problem(given)
        rate = given.get("requests_per_second")
        if problem or not given["valid"] or not is_number(rate):
            raise RateError(f"{name}: the benchmark report has no rate that counts ({problem or 'it is not valid'})")
        return float(rate or 0)
    if isinstance(given, Mapping) and "data" in given:
        return max(rates_of(given, name))
    raise RateError(f"{name}: {given!r} is no number, no benchmark report and no answer of Prometheus")


def rates_of(answer: Mapping[str, Any], name: str) -> list[float]:
    """Return the rates that Prometheus answered with, the oldest first. It must be one series."""
    if answer.get("status") != "success":
        raise RateError(f"{name}: Prometheus says {answer.get('error') or answer.get('status')!r}; correct the query")
    data = answer.get("data")
    result = data.get("result") if isinstance(data, Mapping) else None
    if not isinstance(result, Sequence) or isinstance(result, str) or len(result) != 1:
        count = len(result) if isinstance(result, Sequence) else 0
        raise RateError(f"{name}: Prometheus answers with {count} series; ask for one, such as sum(...) of one pool")
    series = result[0] if isinstance(result[0], Mapping) else {}
    points = series.get("values") or [series.get("value")]
    rates = []
    for point in points:
        try:
            rate = float(point[1])
        except (TypeError, ValueError, IndexError, KeyError):
            raise RateError(f"{name}: {point!r} is no value of Prometheus; give its whole answer") from None
        if not math.isfinite(rate):
            raise RateError(f"{name}: Prometheus answers {point[1]}: it has no requests in that time; ask for another")
        rates.append(rate)
    return rates
