# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Percentiles only with support."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._percentiles import percentile, summarize


@pytest.mark.parametrize(
    ("count", "given"),
    [
        (0, []),
        (10, []),
        (11, ["p50"]),
        (63, ["p50"]),
        (64, ["p50", "p90"]),
        (130, ["p50", "p90", "p95"]),
        (662, ["p50", "p90", "p95", "p99"]),
    ],
)
def test_a_percentile_is_null_without_samples_enough(count: int, given: list[str]) -> None:
    summary = summarize([float(value) for value in range(count)])
    assert [name for name in ("p50", "p90", "p95", "p99") if summary[name] is not None] == given
    assert summary["count"] == count
    assert (summary["mean"] is None) == (count == 0)


def test_percentiles_lie_between_the_two_nearest_samples() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([0.0, 10.0], 0.95) == pytest.approx(9.5)


def test_order_of_samples_does_not_matter() -> None:
    assert summarize([3.0, 1.0, 2.0] * 5) == summarize([1.0, 2.0, 3.0] * 5)
