# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which servers of a pool a release may be held against: those that do not run what the rollout brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class OthersError(Exception):
    """The plan does not know the server."""


def unchanged_servers(plan: Mapping[str, Any], server: str) -> frozenset[str]:
    """Return the servers, named <host>-<instance>, that the rollout has not changed when this one is tried.

    plan: as rollout_plan makes it. A release that fails must not be excused by servers that it was given before. So
    there count: instances of later batches, which run what they ran before, and instances that have nothing to do,
    unless they have one of the very values that this rollout changes.
    """
    named = {
        f"{host}-{name}": (host, entry) for host, entries in plan["hosts"].items() for name, entry in entries.items()
    }
    if server not in named:
        raise OthersError(
            f"server is {server!r}, which the plan does not have; it has {', '.join(sorted(named)) or 'none'}"
        )
    host, tried = named[server]
    later = _later_hosts(plan["batches"], host)
    return frozenset(
        name
        for name, (where, entry) in named.items()
        if name != server
        and entry["pool"] == tried["pool"]
        and ((entry["action"] == "upgrade" and where in later) or _stays_as_it_was(entry, tried))
    )


def _later_hosts(batches: list[list[str]], host: str) -> frozenset[str]:
    """Return the hosts of the batches behind that of this host."""
    places = [number for number, batch in enumerate(batches) if host in batch]
    return frozenset(name for batch in batches[places[0] + 1 :] for name in batch) if places else frozenset()


def _stays_as_it_was(entry: Mapping[str, Any], tried: Mapping[str, Any]) -> bool:
    """Return whether an instance has nothing to do and none of the values that the tried one changes to."""
    # Where it is not known what changes, it cannot be known who has it already.
    if entry["action"] != "none" or entry.get("carried") or not tried["changes"]:
        return False
    return all(_value(entry["description"], change["key"]) != change["to"] for change in tried["changes"])


def _value(description: Mapping[str, Any], key: str) -> Any:
    prefix, _dot, option = key.partition(".")
    return (description.get("config") or {}).get(option) if prefix == "config" and option else description.get(key)
