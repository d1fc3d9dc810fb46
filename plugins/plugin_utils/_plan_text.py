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
_HEADER_BACK = ("order", "host", "instance", "pool", "from", "to", "action", "why")
_NO_RELEASE = "-"


def plan_rows(plan: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one row per instance: the batches in order, then the instances without a change."""
    rows: list[tuple[str, ...]] = []
    row = _row_back if _is_back(plan) else _row
    for number, batch in enumerate(plan["batches"], start=1):
        for host in batch:
            rows += [row(str(number), host, name, entry) for name, entry in plan["hosts"][host].items()]
    moving = {host for batch in plan["batches"] for host in batch}
    for host, instances in plan["hosts"].items():
        if host not in moving:
            rows += [row("-", host, name, entry) for name, entry in instances.items()]
    return rows


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return the plan as text for the screen."""
    rows = [_header(plan), *plan_rows(plan)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    title = "Rollback" if _is_back(plan) else "Rollout"
    lines = [f"{title} {plan['rollout_id']}: {summary(plan)}", "", *table]
    if plan["findings"]:
        lines += ["", *(finding_line(item) for item in plan["findings"])]
    return "\n".join(lines) + "\n"


def plan_markdown(plan: Mapping[str, Any]) -> str:
    """Return the deployment plan as Markdown; of a plan back, the same list of moves under its own title."""
    if _is_back(plan):
        title, lead = "Rollback plan", "Each instance is proven on the earlier release before it is let in again."
    else:
        title = "Deployment plan"
        canary = _code(str(plan["canary"]))
        lead = f"The canary is {canary}; a batch starts only when every host before it has proven healthy."
    lines = [
        f"# {title} {plan['rollout_id']}",
        "",
        f"{summary(plan).capitalize()}.",
        lead if plan["canary"] else "Nothing has to change.",
        "",
        *markdown_table(_header(plan), plan_rows(plan)),
    ]
    if plan["findings"]:
        lines += ["", "## Findings", "", *(f"- {escape(finding_line(item))}" for item in plan["findings"])]
    return "\n".join(lines) + "\n"


def rollback_markdown(plan: Mapping[str, Any]) -> str:
    """Return the rollback plan as Markdown: what every instance goes back to, and how."""
    if _is_back(plan):
        return _way_forward_markdown(plan)
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
        *markdown_table(("host", "instance", "leaves", "goes back to", "which is"), rows),
    ]
    return "\n".join(lines) + "\n"


def summary(plan: Mapping[str, Any]) -> str:
    """Return the plan in one line."""
    counts = instance_counts(plan)
    words = [f"{counts[action]} to {action}" for action in ("upgrade", "install", "resume") if counts[action]]
    moving = len(plan["order"])
    if _is_back(plan):
        count = sum(counts.values()) - counts["none"]
        if not count:
            return f"nothing to roll back on {len(plan['hosts'])} {'host' if len(plan['hosts']) == 1 else 'hosts'}"
        return f"{count} to roll back, on {moving} {'host' if moving == 1 else 'hosts'}"
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


def _row_back(order: str, host: str, name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a row of a plan back, from what serves to what it goes back to."""
    serves = entry["serves"] or _NO_RELEASE
    if entry["action"] == "none":
        return (order, host, name, entry["pool"], serves, serves, "none", str(entry["reason"]))
    return (order, host, name, entry["pool"], serves, entry["from"], "rollback", str(entry["reason"]))


def _way_forward_markdown(plan: Mapping[str, Any]) -> str:
    """Return for a plan back what goes back, and how to come to the newer release again."""
    rows = [
        (host, name, entry["serves"], entry["from"], entry["reason"])
        for host in plan["order"]
        for name, entry in plan["hosts"][host].items()
        if entry["action"] != "none"
    ]
    lines = [f"# Rollback plan {plan['rollout_id']}", ""]
    if not rows:
        return "\n".join([*lines, "Nothing goes back."]) + "\n"
    lines += [
        "This is a rollback: each instance goes from the release that serves to its earlier one, and is proven there.",
        "To go forward again later, mend the release in the inventory, then:",
        "",
        "    ansible-playbook local_llm.ops.upgrade",
        "",
        *markdown_table(("host", "instance", "from", "to", "why"), rows),
    ]
    return "\n".join(lines) + "\n"


def _is_back(plan: Mapping[str, Any]) -> bool:
    return plan.get("direction") == "back"


def _header(plan: Mapping[str, Any]) -> tuple[str, ...]:
    return _HEADER_BACK if _is_back(plan) else _HEADER


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


def markdown_table(header: tuple[str, ...], rows: list[Any]) -> list[str]:
    """Return a table as lines of Markdown."""

    def line(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(escape(str(cell)) for cell in cells)} |"

    return [line(header), "|" + " --- |" * len(header), *(line(row) for row in rows)]


def escape(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{text}`"
