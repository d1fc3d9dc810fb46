# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of llm_benchmark: what is refused, and the load that comes of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench import _options as options


def params(**given: Any) -> dict[str, Any]:
    """Return options as the module gets them, defaults filled in."""
    filled = {name: spec.get("default") for name, spec in options.ARGUMENTS.items()}
    for name, value in given.items():
        inner = options.ARGUMENTS[name].get("options")
        if inner and value is not None:
            value = {**{key: spec.get("default") for key, spec in inner.items()}, **value}
        filled[name] = value
    return {**filled, "url": "http://h:1", "model": "chat"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"users": 0}, "users: 0 is outside 1 to 500"),
        ({"sweep": {"users": [2]}, "scenario": "peak"}, "sweep and scenario: give only one"),
        ({"sweep": {}}, "sweep: give either users"),
        ({"sweep": {"rates": [0.0]}}, "sweep.rates[0]: 0.0 is outside"),
        ({"sweep": {"rates": [float("nan")]}}, "sweep.rates[0]: nan is outside"),
        ({"sweep": {"rates": [1e9]}}, "sweep.rates[0]: 1000000000.0 is outside 0.001 to 2000"),
        ({"load": {"mode": "open", "stages": []}}, "load.stages: it is empty"),
        ({"load": {"mode": "open", "stages": [{"users": 3, "seconds": 2}]}}, "load.stages[0]: a stage of mode open"),
        ({"load": {"mode": "open", "stages": [{"rate_per_second": 3}]}}, "load.stages[0]: it never ends"),
        (
            {"load": {"mode": "open", "stages": [{"rate_per_second": -3, "seconds": 1}]}},
            "load.stages[0].rate_per_second: -3 is outside",
        ),
        ({"search": {}}, "search: it needs limits"),
        (
            {"search": {"start_rate": 9.0, "max_rate": 3.0}, "slo": {"ttft_seconds": 1.0}},
            "search.start_rate: 9 is above",
        ),
        (
            {"search": {"start_rate": 0.5}, "slo": {"ttft_seconds": 1.0}, "max_seconds": 60.0},
            "max_seconds: 60 is less than the first probe of the search takes (200 s)",
        ),
        ({"cold_start": {"restart": True}}, "cold_start.restart: it needs instance"),
        ({"slo": {"attainment": 1.0, "ttft_seconds": 1.0}}, "slo.attainment: 1.0 is outside"),
    ],
)
def test_impossible_options_are_refused_with_name_and_value(given: dict[str, Any], said: str) -> None:
    with pytest.raises(options.OptionError) as caught:
        options.check_options(params(**given))
    assert said in str(caught.value)


def test_options_become_the_load_that_they_say() -> None:
    assert options.plan_of(params(users=7, requests=9))["stages"][0] == {
        "users": 7, "requests": 9, "seconds": None, "rate_per_second": None, "arrivals": "poisson",
    }  # fmt: skip
    swept = options.plan_of(params(sweep={"users": [1, 2]}))
    assert [stage["requests"] for stage in swept["stages"]] == [150, 150]
    probe = options.plan_of(params(search={}, slo={"ttft_seconds": 1.0, "attainment": 0.99}))
    assert probe["stages"][0]["requests"] == 381


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 120.0),
        ({"max_seconds": 9.0}, 9.0),
        ({"load": {"mode": "open", "stages": [{"rate_per_second": 1, "seconds": 100}]}}, 150.0),
        ({"sweep": {"users": [1, 2, 4]}}, 360.0),
    ],
)
def test_a_load_has_the_time_that_its_stages_need(given: dict[str, Any], seconds: float) -> None:
    asked = params(**given)
    assert options.max_seconds_of(asked, options.plan_of(asked)) == seconds
