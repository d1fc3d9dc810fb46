# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which suite an instance is asked: that of its pool before that of its model before that of all."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.filter.quality_settings import quality_settings

DEFAULTS = {"suite": ["default"], "suite_file": "", "compare": "auto", "min_pass_share": 1.0}


@pytest.mark.parametrize(
    ("settings", "suite", "file"),
    [
        (None, ["default"], ""),
        ({"suite": ["own"]}, ["own"], ""),
        ({"suite_file": "all.yml"}, None, "all.yml"),
        ({"suite_file": "all.yml", "models": {"m": {"suite": ["m"]}}}, ["m"], ""),
        ({"suite": ["own"], "pools": {"p": {"suite_file": "p.yml"}}}, None, "p.yml"),
        ({"models": {"m": {"suite": ["m"]}}, "pools": {"p": {"suite": ["p"]}}}, ["p"], ""),
        ({"models": {"other": {"suite": ["m"]}}, "pools": {"other": {"suite": ["p"]}}}, ["default"], ""),
        ({"models": {"m": None}, "pools": None}, ["default"], ""),
    ],
)
def test_the_closest_suite_is_asked(settings: Any, suite: list[str] | None, file: str) -> None:
    found = quality_settings(DEFAULTS, settings, "m", "p")
    assert (found.get("suite"), found["suite_file"]) == (suite, file)


def test_other_settings_go_the_same_way() -> None:
    found = quality_settings(DEFAULTS, {"min_pass_share": 0.9, "pools": {"p": {"compare": "exact"}}}, "m", "p")
    assert (found["min_pass_share"], found["compare"]) == (0.9, "exact")
