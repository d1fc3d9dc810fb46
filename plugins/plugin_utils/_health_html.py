# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The health of a fleet as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils import _report_words as report_words
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import WORDS, rows
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_words import repair_text, value_text
from ansible_collections.local_llm.ops.plugins.plugin_utils._html_page import render_page
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_html import commands
from ansible_collections.local_llm.ops.plugins.plugin_utils._runbooks import runbook_place

_TONES = {
    "healthy": "good",
    "ok": "good",
    "degraded": "warn",
    "warn": "warn",
    "unknown": "bad",
    "out_of_service": "bad",
    "fail": "bad",
}
# Title of a group of findings, its statuses, and whether each finding is told in full.
_GROUPS = (
    ("Must be mended", ("fail",), True),
    ("To look at in working hours", ("warn",), True),
    ("Fine", ("ok",), False),
    ("Does not apply here", ("skip",), False),
)


def render_health_html(report: dict[str, Any]) -> str:
    """Return the page of a report made by build_health_report."""
    return render_page(
        "health_report.html.j2",
        {
            "commands": commands,
            "moment": report_words.day_and_clock,
            "tone": lambda name: _TONES.get(str(name), "plain"),
            "words": lambda name: WORDS.get(str(name), str(name)),
            "value": value_text,
            "repair": repair_text,
            "runbook": runbook_place,
            "trouble_first": trouble_first,
        },
        report=report,
        rows=rows(report),
    )


def trouble_first(findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings in groups, those that need a hand first: title, items, detailed."""
    groups = [
        {"title": title, "items": [item for item in findings if item["status"] in statuses], "detailed": detailed}
        for title, statuses, detailed in _GROUPS
    ]
    return [group for group in groups if group["items"]]
