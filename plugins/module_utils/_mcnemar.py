# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""McNemar's exact test: did the same items get worse, or is the difference within what chance does?

Only items on which old and new differ say anything. When nothing changed, each of them is as likely to have become
worse as better, so the number that became worse follows a binomial distribution with one half.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

# How small the chance must be before it no longer explains what was seen.
ALPHA = 0.05


@dataclass(frozen=True)
class Paired:
    """How the same items went under the old and under the new release."""

    both_pass: int
    worse: int
    better: int
    both_fail: int

    @property
    def pairs(self) -> int:
        return self.both_pass + self.worse + self.better + self.both_fail


def worse_p_value(worse: int, better: int) -> float:
    """Return the chance to see at least this many items get worse when nothing has changed (one-sided, exact)."""
    differing = worse + better
    if differing == 0:
        return 1.0
    return sum(comb(differing, count) for count in range(worse, differing + 1)) / 2**differing


def p_value(worse: int, better: int) -> float:
    """Return McNemar's exact two-sided p-value."""
    return min(1.0, 2 * worse_p_value(max(worse, better), min(worse, better)))


def smallest_provable(alpha: float = ALPHA) -> int:
    """Return how many items must get worse, with none better, before the test can call it a regression."""
    count = 1
    while worse_p_value(count, 0) > alpha:
        count += 1
    return count


def paired_verdict(paired: Paired, alpha: float = ALPHA) -> str:
    """Return regression, improvement, no_proof (chance explains it), or none (nothing was paired)."""
    if paired.pairs == 0:
        return "none"
    if worse_p_value(paired.worse, paired.better) <= alpha:
        return "regression"
    if worse_p_value(paired.better, paired.worse) <= alpha:
        return "improvement"
    return "no_proof"
