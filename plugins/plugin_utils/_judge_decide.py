# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The rule of the canary judge: from rounds of pairs to pass, fail or inconclusive. docs/canary_judge.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.local_llm.ops.plugins.module_utils._verdict import Tolerances
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_bets import (
    acceptance_money,
    harm_money,
    no_rise_money,
    turning_point,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_pairs import Round

ALPHA = 0.05
NEEDED = 1 / ALPHA
# A disturbance of the machine hits one round; a bad release hits all. So no round alone can prove that a release is
# worse: what one round may win is capped, and it takes this many to win enough.
ROUNDS_TO_FAIL = 2
# Of the stake against "unacceptable", the part that counts only pairs that got worse; the rest counts pairs that got
# better, too. The first is quick and does not trust a baseline that was disturbed. The second is for a release that
# answered badly before; one round alone cannot prove it.
STRICT_PART = 0.7
_NO_RISE_CAP = math.sqrt(NEEDED / (1 - STRICT_PART))
_ROUNDING = 1 - 1e-9
_PLAY_ON = 1e300


@dataclass(frozen=True)
class Decision:
    """What the pairs prove so far."""

    word: str
    # How many rounds were looked at: looking stops at a proof.
    rounds: int
    money_worse: float
    money_acceptable: float


def round_cap(rounds_max: int) -> float:
    """Return the most that one round may win against "not worse"."""
    return NEEDED ** (1 / min(ROUNDS_TO_FAIL, max(1, rounds_max)))


def money_worse(rounds: Sequence[Round], margin: float, rounds_max: int, at_the_end: bool = False) -> float:
    """Return the money won against "bad requests rise by at most `margin`".

    A round's play ends when it has won enough; at_the_end: it goes on, and what is left after the last pair counts.
    """
    cap = round_cap(rounds_max)
    enough = _PLAY_ON if at_the_end else cap
    return math.prod(min(cap, harm_money(one.differences, margin, enough, rounds[-1].weights[0])) for one in rounds)


def money_acceptable(rounds: Sequence[Round], share: float) -> float:
    """Return the money won against "bad requests rise by `share` or more"."""
    weight = rounds[-1].weights[1] if rounds else 1.0
    pairs, worse = sum(one.size for one in rounds), sum(one.worse for one in rounds)
    rise = math.prod(no_rise_money(one.differences, share, _NO_RISE_CAP, weight) for one in rounds)
    return STRICT_PART * acceptance_money(weight * pairs, weight * worse, share) + (1 - STRICT_PART) * rise


def decide(rounds: Sequence[Round], tolerances: Tolerances, rounds_max: int, attempts: int = 1) -> Decision:
    """Return pass, fail or inconclusive for the rounds so far, as it stood first: looking stops at a proof.

    attempts: in how many plays, each with a new stake, a pass may be won; each must then win so many times more.
    """
    bad = good = 1.0
    for number in range(1, len(rounds) + 1):
        bad = money_worse(rounds[:number], tolerances.bad_share_increase_harmless, rounds_max)
        good = money_acceptable(rounds[:number], tolerances.bad_share_increase_max)
        if bad >= NEEDED * _ROUNDING:
            return Decision("fail", number, bad, good)
        if good >= NEEDED * attempts * _ROUNDING:
            return Decision("pass", number, bad, good)
    return Decision("inconclusive", len(rounds), bad, good)


def rise_bounds(
    rounds: Sequence[Round], rounds_max: int, attempts: int = 1, proven: float | None = None
) -> tuple[float | None, float]:
    """Return (least, most) by which bad requests rise, each with certainty 1 - ALPHA, whenever one looks.

    The most is below the tolerated rise exactly when the verdict may be pass. The least takes every round as it ended:
    worse pairs that came early by luck would make it larger than what all pairs together show. proven: the harmless
    rise, where the verdict is fail; the least is not below it. None: nothing can be said, because no round alone can
    prove a harm.
    """
    looks = range(1, len(rounds) + 1)

    def proves_more_than(margin: float) -> bool:
        return any(money_worse(rounds[:look], margin, rounds_max, True) >= NEEDED * _ROUNDING for look in looks)

    def proves_less_than(share: float) -> bool:
        return any(money_acceptable(rounds[:look], share) >= NEEDED * attempts * _ROUNDING for look in looks)

    # Rounds that differ much can move a bound past what was seen; then what was seen is the weaker claim.
    pairs = sum(one.size for one in rounds)
    seen = sum(one.worse - one.better for one in rounds) / pairs if pairs else 0.0
    least = min(seen, turning_point(proves_more_than, 0.999, -0.9)) if proves_more_than(-0.9) else None
    if proven is not None:
        least = max(least, proven) if least is not None else proven
    most = turning_point(proves_less_than, 0.0, 0.999) if proves_less_than(0.999) else 1.0
    return least, max(seen, most)


def more_pairs(rounds: Sequence[Round], tolerances: Tolerances) -> int | None:
    """Return how many more pairs would let it pass, if worse ones stay as frequent as they are; None if none would."""
    pairs, worse = sum(one.size for one in rounds), sum(one.worse for one in rounds)
    share = tolerances.bad_share_increase_max
    if not pairs or worse / pairs >= 0.9 * share:
        return None
    weight = rounds[-1].weights[1]
    for more in range(10, 20 * pairs + 1000, 10):
        total = pairs + more
        expected = math.ceil(worse * total / pairs)
        if STRICT_PART * acceptance_money(weight * total, weight * expected, share) >= NEEDED:
            return more
    return None
