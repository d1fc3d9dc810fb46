# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How likely so many bad requests are: exact, and for busy pools too."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._chance import chance_of, chance_of_parts


def exact(bad: int, requests: int, share: Fraction) -> float:
    return float(sum(comb(requests, n) * share**n * (1 - share) ** (requests - n) for n in range(bad, requests + 1)))


@pytest.mark.parametrize(("bad", "requests"), [(1, 1), (2, 10), (3, 10), (4, 10), (9, 60), (60, 60), (30, 400)])
def test_the_binomial_tail_is_exact(bad: int, requests: int) -> None:
    assert chance_of(bad, requests, 0.05) == pytest.approx(exact(bad, requests, Fraction(1, 20)), rel=1e-9)


def test_the_binomial_tail_is_one_where_so_many_are_expected() -> None:
    assert (chance_of(0, 150, 0.02), chance_of(5, 100, 0.05), chance_of(150, 150, 1.0)) == (1.0, 1.0, 1.0)
    assert (chance_of(1, 150, 0.0), chance_of(0, 0, 0.0)) == (0.0, 1.0)


def test_a_million_requests_are_no_trouble() -> None:
    assert chance_of(600_000, 1_000_000, 0.5) == 0
    assert 0.1 < chance_of(50_200, 1_000_000, 0.05) < 0.25


@pytest.mark.parametrize(("these", "others"), [((3, 20), (2, 80)), ((2, 10), (1, 10)), ((20, 20), (1, 2))])
def test_the_chance_of_a_share_like_theirs_is_fishers(these: tuple[int, int], others: tuple[int, int]) -> None:
    (bad, requests), (their_bad, theirs) = these, others
    all_bad, everything = bad + their_bad, requests + theirs
    ways = sum(
        comb(all_bad, n) * comb(everything - all_bad, requests - n) for n in range(bad, min(all_bad, requests) + 1)
    )
    assert chance_of_parts(*these, *others) == pytest.approx(ways / comb(everything, requests), rel=1e-9)


def test_who_does_no_worse_than_the_others_is_like_them() -> None:
    assert chance_of_parts(1, 20, 5, 100) == 1.0
    assert chance_of_parts(0, 0, 5, 100) == 1.0
