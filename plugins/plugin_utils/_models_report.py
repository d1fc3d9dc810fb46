# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The models of a fleet as a table and as a document, made from what model_store told on every host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_progress import size_text
from ansible_collections.local_llm.ops.plugins.module_utils._model_retention import ACTIONS, STATES
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import names

SCHEMA = 1
MODEL_KEYS = (
    "name", "revision", "state", "published", "archived", "bytes", "archive_bytes", "manifest_sha256", "published_at",
    "archived_at", "last_used_at", "releases", "needed_by", "listed", "wanted", "action", "reason", "problem",
)  # fmt: skip
LEFTOVER_KEYS = ("path", "name", "revision", "bytes", "action", "reason")
ENGINE_KEYS = ("engine", "version", "bytes", "needed_by")
OLLAMA_KEYS = ("store", "name", "bytes", "kept_for_rollback")
_HEADS = ("model", "revision", "state", "on disk", "used", "needed by")


def build_models_report(
    answers: Mapping[str, Mapping[str, Any] | None], *, made_at: str, versions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the document from {host: result of model_store with state listed}."""
    hosts = [_host(name, answer) for name, answer in answers.items()]
    rows = [row for host in hosts for row in host["models"]]
    counts = {state: sum(row["state"] == state for row in rows) for state in STATES}
    todo = {
        action: sum(row["action"] == action for row in rows)
        + sum(item["action"] == action for host in hosts for item in host["leftovers"])
        for action in ACTIONS
        if action != "none"
    }
    sizes = {
        "published": sum(row["bytes"] for row in rows),
        "archive": sum(row["archive_bytes"] for row in rows),
        "leftovers": sum(item["bytes"] for host in hosts for item in host["leftovers"]),
    }
    report = {"schema": SCHEMA, "kind": "models", "made_at": made_at, "counts": counts, "bytes": sizes, "to_do": todo,
              "hosts": hosts, "versions": dict(versions or {})}  # fmt: skip
    return {**report, "summary": _summary(report)}


def silent_hosts(report: Mapping[str, Any]) -> list[str]:
    """Return the hosts of which nothing is known."""
    return [host["host"] for host in report["hosts"] if host["error"]]


def table_text(report: Mapping[str, Any]) -> str:
    """Return the report as plain text: a table per host, then sums."""
    lines: list[str] = []
    for host in report["hosts"]:
        lines += [*_host_lines(host), ""]
    return "\n".join([*lines, report["summary"]])


def next_steps(report: Mapping[str, Any], *, applied: bool, delete: bool, check_mode: bool) -> str:
    """Return what to do to have the plan carried out; an empty text when nothing is left to do."""
    todo = report["to_do"]
    others = sum(count for action, count in todo.items() if action != "delete")
    lines = []
    if check_mode and applied:
        lines.append("Check mode: nothing is changed.")
    elif others and not applied:
        lines.append("Nothing was changed. To carry it out: -e local_llm_models_apply=true.")
    if todo["delete"] and not (applied and delete and not check_mode):
        lines += _deletion(report, applied=applied, delete=delete)
    return "\n".join(lines)


def _deletion(report: Mapping[str, Any], *, applied: bool, delete: bool) -> list[str]:
    """Return which revisions would be deleted for good, and which consent is missing."""
    gone = [(host["host"], row) for host in report["hosts"] for row in host["models"] if row["action"] == "delete"]
    size = size_text(sum(row["bytes"] + row["archive_bytes"] for _host_name, row in gone))
    consents = (("local_llm_models_apply", applied), ("local_llm_models_delete", delete))
    missing = [f"-e {name}=true" for name, given in consents if not given]
    how = f"Nothing was deleted. To delete it: {' '.join(missing)}." if missing else "Without --check it is deleted."
    lines = [f"Would be deleted for good ({size}). {how}"]
    for host, row in gone:
        lines.append(f"  {host}: {row['name']} {row['revision']} ({size_text(row['bytes'] + row['archive_bytes'])})")
    return lines


def _host(name: str, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    error = _error(answer)
    known: Mapping[str, Any] = answer if answer is not None and not error else {}
    return {
        "host": name,
        "error": error,
        "free_bytes": known.get("free_bytes"),
        "zstd": known.get("zstd"),
        "models": _chosen(known.get("models", []), MODEL_KEYS),
        "leftovers": _chosen(known.get("leftovers", []), LEFTOVER_KEYS),
        "engines": _chosen(known.get("engines", []), ENGINE_KEYS),
        "ollama_models": _chosen(known.get("ollama_models", []), OLLAMA_KEYS),
    }


def _chosen(items: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> list[dict[str, Any]]:
    wanted = tuple(keys)
    return [{key: item[key] for key in wanted} for item in items]


def _error(answer: Mapping[str, Any] | None) -> str | None:
    if answer is None:
        return "It was not asked."
    message = " ".join(str(answer.get("msg") or "no message").split())
    if answer.get("unreachable"):
        return f"It cannot be reached: {message}"
    return None if "models" in answer else f"It could not be listed: {message}"


def _summary(report: Mapping[str, Any]) -> str:
    hosts = report["hosts"]
    silent = silent_hosts(report)
    counted = ", ".join(f"{count} {state}" for state, count in report["counts"].items() if count) or "no models"
    sizes = report["bytes"]
    parts = [f"{len(hosts) - len(silent)} {'host' if len(hosts) - len(silent) == 1 else 'hosts'}: {counted}."]
    parts.append(f"{size_text(sizes['published'])} published, {size_text(sizes['archive'])} in the archive.")
    todo = ", ".join(f"{action} {count}" for action, count in report["to_do"].items() if count)
    parts.append(f"To do: {todo}." if todo else "Nothing to do.")
    if silent:
        parts.append(f"Not known: {names(silent)}.")
    return " ".join(parts)


def _host_lines(host: Mapping[str, Any]) -> list[str]:
    if host["error"]:
        return [f"{host['host']}: {host['error']}"]
    on_disk = sum(row["bytes"] + row["archive_bytes"] for row in host["models"])
    lines = [f"{host['host']}: models have {size_text(on_disk)}, {size_text(host['free_bytes'] or 0)} are free"]
    rows = [_cells(row) for row in host["models"]]
    widths = [max(len(cells[column]) for cells in [_HEADS, *rows]) for column in range(len(_HEADS))]
    if rows:
        lines.append("  " + _joined(_HEADS, widths))
    for row, cells in zip(host["models"], rows, strict=True):
        lines.append("  " + _joined(cells, widths))
        if row["action"] != "none":
            lines.append(f"      {row['action'].upper()}: {row['reason']}")
        elif row["problem"] or not row["needed_by"]:
            lines.append(f"      {row['reason']}")
    for item in host["leftovers"]:
        verb = "TIDY" if item["action"] == "tidy" else "left"
        lines.append(f"  {verb} {item['path']} ({size_text(item['bytes'])}): {item['reason']}")
    lines += _engine_lines(host["engines"])
    lines += _ollama_lines(host["ollama_models"])
    if host["zstd"] is False and any(row["action"] in ("archive", "restore") for row in host["models"]):
        lines.append("  The program zstd is missing: install the package zstd (the playbook site does it).")
    return lines


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    size = size_text(row["bytes"] + row["archive_bytes"])
    used = (row["last_used_at"] or row["published_at"] or "")[:10]
    needed = row["needed_by"]
    return (row["name"], row["revision"], row["state"], size, used, names(needed) if needed else "-")


def _joined(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _engine_lines(engines: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        f"  engine {item['engine']} {item['version']} ({size_text(item['bytes'])}): no release needs it. "
        f'To remove it: {item["engine"]}_absent_versions: ["{item["version"]}"], then site'
        for item in engines
        if not item["needed_by"]
    ]


def _ollama_lines(models: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for item in models:
        kept = "kept for a way back; " if item["kept_for_rollback"] else ""
        lines.append(
            f"  ollama {item['name']} ({size_text(item['bytes'])}) in {item['store']}: {kept}Ollama's own store, never "
            "archived from here. To remove it: module ollama_model, state absent"
        )
    return lines
