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


def test_the_numbers_are_those_of_the_role() -> None:
    defaults = yaml.safe_load((CHECKOUT / "roles/_release/defaults/main.yml").read_text(encoding="utf-8"))
    mine = (_desired_measuring.DEFAULT_REQUESTS, _desired_measuring.DEFAULT_ROUNDS)
    assert mine == tuple(defaults["_release_benchmark_defaults"][key] for key in ("requests", "rounds"))
