# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From what the hosts measured to one document: per instance its tier, its baseline, its scenario. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_compare import (
    BETTER,
    NOT_COMPARABLE,
    WORSE,
    compare,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_scenarios import scenario_result
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_words import known, load_words, scenario_words
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_verdict import MET, MISSED, NOT_MEASURED, slo_verdict

# From the worst to the best; a fleet is as good as its worst instance.
_ORDER = (MISSED, NOT_MEASURED, MET)


def baseline_key(hardware: Any, release: str | None, report: Mapping[str, Any]) -> str:
    """Return the name of a baseline: the same for the same hardware, release, load and tool."""
    parts = [hardware, release, report["workload"]["hash"], report["engine_version_tool"]]
    return sha256_hex(canonical_json(parts))[:16]


def entry_of(
    name: str,
    measured: Mapping[str, Any],
    tier_name: str,
    tier: Mapping[str, Any],
    baseline: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what is told of one instance. measured: report (or none), msg (why there is none), release, hardware."""
    report = measured.get("report") or None
    slo = slo_verdict(report, tier_name, tier)
    summary = slo["summary"]
    if report is None:
        summary = f"Not measured: {measured.get('msg') or 'no result was handed over'}"
    elif measured.get("msg") and not report["requests"]["succeeded"]:
        summary = str(measured["msg"])
    compared = compare([baseline["report"]], [report]) if baseline and report else None
    if compared and compared["verdict"] != NOT_COMPARABLE:
        summary += (
            f" Against its baseline of {str(baseline['report']['started_at'])[:10]}: {compared['verdict']}."
            if baseline
            else ""
        )
    status = slo["status"]
    scenario = scenario_result(report, tier) if report else None
    if scenario and scenario["status"] == "failed":
        missed = next(item for item in scenario["criteria"] if item["status"] == "missed")
        summary += f" Scenario {scenario['scenario']} failed: {missed['criterion'].replace('_', ' ')}."
        status = MISSED
    if report and not report["requests"]["succeeded"]:
        status = MISSED
    return {
        "name": name,
        "status": status,
        "summary": summary,
        "release": measured.get("release"),
        "hardware": measured.get("hardware"),
        "tier": tier_name,
        "limits": dict(tier),
        "slo": slo,
        "scenario": scenario,
        "comparison": compared,
        "report": report,
    }


def document_of(
    entries: Sequence[Mapping[str, Any]], made_at: str, versions: Mapping[str, str], title: str = "Benchmark"
) -> dict[str, Any]:
    """Return the document of some entries: the worst status, and one sentence."""
    statuses = {str(entry["status"]) for entry in entries}
    status = next((word for word in _ORDER if word in statuses), NOT_MEASURED)
    over = [str(entry["name"]) for entry in entries if entry["status"] == MISSED]
    unknown = [str(entry["name"]) for entry in entries if entry["status"] == NOT_MEASURED]
    parts = []
    if over:
        parts.append(f"Over its tier: {', '.join(over)}.")
    if unknown:
        parts.append(f"Not measured: {', '.join(unknown)}.")
    within = len(entries) - len(over) - len(unknown)
    if within:
        parts.append(f"Within its tier: {within} of {len(entries)}.")
    return {
        "schema": 1,
        "kind": "benchmark_document",
        "title": title,
        "made_at": made_at,
        "versions": dict(versions),
        "status": status,
        "summary": " ".join(parts) or "Nothing was measured.",
        "entries": [dict(entry) for entry in entries],
        "comparison": None,
    }


def table(document: Mapping[str, Any]) -> list[str]:
    """Return the document as lines of text, one block per instance."""
    lines = []
    for entry in document["entries"]:
        lines.append(f"{entry['name']}: {entry['summary']}")
        report = entry["report"]
        if report:
            lines.append(f"    {_measured(entry, report)}")
            ttft, tpot, e2el = report["ttft_seconds"], report["tpot_seconds"], report["e2el_seconds"]
            per_token = known("tpot_seconds", tpot["p50"])
            lines.append(
                f"    first token p50 {_milliseconds(ttft['p50'])}, p95 {_milliseconds(ttft['p95'])}; "
                f"per token p50 {_milliseconds(per_token)}; whole answer p95 {_milliseconds(e2el['p95'])}; "
                f"{report['output_tokens_per_second'] or 0:g} tokens/s; "
                f"{report['requests']['succeeded']} of {report['requests']['issued']} answered; "
                f"{'valid' if report['valid'] else 'NOT VALID'}"
            )
            lines += [f"    against its baseline: {told}" for told in changes_told(entry.get("comparison"))]
            lines += [f"    not valid: {reason}" for reason in report["invalid_reasons"]]
    lines.append(document["summary"])
    return lines


def changes_told(comparison: Mapping[str, Any] | None) -> list[str]:
    """Return each measure that a comparison calls better or worse, with its figures."""
    told = []
    for row in (comparison or {}).get("rows") or ():
        if row["decides"] and row["judgement"] in (BETTER, WORSE):
            ratio = f" ({row['ratio']:g} times)" if row["ratio"] is not None else ""
            told.append(
                f"{row['measure']} {_figure(row, 'after')}, was {_figure(row, 'before')}{ratio}, {row['judgement']}"
            )
    return told


def _figure(row: Mapping[str, Any], side: str) -> str:
    value = row[side]
    if row["unit"] == "s":
        return _milliseconds(value)
    return f"{100 * value:.3g} %" if row["unit"] == "share" else f"{value:g} {row['unit']}"


def _measured(entry: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Return which release bore which load, and how its scenario came out."""
    work = report["workload"]
    parts = [f"release {entry['release']}"] if entry.get("release") else []
    parts.append(load_words(report.get("load"), work.get("prompt_tokens"), work.get("output_tokens")))
    if entry["scenario"]:
        parts.append(scenario_words(entry["scenario"]))
    return "; ".join(parts)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.4g} ms"


def file_name(name: str) -> str:
    """Return a name that is safe as that of a file."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
