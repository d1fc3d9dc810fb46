# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No rollout starts inside a freeze window; a malformed window stops it too, and says how to write it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._freeze import freeze_findings

FRIDAY_EVENING = datetime(2026, 11, 20, 17, 30, tzinfo=UTC)
SATURDAY_NIGHT = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
CHRISTMAS = {"name": "christmas", "from": "2026-12-20T00:00", "until": "2027-01-03T00:00"}
WEEKEND = {"name": "weekend", "weekdays": ["fri"], "from": "16:00", "until": "06:00"}


@pytest.mark.parametrize(
    ("window", "now", "frozen"),
    [
        (CHRISTMAS, FRIDAY_EVENING, False),
        (CHRISTMAS, datetime(2026, 12, 24, 12, tzinfo=UTC), True),
        (CHRISTMAS, datetime(2027, 1, 3, 0, tzinfo=UTC), False),
        (WEEKEND, FRIDAY_EVENING, True),
        (WEEKEND, SATURDAY_NIGHT, True),
        (WEEKEND, datetime(2026, 11, 20, 15, 59, tzinfo=UTC), False),
        (WEEKEND, datetime(2026, 11, 21, 6, 0, tzinfo=UTC), False),
        ({**WEEKEND, "timezone": "America/New_York"}, FRIDAY_EVENING, False),
    ],
)
def test_window_holds_exactly_its_own_time(window: dict[str, Any], now: datetime, frozen: bool) -> None:
    assert [item["status"] for item in freeze_findings([window], now)] == (["fail"] if frozen else [])


def test_a_person_may_ignore_one_window_by_its_name_only() -> None:
    assert [item["status"] for item in freeze_findings([WEEKEND], FRIDAY_EVENING, "weekend")] == ["warn"]
    assert [item["status"] for item in freeze_findings([WEEKEND], FRIDAY_EVENING, "christmas")] == ["fail"]


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({**WEEKEND, "form": "1"}, ["form", "from"]),
        ({"name": "x", "from": "2026-01-02", "until": "2026-01-01"}, ["until", "2026-01-01"]),
        ({"name": "x", "from": "noon", "until": "2026-01-01"}, ["from", "noon"]),
        ({**WEEKEND, "weekdays": ["friday"]}, ["friday", "fri"]),
        ({**WEEKEND, "timezone": "Mars/Olympus"}, ["Mars/Olympus"]),
        ({"name": "x", "from": "2026-01-01"}, ["until"]),
    ],
)
def test_malformed_window_is_a_failure_with_key_and_fix(window: dict[str, Any], words: list[str]) -> None:
    (item,) = freeze_findings([window], FRIDAY_EVENING)
    assert item["status"] == "fail"
    assert all(word in item["action"] for word in words), item
