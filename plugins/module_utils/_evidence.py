# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Is a report the report it claims to be? Evidence that cannot be read must never count as good."""

from __future__ import annotations

import math
from typing import Any

_SUMMARIES = ("ttft_seconds", "itl_seconds", "tpot_seconds", "e2el_seconds", "output_tokens_per_second_per_request")
_SUMMARY_KEYS = ("p50", "p90", "p95", "p99", "mean", "min", "max", "count")


def is_number(value: Any) -> bool:
    """Tell whether the value is a finite number (true and false are none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def benchmark_problem(report: Any) -> str | None:
    """Return what is wrong with the shape of a benchmark report, or None."""
    problem = _head_problem(report, "benchmark")
    if problem:
        return problem
    requests = report.get("requests")
    if not isinstance(requests, dict):
        return "requests is no dictionary"
    for key in ("issued", "succeeded", "failed", "timeouts"):
        if not isinstance(requests.get(key), int) or requests[key] < 0:
            return f"requests.{key} is {requests.get(key)!r}, no count"
    if requests["succeeded"] + requests["failed"] != requests["issued"] or requests["timeouts"] > requests["failed"]:
        return "requests: succeeded, failed, timeouts and issued do not add up"
    for key in _SUMMARIES:
        summary = report.get(key)
        if not isinstance(summary, dict):
            return f"{key} is missing"
        for name in _SUMMARY_KEYS:
            value = summary.get(name)
            if value is not None and (not is_number(value) or value < 0):
                return f"{key}.{name} is {value!r}, no number of 0 or more"
    if not isinstance(report.get("valid"), bool) or not isinstance(report.get("invalid_reasons"), list):
        return "valid or invalid_reasons is missing"
    workload = report.get("workload")
    if not isinstance(workload, dict) or not isinstance(workload.get("hash"), str):
        return "workload.hash is missing"
    rate = report.get("requests_per_second")
    if rate is not None and not is_number(rate):
        return f"requests_per_second is {rate!r}, no number"
    return None


def quality_problem(report: Any) -> str | None:
    """Return what is wrong with the shape of a quality report, or None."""
    problem = _head_problem(report, "quality")
    if problem:
        return problem
    items = report.get("items")
    if not isinstance(items, list) or not items:
        return "items is missing or empty"
    for key in ("passed", "failed", "errors"):
        if not isinstance(report.get(key), int):
            return f"{key} is {report.get(key)!r}, no count"
    if report["passed"] + report["failed"] + report["errors"] != len(items):
        return "passed, failed and errors do not add up to the number of items"
    if not is_number(report.get("pass_share")) or not is_number(report.get("min_pass_share")):
        return "pass_share or min_pass_share is missing"
    if not isinstance(report.get("ok"), bool):
        return "ok is missing"
    return None


def _head_problem(report: Any, kind: str) -> str | None:
    if report is None:
        return "there is none"
    if not isinstance(report, dict):
        return f"it is a {type(report).__name__}, no dictionary"
    if report.get("schema") != 1 or report.get("kind") != kind:
        seen = f"schema is {report.get('schema', '')!r}, kind {report.get('kind', '')!r}"
        return f"it is no {kind} report of schema 1 ({seen})"
    return None
