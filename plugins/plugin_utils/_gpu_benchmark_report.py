# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The benchmark of a fleet: every host's figures and how they were judged, as one document, one table, one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._gpu_judge import ORDER, WORDS, findings_of, judge_fleet
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import finding_lines

# Worst last. unknown: the host was not measured although it should have been.
STATUSES = ("no_gpu", "planned", "healthy", "degraded", "unknown", "out_of_service")
BASES = ("peak", "reference", "floor", "peers")
HEADS = ("host", "measure", "GPUs", "lowest", "median", "unit", "peak", "table", "peers", "")


def build_document(
    answers: Mapping[str, Mapping[str, Any] | None],
    reference: Mapping[str, Any],
    *,
    made_at: str,
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the document from {host: result of gpu_benchmark, or of its failure}.

    Keys: schema, kind, made_at, status (the worst of all hosts), summary, counts, hosts [{host, status, error, gpus,
    findings, judgements, profile, torch, driver_version, taken_at}], sources, versions.
    """
    reports = {host: answer["report"] for host, answer in answers.items() if answer and answer.get("report")}
    judged = judge_fleet(reports, reference)
    hosts = [_host(host, answer, reports.get(host), judged.get(host, [])) for host, answer in answers.items()]
    counts = {status: sum(host["status"] == status for host in hosts) for status in STATUSES}
    return {
        "schema": 1,
        "kind": "gpu_benchmark_verdict",
        "made_at": made_at,
        "status": max((host["status"] for host in hosts), key=STATUSES.index, default="unknown"),
        "summary": _summary(hosts, counts),
        "counts": counts,
        "hosts": sorted(hosts, key=lambda host: -STATUSES.index(host["status"])),
        "sources": dict(reference["sources"]),
        "versions": dict(versions or {}),
    }


def must_leave(document: Mapping[str, Any]) -> list[str]:
    """Return the hosts with a card that is too slow, and those that were not measured."""
    return [host["host"] for host in document["hosts"] if host["status"] in ("out_of_service", "unknown")]


def rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table: one row per host, measure and type, over all GPUs of the host.

    Keys: host, measure (words), gpus, lowest, lowest_gpus, median, unit, peak, table, peers (shares), status.
    """
    result = []
    for host in document["hosts"]:
        groups: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
        for item in host["judgements"]:
            groups.setdefault((item["measure"], item["dtype"]), []).append(item)
        for (measure, dtype), items in groups.items():
            lowest = min(items, key=lambda item: item["value"] or 0.0)
            shares = {base["basis"]: base["share"] for base in lowest["bases"]}
            result.append(
                {
                    "host": host["host"],
                    "measure": f"{WORDS[measure]}{' ' + dtype if dtype else ''}",
                    "gpus": len({index for item in items for index in item["gpus"]}),
                    "lowest": lowest["value"],
                    "lowest_gpus": lowest["gpus"],
                    "median": median(item["value"] or 0.0 for item in items),
                    "unit": lowest["unit"],
                    "peak": shares.get("peak"),
                    "table": shares.get("reference", shares.get("floor")),
                    "peers": shares.get("peers"),
                    "status": max((item["status"] for item in items), key=ORDER.index),
                }
            )
    return result


def document_text(document: Mapping[str, Any]) -> str:
    """Return the table as plain text, with the findings that are not fine below it."""
    table = [HEADS, *(_cells(row) for row in rows(document))]
    widths = [max(len(line[place]) for line in table) for place in range(len(HEADS))]
    lines = [document["summary"], ""]
    if len(table) > 1:
        for line in table:
            lines.append("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
        lines += [
            "",
            "peak, table, peers: the lowest figure as a share of what the card can do in theory, of the table of",
        ]
        lines += ["measured figures (or its floor), and of the median of equal cards in the fleet. -: not known."]
    for host in document["hosts"]:
        if host["error"]:
            lines += ["", f"{host['host']}  {host['status'].upper()}: {host['error']}"]
        trouble = [item for item in host["findings"] if item["status"] in ("fail", "warn")]
        for item in trouble:
            lines += ["", f"{host['host']}  {item['subject']}", *(f"  {line}" for line in finding_lines(item))]
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    shares = ("-" if row[key] is None else f"{row[key]:.2f}" for key in ("peak", "table", "peers"))
    several = row["gpus"] > len(row["lowest_gpus"])
    which = f" (GPU {'>'.join(str(index) for index in row['lowest_gpus'])})" if several else ""
    lowest = "none" if row["lowest"] is None else f"{row['lowest']:g}"
    head = (row["host"], row["measure"], str(row["gpus"]), f"{lowest}{which}", f"{row['median']:g}", row["unit"])
    return (*head, *shares, row["status"].upper())


def _host(
    name: str, answer: Mapping[str, Any] | None, report: Mapping[str, Any] | None, judged: list[dict[str, Any]]
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "host": name,
        "status": "unknown",
        "error": None,
        "gpus": [],
        "findings": [],
        "judgements": judged,
        **dict.fromkeys(("profile", "torch", "driver_version", "taken_at")),
    }
    if report:
        found = findings_of(report, judged)
        worst = {item["status"] for item in found}
        status = "out_of_service" if "fail" in worst else "degraded" if "warn" in worst else "healthy"
        known = {key: report.get(key) for key in ("profile", "torch", "driver_version", "taken_at", "gpus")}
        return {**entry, **known, "status": status, "findings": found}
    if answer is None:
        return {**entry, "error": "It was not asked."}
    message = " ".join(str(answer.get("msg") or "no message").split())
    if answer.get("unreachable"):
        return {**entry, "error": f"It cannot be reached: {message}"}
    if answer.get("failed") or "report" not in answer:
        return {**entry, "error": f"It was not measured: {message}"}
    if answer.get("plan"):
        plan = answer["plan"]
        text = (
            f"It would take {len(plan['jobs'])} figures in about {plan['expected_seconds']:g} s with {plan['python']}."
        )
        return {**entry, "status": "planned", "error": text}
    return {**entry, "status": "no_gpu", "error": answer.get("why") or "It has no GPU."}


def _summary(hosts: list[dict[str, Any]], counts: Mapping[str, int]) -> str:
    gpus = sum(len(host["gpus"]) for host in hosts)
    measured = f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}, {gpus} GPU{'' if gpus == 1 else 's'} measured"
    words = {
        "out_of_service": "Below the fail line, or could not be measured to the end",
        "unknown": "Not measured",
        "degraded": "Needs a look in working hours",
    }
    for status, word in words.items():
        if counts[status]:
            names = [host["host"] for host in hosts if host["status"] == status]
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            return f"{word}: {shown}. {measured}."
    if counts["planned"]:
        return f"Nothing was measured: check mode. {measured}."
    return f"Every card does what it should. {measured}." if gpus else f"There is no GPU to measure. {measured}."
