# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The health of a fleet: what every host said, as one document, one table and one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._health_words import (
    count_of,
    repair_text,
    some,
    value_text,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._runbooks import runbook_place

# Worst last. unknown: the host did not answer or cannot be looked at, so nothing is known of it: worse than degraded.
STATUSES = ("no_gpu", "healthy", "degraded", "unknown", "out_of_service")
WORDS = {
    "no_gpu": "no GPU",
    "healthy": "fine",
    "degraded": "needs a look",
    "unknown": "unknown",
    "out_of_service": "must leave service",
}
_TROUBLE = ("fail", "warn")


def build_health_report(
    answers: Mapping[str, Mapping[str, Any] | None],
    *,
    made_at: str,
    versions: Mapping[str, str] | None = None,
    outcomes: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> dict[str, Any]:
    """Return the document from {host: result of gpu_health, or of its failure}.

    outcomes: what the repair of this very run came to, by host. Keys: schema, kind, made_at, status (the worst of all
    hosts), summary, next_steps, counts {status: hosts}, hosts [{host, status, error, remedy, summary, gpus, findings,
    events, repair, repairs}], versions.
    """
    hosts = [_host(name, answer, (outcomes or {}).get(name)) for name, answer in answers.items()]
    counts = {status: sum(host["status"] == status for host in hosts) for status in STATUSES}
    return {
        "schema": 1,
        "kind": "health",
        "made_at": made_at,
        "status": max((host["status"] for host in hosts), key=STATUSES.index, default="unknown"),
        "summary": _summary(hosts, counts),
        "next_steps": _next_steps(hosts),
        "counts": counts,
        "hosts": sorted(hosts, key=lambda host: -STATUSES.index(host["status"])),
        "versions": dict(versions or {}),
    }


def must_leave(report: Mapping[str, Any]) -> list[str]:
    """Return the hosts that must leave service, and those of which nothing is known."""
    return [host["host"] for host in report["hosts"] if host["status"] in ("out_of_service", "unknown")]


def to_mend(report: Mapping[str, Any]) -> list[str]:
    """Return the hosts that the recovery ladder has to look at: what must leave service, unfinished repairs."""
    return [
        host["host"]
        for host in report["hosts"]
        if host["status"] == "out_of_service"
        or any(item["check"] == "recovery" and item["status"] == "warn" for item in host["findings"])
    ]


def rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table: one row per host and GPU, equal GPUs of a host together.

    Keys of a row: host, gpus (words), status (ok, warn, fail or unknown), text, findings (those that are not fine).
    """
    result: list[dict[str, Any]] = []
    for host in report["hosts"]:
        if host["error"]:
            result.append(
                {"host": host["host"], "gpus": "", "status": "unknown", "text": host["error"], "findings": []}
            )
            continue
        trouble = [item for item in host["findings"] if item["status"] in _TROUBLE]
        # What refers to a stronger finding of the same GPU comes after it.
        trouble.sort(key=lambda item: (_TROUBLE.index(item["status"]), str(item["action"]).startswith("Follow ")))
        result.append(_host_row(host, [item for item in trouble if not item["gpu"]]))
        # By address: a GPU that is gone has no index any more.
        sick = {item["gpu"]["pci_address"]: item["gpu"] for item in trouble if item["gpu"]}
        fine = [gpu["index"] for gpu in host["gpus"] if gpu["pci_address"] not in sick]
        result += [
            _gpu_row(host, gpu, [item for item in trouble if item["gpu"] and item["gpu"]["pci_address"] == address])
            for address, gpu in sorted(sick.items(), key=lambda one: str(one[0]))
        ]
        if fine:
            name = next(gpu["name"] for gpu in host["gpus"] if gpu["index"] == fine[0])
            result.append(
                {
                    "host": host["host"],
                    "gpus": f"GPU {ranges(fine)}",
                    "status": "ok",
                    "text": f"{name or 'GPU'}: fine",
                    "findings": [],
                }
            )
    return result


def report_text(report: Mapping[str, Any]) -> str:
    """Return the table as plain text, with what to do below each row that is not fine."""
    table = rows(report)
    width = max((len(row["host"]) for row in table), default=0)
    gpu_width = max((len(row["gpus"]) for row in table), default=0)
    lines = [report["summary"], ""]
    for row in table:
        lines.append(f"{row['host']:<{width}}  {row['gpus']:<{gpu_width}}  {row['status'].upper():<7}  {row['text']}")
        lines += [f"{'':<{width}}    {line}" for item in row["findings"] for line in finding_lines(item)]
    lines += _repair_lines(report["hosts"])
    if report["next_steps"]:
        lines += ["", report["next_steps"]]
    return "\n".join(lines)


def finding_lines(item: Mapping[str, Any]) -> list[str]:
    """Return a finding as lines: what was found and expected, how it is known, what to do, where to read."""
    expected = f", expected {value_text(item['expected'])}" if item.get("expected") is not None else ""
    lines = [
        f"{item['status'].upper()} {item['check']}: found {value_text(item['observed'])}{expected}",
        f"  known from: {item['source']}",
    ]
    if item.get("action"):
        lines.append(f"  do: {item['action']}")
    return [*lines, f"  runbook: {runbook_place(item['runbook'])}"]


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as short text: 0-2, 4, 6-7."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _repair_lines(hosts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what was repaired in this run, and what the hosts remember of repairs before."""
    lines = []
    for host in hosts:
        if host["repair"]:
            said = f": {host['repair']['message']}" if host["repair"]["message"] else ""
            lines.append(f"  {host['host']}, this run: {host['repair']['outcome']}{said}")
            lines += [f"    evidence: {path}" for path in host["repair"]["bundles"]]
        lines += [f"  {host['host']}, {repair_text(item)}" for item in host["repairs"]]
    return ["", "Repairs:", *lines] if lines else []


def _host(name: str, answer: Mapping[str, Any] | None, outcome: Mapping[str, Any] | None) -> dict[str, Any]:
    error = _error(answer)
    known = answer if answer is not None and not error else {}
    return {
        "host": name,
        "status": "unknown" if error else known["status"],
        "error": error,
        "remedy": known.get("remedy", "none"),
        "summary": known.get("summary", {}),
        "gpus": known.get("gpus", []),
        "findings": known.get("findings", []),
        "events": known.get("events", []),
        "repair": None
        if not outcome
        else {
            "outcome": outcome["outcome"],
            "message": outcome.get("message", ""),
            "steps": list(outcome.get("steps") or []),
            "bundles": list(outcome.get("bundles") or []),
        },
        "repairs": list(known.get("repairs") or []),
    }


def _error(answer: Mapping[str, Any] | None) -> str | None:
    if answer is None:
        return "It was not asked."
    if answer.get("unreachable"):
        return f"It cannot be reached: {_one_line(answer.get('msg'))}"
    if "findings" not in answer or "status" not in answer:
        return f"It could not be checked: {_one_line(answer.get('msg'))}"
    return None


def _one_line(value: Any) -> str:
    return " ".join(str(value or "no message").split())


def _host_row(host: Mapping[str, Any], trouble: list[dict[str, Any]]) -> dict[str, Any]:
    counts = host["summary"]
    text = f"{counts.get('ok', 0)} checks fine, {counts.get('skip', 0)} do not apply"
    if not host["gpus"]:
        text = f"no GPU answers; {text}"
    return {"host": host["host"], "gpus": "host", "status": _worst(trouble), "text": text, "findings": trouble}


def _gpu_row(host: Mapping[str, Any], gpu: Mapping[str, Any], trouble: list[dict[str, Any]]) -> dict[str, Any]:
    known = {one["pci_address"]: one for one in host["gpus"]}.get(gpu["pci_address"], {})
    words = [known.get("name") or "GPU", gpu["pci_address"]]
    if known.get("serial"):
        words.append(f"serial {known['serial']}")
    return {
        "host": host["host"],
        "gpus": "GPU gone" if gpu["index"] is None else f"GPU {gpu['index']}",
        "status": _worst(trouble),
        "text": ", ".join(word for word in words if word),
        "findings": trouble,
    }


def _worst(trouble: list[dict[str, Any]]) -> str:
    return next((status for status in _TROUBLE if any(item["status"] == status for item in trouble)), "ok")


def _summary(hosts: list[dict[str, Any]], counts: Mapping[str, int]) -> str:
    """Return what is true of the fleet, the worst first. All is well only where nothing at all is to be said."""
    gpus = sum(len(host["gpus"]) for host in hosts)
    groups = (
        ("Must leave service", [host for host in hosts if host["status"] == "out_of_service"]),
        ("Did not answer", [host for host in hosts if host["error"]]),
        ("Cannot be looked at", [host for host in hosts if host["status"] == "unknown" and not host["error"]]),
        ("To look at in working hours", [host for host in hosts if host["status"] == "degraded"]),
    )
    parts = [f"{words}: {some(host['host'] for host in group)}." for words, group in groups if group]
    warnings = sum(item["status"] == "warn" for host in hosts for item in host["findings"])
    notes = []
    if counts["no_gpu"]:
        notes.append(f"{count_of(counts['no_gpu'], 'host')} {'has' if counts['no_gpu'] == 1 else 'have'} no GPU")
    if warnings:
        notes.append(count_of(warnings, "warning"))
    if not parts and not notes:
        parts = ["All is well."]
    elif not parts and gpus:
        parts = ["No GPU must leave service."]
    parts += [f"{'; '.join(notes)}."] if notes else []
    return " ".join([*parts, f"Asked: {count_of(len(hosts), 'host')}, {count_of(gpus, 'GPU')}."])


def _next_steps(hosts: list[dict[str, Any]]) -> str:
    """Return what to do next; each host stands under the one thing that helps it."""
    asked: dict[str, list[str]] = {step: [] for step in _STEPS}
    for host in hosts:
        if host["status"] == "out_of_service":
            asked[_step(host)].append(host["host"])
    page = runbook_place("docs/runbooks/gpu_recovery.md")
    steps = [words.format(hosts=",".join(asked[step]), page=page) for step, words in _STEPS.items() if asked[step]]
    if any(host["error"] for host in hosts):
        steps.append("Look at the hosts that did not answer: network, power, SSH, sudo; then run it again.")
    if any(host["status"] == "unknown" and not host["error"] for host in hosts):
        steps.append(
            "Give the hosts that cannot be looked at what is missing, as their findings say; they may serve on."
        )
    return " ".join(steps)


_STEPS = {
    "ladder": "Let the ladder repair what must leave service, drained first: "
    "`ansible-playbook local_llm.ops.health -e remediate=true --limit {hosts}`. "
    "See first what it would do: add `--check`.",
    "consent": "A reboot waits for your consent: `ansible-playbook local_llm.ops.health -e remediate=true "
    "-e local_llm_reboot_consent=yes --limit {hosts}`.",
    "service": "{hosts}: drained, and waits for hardware service. Open a case with the evidence bundle; what to do "
    "after the part was replaced stands in {page}.",
    "person": "{hosts}: no repair by itself helps. Do what stands under the findings.",
}


def _step(host: Mapping[str, Any]) -> str:
    mark = " ".join(str(item["observed"]) for item in host["findings"] if item["check"] == "recovery")
    if "waits for consent" in mark:
        return "consent"
    if "waits for hardware service" in mark:
        return "service"
    return "person" if host["remedy"] in ("none", "configure") else "ladder"
