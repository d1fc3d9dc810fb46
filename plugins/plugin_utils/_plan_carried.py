# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What an interrupted rollout has promoted already belongs to the rollout that goes on: it goes back with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Hosts = Mapping[str, Mapping[str, Mapping[str, Any]]]

# An instance in one of these states, with nothing armed, was let in with its release.
PROMOTED_STATES = ("healthy", "verifying")


def with_carried(
    hosts: Hosts, found: Hosts, completed: Collection[str] = ()
) -> tuple[dict[str, dict[str, dict[str, Any]]], list[str]]:
    """Return the entries, each with "carried", and the sorted hosts that have a carried one.

    found: {host: {instance: what llm_release_info says of it}}.
    Carried is an instance that has nothing to do, because an earlier rollout brought it the release to which other
    instances of its pool still have to move. Its "from" is the release before. Where a rollout in completed has
    brought that release to the pool, nothing is carried: what others still have to do does not make it doubtful.
    """
    moving = {
        (entry["pool"], entry["to"])
        for entries in hosts.values()
        for entry in entries.values()
        if entry["action"] != "none"
    }
    for host, entries in hosts.items():
        for name, entry in entries.items():
            if entry["action"] == "none" and _state(found, host, name).get("rollout_id") in completed:
                moving.discard((entry["pool"], entry["to"]))
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for host, entries in hosts.items():
        result[host] = {}
        for name, entry in entries.items():
            previous = found.get(host, {}).get(name, {}).get("previous")
            carried = (
                entry["action"] == "none"
                and (entry["pool"], entry["to"]) in moving
                and _state(found, host, name).get("state") in PROMOTED_STATES
                and previous not in (None, entry["to"])
            )
            more = {"from": previous, "reason": "promoted by an earlier rollout", "previous_description": None}
            result[host][name] = {**entry, "carried": carried, **(more if carried else {})}
    hosts_with = sorted(host for host, entries in result.items() if any(entry["carried"] for entry in entries.values()))
    return result, hosts_with


def with_share_limits(hosts: Hosts, planned: list[list[str]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the entries, each with "share_limit_percent": what hosts that enter a pool together may take in sum."""
    together: dict[tuple[str, str], int] = {}
    for batch in planned:
        count: dict[str, int] = {}
        for host in batch:
            for pool in _changing_pools(hosts[host]):
                count[pool] = count.get(pool, 0) + 1
        together.update({(host, pool): number for host in batch for pool, number in count.items()})
    return {
        host: {
            name: {
                **entry,
                "share_limit_percent": max(1, 100 // together.get((host, entry["pool"]), 1))
                if entry["action"] != "none"
                else 100,
            }
            for name, entry in entries.items()
        }
        for host, entries in hosts.items()
    }


def _changing_pools(entries: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {entry["pool"] for entry in entries.values() if entry["action"] != "none"}


def _state(found: Hosts, host: str, name: str) -> Mapping[str, Any]:
    state = found.get(host, {}).get(name, {}).get("instance_state")
    return state if isinstance(state, Mapping) else {}
