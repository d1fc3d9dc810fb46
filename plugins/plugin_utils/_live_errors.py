# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Did more live requests of a server fail than chance explains? Counts of a watch that is looked at several times.

A server fails with two failed requests or more, when so many would be rare under what is allowed: the error limit of
its tier, and where the other servers of the pool fail too, a share like theirs. "Rare" is spent look by look, half of
what is left each time, so that all looks of a watch together blame a server that keeps its limit in at most FALSE_ALARM
of the watches. Controller only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, lgamma, log, log1p

FALSE_ALARM = 0.005
# One failed request proves nothing, however few are allowed.
LEAST_BAD = 2
# Fewer requests of the others excuse nobody.
LEAST_OTHERS = 10


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
    """What the counts say. word: none, within, few, like_others or fail. chance: of so many bad requests, if asked."""

    word: str
    rule: str
    chance: float | None

    @property
    def status(self) -> str:
        """Return the status of a reason in a verdict."""
        return "fail" if self.word == "fail" else "pass"


def allowed_chance(look: int) -> float:
    """Return how rare the counts must be at a look (1, 2, ...) to be blamed on the server."""
    return FALSE_ALARM / 2**look


def judge_errors(server: Counts, others: Counts, limit_percent: float, rare: float) -> Judged:
    """Return what the counts of a server say beside those of the others in the same time."""
    limit = limit_percent / 100
    told = f"{server.bad} of {server.all} failed, {_percent(limit)} may"
    if not server.bad:
        return Judged("none", told, None)
    if server.share <= limit:
        return Judged("within", told, None)
    compared = others.bad > 0 and others.all >= LEAST_OTHERS
    if compared:
        told += f"; at the others {others.bad} of {others.all} failed"
    chance = tail(server.bad, server.all, limit)
    alike = tail_of_parts(server, others) if compared else 0.0
    seen = f"; by chance that is seen in {_of_100(max(chance, alike))} of 100 watches"
    if server.bad < LEAST_BAD or chance >= rare:
        return Judged("few", f"{told}: too few to tell it from chance", chance)
    if alike >= rare:
        return Judged("like_others", f"{told}{seen}: it is not told from the others", alike)
    return Judged("fail", told + seen, max(chance, alike))


def tail(bad: int, requests: int, share: float) -> float:
    """Return the chance of at least so many bad requests where each is bad with this chance.

    1.0 where so many are no more than expected.
    """
    if bad <= requests * share:
        return 1.0
    if share <= 0:
        return 0.0
    first = _log_choose(requests, bad) + bad * log(share) + (requests - bad) * log1p(-share)
    odds = share / (1 - share)
    return _add_up(first, bad, requests, lambda count: (requests - count) / (count + 1) * odds)


def tail_of_parts(server: Counts, others: Counts) -> float:
    """Return the chance of at least so many bad requests at the server, were it like the others.

    All bad ones dealt out to all requests at random (Fisher's exact test, one-sided): it knows how little a few requests
    of the others tell. 1.0 where the server does no worse.
    """
    requests, bad = server.all + others.all, server.bad + others.bad
    if server.share <= others.share:
        return 1.0
    first = (
        _log_choose(bad, server.bad)
        + _log_choose(requests - bad, server.all - server.bad)
        - _log_choose(requests, server.all)
    )
    rest = requests - bad - server.all
    last = min(bad, server.all)
    return _add_up(first, server.bad, last, lambda n: (bad - n) * (server.all - n) / ((n + 1) * (rest + n + 1)))


def _add_up(first: float, start: int, last: int, ratio: Callable[[int], float]) -> float:
    """Return the sum of terms from the logarithm of the first; each is the one before it times ratio(its number)."""
    term = total = exp(first)
    for count in range(start, last):
        term *= ratio(count)
        total += term
        if term < 1e-16 * total:
            break
    return min(1.0, total)


def _log_choose(total: int, chosen: int) -> float:
    return lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _of_100(chance: float) -> str:
    return f"{100 * chance:.2g}" if chance >= 1e-6 else "less than 0.0001"
