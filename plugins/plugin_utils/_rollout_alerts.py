# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""May a rollout begin, by what Prometheus says now: critical alerts that fire, error budgets that are spent.

Controller only; nothing here asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import Series

SOURCE = "Prometheus"
QUERIES = {
    # Without our rules neither an alert nor a budget could be seen.
    "rules": "count(local_llm:instance_expected)",
    "alerts": 'ALERTS{alertstate="firing",severity="critical"}',
    "budgets": "local_llm:slo_budget_remaining:ratio",
}
OURS = "LocalLlm"
ACCEPT = 'local_llm_accept_alerts="<name>: <reason>"'


@dataclass(frozen=True)
class Scope:
    """What a rollout touches: the pools that change, the hosts of these pools, and the gateways."""

    pools: tuple[str, ...]
    hosts: tuple[str, ...]


def scope_of(plan: Mapping[str, Any], gateways: Sequence[str]) -> Scope:
    """Return what a plan touches."""
    entries = [(host, entry) for host, instances in plan["hosts"].items() for entry in instances.values()]
    pools = sorted({entry["pool"] for _host, entry in entries if entry["action"] != "none"})
    hosts = sorted({host for host, entry in entries if entry["pool"] in pools})
    return Scope(tuple(pools), tuple(dict.fromkeys([*hosts, *gateways])))


def alert_findings(scope: Scope, answers: Mapping[str, Sequence[Series]]) -> list[dict[str, Any]]:
    """Return what speaks against a rollout now. Answers to QUERIES, by name."""
    if not answers.get("rules"):
        return [
            finding(
                "alert_rules",
                "fail",
                "rules of local_llm.ops",
                observed="none in this Prometheus",
                expected="the rules of the filter slo_rules, without which no alert and no error budget can be seen",
                action="Load them (docs/slo_rules.md), or see whether local_llm_prometheus_url is the right one.",
                source=SOURCE,
            )
        ]
    found = [_alert(dict(one.labels)) for one in answers.get("alerts", ()) if concerns(one.labels, scope)]
    for one in answers.get("budgets", ()):
        pool = one.labels.get("pool")
        left = one.samples[-1][1] if one.samples else None
        if pool in scope.pools and left is not None and left <= 0:
            what = " ".join(one.labels[name] for name in ("engine", "slo") if one.labels.get(name))
            found.append(
                finding(
                    "error_budget",
                    "fail",
                    f"error budget {what} of pool {pool}",
                    observed=f"{100 * left:.3g} % left of 30 days",
                    expected="more than nothing: a rollout may cost some",
                    action="Mend what burns it first.",
                    source=SOURCE,
                )
            )
    return found or [
        finding("alerts", "ok", f"pools {', '.join(scope.pools)}", observed="no critical alert fires", source=SOURCE)
    ]


def unknown_finding(message: str) -> dict[str, Any]:
    """Return the finding when Prometheus cannot be asked: nobody knows whether something fires."""
    return finding(
        "alerts",
        "fail",
        "alerts and error budgets",
        observed=message,
        expected="an answer",
        action="Mend it, or correct local_llm_prometheus_url.",
        source=SOURCE,
    )


def concerns(labels: Mapping[str, str], scope: Scope) -> bool:
    """Tell whether an alert is about a pool or a host of the rollout, or about our whole site."""
    pool, host = labels.get("pool"), labels.get("host")
    if pool or host:
        return pool in scope.pools or (host in scope.hosts and (not pool or pool in scope.pools))
    server = labels.get("server", "")
    if server:
        return any(server.startswith(f"{name}-") for name in scope.hosts)
    return labels.get("alertname", "").startswith(OURS)


def _alert(labels: Mapping[str, str]) -> dict[str, Any]:
    name = labels.get("alertname", "an alert without a name")
    kept = ("host", "pool", "server", "gpu", "slo", "why", "instance")
    where = ", ".join(f"{key} {labels[key]}" for key in kept if labels.get(key))
    return finding(
        "firing_alert",
        "fail",
        f"alert {name}{f' ({where})' if where else ''}",
        observed="fires, critical",
        expected="no critical alert",
        action="Mend it first; its page is in docs/runbooks." if name.startswith(OURS) else "Mend it first.",
        source=SOURCE,
    )
