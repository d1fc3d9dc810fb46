# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How many requests in a row say as much as one: slow requests come in groups, and a group is one event.

The bets count pairs as if one said nothing about the next. Where slow requests come in groups of g, n of them say no
more than n / g would, so each pair is counted as 1 / g of a pair. g is the factor by which the number of late requests
varies more than it would by chance (the "integrated autocorrelation time" of being late).

Late are here the slowest 5 of 100 of a release itself (of `bad_share_increase_max`). Would the release make just that
many requests bad, they were these very ones: so where it matters, the groups of the bad ones are what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._evidence import is_number
from ansible_collections.local_llm.ops.plugins.module_utils._verdict import Tolerances
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_pairs import (
    COLUMNS,
    Limits,
    Round,
    pair_round,
    rows_of,
)

# Requests further apart than this are taken to say nothing about each other.
_LAGS = 40
# Where 95 of 100 requests take less than this part of what they may, no disturbance that was seen comes near the limit.
# Then only groups of those that do come near count against a pass.
NEAR = 0.6


def lateness(report: Mapping[str, Any], limits: Limits) -> list[float]:
    """Return for each request, in their order, the time that it took as a part of its limit: above 1 it is bad."""
    found = []
    for _index, row in sorted(rows_of(report).items()):
        if row[1] is not None:
            found.append(math.inf)
            continue
        parts = [row[COLUMNS[measure][0]] / limit for measure, limit in limits.seconds.items() if _has(row, measure)]
        found.append(max(parts, default=0.0))
    return found


def _has(row: Sequence[Any], measure: str) -> bool:
    return is_number(row[COLUMNS[measure][0]])


def weights(before: float, new: Sequence[Sequence[float]], share: float) -> tuple[float, float]:
    """Return what one pair counts: (as a proof of harm, as a proof that there is none); 1 where nothing hangs together.

    before: the group size on the old release. new: the lateness of the requests of each round of the new one. share:
    the slowest of these are looked at.
    """
    together = max(before, group_size(new, share))
    values = sorted(value for values in new for value in values)
    close = bool(values) and values[-_count(share, len(values))] >= NEAR
    return 1 / together, 1 / (together if close else group_size(new, share, NEAR))


def group_size(rounds: Sequence[Sequence[float]], share: float, least: float = 0.0) -> float:
    """Return how many requests in a row count as one, 1 or more, by the groups in which the slowest ones come.

    least: only requests as late as this are looked at, though they be fewer than `share` of all.
    """
    values = sorted(value for one in rounds for value in one)
    if not values:
        return 1.0
    limit = max(least, values[-_count(share, len(values))])
    places = [[place for place, value in enumerate(one) if value >= limit] for one in rounds]
    part = sum(map(len, places)) / len(values)
    if part in (0.0, 1.0):
        return 1.0
    lags = min(_LAGS, max(map(len, rounds)) // 3)
    both = [0] * (lags + 1)
    for found in places:
        for number, place in enumerate(found):
            for other in found[number + 1 :]:
                if other - place > lags:
                    break
                both[other - place] += 1
    total, last = 0.0, math.inf
    for lag in range(0, lags, 2):
        # Correlations are added in twos, as long as two together are positive, and never rising (Geyer 1992).
        two = sum(_correlation(both, step, rounds, part) for step in (lag, lag + 1))
        if two <= 0:
            break
        last = min(last, two)
        total += last
    return max(1.0, 2 * total - 1)


def _correlation(both: Sequence[int], lag: int, rounds: Sequence[Sequence[float]], part: float) -> float:
    if lag == 0:
        return 1.0
    chances = sum(max(0, len(one) - lag) for one in rounds)
    return (both[lag] / chances - part * part) / (part * (1 - part)) if chances else 0.0


def _count(share: float, total: int) -> int:
    return min(total, max(1, round(share * total)))


def weighted_rounds(
    found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    calm: Sequence[Mapping[str, Any]],
    limits: Limits,
    tolerances: Tolerances,
) -> list[Round]:
    """Return the rounds of pairs, each with what a pair counts by all that was known when it had been measured."""
    share = tolerances.bad_share_increase_max
    size = group_size([lateness(report, limits) for report in calm], share)
    new = [lateness(after, limits) for _before, after in found]
    return [
        replace(pair_round(before, after, limits), weights=weights(size, new[:number], share))
        for number, (before, after) in enumerate(found, start=1)
    ]
