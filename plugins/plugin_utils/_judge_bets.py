# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Bets that an assumption is wrong: tests that may be looked at as often as one likes. Standard library only.

Each function starts with a stake of 1 and bets on what comes next against one assumption. While the assumption holds,
the money is not expected to grow, however one plays (it is a non-negative supermartingale, an "e-process"). So the
chance that it EVER reaches 20 is at most 1/20 = 5 % (Ville's inequality): looking again and again does not add up.

The money is the average of several players with fixed stakes each, because the right stake is not known before.
What a pair shows: +1 the new release is bad where the old one was good, -1 the other way round, 0 both the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

# Stakes against "not worse", as parts of the largest one that cannot lose everything.
_STAKES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
# Players against "at least this share is worse": (the share that each expects, as a part of that share; its stake).
_EXPECTED = ((0.0, 0.25), (0.1, 0.15), (0.2, 0.15), (0.35, 0.15), (0.5, 0.15), (0.7, 0.15))


def harm_money(differences: Iterable[int], margin: float, enough: float, weight: float = 1.0) -> float:
    """Return the money won against "the new release is at most `margin` worse", betting on one pair after the other.

    The play ends when `enough` is reached, and then gives exactly that. weight: what one pair counts, see
    _judge_groups.py; each player's gain is taken to this power.
    """
    return _harm_money(tuple(differences), margin, enough, weight)


# Every look plays the rounds before it again.
@lru_cache(maxsize=256)
def _harm_money(differences: tuple[int, ...], margin: float, enough: float, weight: float) -> float:
    players = [_factors(part / (1 + margin), margin, weight) for part in _STAKES]
    logs = [0.0] * len(players)
    same = 0

    def settled() -> list[float]:
        return [log + same * factors[1] for log, factors in zip(logs, players, strict=True)]

    for difference in differences:
        if difference == 0:
            same += 1
            continue
        # With a margin below 0 the money grows while nothing differs: so it is at its top before a loss.
        if same and margin < 0 and _average(settled()) >= math.log(enough):
            return enough
        logs = [log + factors[0 if difference > 0 else 2] for log, factors in zip(settled(), players, strict=True)]
        same = 0
        if difference > 0 and _average(logs) >= math.log(enough):
            return enough
    return math.exp(min(math.log(enough), _average(settled())))


def _factors(stake: float, margin: float, weight: float) -> tuple[float, float, float]:
    """Return the logarithms of what the money is multiplied by after +1, 0 and -1."""
    return (
        weight * math.log1p(stake * (1 - margin)),
        weight * math.log1p(-stake * margin),
        weight * math.log1p(-stake * (1 + margin)),
    )


def _average(logs: Sequence[float]) -> float:
    """Return the logarithm of the average of what these are logarithms of."""
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs) / len(logs))


def acceptance_money(pairs: float, worse: float, share: float) -> float:
    """Return the money won against "at least `share` of the pairs get worse", after so many pairs.

    Pairs of which each counts less than one are given as what they count together.
    """
    logs = []
    for part, weight in _EXPECTED:
        expected = part * share
        if worse and not expected:
            continue
        log = (pairs - worse) * (math.log1p(-expected) - math.log1p(-share))
        logs.append(math.log(weight) + log + (worse * math.log(expected / share) if worse else 0.0))
    top = max(logs)
    return math.exp(min(700.0, top + math.log(sum(math.exp(log - top) for log in logs))))


def no_rise_money(differences: Iterable[int], share: float, enough: float, weight: float = 1.0) -> float:
    """Return the money won against "bad requests rise by at least `share`", betting on one pair after the other.

    It gains from pairs that got better, too. The play ends when `enough` is reached, and then gives exactly that.
    """
    return harm_money((-difference for difference in differences), -share, enough, weight)


def turning_point(holds: Callable[[float], bool], no: float, yes: float) -> float:
    """Return where `holds` turns to true on the way from `no` to `yes`: to 4 digits, on the side where it holds."""
    while abs(yes - no) > 0.0001:
        middle = (no + yes) / 2
        if holds(middle):
            yes = middle
        else:
            no = middle
    return yes
