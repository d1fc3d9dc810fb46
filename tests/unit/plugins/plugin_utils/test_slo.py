# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SLO tiers: the promised figures, and what a malformed tier is told."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import (
    TIER_KEYS,
    SloError,
    builtin_tiers,
    get_tier,
    merge_tiers,
    tier_problems,
)

# In the order of TIER_KEYS: availability, TTFT p50 and p95, latency p50 and p95, tokens/s, requests/min, queue,
# errors, timeouts.
PROMISED = {
    "standard": (99.5, 0.5, 2, 5, 15, 50, 10, 20, 2, 5),
    "enhanced": (99.9, 0.3, 1, 3, 10, 100, 30, 10, 1, 2),
    "premium": (99.95, 0.2, 0.5, 2, 5, 200, 100, 5, 0.5, 1),
}


@pytest.mark.parametrize("name", PROMISED)
def test_the_tiers_are_those_that_were_promised(name: str) -> None:
    tier = get_tier(name)
    assert tuple(tier[key] for key in TIER_KEYS) == PROMISED[name]
    assert set(builtin_tiers()) == set(PROMISED)


def test_users_add_tiers_and_leave_out_what_they_do_not_hold() -> None:
    tier = get_tier("lab", {"lab": {"ttft_p50_max_seconds": 1}})
    assert tier["ttft_p50_max_seconds"] == 1 and tier["latency_p50_max_seconds"] is None and set(tier) == set(TIER_KEYS)


def test_a_tier_may_extend_or_override_one_of_the_collection() -> None:
    assert get_tier("lab", {"lab": {"extends": "premium", "queue_depth_max": 50}})["ttft_p50_max_seconds"] == 0.2
    tiers = merge_tiers({"standard": {"queue_depth_max": 50}})
    assert tiers["standard"]["queue_depth_max"] == 50 and tiers["standard"]["ttft_p50_max_seconds"] == 0.5
    assert builtin_tiers()["standard"]["queue_depth_max"] == 20


@pytest.mark.parametrize(
    ("additions", "parts"),
    [
        ([], ["local_llm_slo_tiers:", "dictionary"]),
        ({"lab": None}, ["local_llm_slo_tiers.lab:", "None"]),
        ({"lab": {"ttft_p50_seconds": 1}}, ["local_llm_slo_tiers.lab.ttft_p50_seconds:", "1", "ttft_p50_max_seconds"]),
        ({"lab": {"colour": "red"}}, ["local_llm_slo_tiers.lab.colour:", "'red'", "use one of"]),
        ({"lab": {"ttft_p50_max_seconds": "500ms"}}, ["lab.ttft_p50_max_seconds:", "'500ms'", "give seconds"]),
        ({"lab": {"ttft_p50_max_seconds": True}}, ["True", "give seconds"]),
        ({"lab": {"ttft_p50_max_seconds": float("inf")}}, ["inf", "give seconds"]),
        ({"lab": {"error_rate_max_percent": 200}}, ["200", "outside 0 to 100", "give percent"]),
        ({"lab": {"ttft_p50_max_seconds": -1}}, ["-1", "outside"]),
        ({"lab": {"ttft_p50_max_seconds": 3, "ttft_p95_max_seconds": 2}}, ["3", "above ttft_p95_max_seconds 2"]),
        ({"lab": {"extends": "gold"}}, ["lab.extends:", "'gold'", "standard, enhanced, premium"]),
        (
            {"standard": {"ttft_p50_max_seconds": 3}},
            ["standard.ttft_p50_max_seconds:", "above ttft_p95_max_seconds 2.0"],
        ),
    ],
)
def test_a_malformed_tier_is_refused_with_key_value_and_fix(additions: Any, parts: list[str]) -> None:
    problems = tier_problems(additions)
    assert len(problems) == 1
    assert [part for part in parts if part not in problems[0]] == []
    with pytest.raises(SloError):
        merge_tiers(additions)


def test_every_problem_is_told_at_once() -> None:
    assert len(tier_problems({"a": {"x": 1, "y": 2}, "b": 3})) == 3


def test_an_unknown_tier_names_the_known_ones_and_a_guess() -> None:
    with pytest.raises(SloError, match=r"slo_tier: 'premum' is not known.*did you mean premium"):
        get_tier("premum")
