# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The plan of a driver rollout as text for the screen, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_rollout import NAME
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_text import escape, markdown_table

_HEADER = ("batch", "host", "pools", "from", "to", "action", "modules", "reboot", "expected downtime")
_NONE = "-"
_REBOOT = {"not_needed": "no", "needed": "yes", "maybe": "only if the modules do not unload"}


def driver_rows(plan: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one row per host: the batches in order, then the hosts without a change."""
    batch_of = {host: str(number) for number, batch in enumerate(plan["batches"], start=1) for host in batch}
    still = [host for host in plan["hosts"] if host not in batch_of]
    rows: list[tuple[str, ...]] = []
    for host in [*batch_of, *still]:
        entry = plan["hosts"][host][NAME]
        moves = entry["action"] != "none"
        action = "go back" if entry["way"] == "back" else entry["action"]
        rows.append(
            (
                batch_of.get(host, _NONE),
                host,
                entry["pool"],
                entry["from"] or _NONE,
                entry["to"] or _NONE,
                action,
                entry["modules"] if moves else _NONE,
                _REBOOT[entry["reboot"]] if moves else _NONE,
                _duration(entry["downtime_seconds"]["expected"]) if moves else _NONE,
            )
        )
    return rows


def host_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return for each host that changes why, and what happens to which package."""
    lines: list[str] = []
    for host in plan["order"]:
        entry = plan["hosts"][host][NAME]
        lines.append(f"{host}: {entry['reason'] or entry['action']}")
        lines.append(f"  modules: {entry['modules']} ({entry['modules_reason']})")
        lines.append(f"  reboot: {_REBOOT[entry['reboot']]} ({entry['reboot_reason']})")
        downtime = entry["downtime_seconds"]
        lines.append(f"  expected downtime: {_duration(downtime['expected'])} ({downtime['why']})")
        lines += [f"  {_package(item)}" for item in entry["packages"]]
    return lines


def driver_text(plan: Mapping[str, Any]) -> str:
    """Return the plan as text for the screen."""
    rows = [_HEADER, *driver_rows(plan)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines = [f"Driver rollout {plan['rollout_id']}: {driver_summary_line(plan)}", "", *table]
    if plan["order"]:
        lines += ["", *host_lines(plan)]
    if plan["findings"]:
        lines += ["", *(finding_line(item) for item in plan["findings"])]
    return "\n".join(lines) + "\n"


def driver_summary_line(plan: Mapping[str, Any]) -> str:
    """Return the plan in one line."""
    entries = [host[NAME] for host in plan["hosts"].values()]
    counts = {
        name: sum(entry["action"] == name for entry in entries) for name in ("upgrade", "install", "hold", "resume")
    }
    words = [f"{number} to {name}" for name, number in counts.items() if number]
    if not words:
        return f"nothing to change on {_plural(len(entries), 'host', 'hosts')}"
    return f"{', '.join(words)}, in {_plural(len(plan['batches']), 'batch', 'batches')}"


def driver_markdown(plan: Mapping[str, Any]) -> str:
    """Return the deployment plan as Markdown."""
    lead = f"The canary is `{plan['canary']}`; a batch starts only when every host before it has proven healthy."
    lines = [
        f"# Driver rollout {plan['rollout_id']}",
        "",
        f"{driver_summary_line(plan).capitalize()}.",
        lead if plan["canary"] else "Nothing has to change.",
        "",
        *markdown_table(_HEADER, driver_rows(plan)),
    ]
    if plan["order"]:
        lines += ["", "## Host by host", "", "```", *host_lines(plan), "```"]
    if plan["findings"]:
        lines += ["", "## Findings", "", *(f"- {escape(finding_line(item))}" for item in plan["findings"])]
    return "\n".join(lines) + "\n"


def driver_back_markdown(plan: Mapping[str, Any]) -> str:
    """Return the rollback plan as Markdown: what every host goes back to, and how."""
    lines = [f"# Rollback plan {plan['rollout_id']}", ""]
    moving = [(host, plan["hosts"][host][NAME]) for batch in reversed(plan["batches"]) for host in batch]
    if not moving:
        return "\n".join([*lines, "Nothing changes, so there is nothing to go back from."]) + "\n"
    lines += [
        "A host whose change fails goes back by itself, from the packages in its own cache, and is verified again.",
        "To go back later, on purpose: set `nvidia_driver_version` to what the host goes back to, then:",
        "",
        "    ansible-playbook local_llm.ops.driver",
        "",
        "A source of the host must still have the old packages then. Last batch first:",
        "",
        *markdown_table(
            ("host", "leaves", "goes back to"),
            [(host, entry["to"] or _NONE, entry["from"] or "no driver") for host, entry in moving],
        ),
    ]
    return "\n".join(lines) + "\n"


def _package(item: Mapping[str, Any]) -> str:
    if item["to"] is None:
        return f"remove {item['package']} {item['from'] or ''}".rstrip()
    if item["from"] is None:
        return f"install {item['package']} {item['to']}"
    return f"{item['package']} {item['from']} -> {item['to']}"


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)):
        return "not known"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _plural(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
