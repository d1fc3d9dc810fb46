# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmark reports for the tests of capacity: whole enough to be read, of a search for the highest rate."""

from __future__ import annotations

from typing import Any

_SUMMARIES = ("ttft_seconds", "itl_seconds", "tpot_seconds", "e2el_seconds", "output_tokens_per_second_per_request")


def a_capacity_benchmark(goodput: float | None) -> dict[str, Any]:
    summary = {"p50": 1.0, "p90": 2.0, "p95": 3.0, "p99": None, "mean": 1.5, "min": 0.5, "max": 4.0, "count": 150}
    return {
        "schema": 1,
        "kind": "benchmark",
        "workload": {"hash": "a" * 64, "users": 16},
        "requests": {"issued": 150, "succeeded": 150, "failed": 0, "timeouts": 0},
        "valid": True,
        "invalid_reasons": [],
        "requests_per_second": 9.0,
        # Over all probes of the search, those that were too much included: no capacity.
        "goodput_requests_per_second": 3.0,
        "search": {"rate_per_second": goodput, "ended": "confirmed" if goodput else "never_kept"},
        **dict.fromkeys(_SUMMARIES, summary),
    }
