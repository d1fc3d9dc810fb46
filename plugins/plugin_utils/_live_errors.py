# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Did more live requests of a server fail than chance explains? Counts of a watch that is looked at several times.

A server fails with two failed requests or more, when so many would be rare under what is allowed: the error limit of
its tier, and where the other servers of the pool fail too, a share like theirs. "Rare" is spent look by look, half of
what is left each time, so that all looks of a watch together blame a server that keeps its limit in at most FALSE_ALARM
of the watches. A server that leaves its limit and fails more often than the others, only not provably so, does not pass
in the end: a person decides. Controller only.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.local_llm.ops.plugins.module_utils._chance import chance_of, chance_of_parts

FALSE_ALARM = 0.005
# One failed request proves nothing, however few are allowed.
LEAST_BAD = 2
# Fewer requests of the others excuse nobody, and fewer failed ones than LEAST_BAD neither.
LEAST_OTHERS = 50


@dataclass(frozen=True)
class Counts:
    """What became of the live requests of a server, or of several together."""

    requests: int
    bad: int

    @property
    def all(self) -> int:
        """Return the number of requests; a failed connection may be counted as bad and not as a request."""
        return max(self.requests, self.bad)

    @property
    def share(self) -> float:
        """Return the share of bad requests, 0 without any."""
        return self.bad / self.all if self.all else 0.0


@dataclass(frozen=True)
class Judged:
    """What the counts say. word: none, within, few, like_others, few_others or fail.

    few: chance explains them. few_others: chance does not, but the counts of the others might. chance: of so many bad
    requests, if asked.
    """

    word: str
    rule: str
    chance: float | None

    @property
    def status(self) -> str:
        """Return the status of a reason in a verdict, when nothing more is to come."""
        return {"fail": "fail", "few_others": "inconclusive"}.get(self.word, "pass")


def allowed_chance(look: int) -> float:
    """Return how rare the counts must be at a look (1, 2, ...) to be blamed on the server."""
    return FALSE_ALARM / 2**look


def judge_errors(server: Counts, others: Counts, limit_percent: float, rare: float) -> Judged:
    """Return what the counts of a server say beside those of the others in the same time."""
    limit = limit_percent / 100
    told = f"{server.bad} of {server.all} failed, {_percent(limit)} is allowed"
    if not server.bad:
        return Judged("none", told, None)
    if server.share <= limit:
        return Judged("within", told, None)
    compared = others.bad >= LEAST_BAD and others.all >= LEAST_OTHERS
    if compared:
        told += f"; at the others {others.bad} of {others.all} failed"
    chance = chance_of(server.bad, server.all, limit)
    alike = chance_of_parts(server.bad, server.all, others.bad, others.all) if compared else 0.0
    seen = f"; by chance that is seen in {_of_100(max(chance, alike))} of 100 watches"
    if server.bad < LEAST_BAD or chance >= rare:
        return Judged("few", f"{told}: too few to tell it from chance", chance)
    if alike >= rare and server.share > others.share:
        return Judged("few_others", f"{told}{seen}: too few to tell it from the others", alike)
    if alike >= rare:
        return Judged("like_others", f"{told}: no worse than the others", alike)
    return Judged("fail", told + seen, max(chance, alike))


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _of_100(chance: float) -> str:
    return f"{100 * chance:.2g}" if chance >= 1e-6 else "less than 0.0001"
