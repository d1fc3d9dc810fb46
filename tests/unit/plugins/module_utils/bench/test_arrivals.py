# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When requests are sent, and which plans are refused."""

from __future__ import annotations

import math
import re
from itertools import islice, pairwise
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._arrivals import arrivals, plan_problem
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import closed_plan, open_plan, stage


def test_constant_arrivals_are_evenly_spaced_and_do_not_drift() -> None:
    times = [at for at, _stage in arrivals(open_plan(3.0, requests=3001, arrivals="constant"))]
    assert times[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1]) and times[-1] == 1000.0


def test_poisson_arrivals_have_the_rate_and_the_spread_of_poisson_and_come_again_from_the_same_seed() -> None:
    times = [at for at, _stage in arrivals(open_plan(50.0, requests=20_000, seed=7))]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.02, rel=0.03) and spread / mean == pytest.approx(1.0, abs=0.03)
    assert times == [at for at, _stage in arrivals(open_plan(50.0, requests=20_000, seed=7))]
    assert times != [at for at, _stage in arrivals(open_plan(50.0, requests=20_000, seed=8))]


def test_stages_follow_each_other_and_a_stage_without_load_is_a_pause() -> None:
    plan: dict[str, Any] = {
        "mode": "open",
        "seed": 1,
        "stages": [
            stage(rate_per_second=2.0, seconds=2.0, arrivals="constant"),
            stage(rate_per_second=0.0, seconds=5.0),
            stage(rate_per_second=4.0, requests=3, arrivals="constant"),
            stage(rate_per_second=1.0, requests=1, arrivals="constant"),
        ],
    }
    expected = [(0.0, 0), (0.5, 0), (1.0, 0), (1.5, 0), (7.0, 2), (7.25, 2), (7.5, 2), (7.75, 3)]
    assert list(arrivals(plan)) == expected and plan_problem(plan) is None


def test_a_stage_without_an_end_goes_on() -> None:
    assert len(list(islice(arrivals(open_plan(1000.0)), 5000))) == 5000


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"mode": "half", "stages": []}, "mode: 'half'"),
        ({"mode": "closed", "stages": []}, "stages: there is none"),
        (closed_plan(-1), r"stages\[0\].users: -1"),
        (closed_plan(0), r"stages\[0\].seconds: a stage without load has no end"),
        (closed_plan(4, requests=0), "requests: 0"),
        ({"mode": "closed", "stages": [stage(users=4, requests=1.5)]}, "requests: 1.5"),  # type: ignore[arg-type]
        (closed_plan(4, seconds=-2.0), "seconds: -2.0"),
        (open_plan(-1.0), "rate_per_second: -1.0"),
        (open_plan(math.inf), "rate_per_second: inf"),
        (open_plan(math.nan), "rate_per_second: nan"),
        (open_plan(1.0, arrivals="lumpy"), "arrivals: 'lumpy' is not known; choose one of constant, poisson"),
        ({"mode": "open", "stages": [stage(users=3)]}, "rate_per_second: None"),
    ],
)
def test_an_impossible_plan_is_refused_with_its_reason(plan: dict[str, Any], words: str) -> None:
    problem = plan_problem(plan)
    assert problem is not None
    assert re.search(words, problem)


@pytest.mark.parametrize("plan", [closed_plan(4), closed_plan(4, 10, 2.5), open_plan(0.5, seconds=10)])
def test_a_possible_plan_is_taken(plan: dict[str, Any]) -> None:
    assert plan_problem(plan) is None
