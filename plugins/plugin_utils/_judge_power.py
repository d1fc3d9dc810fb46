# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the judge finds: how often it says which word for a given true harm, by playing rollouts with a fixed seed."""

from __future__ import annotations

import math
import random
from collections import Counter
from statistics import NormalDist
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._verdict import Tolerances
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_decide import decide
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_groups import weighted_rounds
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_pairs import Round, calm_rounds, limits_of

POWER = 0.9
# The share of bad requests that is assumed on the old release.
USUAL_BAD_SHARE = 0.01
WORDS = ("pass", "inconclusive", "fail")


def play(
    generator: random.Random, requests: int, rounds: int, old_bad: float, new_bad: float, tolerances: Tolerances
) -> tuple[str, int]:
    """Return (word, rounds of the new release that it took) of one rollout in which requests are bad by chance."""
    played: list[Round] = []
    for number in range(1, rounds + 1):
        chance = generator.random
        played.append(Round(tuple((chance() < old_bad, chance() < new_bad) for _unused in range(requests))))
        word = decide(played, tolerances, rounds).word
        if word != "inconclusive":
            return word, number
    return "inconclusive", rounds


def chances(
    increase: float,
    requests: int,
    rounds: int,
    tolerances: Tolerances | None = None,
    old_bad: float = USUAL_BAD_SHARE,
    rollouts: int = 400,
    seed: int = 1,
) -> dict[str, float]:
    """Return how often each word comes, when the share of bad requests rises by `increase`; and the mean "rounds"."""
    generator = random.Random(f"{seed}/{requests}/{rounds}")
    new_bad = min(1.0, old_bad + increase)
    results = [
        play(generator, requests, rounds, old_bad, new_bad, tolerances or Tolerances()) for _unused in range(rollouts)
    ]
    count = Counter(word for word, _rounds in results)
    shares = {word: count[word] / rollouts for word in WORDS}
    return {**shares, "rounds": sum(number for _word, number in results) / rollouts}


# The median of the latencies that are played.
_MEDIAN_SECONDS = 0.03


def latency_chances(
    spread: float,
    memory: float,
    rise: float,
    requests: int,
    rounds: int,
    floor: float = 0.0,
    rollouts: int = 200,
    seed: int = 1,
) -> dict[str, float]:
    """Return how often each word comes for lognormal latencies that hang together; and the mean "rounds".

    spread: standard deviation of the logarithm. memory: correlation of one request with the next. rise: everything
    becomes slower by the factor that makes so many more requests bad. floor: seconds that count as no slowdown.
    """
    generator = random.Random(f"{seed}/{spread}/{memory}/{rise}/{requests}/{rounds}/{floor}")
    tolerances = Tolerances(ttft_floor_seconds=floor)
    factor = _factor(spread, rise, floor)
    count: Counter[str] = Counter()
    taken = 0
    for _rollout in range(rollouts):
        old = [_latencies(generator, spread, memory, 1.0, requests) for _round in range(rounds)]
        limits = limits_of(old, tolerances, {})
        calm, found, word = calm_rounds(old, limits), [], "inconclusive"
        for before in old:
            after = _latencies(generator, spread, memory, factor, requests)
            taken += 1
            if not any(before is one for one in calm):
                continue
            found.append((before, after))
            word = decide(weighted_rounds(found, calm, limits, tolerances), tolerances, rounds).word
            if word != "inconclusive":
                break
        count[word] += 1
    return {**{word: count[word] / rollouts for word in WORDS}, "rounds": taken / rollouts}


def _factor(spread: float, rise: float, floor: float) -> float:
    """Return by what everything must become slower, for so many more requests to be over the limit."""
    if not rise:
        return 1.0
    normal, p95 = NormalDist(), math.exp(spread * NormalDist().inv_cdf(0.95))
    limit = max(Tolerances().ratio_max * p95, p95 + floor / _MEDIAN_SECONDS)
    before = 1 - normal.cdf(math.log(limit) / spread)
    return limit / math.exp(spread * normal.inv_cdf(1 - before - rise))


def _latencies(generator: random.Random, spread: float, memory: float, factor: float, requests: int) -> dict[str, Any]:
    """Return a round whose TTFT remembers the request before."""
    state, rows = generator.gauss(0, 1), []
    for index in range(requests):
        rows.append([index, None, _MEDIAN_SECONDS * factor * math.exp(spread * state), None, None, 16])
        state = memory * state + math.sqrt(1 - memory**2) * generator.gauss(0, 1)
    return {"samples": {"requests": rows}}


def smallest_increase(
    word: str,
    requests: int,
    rounds: int,
    tolerances: Tolerances | None = None,
    old_bad: float = USUAL_BAD_SHARE,
    rollouts: int = 400,
) -> float | None:
    """Return the smallest rise of the share of bad requests, in steps of half a point, that is found with 90 % power.

    word "fail": the rollout is taken back; "pass": it is not promoted (taken back, or halted for a person).
    """

    def power(step: int) -> float:
        found = chances(step / 200, requests, rounds, tolerances, old_bad, rollouts)
        return found["fail"] if word == "fail" else 1 - found["pass"]

    low, high = 0, int(200 * (1 - old_bad))
    if power(high) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(middle) >= POWER:
            high = middle
        else:
            low = middle
    return high / 200


# smallest_increase("fail", requests, rounds) with the default tolerances; tools/judge_page.py makes it anew.
SMALLEST_FOUND: dict[tuple[int, int], float] = {
    (50, 2): 0.18,
    (50, 3): 0.13,
    (50, 4): 0.1,
    (50, 6): 0.07,
    (100, 2): 0.13,
    (100, 3): 0.085,
    (100, 4): 0.07,
    (100, 6): 0.055,
    (150, 2): 0.085,
    (150, 3): 0.07,
    (150, 4): 0.055,
    (150, 6): 0.045,
    (200, 2): 0.08,
    (200, 3): 0.06,
    (200, 4): 0.045,
    (200, 6): 0.045,
    (300, 2): 0.06,
    (300, 3): 0.055,
    (300, 4): 0.045,
    (300, 6): 0.04,
    (500, 2): 0.05,
    (500, 3): 0.045,
    (500, 4): 0.04,
    (500, 6): 0.04,
}


def smallest_found(requests: int, rounds: int, tolerances: Tolerances) -> float | None:
    """Return the smallest rise that is taken back with 90 % power by so many rounds of requests, from the table.

    Of a sample that the table does not have, the next smaller one counts. None: none is that small, or the margins are
    not the default ones.
    """
    defaults = Tolerances()
    mine, usual = ((item.bad_share_increase_max, item.bad_share_increase_harmless) for item in (tolerances, defaults))
    known = [key for key in SMALLEST_FOUND if key[0] <= requests and key[1] <= rounds]
    return SMALLEST_FOUND[max(known)] if known and mine == usual else None
