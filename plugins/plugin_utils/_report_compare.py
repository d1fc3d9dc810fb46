# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Baseline, new release and state after a rollback side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_words import known

# (measure, label, path in a benchmark report, unit, which way is better)
MEASURES: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
    ("ttft_p50_seconds", "Time to first token, p50", ("ttft_seconds", "p50"), "seconds", "lower"),
    ("ttft_p95_seconds", "Time to first token, p95", ("ttft_seconds", "p95"), "seconds", "lower"),
    ("tpot_p50_seconds", "Time per output token, p50", ("tpot_seconds", "p50"), "seconds", "lower"),
    ("tpot_p95_seconds", "Time per output token, p95", ("tpot_seconds", "p95"), "seconds", "lower"),
    ("e2el_p50_seconds", "Whole answer, p50", ("e2el_seconds", "p50"), "seconds", "lower"),
    ("e2el_p95_seconds", "Whole answer, p95", ("e2el_seconds", "p95"), "seconds", "lower"),
    ("output_tokens_per_second", "Output tokens per second", ("output_tokens_per_second",), "per_second", "higher"),
    ("requests_per_second", "Requests per second", ("requests_per_second",), "per_second", "higher"),
    ("error_share", "Requests that failed", (), "share", "lower"),
)


def compare(benchmarks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per measure: {"measure", "label", "unit", "better", "baseline", "new", "after_rollback",
    "change_percent"}. A null value was not measured, or has too few samples. No benchmark at all: no rows."""
    if not any(benchmarks.values()):
        return []
    rows = []
    for measure, label, path, unit, better in MEASURES:
        values = {
            phase: error_share(report) if measure == "error_share" else _value(report, path)
            for phase, report in benchmarks.items()
        }
        rows.append(
            {
                "measure": measure,
                "label": label,
                "unit": unit,
                "better": better,
                **values,
                "change_percent": change_percent(values.get("baseline"), values.get("new")),
            }
        )
    return rows


def error_share(report: Mapping[str, Any] | None) -> float | None:
    """Return the share of issued requests that did not succeed (timeouts included)."""
    requests = (report or {}).get("requests") or {}
    issued, succeeded = requests.get("issued"), requests.get("succeeded")
    if not issued or succeeded is None:
        return None
    return round(max(issued - succeeded, 0) / issued, 6)


def change_percent(before: float | None, after: float | None) -> float | None:
    """Return the change in percent, or None where there is nothing to divide by."""
    if before is None or after is None or before == 0:
        return None
    return round((after - before) / before * 100, 1)


def _value(report: Mapping[str, Any] | None, path: tuple[str, ...]) -> float | None:
    value: Any = report
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return known(path[0], value)
