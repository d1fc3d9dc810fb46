# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/canary_judge.md promises, by playing many rollouts with fixed seeds."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._verdict import Tolerances
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_bets import acceptance_money, harm_money
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_decide import decide, more_pairs, rise_bounds
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_groups import group_size, weights
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_pairs import Round
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_power import (
    SMALLEST_FOUND,
    chances,
    latency_chances,
    smallest_found,
    smallest_increase,
)

REQUESTS, ROUNDS = 150, 4
# Highest count out of n that a true share of 5 % gives in all but 1 of 1000 cases: so the tests do not flicker, and a
# rule that keeps its promise only just does not fail them.
MOST = {120: 14, 200: 20, 300: 27, 400: 34}


def outcomes(seed: int, pairs: int, old_bad: float, new_bad: float) -> list[int]:
    generator = random.Random(seed)
    return [int(generator.random() < new_bad) - int(generator.random() < old_bad) for _unused in range(pairs)]


@pytest.mark.parametrize(("old_bad", "new_bad"), [(0.0, 0.01), (0.05, 0.06), (0.3, 0.31)])
def test_peeking_after_every_pair_alarms_falsely_in_at_most_5_of_100(old_bad: float, new_bad: float) -> None:
    # harm_money stops at the first pair after which there is enough: that is looking after every single one.
    alarms = sum(harm_money(outcomes(seed, 600, old_bad, new_bad), 0.01, 20.0) >= 20 for seed in range(400))
    assert alarms <= MOST[400]


def test_peeking_after_every_pair_accepts_what_is_too_bad_in_at_most_5_of_100() -> None:
    accepted = 0
    for seed in range(400):
        worse, looks = 0, []
        for number, outcome in enumerate(outcomes(seed, 600, 0.0, 0.05), start=1):
            if outcome or number == 600:
                looks.append((number - 1, worse))  # the money is at its top just before a loss
            worse += outcome
        accepted += any(acceptance_money(pairs, count, 0.05) >= 20 for pairs, count in looks if pairs)
    assert accepted <= MOST[400]


@pytest.mark.parametrize("old_bad", [0.0, 0.01, 0.05, 0.2])
def test_a_release_that_is_no_worse_is_hardly_ever_taken_back(old_bad: float) -> None:
    found = chances(0.01, REQUESTS, ROUNDS, old_bad=old_bad, rollouts=300)
    assert found["fail"] * 300 <= MOST[300]


@pytest.mark.parametrize("old_bad", [0.0, 0.01, 0.05])
def test_a_release_that_is_too_bad_is_hardly_ever_promoted(old_bad: float) -> None:
    found = chances(0.05, REQUESTS, ROUNDS, old_bad=old_bad, rollouts=300)
    assert found["pass"] * 300 <= MOST[300]


def test_the_same_release_again_passes() -> None:
    found = chances(0.0, REQUESTS, ROUNDS, rollouts=300)
    assert found["pass"] >= 0.98
    assert found["rounds"] < 2


def test_5_to_15_percent_of_bad_requests_are_taken_back_and_never_promoted() -> None:
    found = chances(0.10, REQUESTS, ROUNDS, old_bad=0.05, rollouts=300)
    assert found["fail"] >= 0.9
    assert found["pass"] == 0


def rollouts_of(count: int, spread: float, memory: float, rise: float, floor: float = 0.0) -> dict[str, float]:
    """Return how many of so many rollouts end with each word, at the sample of the default settings."""
    found = latency_chances(spread, memory, rise, REQUESTS, ROUNDS, floor, count)
    return {word: round(share * count) for word, share in found.items()}


# (spread of the latencies, correlation of one request with the next)
HANGING = [(0.3, 0.0), (0.3, 0.5), (0.3, 0.8), (0.6, 0.8), (0.3, 0.95)]


@pytest.mark.parametrize(("spread", "memory"), HANGING[1:4])
def test_latencies_that_hang_together_do_not_take_a_harmless_release_back(spread: float, memory: float) -> None:
    assert rollouts_of(100, spread, memory, 0.01)["fail"] <= 5


@pytest.mark.parametrize(("spread", "memory"), HANGING)
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_latencies_that_hang_together_do_not_let_a_bad_release_pass(spread: float, memory: float, floor: float) -> None:
    # Where each pair counts in full, 5 of 100 pass at 0.5, 20 at 0.8 and 40 at 0.95.
    assert rollouts_of(100, spread, memory, 0.05, floor)["pass"] <= 5


@pytest.mark.parametrize(
    ("spread", "memory", "passes", "fails"),
    [(0.3, 0.0, 0.98, 0.98), (0.3, 0.5, 0.95, 0.95), (0.3, 0.8, 0.7, 0.9), (0.6, 0.8, 0.45, 0.8)],
)
def test_latencies_that_hang_together_cost_rounds_and_not_all_power(
    spread: float, memory: float, passes: float, fails: float
) -> None:
    assert rollouts_of(60, spread, memory, 0.0)["pass"] >= 60 * passes
    assert rollouts_of(60, spread, memory, 0.15)["fail"] >= 60 * fails


def test_groups_are_measured_and_chance_makes_none() -> None:
    generator = random.Random(1)
    alone = [[generator.random() for _request in range(600)] for _round in range(4)]
    # Eight in a row share their fate.
    grouped = [[value for value in one[:75] for _member in range(8)] for one in alone]
    assert group_size(alone, 0.05) < 1.4
    assert 6 <= group_size(grouped, 0.05) <= 10
    assert group_size([[1.0] * 150], 0.05) == group_size([], 0.05) == group_size([[]], 0.05) == 1.0


def test_a_disturbance_far_below_the_limit_does_not_cost_rounds() -> None:
    # 30 requests in a row are slow, and take a third of what they may.
    disturbed = [[0.3 if place < 30 else 0.1 + 0.001 * (place % 7) for place in range(150)]]
    size = group_size(disturbed, 0.05)
    harm, none = weights(size, disturbed, 0.05)
    assert (harm < 0.3, none) == (True, 1.0)
    harm, none = weights(size, [[3 * value for value in disturbed[0]]], 0.05)
    assert none == harm


def test_pairs_that_count_less_prove_less_and_more_of_them_prove_the_same() -> None:
    assert acceptance_money(300 / 3, 0, 0.05) == pytest.approx(acceptance_money(100, 0, 0.05))
    differences = [1, 0, 0] * 20
    assert harm_money([value for value in differences for _twice in range(2)], 0.01, 1e9, 0.5) == pytest.approx(
        harm_money(differences, 0.01, 1e9)
    )
    clean = Round(tuple((False, False) for _pair in range(150)))
    assert decide([clean], Tolerances(), ROUNDS).word == "pass"
    assert decide([replace(clean, weights=(0.5, 0.5))], Tolerances(), ROUNDS).word == "inconclusive"
    assert decide([replace(clean, weights=(0.5, 0.5))] * 2, Tolerances(), ROUNDS).word == "pass"
    assert more_pairs([replace(clean, weights=(0.5, 0.5))], Tolerances()) == 10


def test_one_good_round_of_several_tries_is_as_sure_as_one_try() -> None:
    # The way back: eight tries of one round each, and bad requests have risen by just what must not pass.
    generator, tolerances = random.Random(1), Tolerances(bad_share_increase_max=0.05)
    wrong = 0
    for _rollout in range(200):
        tries = [
            Round(tuple((False, generator.random() < 0.05) for _pair in range(REQUESTS))) for _try in range(2 * ROUNDS)
        ]
        wrong += any(decide([one], tolerances, 2, attempts=len(tries)).word == "pass" for one in tries)
    # Without counting the tries it were 8 or 9.
    assert wrong <= 3


@pytest.mark.parametrize(("old_bad", "rise"), [(0.02, 0.04), (0.0, 0.03)])
def test_the_bounds_hold_the_true_rise(old_bad: float, rise: float) -> None:
    missed_low = missed_high = 0
    for seed in range(120):
        generator, word = random.Random(seed), "inconclusive"
        rounds: list[Round] = []
        while word == "inconclusive" and len(rounds) < ROUNDS:
            chance = generator.random
            rounds.append(Round(tuple((chance() < old_bad, chance() < old_bad + rise) for _pair in range(REQUESTS))))
            word = decide(rounds, Tolerances(), ROUNDS).word
        low, high = rise_bounds(rounds, ROUNDS, proven=0.01 if word == "fail" else None)
        missed_low += low is not None and low > rise
        missed_high += high < rise
    assert missed_low <= 0.05 * 120
    assert missed_high <= 0.05 * 120


@pytest.mark.parametrize("places", [(range(8), range(9)), (range(0, 150, 19), range(0, 150, 17))])
def test_the_least_rise_does_not_depend_on_when_in_a_round_the_worse_pairs_came(places: tuple[range, range]) -> None:
    rounds = [Round(tuple((False, number in worse) for number in range(REQUESTS))) for worse in places]
    assert sum(one.worse for one in rounds) == 17
    assert decide(rounds, Tolerances(), ROUNDS).word == "fail"
    low, _high = rise_bounds(rounds, ROUNDS, proven=0.01)
    # 3.6 points is what 17 of 300 prove to one who looks once.
    assert low is not None and 0.01 <= low <= 0.036


def test_the_table_of_what_is_found_is_true() -> None:
    assert SMALLEST_FOUND, "run tools/judge_page.py"
    for key in ((150, 4), (300, 4), (150, 2)):
        told = SMALLEST_FOUND[key]
        assert told is not None
        assert chances(told, *key, rollouts=200, seed=7)["fail"] >= 0.83
    assert smallest_found(150, 4, Tolerances()) == SMALLEST_FOUND[150, 4]
    assert smallest_found(170, 5, Tolerances()) == SMALLEST_FOUND[150, 4]
    assert smallest_found(20, 4, Tolerances()) is None
    assert smallest_found(150, 4, Tolerances(bad_share_increase_max=0.2)) is None


def test_a_larger_sample_finds_less() -> None:
    small, large = (smallest_increase("fail", requests, 2, rollouts=40) for requests in (50, 300))
    assert small is not None and large is not None and large < small
