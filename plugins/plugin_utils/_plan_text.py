# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A plan as text for the screen, and as Markdown: the deployment plan and the rollback plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line, show
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import instance_counts

_HEADER = ("batch", "host", "instance", "pool", "from", "to", "action", "what changes")
_NO_RELEASE = "-"


def plan_rows(plan: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one row per instance: the batches in order, then the instances without a change."""
    rows: list[tuple[str, ...]] = []
    for number, batch in enumerate(plan["batches"], start=1):
        for host in batch:
            rows += [_row(str(number), host, name, entry) for name, entry in plan["hosts"][host].items()]
    moving = {host for batch in plan["batches"] for host in batch}
    for host, instances in plan["hosts"].items():
        if host not in moving:
            rows += [_row("-", host, name, entry) for name, entry in instances.items()]
    return rows


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return the plan as text for the screen."""
    rows = [_HEADER, *plan_rows(plan)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines = [f"Rollout {plan['rollout_id']}: {summary(plan)}", "", *table]
    if plan["findings"]:
        lines += ["", *(finding_line(item) for item in plan["findings"])]
    return "\n".join(lines) + "\n"


def plan_markdown(plan: Mapping[str, Any]) -> str:
    """Return the deployment plan as Markdown."""
    lines = [
        f"# Deployment plan {plan['rollout_id']}",
        "",
        f"{summary(plan).capitalize()}.",
        f"The canary is {_code(plan['canary'])}; a batch starts only when every host before it has proven healthy."
        if plan["canary"]
        else "Nothing has to change.",
        "",
        *_markdown_table(_HEADER, plan_rows(plan)),
    ]
    if plan["findings"]:
        lines += ["", "## Findings", "", *(f"- {_escape(finding_line(item))}" for item in plan["findings"])]
    return "\n".join(lines) + "\n"


def rollback_markdown(plan: Mapping[str, Any]) -> str:
    """Return the rollback plan as Markdown: what every instance goes back to, and how."""
    rows = []
    for host in (host for batch in reversed(plan["batches"]) for host in batch):
        for name, entry in plan["hosts"][host].items():
            if entry["action"] != "none":
                rows.append((host, name, entry["to"], *_way_back(entry)))
    for host in plan.get("carried") or []:
        for name, entry in plan["hosts"][host].items():
            if entry.get("carried"):
                rows.append((host, name, entry["to"], *_way_back(entry)))
    lines = [f"# Rollback plan {plan['rollout_id']}", ""]
    if not rows:
        return "\n".join([*lines, "Nothing changes, so there is nothing to go back from."]) + "\n"
    lines += [
        "A host whose upgrade fails goes back by itself, and the way back is verified.",
        "To go back later, on purpose, on every host:",
        "",
        "    ansible-playbook local_llm.ops.rollback",
        "",
        "Without a controller: until a release is committed, the host goes back by itself at the deadline, or at its",
        "next boot. After that, on the host itself:",
        "",
        "    cd /var/lib/local_llm/instances/INSTANCE",
        '    ln -s "$(readlink previous)" current.new && mv -T current.new current',
        "    systemctl restart local-llm@INSTANCE",
        "",
        "Last batch first:",
        "",
        *_markdown_table(("host", "instance", "leaves", "goes back to", "which is"), rows),
    ]
    return "\n".join(lines) + "\n"


def summary(plan: Mapping[str, Any]) -> str:
    """Return the plan in one line."""
    counts = instance_counts(plan)
    words = [f"{counts[action]} to {action}" for action in ("upgrade", "install", "resume") if counts[action]]
    moving = len(plan["order"])
    if not words:
        return f"nothing to change on {len(plan['hosts'])} hosts"
    batch_word = "batch" if len(plan["batches"]) == 1 else "batches"
    host_word = "host" if moving == 1 else "hosts"
    return f"{', '.join(words)}, on {moving} {host_word} in {len(plan['batches'])} {batch_word}"


def changes_text(entry: Mapping[str, Any]) -> str:
    """Return what changes for an instance as short text."""
    if entry["action"] in ("none", "resume"):
        return str(entry["reason"])
    if entry["action"] == "install":
        return _content(entry["description"])
    if not entry["changes"]:
        return str(entry["reason"])
    parts = []
    for change in entry["changes"]:
        if change["key"] == "model_manifest_sha256":
            parts.append(f"model files {str(change['from'])[:12]} -> {str(change['to'])[:12]}")
        else:
            parts.append(f"{change['key']} {show(change['from'], 40)} -> {show(change['to'], 40)}")
    return ", ".join(parts)


def _row(batch: str, host: str, name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    old, new = entry["from"] or _NO_RELEASE, entry["to"]
    return (batch, host, name, entry["pool"], old, new, entry["action"], changes_text(entry))


def _way_back(entry: Mapping[str, Any]) -> tuple[str, str]:
    if entry["action"] == "install":
        return "no release", "nothing ran before: the instance is taken out of its pool"
    if entry.get("carried"):
        return entry["from"], "the release before, which an earlier rollout replaced"
    if entry["action"] == "resume":
        return "its previous release", "what the link `previous` on the host names"
    before = entry["previous_description"]
    if not before:
        return entry["from"], "the release that runs now"
    return entry["from"], _content(before)


def _content(description: Mapping[str, Any]) -> str:
    engine, model = (
        " ".join(str(description.get(key, "?")) for key in pair)
        for pair in (("engine", "engine_version"), ("model", "model_revision"))
    )
    return f"{engine}, {model}"


def _markdown_table(header: tuple[str, ...], rows: list[Any]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(_escape(str(cell)) for cell in cells)} |"

    return [line(header), "|" + " --- |" * len(header), *(line(row) for row in rows)]


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{text}`"
