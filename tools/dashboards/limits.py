# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits that panels show are those of the alerts: read from slo_alerts.yml, never written a second time."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules import DEFAULT_RUNBOOKS
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_data
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import PAGE, TICKET
from ansible_collections.local_llm.ops.tools.dashboards.model import SEVERITIES, Alert, Limit

_COMPARISON = re.compile(r"(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?)(?![\w.])")
_BURN = {"LocalLlmAvailabilityBudgetBurnsFast": "critical", "LocalLlmAvailabilityBudgetBurnsSlowly": "warning"}


def alert(name: str, after: str = "") -> Alert:
    """Return an alert by its name, with its limit when that is a fixed number.

    after: the limit is the one behind this text, for an expression with several parts.
    """
    entry = _entry(name)
    if after and after not in entry["expr"]:
        raise KeyError(f"alert {name} does not name {after}; look at its expression in slo_alerts.yml")
    found = first_comparison(entry["expr"].partition(after)[2] if after else entry["expr"])
    limit = None
    if found is not None:
        sign, value = found
        colour = SEVERITIES[entry["severity"]]
        # "== 0" is asked of what is 1 when all is well.
        limit = (
            Limit(1.0, False, colour) if (sign, value) == ("==", 0.0) else Limit(value, sign.startswith(">"), colour)
        )
    return Alert(name, entry["severity"], f"{DEFAULT_RUNBOOKS}/{entry['runbook']}", limit)


def budget_alert(name: str, section: str, severity: str) -> Alert:
    """Return an alert on an error budget; these are made for each pool and have no entry in the file."""
    return Alert(name, severity, f"{DEFAULT_RUNBOOKS}/alerts_slo.md#{section}")


def burn_alerts() -> tuple[Alert, ...]:
    """Return the alerts on how fast a budget burns, with the slowest rate at which each comes."""
    return tuple(
        Alert(
            name,
            _BURN[name],
            f"{DEFAULT_RUNBOOKS}/alerts_slo.md#availability",
            Limit(min(window.factor for window in windows), True, SEVERITIES[_BURN[name]]),
        )
        for name, windows in zip(_BURN, (PAGE, TICKET), strict=True)
    )


def first_comparison(expr: str) -> tuple[str, float] | None:
    """Return the first comparison with a number that is not inside brackets."""
    depth, kept = 0, []
    for letter in re.sub(r'"[^"]*"', '""', expr):
        if letter in "([{":
            depth += 1
        if depth == 0:
            kept.append(letter)
        if letter in ")]}":
            depth -= 1
    found = _COMPARISON.search("".join(kept))
    return (found.group(1), float(found.group(2))) if found else None


def _entry(name: str) -> dict[str, Any]:
    for entries in alert_data().values():
        for entry in entries:
            if entry["alert"] == name:
                return entry
    raise KeyError(f"no alert is called {name}; see plugins/plugin_utils/slo_alerts.yml")
