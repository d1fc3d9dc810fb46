# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Does a server run what was written: its answer held against the file. Controller only.

A server tells its configuration with all defaults filled in and with secrets hidden, so every key that was written must
be there with its value, and more may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_scale import seconds_of

HIDDEN = "<secret>"


def config_differences(wanted: Any, running: Any, path: str = "") -> list[str]:
    """Return where the running configuration is not the wanted one, each with both values."""
    return list(_differences(wanted, running, path))


def rule_differences(wanted: Mapping[str, Any], running: Any) -> list[str]:
    """Return where the groups of /api/v1/rules are not those of the rule file: names of rules, and their `for`."""
    groups = running.get("groups", []) if isinstance(running, Mapping) else []
    there = {str(group.get("name")): group.get("rules") or [] for group in groups}
    found = []
    for group in wanted["groups"]:
        name = group["name"]
        if name not in there:
            found.append(f"group {name} is not loaded")
            continue
        told = [_told(rule) for rule in there.pop(name)]
        meant = [_meant(rule) for rule in group["rules"]]
        if told != meant:
            first = next(
                (pair for pair in zip(meant, told, strict=False) if pair[0] != pair[1]), (len(meant), len(told))
            )
            found.append(f"group {name}: {first[0]} was written, {first[1]} runs")
    return found + [f"group {name} runs and was not written" for name in there]


def _told(rule: Mapping[str, Any]) -> tuple[str, float]:
    return str(rule.get("name")), float(rule.get("duration") or 0)


def _meant(rule: Mapping[str, Any]) -> tuple[str, float]:
    return str(rule.get("alert") or rule.get("record")), seconds_of(str(rule.get("for") or "0s"))


def _differences(wanted: Any, running: Any, path: str) -> Iterator[str]:
    if running == HIDDEN or wanted is None:
        return
    if isinstance(wanted, Mapping) and isinstance(running, Mapping):
        for key, value in wanted.items():
            where = f"{path}.{key}" if path else str(key)
            # What is empty is left out of the answer.
            if key not in running and value not in ({}, [], "", None, False):
                yield f"{where}: is missing"
            elif key in running:
                yield from _differences(value, running[key], where)
    elif isinstance(wanted, list) and isinstance(running, list):
        if len(wanted) != len(running):
            yield f"{path}: {len(wanted)} entries were written, {len(running)} run"
            return
        for place, (one, other) in enumerate(zip(wanted, running, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif _same(wanted, running):
        return
    else:
        yield f"{path}: {wanted!r} was written, {running!r} runs"


def _same(wanted: Any, running: Any) -> bool:
    if str(wanted).lower() == str(running).lower():
        return True
    try:
        return seconds_of(str(wanted)) == seconds_of(str(running))
    except ValueError:
        return False
