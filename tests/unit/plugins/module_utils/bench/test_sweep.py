# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sweeps: from the smallest load up, and where throughput stops to follow."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._sweep import knee, sweep_plan


def test_the_knee_is_where_throughput_stops_to_follow() -> None:
    found = knee([(1, 100), (2, 200), (4, 400), (8, 800), (16, 850), (32, 870)])
    assert found is not None and 8 <= found["load"] <= 16 and found["between"] == [8, 16]


@pytest.mark.parametrize(
    "points", [[(1, 100), (2, 200), (4, 400), (8, 800)], [(load, 100.0 * load) for load in range(1, 9)]]
)
def test_without_points_enough_or_without_a_bend_there_is_no_knee(points: list[tuple[float, float]]) -> None:
    assert knee(points) is None


def test_a_sweep_goes_up() -> None:
    plan = sweep_plan(users=[8, 1, 4], requests=20)
    assert [stage["users"] for stage in plan["stages"]] == [1, 4, 8] and plan["mode"] == "closed"
    assert sweep_plan(rates=[2.0], seconds=5)["mode"] == "open"
