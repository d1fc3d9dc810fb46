# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The committed dashboards are what the code gives, and what Grafana's own model takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tools.dashboards.queries import DASHBOARDS, documents

pytest.importorskip(
    "grafana_foundation_sdk",
    reason="grafana-foundation-sdk is not in this virtual environment; tests/requirements.txt has it: make setup",
)

from ansible_collections.local_llm.ops.tools.dashboards.__main__ import drift
from ansible_collections.local_llm.ops.tools.dashboards.boards import ALL
from ansible_collections.local_llm.ops.tools.dashboards.grafana import board_json, description, placed, steps
from ansible_collections.local_llm.ops.tools.dashboards.limits import alert
from ansible_collections.local_llm.ops.tools.dashboards.model import BLUE, GREEN, ORANGE, RED, Limit, Panel

# What Prometheus' plugin reads from an annotation, and the library's model leaves out.
OF_THE_PLUGIN = {"step", "tagKeys", "textFormat", "titleFormat", "useValueForTime"}


def a_panel(width: int, height: int, title: str = "x") -> Panel:
    return Panel(title, "means", "do", "short", (), width=width, height=height)


def test_the_committed_dashboards_are_what_the_code_gives() -> None:
    changed = sorted(drift())
    assert not changed, f"{DASHBOARDS}: {', '.join(changed)} differ from tools/dashboards; run: make dashboards"


def test_the_same_code_gives_the_same_text() -> None:
    for board in ALL:
        assert board_json(board) == board_json(board)


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["uid"])
def test_a_dashboard_comes_through_the_model_of_the_library_unchanged(document: dict[str, Any]) -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    for entry in document["annotations"]["list"]:
        for name in OF_THE_PLUGIN:
            entry.pop(name, None)
    assert json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder)) == document


def test_panels_stand_beside_each_other_until_the_line_is_full() -> None:
    wide, narrow = a_panel(16, 8), a_panel(8, 4)
    assert [(x, y) for _panel, x, y in placed([wide, narrow, narrow, wide])] == [(0, 0), (16, 0), (0, 8), (8, 8)]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([], [(None, "text")]),
        ([Limit(80, True, ORANGE), Limit(90, True, RED)], [(None, GREEN), (80, ORANGE), (90, RED)]),
        ([Limit(90, True, RED), Limit(80, True, ORANGE)], [(None, GREEN), (80, ORANGE), (90, RED)]),
        ([Limit(0.1, False, RED)], [(None, RED), (0.1, GREEN)]),
        ([Limit(0.95, True, ORANGE), Limit(0.2, False, BLUE)], [(None, BLUE), (0.2, GREEN), (0.95, ORANGE)]),
    ],
)
def test_colours_change_at_the_limits(limits: list[Limit], expected: list[tuple[float | None, str]]) -> None:
    assert steps(limits) == expected


def test_a_description_says_what_to_do_and_names_alert_and_runbook() -> None:
    panel = Panel("x", "It is hot.", "Open a window.", "celsius", (), alerts=(alert("LocalLlmGpuHot"),))
    assert description(panel).split("\n\n") == [
        "It is hot.",
        "What to do: Open a window.",
        "Alert LocalLlmGpuHot (warning, above 80 °C): docs/runbooks/gpu_thermal.md#temperature_gpu",
    ]
