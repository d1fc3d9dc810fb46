# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Can so many bad requests be chance? Exact, and quick for a million requests too. Standard library only."""

from __future__ import annotations

from math import exp, lgamma, log, log1p
from typing import Callable


def chance_of(count: int, issued: int, share: float) -> float:
    """Return how likely `count` or more of `issued` requests are bad when each is with probability `share`.

    1.0 where so many are no more than expected.
    """
    if count <= issued * share:
        return 1.0
    if share <= 0:
        return 0.0
    first = _log_choose(issued, count) + count * log(share) + (issued - count) * log1p(-share)
    odds = share / (1 - share)
    return _add_up(first, count, issued, lambda n: (issued - n) / (n + 1) * odds)


def chance_of_parts(count: int, issued: int, others_count: int, others_issued: int) -> float:
    """Return how likely `count` or more of `issued` requests are bad when these are like the others.

    All bad ones are dealt out to all requests at random (Fisher's exact test, one-sided): it knows how little a few
    requests of the others tell. 1.0 where these do no worse than the others.
    """
    if count * others_issued <= others_count * issued:
        return 1.0
    bad, requests = count + others_count, issued + others_issued
    first = _log_choose(bad, count) + _log_choose(requests - bad, issued - count) - _log_choose(requests, issued)
    rest = requests - bad - issued
    return _add_up(first, count, min(bad, issued), lambda n: (bad - n) * (issued - n) / ((n + 1) * (rest + n + 1)))


def _add_up(first: float, start: int, last: int, ratio: Callable[[int], float]) -> float:
    """Return the sum of terms from the logarithm of the first; each is the one before it times ratio(its number)."""
    term = total = exp(first)
    for number in range(start, last):
        term *= ratio(number)
        total += term
        if term < 1e-16 * total:
            break
    return min(1.0, total)


def _log_choose(total: int, chosen: int) -> float:
    return lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)
