# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failed live requests: one proves nothing, chance blames nobody, a fault is caught."""

from __future__ import annotations

import random
from math import comb

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._live_errors import (
    FALSE_ALARM,
    Counts,
    allowed_chance,
    judge_errors,
)

LOOKS = 5
QUIET = Counts(0, 0)
FIRST = allowed_chance(1)


@pytest.mark.parametrize(
    ("server", "others", "limit", "word"),
    [
        (Counts(40, 0), QUIET, 1.0, "none"),
        (Counts(400, 4), QUIET, 1.0, "within"),
        # One alone is no proof, not even where none may fail or where it is the only request.
        (Counts(40, 1), QUIET, 0.0, "few"),
        (Counts(1, 1), QUIET, 0.0, "few"),
        (Counts(40, 2), QUIET, 0.0, "fail"),
        (Counts(40, 2), QUIET, 1.0, "few"),
        (Counts(7, 2), QUIET, 1.0, "fail"),
        (Counts(20, 20), QUIET, 2.0, "fail"),
        # The others have it too: not the release.
        (Counts(50, 5), Counts(450, 45), 1.0, "like_others"),
        (Counts(50, 4), Counts(450, 45), 0.0, "like_others"),
        # More than chance explains, worse than the others, and too few to prove it: no pass, a person decides.
        (Counts(50, 7), Counts(450, 45), 1.0, "few_others"),
        (Counts(20, 4), Counts(60, 3), 1.0, "few_others"),
        (Counts(50, 15), Counts(450, 45), 1.0, "fail"),
        # Too few of them, or too few that failed, excuse nobody.
        (Counts(20, 20), Counts(2, 2), 1.0, "fail"),
        (Counts(20, 4), Counts(49, 10), 1.0, "fail"),
        (Counts(100, 2), Counts(50, 1), 0.0, "fail"),
        (Counts(7, 2), Counts(9, 0), 1.0, "fail"),
        # Connections that failed before they were requests.
        (Counts(0, 3), QUIET, 1.0, "fail"),
    ],
)
def test_what_counts_say(server: Counts, others: Counts, limit: float, word: str) -> None:
    judged = judge_errors(server, others, limit, FIRST)
    assert judged.word == word, judged
    assert judged.status == {"fail": "fail", "few_others": "inconclusive"}.get(word, "pass")
    assert f"{server.bad} of {server.all} failed" in judged.rule


def test_the_looks_together_spend_no_more_than_the_bound() -> None:
    assert sum(allowed_chance(look) for look in range(1, 200)) <= FALSE_ALARM
    assert allowed_chance(1) == FALSE_ALARM / 2


def blamed(per_look: int, share: float, limit_percent: float) -> float:
    """Return the exact chance that any of the looks blames a server whose requests are bad with this chance."""
    ways, blame = {0: 1.0}, 0.0
    for look in range(1, LOOKS + 1):
        after: dict[int, float] = {}
        for bad, chance in ways.items():
            for more in range(per_look + 1):
                step = comb(per_look, more) * share**more * (1 - share) ** (per_look - more)
                after[bad + more] = after.get(bad + more, 0.0) + chance * step
        ways = {}
        for bad, chance in after.items():
            counts = Counts(per_look * look, bad)
            if judge_errors(counts, QUIET, limit_percent, allowed_chance(look)).word == "fail":
                blame += chance
            else:
                ways[bad] = chance
    return blame


@pytest.mark.parametrize("per_look", [2, 10, 60])
@pytest.mark.parametrize("limit_percent", [0.5, 1.0, 2.0, 5.0])
def test_who_keeps_the_limit_is_blamed_in_at_most_five_of_1000_watches_however_often_one_looks(
    per_look: int, limit_percent: float
) -> None:
    assert blamed(per_look, limit_percent / 100, limit_percent) <= FALSE_ALARM


def watch(source: random.Random, share: float, others_share: float, requests: int, limit_percent: float) -> bool:
    """Return whether a watch of five looks blames the server. The others get nine times as many requests."""
    bad = others_bad = 0
    for look in range(1, LOOKS + 1):
        bad += sum(source.random() < share for _request in range(requests))
        # Enough for a normal approximation, and quicker.
        theirs = 9 * requests
        spread = (theirs * others_share * (1 - others_share)) ** 0.5
        others_bad += max(0, round(source.gauss(theirs * others_share, spread)))
        server, others = Counts(requests * look, bad), Counts(theirs * look, others_bad)
        if judge_errors(server, others, limit_percent, allowed_chance(look)).word == "fail":
            return True
    return False


def test_a_server_as_bad_as_the_others_is_hardly_ever_blamed_and_one_that_is_worse_is_caught() -> None:
    source = random.Random(20260105)
    tries = 2000
    alike = sum(watch(source, 0.05, 0.05, 40, 1.0) for _watch in range(tries))
    # 5 of 1000 are 10 of these; more than 20 would be seen by chance in fewer than 2 of 1000 such tests.
    assert alike <= 20
    worse = sum(watch(source, 0.15, 0.05, 40, 1.0) for _watch in range(300))
    assert worse >= 0.8 * 300
