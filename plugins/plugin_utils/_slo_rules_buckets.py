# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Thresholds and the buckets of histograms: a histogram counts at its bounds and nowhere between them.

Controller only.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import EngineMetrics


def common_bounds(buckets: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Return the bounds that all of these histograms have."""
    sets = [set(bounds) for bounds in buckets]
    return tuple(sorted(set.intersection(*sets))) if sets else ()


def neighbours(bounds: Sequence[float], limit: float) -> tuple[float | None, float | None]:
    """Return the nearest bounds below and above a limit; both are the limit when it is a bound itself."""
    place = bisect.bisect_left(bounds, limit)
    if place < len(bounds) and bounds[place] == limit:
        return limit, limit
    return (bounds[place - 1] if place else None), (bounds[place] if place < len(bounds) else None)


def le_text(bound: float) -> str:
    """Return a bound as the label le has it: Python's client library writes 1.0."""
    return repr(float(bound))


def bucket_problem(where: str, key: str, limit: float, metric: str, bounds: Sequence[float], custom: str) -> str | None:
    """Return what is wrong with a limit that is no bound, None when it is one."""
    below, above = neighbours(bounds, limit)
    if below == limit:
        return None
    near = " and ".join(f"{bound:g}" for bound in (below, above) if bound is not None)
    place = f"between its buckets {near}" if below and above else f"outside its buckets, the nearest is {near}"
    fix = f"set it to {' or '.join(f'{bound:g}' for bound in (below, above) if bound is not None)}"
    more = f", or give the engine a bucket at {limit:g} with {custom} in config.extra_arguments" if custom else ""
    return f"{where}: {key} is {limit:g}, and {metric} cannot count there: it is {place}; {fix}{more}"


def own_buckets(metrics: EngineMetrics, arguments: Sequence[Any]) -> dict[str, tuple[float, ...]]:
    """Return the buckets by histogram that an instance sets for itself on its command line."""
    custom = metrics.custom_buckets
    if not custom:
        return {}
    words = [str(word) for word in arguments]
    value = None
    for place, word in enumerate(words):
        name, equals, rest = word.partition("=")
        if name == custom["argument"]:
            value = rest if equals else next(iter(words[place + 1 :]), None)
    try:
        families = json.loads(value) if value else {}
        return {
            metric: tuple(sorted(float(bound) for bound in families[family]))
            for metric, family in custom["families"].items()
            if family in families
        }
    except (ValueError, TypeError):
        # The engine refuses it at its start, and says why.
        return {}
