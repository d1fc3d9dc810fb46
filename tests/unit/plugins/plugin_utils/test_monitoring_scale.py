# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of a rehearsal are the same rules with shorter times."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_scale import (
    duration_of,
    scaled_expression,
    scaled_rules,
    seconds_of,
)


@pytest.mark.parametrize(
    ("duration", "seconds"), [("15s", 15), ("1h30m", 5400), ("30d", 2592000), ("250ms", 0.25), ("0s", 0)]
)
def test_a_duration_is_read_and_written_alike(duration: str, seconds: float) -> None:
    assert seconds_of(duration) == seconds
    assert duration_of(seconds) == duration


@pytest.mark.parametrize(("seconds", "text"), [(90, "1m30s"), (2.5, "2s500ms"), (86400, "1d"), (90000, "25h")])
def test_durations_are_written_as_prometheus_writes_them(seconds: float, text: str) -> None:
    assert duration_of(seconds) == text


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "5minutes"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("rate(x[10m]) > 0", "rate(x[1m]) > 0"),
        ("rate(x[5s]) > 0", "rate(x[8s]) > 0"),
        ("x unless x offset 10m", "x unless x offset 1m"),
        ("max_over_time(x[1h:5m])", "max_over_time(x[6m:30s])"),
        ("max_over_time(x[1h:])", "max_over_time(x[6m:])"),
        ('x{proxy=~"(a|b)[.]c",y="[10m] offset 10m"}', 'x{proxy=~"(a|b)[.]c",y="[10m] offset 10m"}'),
        ('label_replace(x[10m], "a", "$1", "b", "[1h]")', 'label_replace(x[1m], "a", "$1", "b", "[1h]")'),
        ("time() - x > 120", "time() - x > 120"),
    ],
)
def test_ranges_and_offsets_get_shorter_and_texts_and_limits_stay(before: str, after: str) -> None:
    assert scaled_expression(before, 10, 8) == after


def rules() -> dict[str, Any]:
    alert = {"alert": "A", "expr": "rate(x[5m]) > 0", "for": "15m", "labels": {"severity": "warning"}}
    return {"groups": [{"name": "g", "interval": "5m", "rules": [alert, {"record": "r", "expr": "y"}]}]}


def test_everything_but_times_stays_as_it_is() -> None:
    made = scaled_rules(rules(), 60, 8)["groups"][0]
    assert made["interval"] == "5s"
    assert made["rules"] == [
        {"alert": "A", "expr": "rate(x[8s]) > 0", "for": "15s", "labels": {"severity": "warning"}},
        {"record": "r", "expr": "y"},
    ]


def test_a_scale_of_one_changes_nothing() -> None:
    assert scaled_rules(rules(), 1, 60) == rules()


def test_the_rules_that_came_in_are_left_alone() -> None:
    given = rules()
    scaled_rules(given, 60, 8)
    assert given == rules()


def test_slower_alerts_are_refused() -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        scaled_rules(rules(), 0.5, 60)
