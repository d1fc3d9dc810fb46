# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The plan of a rollback on purpose: every instance back to the release before, or to a named one it still has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import names
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import SOURCE, assemble, current_instances


def build_back_plan(
    *,
    rollout_id: str,
    inventory: Mapping[str, Any],
    current: Mapping[str, Any],
    release_id: str | None = None,
    canary: str | None = None,
    serial: Sequence[int | str] = ("25%",),
    allow_pool_outage: bool = False,
) -> dict[str, Any]:
    """Return a plan as build_plan() does, with the action rollback.

    inventory: {host: local_llm_instances}, which names the pools; it is not checked, so that a bad one never bars the
    way back. current: {host: result of llm_release_info}. Without release_id each instance goes to its "previous".
    """
    findings: list[dict[str, Any]] = []
    hosts: dict[str, dict[str, dict[str, Any]]] = {}
    known: set[str] = set()
    for host, listed in inventory.items():
        wanted = _by_name(listed)
        hosts[host] = {}
        for name, info in current_instances(host, current.get(host), findings).items():
            if not info.get("current"):
                continue
            known.update(str(item) for item in info.get("releases") or ())
            if not isinstance(wanted.get(name, {}).get("pool"), str):
                findings.append(_no_pool(host, name))
                continue
            hosts[host][name] = _entry(wanted[name], info, release_id)
    if release_id and release_id not in known:
        action = f"Choose one of {names(sorted(known))}." if known else "There is none to choose."
        expected = "a release that a host still has"
        findings.append(
            finding(
                "release", "fail", "release_id", observed=release_id, expected=expected, action=action, source=SOURCE
            )
        )
    findings += [_nothing(host, name, entry) for host, name, entry in _stuck(hosts)]
    return assemble(rollout_id, hosts, findings, canary, serial, allow_pool_outage)


def back_roll(plan: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return {host: instances to take back} for the steps that undo a rollout.

    They know an instance by the rollout that is undone: "from" is the release it goes back to, "to" the one it leaves.
    """
    return {
        host: [
            {
                "name": name,
                "served_name": (entry["description"] or {}).get("served_name"),
                "port": (entry["description"] or {}).get("port"),
                **entry,
                "from": entry["to"],
                "to": entry["from"],
            }
            for name, entry in instances.items()
            if entry["action"] != "none"
        ]
        for host, instances in plan["hosts"].items()
    }


def _by_name(listed: Any) -> dict[str, Mapping[str, Any]]:
    items = listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ()
    return {str(item.get("name")): item for item in items if isinstance(item, Mapping)}


def _entry(wanted: Mapping[str, Any], info: Mapping[str, Any], release_id: str | None) -> dict[str, Any]:
    running = info["current"]
    target = release_id or info.get("previous")
    if release_id and release_id not in (info.get("releases") or ()):
        target = None
    if target is None:
        action, reason = "none", "it has no such release" if release_id else "there is no release before"
    elif target == running:
        action, reason = "none", "runs already"
    else:
        action, reason = "rollback", "the named release" if release_id else "the release before"
    return {
        "from": running,
        "to": target or running,
        "action": action,
        "reason": reason,
        "pool": wanted["pool"],
        "slo_tier": wanted.get("slo_tier") or "standard",
        "description": info.get("current_description"),
        "previous_description": info.get("current_description"),
        "changes": [],
        "bytes_needed": 0,
    }


def _stuck(hosts: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (host, name, entry)
        for host, instances in hosts.items()
        for name, entry in instances.items()
        if entry["action"] == "none" and entry["reason"] != "runs already"
    ]


def _nothing(host: str, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    action = f"It stays on {entry['from']}. To change it, describe the wanted release in the inventory and run upgrade."
    return finding("no_way_back", "warn", f"{host}/{name}", observed=entry["reason"], action=action, source=SOURCE)


def _no_pool(host: str, name: str) -> dict[str, Any]:
    return finding(
        "left_over",
        "warn",
        f"{host}/{name}",
        observed="not in local_llm_instances",
        expected="its pool in the inventory",
        action="It is left alone. Add it to the inventory with its pool, then run rollback again.",
        source=SOURCE,
    )
