# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The plan of a rollout: who moves from which release to which, in which batches. Plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding, nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils._batches import batches, check_serial, order_hosts
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import names
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_capacity import (
    capacity_findings,
    limit_batches,
    pool_limits,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_carried import with_carried, with_share_limits

SCHEMA = 1
SOURCE = "plan"
# install: nothing ran before. upgrade: another release runs. resume: the release is there but not proven. none: done.
ACTIONS = ("install", "upgrade", "resume", "none")


def build_plan(
    *,
    rollout_id: str,
    desired: Mapping[str, Mapping[str, Mapping[str, Any]]],
    current: Mapping[str, Any],
    canary: str | None = None,
    serial: Sequence[int | str] = (1, "10%", "50%", "100%"),
    allow_pool_outage: bool = False,
    completed: Collection[str] = (),
    capacity: Mapping[str, Mapping[str, Any]] | None = None,
    short_pools: Collection[str] = (),
    out_of_service: Collection[tuple[str, str]] = (),
    in_service: Collection[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the plan.

    desired: {host: {instance: release}} as desired_releases() gives it, hosts in inventory order.
    current: {host: result of llm_release_info}. completed: ids of earlier rollouts that are known to have completed.
    The plan's "order" lists the hosts with a change, the canary first, then those that an earlier rollout left in the
    middle: a play over these hosts in this order with the same serial makes the plan's "batches". "carried" are hosts
    with an instance that an interrupted rollout has brought to the release of this one already; it is in no batch for
    that, and goes back with the others.
    capacity: {pool: goodput and rate}. Where both are known, a batch takes no more hosts than the others can stand in
    for; "serial" then lists the batches' own sizes. short_pools may lack a host meanwhile; out_of_service: pairs of
    (pool, server) that no client reaches before the rollout; in_service: of those that clients reach, on any host.
    """
    findings: list[dict[str, Any]] = []
    hosts: dict[str, dict[str, dict[str, Any]]] = {}
    known: dict[str, dict[str, Mapping[str, Any]]] = {}
    for host, instances in desired.items():
        found = known[host] = _current_instances(host, current.get(host), findings)
        hosts[host] = {name: _entry(host, name, item, found.get(name), findings) for name, item in instances.items()}
        for name in found:
            if name not in instances and found[name].get("current"):
                findings.append(_left_over(host, name, found[name]))
    changing = [host for host, entries in hosts.items() if any(entry["action"] != "none" for entry in entries.values())]
    findings = findings + canary_findings(canary, list(hosts), changing) + serial_findings(serial)
    halted = _halted(known)
    order = order_hosts(changing, canary, {host for host, _name in halted})
    meant = [] if serial_findings(serial) else batches(order, serial)
    limits = pool_limits(hosts, capacity or {}, out_of_service, in_service, halted)
    planned = limit_batches(meant, limits)
    findings = findings + capacity_findings(meant, planned, limits, short_pools)
    hosts, carried = with_carried(hosts, known, completed)
    hosts = with_share_limits(hosts, planned)
    return {
        "schema": SCHEMA,
        "rollout_id": rollout_id,
        "direction": "forward",
        "canary": order[0] if order else None,
        "serial": list(serial) if planned == meant else [len(batch) for batch in planned],
        "order": order,
        "batches": planned,
        "hosts": hosts,
        "carried": carried,
        "findings": findings + pool_findings(hosts, planned, allow_pool_outage),
    }


def serial_findings(serial: Sequence[int | str]) -> list[dict[str, Any]]:
    """Return what is wrong with serial."""
    return [
        finding("serial", "fail", "serial", observed=list(serial), action=f"Correct it: {message}.", source=SOURCE)
        for message in check_serial(serial)
    ]


# The playbook stop takes what the inventory lists, so the instance leaves the inventory last.
_KEEP_OR_REMOVE = (
    "Put it back into the inventory, or remove it in order: stop it first (local_llm.ops.stop) while the inventory "
    "lists it, remove it with llm_release state=absent, then take it out of the inventory."
)
_SERVING_UNIT_STATES = ("active", "activating", "reloading")


def unlisted_serving(
    desired: Mapping[str, Mapping[str, Mapping[str, Any]]], current: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return a fault for each instance that serves and that the inventory no longer names.

    A host that gave no answer is passed over: its own failure tells that.
    """
    result = []
    for host, instances in desired.items():
        for name, info in _current_instances(host, current.get(host), []).items():
            if name in instances or not info.get("current") or info.get("active_state") not in _SERVING_UNIT_STATES:
                continue
            action = f"site would cut it off its pool. {_KEEP_OR_REMOVE}"
            subject = f"instance {name} serves on {host} and is not in local_llm_instances"
            result.append(finding("still_serves", "fail", subject, action=action, source=SOURCE))
    return result


def description_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what differs between two release descriptions as [{"key", "from", "to"}], configuration key by key."""
    if before is None:
        return []
    changes = []
    for key in sorted({*before, *after} - {"schema", "config"}, key=_rank):
        if before.get(key) != after.get(key):
            changes.append({"key": key, "from": before.get(key), "to": after.get(key)})
    old, new = before.get("config") or {}, after.get("config") or {}
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            changes.append({"key": f"config.{key}", "from": old.get(key), "to": new.get(key)})
    return changes


def instance_counts(plan: Mapping[str, Any]) -> dict[str, int]:
    """Return how many instances have each action."""
    counts = dict.fromkeys(ACTIONS, 0)
    for instances in plan["hosts"].values():
        for entry in instances.values():
            counts[entry["action"]] += 1
    return counts


_ORDER = ("engine", "engine_version", "model", "model_revision", "model_manifest_sha256", "model_entry", "served_name")


def _rank(key: str) -> tuple[int, str]:
    return (_ORDER.index(key) if key in _ORDER else len(_ORDER), key)


def _current_instances(host: str, info: Any, findings: list[dict[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return what the host says of its instances, by name; an answer that is missing becomes a finding."""
    bad = not isinstance(info, Mapping) or info.get("failed") or info.get("unreachable") or info.get("skipped")
    listed = None if bad else info.get("instances")
    if not isinstance(listed, Sequence):
        observed = info.get("msg") or "the query failed" if isinstance(info, Mapping) else "no answer"
        action = f"Make {host} reachable, run site on it, or take it out of the inventory group."
        findings.append(
            finding(
                "release_info", "fail", host, observed=observed, expected="its releases", action=action, source=SOURCE
            )
        )
        return {}
    return {str(item["instance"]): item for item in listed if isinstance(item, Mapping) and item.get("instance")}


def _entry(
    host: str, name: str, item: Mapping[str, Any], info: Mapping[str, Any] | None, findings: list[dict[str, Any]]
) -> dict[str, Any]:
    armed = (info.get("armed") if info else None) or {}
    # What is armed was never proven: the release to come from is the one that the dead-man would go back to.
    running = armed.get("revert_to") if armed else (info.get("current") if info else None)
    before = info.get("current_description") if info else None
    action, reason = _action(item["release_id"], info)
    state = _state(info)
    findings += _service_findings(f"{host}/{name}", action, item["description"], info)
    if state == "rollback_failed":
        findings.append(
            finding(
                "instance_state",
                "warn",
                f"{host}/{name}",
                observed=state,
                expected="healthy",
                action="An earlier rollout could not go back here. Look at its journal before going on.",
                source=SOURCE,
            )
        )
    return {
        "from": running,
        "to": item["release_id"],
        "action": action,
        "reason": reason,
        "pool": item["pool"],
        "slo_tier": item["slo_tier"],
        "armed": bool(armed),
        "description": dict(item["description"]),
        "previous_description": before,
        "changes": description_changes(before, item["description"]) if running != item["release_id"] else [],
        "bytes_needed": item.get("bytes_needed", 0),
    }


def _action(wanted: str, info: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return (action, why)."""
    if info is None or not info.get("current"):
        return "install", "nothing runs yet"
    if info.get("armed"):
        return "resume", f"release {info['current']} runs but was not committed"
    if info["current"] != wanted:
        return "upgrade", "another release runs"
    return "none", "runs"


# A key of the description that clients or the gateway know; a release cannot move it under their feet.
_FIXED_KEYS = {"port": "the gateway sends to", "served_name": "clients ask for"}


def _service_findings(
    subject: str, action: str, description: Mapping[str, Any], info: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return what keeps an instance from being rolled: it does not serve, or it would move away from its clients."""
    if action == "install":
        return [
            finding(
                "not_installed",
                "fail",
                subject,
                observed="nothing runs there yet",
                expected="an instance that serves, so that there is something to compare with and to go back to",
                action="Run local_llm.ops.site first; it gives a new instance its first release.",
                source=SOURCE,
            )
        ]
    if info is None or info.get("armed"):
        return []
    result = []
    if info.get("active_state") != "active":
        name = subject.partition("/")[2]
        result.append(
            finding(
                "unit_state",
                "fail",
                subject,
                observed=info.get("active_state") or "unknown",
                expected="active, so that there is something to compare with and to go back to",
                action=f"Look why: journalctl -u local-llm@{name}. Start it with playbook start, or take the host out.",
                source=SOURCE,
            )
        )
    before = info.get("current_description") or {}
    for key, whose in _FIXED_KEYS.items():
        if action == "upgrade" and before and before.get(key) != description.get(key):
            result.append(
                finding(
                    f"fixed_{key}",
                    "fail",
                    f"{key} of {subject}",
                    observed=description.get(key),
                    expected=f"{before.get(key)}, which {whose}",
                    action=f"Keep the {key}, or add a second instance with it, run site, then remove the old one.",
                    source=SOURCE,
                )
            )
    return result


def _state(info: Mapping[str, Any] | None) -> str | None:
    state = info.get("instance_state") if info else None
    return state.get("state") if isinstance(state, Mapping) else None


# States of an instance that clients are served in. One without a state is taken to serve, as its unit does.
_SERVING_STATES = (None, "healthy", "rolled_back_verified")


def _halted(known: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> set[tuple[str, str]]:
    """Return the instances (host, name) that an earlier rollout left in the middle, mostly drained under a lease."""
    return {
        (host, name)
        for host, instances in known.items()
        for name, info in instances.items()
        if info.get("armed") or _state(info) not in _SERVING_STATES
    }


def _left_over(host: str, name: str, info: Mapping[str, Any]) -> dict[str, Any]:
    return finding(
        "left_over",
        "warn",
        f"{host}/{name}",
        observed=f"release {info['current']} is on the host",
        expected=f"an instance {name} in local_llm_instances of {host}",
        action=f"A rollout leaves it alone. {_KEEP_OR_REMOVE}",
        source=SOURCE,
    )


def canary_findings(canary: str | None, hosts: list[str], changing: list[str]) -> list[dict[str, Any]]:
    """Return what is wrong with the choice of the canary."""
    if canary is None or canary in changing:
        return []
    if canary not in hosts:
        near = nearest(canary, hosts)
        action = f"Did you mean {near}?" if near else f"Choose one of {names(hosts)}."
        return [
            finding(
                "canary",
                "fail",
                "canary",
                observed=canary,
                expected="a host of the rollout",
                action=action,
                source=SOURCE,
            )
        ]
    if not changing:
        return []
    action = f"{changing[0]} goes first instead."
    return [
        finding("canary", "warn", "canary", observed=f"{canary} has nothing to change", action=action, source=SOURCE)
    ]


def pool_findings(
    hosts: Mapping[str, Mapping[str, Mapping[str, Any]]], planned: list[list[str]], allow_outage: bool
) -> list[dict[str, Any]]:
    """Return what the order means for each pool: taken out as a whole, or first met by a batch of several hosts."""
    members: dict[str, set[str]] = {}
    changing: dict[str, set[str]] = {}
    for host, instances in hosts.items():
        for entry in instances.values():
            if entry["from"] is not None:
                members.setdefault(entry["pool"], set()).add(host)
                if entry["action"] != "none":
                    changing.setdefault(entry["pool"], set()).add(host)
    result = []
    for pool, pool_hosts in changing.items():
        if members[pool] <= pool_hosts and len(members[pool]) == 1:
            only = next(iter(members[pool]))
            action = (
                "Its requests wait in the queue, then get 503, while it restarts. Add a second host to keep serving."
            )
            result.append(
                finding(
                    "pool_outage",
                    "warn",
                    f"pool {pool}",
                    observed=f"only {only} serves it",
                    action=action,
                    source=SOURCE,
                )
            )
            continue
        met = [
            (number, pool_hosts & set(batch))
            for number, batch in enumerate(planned, start=1)
            if pool_hosts & set(batch)
        ]
        for number, together in met:
            if members[pool] <= together:
                action = "Nothing would serve the pool meanwhile. Use smaller batches, for example serial: [1, '50%']."
                observed = f"batch {number} takes every host of it: {names(sorted(together))}"
                status = "warn" if allow_outage else "fail"
                result.append(
                    finding("pool_outage", status, f"pool {pool}", observed=observed, action=action, source=SOURCE)
                )
        if met and len(met[0][1]) > 1 and not members[pool] <= met[0][1]:
            number, together = met[0]
            action = (
                "The canary host does not serve this pool. Choose a canary that does, or begin serial with 1 for it."
            )
            observed = f"its first hosts to change are {names(sorted(together))}, together in batch {number}"
            result.append(
                finding("pool_canary", "warn", f"pool {pool}", observed=observed, action=action, source=SOURCE)
            )
    return result
