# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes that can never make a verdict are refused from the inventory alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils import _desired_measuring
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_state import Knowledge, check_desired
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_versions import without_version_refusals

CHECKOUT = Path(__file__).resolve().parents[4]


def check(settings: Any) -> list[str]:
    out = Collector()
    _desired_measuring.check_probes(settings, out)
    return [finding_line(item) for item in out.findings()]


@pytest.mark.parametrize("settings", [None, {}, {"requests": 33}, {"requests": "65", "rounds": 2}, {"users": 1}])
def test_probes_that_make_a_p95_are_taken(settings: Any) -> None:
    assert check(settings) == []


def test_too_few_probes_are_refused_with_the_number_that_suffices() -> None:
    (line,) = check({"requests": 12})
    assert "12 in each of 4 rounds: 48 probes" in line and "Set local_llm_benchmark.requests to 33 or more" in line


@pytest.mark.parametrize("settings", [{"requests": "many"}, {"requests": 0}, {"rounds": 1}])
def test_a_number_that_is_none_or_too_small_is_refused_by_its_name(settings: Any) -> None:
    (line,) = check(settings)
    assert f"local_llm_benchmark.{next(iter(settings))}" in line


def times(**variables: Any) -> list[str]:
    out = Collector()
    _desired_measuring.check_times({f"local_llm_{name}": value for name, value in variables.items()}, out)
    return [finding_line(item) for item in out.findings()]


@pytest.mark.parametrize(
    "variables",
    [
        {}, {"benchmark": {"max_seconds": 400}}, {"benchmark": {"max_seconds": "{{ one }}"}},
        {"commit_timeout_seconds": 0, "lease_seconds": 2000, "benchmark": {"max_seconds": 400}},
        {"lease_seconds": "781"},
    ],
)  # fmt: skip
def test_a_measurement_that_ends_in_time_is_taken(variables: dict[str, Any]) -> None:
    assert times(**variables) == []


def test_a_measurement_that_outlasts_the_lease_is_refused_with_the_time_that_suffices() -> None:
    (line,) = times(lease_seconds=780)
    assert "local_llm_lease_seconds" in line and "found: 780 s" in line
    assert "300 s of draining and 4 rounds of 120 s" in line and "local_llm_lease_seconds to 781 or more" in line


def test_a_measurement_that_outlasts_the_dead_man_is_refused_with_the_time_that_suffices() -> None:
    (line,) = times(commit_timeout_seconds=480, lease_seconds=2000)
    assert "local_llm_commit_timeout_seconds" in line and "found: 480 s" in line
    assert "local_llm_commit_timeout_seconds to 481 or more" in line
    assert times(commit_timeout_seconds=481, lease_seconds=2000) == []


@pytest.mark.parametrize("name", ["drain_timeout_seconds", "lease_seconds", "commit_timeout_seconds"])
def test_a_time_that_is_no_number_is_refused_by_its_name(name: str) -> None:
    (line,) = times(**{name: "soon"})
    assert f"local_llm_{name}" in line and "soon" in line


def test_times_do_not_keep_anybody_from_going_back() -> None:
    out = Collector()
    _desired_measuring.check_times({"local_llm_lease_seconds": 60}, out)
    assert [item["status"] for item in without_version_refusals(out.findings())] == ["warn"]


def test_the_fleet_is_checked_for_its_times() -> None:
    knowledge = Knowledge({}, (), lambda tiers: [], ())
    assert set(_desired_measuring.TIMES) | {"local_llm_lease_seconds"} <= set(knowledge.desired_variables())
    found = check_desired({"gpu1": {"local_llm_lease_seconds": 60}}, {}, knowledge, None)  # type: ignore[arg-type]
    assert any(item["check"] == "measuring_time" and "gpu1" in item["subject"] for item in found)


def test_the_times_are_those_of_the_role() -> None:
    defaults = yaml.safe_load((CHECKOUT / "roles/_release/defaults/main.yml").read_text(encoding="utf-8"))
    assert defaults["_release_benchmark_defaults"]["max_seconds"] == _desired_measuring.DEFAULT_MAX_SECONDS
    for name, seconds in _desired_measuring.TIMES.items():
        assert f"default({seconds})" in defaults[name.replace("local_llm_", "_release_")], name
    assert "+ 60)" in defaults["_release_lease_seconds"]


def test_the_numbers_are_those_of_the_role() -> None:
    defaults = yaml.safe_load((CHECKOUT / "roles/_release/defaults/main.yml").read_text(encoding="utf-8"))
    mine = (_desired_measuring.DEFAULT_REQUESTS, _desired_measuring.DEFAULT_ROUNDS)
    assert mine == tuple(defaults["_release_benchmark_defaults"][key] for key in ("requests", "rounds"))
