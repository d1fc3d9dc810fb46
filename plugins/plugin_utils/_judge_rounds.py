# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Several rounds of one measurement as one benchmark report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import summarize
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem, is_number
from ansible_collections.local_llm.ops.plugins.module_utils._verdict import counts, usable

# summary -> column of a row of samples.requests
_SUMMARIES = {"ttft_seconds": 2, "tpot_seconds": 3, "e2el_seconds": 4}


def as_rounds(given: Any) -> list[Any]:
    """Return a list of reports: one report is one round, nothing is none."""
    if given is None or given == "":
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def merge_rounds(reports: Sequence[Mapping[str, Any]], with_failures: bool = False) -> dict[str, Any] | None:
    """Return the report of all rounds together, with percentiles from all requests; None without a report.

    Rounds that are not valid are left out, unless none is; with_failures keeps those in which the server itself failed.
    Requests are numbered through. "rounds" tells each round's
    number of requests. What the rounds cannot give together (such as gaps between tokens) is that of the last one.
    """
    if not reports:
        return None
    last = dict(reports[-1])
    if len(reports) == 1 or any(benchmark_problem(report) for report in reports):
        return last
    wanted = counts if with_failures else usable
    used = [report for report in reports if wanted(report)] or [reports[-1]]
    if len(used) == 1:
        return dict(used[0])
    last, rows = dict(used[-1]), _rows(used)
    if rows is None:
        return last
    numbers = {
        key: sum(report["requests"][key] for report in used) for key in ("issued", "succeeded", "failed", "timeouts")
    }
    errors: dict[str, int] = {}
    for report in used:
        for kind, number in (report["requests"].get("errors") or {}).items():
            errors[kind] = errors.get(kind, 0) + number
    good = [row for row in rows if row[1] is None]
    merged = {
        **last,
        "requests": {**numbers, "errors": errors},
        "valid": all(report["valid"] for report in used),
        "invalid_reasons": list(dict.fromkeys(reason for report in used for reason in report["invalid_reasons"])),
        "rounds": [report["requests"]["issued"] for report in used],
    }
    samples: dict[str, Any] = {"requests": rows}
    for key, column in _SUMMARIES.items():
        values = [row[column] for row in good if is_number(row[column])]
        merged[key] = summarize(values)
        samples[key] = values
    speeds = [row[5] / row[4] for row in good if is_number(row[5]) and is_number(row[4]) and row[4]]
    merged["output_tokens_per_second_per_request"] = summarize(speeds, digits=3)
    seconds = sum(report.get("duration_seconds") or 0.0 for report in used)
    merged["duration_seconds"] = round(seconds, 6)
    for key, total in (
        ("output_tokens_per_second", sum(row[5] for row in good if is_number(row[5]))),
        ("requests_per_second", len(good)),
    ):
        merged[key] = round(total / seconds, 3) if seconds else None
    merged["output_tokens_total"] = sum(row[5] for row in good if is_number(row[5]))
    merged["started_at"] = used[0].get("started_at")
    merged["samples"] = samples
    return merged


def without_rows(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a report without its single samples: what is kept beside a verdict."""
    return {key: value for key, value in report.items() if key != "samples"} if isinstance(report, Mapping) else None


def _rows(reports: Sequence[Mapping[str, Any]]) -> list[list[Any]] | None:
    """Return the rows of all reports, numbered through; None when one has none."""
    rows: list[list[Any]] = []
    for report in reports:
        found = (report.get("samples") or {}).get("requests")
        if not isinstance(found, list):
            return None
        rows += [[len(rows) + place, *row[1:]] for place, row in enumerate(found)]
    return rows
