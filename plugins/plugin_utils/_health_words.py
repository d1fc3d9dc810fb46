# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a health check saw, in words for a reader: never Python's own form of a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import show
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_journal import parse_time

NONE = "\N{EN DASH}"
_LIMIT = 400
_CODES = {"xid": "XID", "sxid": "SXid"}
_RUNGS = {
    "restart_app": "restart of the instances",
    "reset_gpu": "reset of the GPU",
    "reboot": "reboot of the host",
    "hardware": "hand-over to a person",
}
_RESULTS = {"started": "under way, or its run ended", "verified": "helped", "failed": "did not help"}


def value_text(value: Any) -> str:
    """Write what was found or expected."""
    if value is None:
        return NONE
    if isinstance(value, Mapping):
        return event_text(value) or "; ".join(f"{key} {value_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(item) for item in value) or "none"
    return show(value, _LIMIT)


def event_text(value: Mapping[str, Any]) -> str:
    """Write what the kernel log said, with how often and when last; empty when the value is something else."""
    name = next((f"{word} {value[key]}" for key, word in _CODES.items() if key in value), "")
    if not {"count", "last_at"} <= set(value):
        return ""
    times = f"x{value['count']}" if name else f"{value['count']} time{'' if value['count'] == 1 else 's'}"
    moment = parse_time(value["last_at"])
    last = moment.strftime("%Y-%m-%d %H:%M") if moment else str(value["last_at"] or "at an unknown time")
    message = f": {show(' '.join(str(value['message']).split()), 160)}" if value.get("message") else ""
    return f"{name} {times} (last {last}){message}".strip()


def repair_text(repair: Mapping[str, Any]) -> str:
    """Write one repair that a host remembers: when, what, for which GPU, why, and what came of it."""
    gpu = f" {repair['pci_address']}" if repair.get("pci_address") else ""
    what = _RUNGS.get(str(repair["rung"]), str(repair["rung"]))
    result = _RESULTS.get(str(repair["result"]), str(repair["result"]))
    return f"{clock_text(repair['at_seconds'])}: {what}{gpu}, because of {show(str(repair['reason']), 200)}: {result}"


def clock_text(seconds: float) -> str:
    """Write a Unix time as day and clock in UTC."""
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M UTC")


def some(names: Iterable[str]) -> str:
    """Return up to five names as text, then how many more there are."""
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


def count_of(number: int, word: str) -> str:
    """Write a number of things."""
    return f"{number} {word}{'' if number == 1 else 's'}"
