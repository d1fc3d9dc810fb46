# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The rules of remediation: data in, checked rules out, with the value and the mend of everything that is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Condition -> what it rests on. "events": at least `threshold` of them within `window_seconds`. "lasting": true for at
# least `for_seconds`.
CONDITIONS: dict[str, str] = {
    "oom_kills": "events",
    "crashes": "events",
    "failed": "lasting",
    "unresponsive": "lasting",
    "stuck": "lasting",
}
ACTIONS = ("take_out", "restart", "notify")
# An action that a person must end: after the limit of its rule no rule does it any more.
LIMITED_ACTION = "restart"
KEYS = (
    "name",
    "condition",
    "threshold",
    "window_seconds",
    "for_seconds",
    "actions",
    "cooldown_seconds",
    "limit",
    "limit_window_seconds",
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
# The least that keeps a rule from doing harm by itself: an engine needs a while to come up.
LEAST_COOLDOWN_SECONDS = 10


@dataclass(frozen=True)
class Rule:
    """One rule. After `limit` times within `limit_window_seconds` it gives up towards a person."""

    name: str
    condition: str
    threshold: int
    window_seconds: int
    for_seconds: int
    actions: tuple[str, ...]
    cooldown_seconds: int
    limit: int
    limit_window_seconds: int


def parse_rules(entries: Any) -> tuple[list[Rule], list[str]]:
    """Return the rules in their order, and what is wrong with the others."""
    if not isinstance(entries, list):
        return [], [f"rules is {entries!r}: it must be a list of rules"]
    rules: list[Rule] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, start=1):
        found = _problems(entry, f"rule {number}")
        if found:
            problems.extend(found)
            continue
        rule = Rule(
            name=entry["name"],
            condition=entry["condition"],
            threshold=entry.get("threshold") or 1,
            window_seconds=entry.get("window_seconds") or 600,
            for_seconds=entry.get("for_seconds") or 0,
            actions=tuple(entry["actions"]),
            cooldown_seconds=entry["cooldown_seconds"],
            limit=entry["limit"],
            limit_window_seconds=entry["limit_window_seconds"],
        )
        if rule.name in {one.name for one in rules}:
            problems.append(f"rule {rule.name}: there are two of this name. Give each rule a name of its own.")
        rules.append(rule)
    return rules, problems


def _problems(entry: Any, place: str) -> list[str]:
    if not isinstance(entry, Mapping):
        return [f"{place} is {entry!r}: it must be a mapping with {', '.join(KEYS)}"]
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return [f"{place}: name is {name!r}. Use small letters, digits and underscores, beginning with a letter."]
    place = f"rule {name}"
    unknown = sorted(set(entry) - set(KEYS))
    problems = [f"{place}: {key} is no key of a rule. Known keys: {', '.join(KEYS)}." for key in unknown]
    if entry.get("condition") not in CONDITIONS:
        problems.append(
            f"{place}: condition is {entry.get('condition')!r}. Use one of: {', '.join(sorted(CONDITIONS))}."
        )
    actions = entry.get("actions")
    wrong = [one for one in actions if one not in ACTIONS] if isinstance(actions, list) else [actions]
    if wrong or not actions:
        problems.append(f"{place}: actions is {actions!r}. Give a list out of: {', '.join(ACTIONS)}.")
    for key, least in (
        ("threshold", 1),
        ("window_seconds", 1),
        ("for_seconds", 0),
        ("cooldown_seconds", LEAST_COOLDOWN_SECONDS),
        ("limit", 1),
        ("limit_window_seconds", 1),
    ):
        value = entry.get(key)
        if value is None and key in ("threshold", "window_seconds", "for_seconds"):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            problems.append(f"{place}: {key} is {value!r}. Give a whole number of at least {least}.")
    if not problems and entry["limit_window_seconds"] <= entry["cooldown_seconds"] * (entry["limit"] - 1):
        problems.append(
            f"{place}: limit {entry['limit']} is never reached: with cooldown_seconds {entry['cooldown_seconds']} the "
            f"rule acts too seldom within limit_window_seconds {entry['limit_window_seconds']}. Make the window longer "
            f"than {entry['cooldown_seconds'] * entry['limit']}, or the cooldown shorter."
        )
    return problems
