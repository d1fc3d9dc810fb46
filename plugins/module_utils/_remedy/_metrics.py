# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The metrics of remediation, for node_exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._remedy._rules import Rule
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._service import server_name
from ansible_collections.local_llm.ops.plugins.module_utils._textfile import Family

FILE_NAME = "local_llm_remediation.prom"
# Parts of a key of "counts" and "failures": an instance or a rule has no such character in its name.
SEPARATOR = " "


def count(counts: Mapping[str, int], mode: str, rule: str, action: str, instance: str) -> dict[str, int]:
    """Return the counts with one more of these."""
    key = SEPARATOR.join((mode, rule, action, instance))
    return {**counts, key: counts.get(key, 0) + 1}


def families(
    state: Mapping[str, Any], held: Mapping[str, str], rules: Sequence[Rule], host: str, now: float, waiting: int
) -> list[Family]:
    """Return all metrics. The label is called server and not instance, which is Prometheus' own name for the target."""

    def counted(what: str, mode: str) -> list[tuple[dict[str, str], float]]:
        found = []
        for key, number in sorted(state[what].items()):
            of_mode, rule, action, instance = key.split(SEPARATOR)
            if of_mode == mode:
                found.append(({"rule": rule, "action": action, "server": server_name(host, instance)}, float(number)))
        return found

    gave_up: list[tuple[dict[str, str], float]] = []
    out: list[tuple[dict[str, str], float]] = []
    for name, memory in sorted(state["instances"].items()):
        server = server_name(host, name)
        for rule in rules:
            # What gave up in mode act waits for a person also while the mode is observe.
            observed = memory.get("observed_rules", {}) if state["mode"] == "observe" else {}
            entries = [memory["rules"].get(rule.name), observed.get(rule.name)]
            value = 1.0 if any(entry and entry["gave_up_at"] is not None for entry in entries) else 0.0
            gave_up.append(({"rule": rule.name, "server": server}, value))
        out.append(({"server": server}, 0.0 if memory["out"] is None else 1.0))
    held_series = [({"server": server_name(host, name)}, 1.0 if why else 0.0) for name, why in sorted(held.items())]
    return [
        Family(
            "local_llm_remediation_actions_total",
            "counter",
            "Actions taken, by rule, action and server",
            counted("counts", "act"),
        ),
        Family(
            "local_llm_remediation_observed_actions_total",
            "counter",
            "Actions that mode act would have taken, while the mode is observe",
            counted("counts", "observe"),
        ),
        Family(
            "local_llm_remediation_failures_total",
            "counter",
            "Actions that failed, by rule, action and server",
            counted("failures", "act"),
        ),
        Family(
            "local_llm_remediation_gave_up",
            "gauge",
            "1 when a rule has reached its limit and waits for a person",
            gave_up,
        ),
        Family("local_llm_remediation_out_of_service", "gauge", "1 while remediation keeps a server out", out),
        Family(
            "local_llm_remediation_held",
            "gauge",
            "1 while nothing is done because a rollout, a recovery or a person has the instance",
            held_series,
        ),
        Family(
            "local_llm_remediation_acting",
            "gauge",
            "1 in mode act, 0 in mode observe",
            [({}, 1.0 if state["mode"] == "act" else 0.0)],
        ),
        Family(
            "local_llm_remediation_waiting_messages", "gauge", "Messages that wait for Alertmanager", [({}, waiting)]
        ),
        Family(
            "local_llm_remediation_last_run_timestamp_seconds", "gauge", "When remediation last looked", [({}, now)]
        ),
    ]
