# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits on panels are read from the alerts."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.tools.dashboards.limits import alert, burn_alerts, first_comparison
from ansible_collections.local_llm.ops.tools.dashboards.model import BLUE, ORANGE, RED, Limit


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ('up{job="x"} == 0', ("==", 0)),
        ("a / (b > 0) > 0.05", (">", 0.05)),
        ('rate(a{reason=~"x > 3"}[5m]) < 0.2 unless on (host) b', ("<", 0.2)),
        ("a <= 0", ("<=", 0)),
        ("sum(a) > <limit>", None),
        ("a unless b", None),
    ],
)
def test_the_comparison_that_counts_is_the_first_outside_brackets(
    expr: str, expected: tuple[str, float] | None
) -> None:
    assert first_comparison(expr) == expected


def test_an_alert_gives_its_limit_and_its_colour() -> None:
    assert alert("LocalLlmGpuVeryHot").limit == Limit(90, True, RED)
    assert alert("LocalLlmGpuIdle").limit == Limit(0.2, False, BLUE)
    assert alert("LocalLlmHostDown").limit == Limit(1, False, RED)
    assert alert("LocalLlmQueueBacklog").limit is None, "the limit is that of each pool's tier"


def test_an_alert_of_several_parts_gives_the_limit_that_is_asked_for() -> None:
    seen = alert("LocalLlmGpuNotSeen", after="local_llm_gpu_scrape_success_timestamp_seconds")
    assert seen.limit == Limit(120, True, RED)
    with pytest.raises(KeyError, match="does not name something_else"):
        alert("LocalLlmGpuNotSeen", after="something_else")


def test_a_panel_of_what_is_free_has_the_limit_from_the_other_side() -> None:
    assert alert("LocalLlmCapacityNearLimit").complement().limit == Limit(0.2, False, ORANGE)


def test_a_panel_that_counts_changes_colour_at_one() -> None:
    assert alert("LocalLlmHostOomKill").counted().limit == Limit(1, True, ORANGE)


def test_six_hours_of_burning_are_judged_as_the_alerts_judge_them() -> None:
    assert [item.limit for item in burn_alerts()] == [Limit(6, True, RED), Limit(1, True, ORANGE)]


def test_an_alert_that_does_not_exist_is_named() -> None:
    with pytest.raises(KeyError, match="no alert is called LocalLlmNothing"):
        alert("LocalLlmNothing")
