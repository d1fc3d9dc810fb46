# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Collect what is wrong with the desired state, once per fault and not once per host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding, show

SOURCE = "inventory"
_NAMES_SHOWN = 4


@dataclass
class Collector:
    """Collect findings; the same finding on several hosts becomes one that names them all."""

    hosts: dict[tuple[str, str, str, str, str, str], list[str]] = field(default_factory=dict)
    values: dict[tuple[str, str, str, str, str, str], tuple[Any, Any]] = field(default_factory=dict)
    host: str = ""

    def fail(self, check: str, path: str, observed: Any, expected: Any, action: str) -> None:
        self.add("fail", check, path, observed, expected, action)

    def add(self, status: str, check: str, path: str, observed: Any, expected: Any, action: str) -> None:
        key = (status, check, path, repr(observed), repr(expected), action)
        hosts = self.hosts.setdefault(key, [])
        if self.host and self.host not in hosts:
            hosts.append(self.host)
        self.values.setdefault(key, (observed, expected))

    def findings(self) -> list[dict[str, Any]]:
        result = []
        for key, hosts in self.hosts.items():
            status, check, path, _observed, _expected, action = key
            observed, expected = self.values[key]
            subject = f"{path} on {names(hosts)}" if hosts else path
            result.append(
                finding(
                    check, status, subject, observed=_short(observed), expected=expected, action=action, source=SOURCE
                )
            )
        return result


def names(items: list[str]) -> str:
    """Return up to four names as text, then how many more there are."""
    if len(items) <= _NAMES_SHOWN:
        return ", ".join(items)
    return f"{', '.join(items[: _NAMES_SHOWN - 1])} and {len(items) - _NAMES_SHOWN + 1} more"


def _short(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float, bool)) else show(value)
