# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the gateways say about the instances of a plan: is each server known, and was it in service before?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding

SOURCE = "gateway"


def add_gateways(plan: Mapping[str, Any], gateway_infos: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan with "gateway_before" (ready, drain or maint) at each changing instance, and findings added.

    gateway_infos: {gateway host: result of gateway_info}. A server that was out of service on any gateway before the
    rollout stays so after it. What an interrupted rollout has drained under a lease counts as it was before.
    """
    findings = list(plan["findings"])
    tables: dict[str, dict[tuple[str, str], str]] = {}
    for gateway, info in gateway_infos.items():
        servers = info.get("servers") if isinstance(info, Mapping) and not _bad(info) else None
        if not isinstance(servers, Sequence):
            observed = (info.get("msg") if isinstance(info, Mapping) else None) or "no answer"
            action = "Make its admin socket answer (systemctl status haproxy there), or run site on it."
            if isinstance(info, Mapping) and info.get("set_up") is False:
                observed = "no HAProxy that is set up"
                action = f"Run site first: it installs HAProxy on {gateway} and sets it up."
            if isinstance(info, Mapping) and info.get("unreachable"):
                observed = f"unreachable: {str(observed).removeprefix('Task failed: ')}"
                action = "Bring it back (power, network, SSH), or take it out of the group gateway."
            findings.append(_fail("gateway_info", f"gateway {gateway}", observed, "its servers", action))
            continue
        tables[gateway] = {(s["pool"], s["server"]): _before(s) for s in servers}
    hosts: dict[str, dict[str, Any]] = {}
    for host, instances in plan["hosts"].items():
        hosts[host] = {}
        for name, entry in instances.items():
            states = {}
            for gateway, table in tables.items():
                server = (entry["pool"], f"{host}-{name}")
                if server in table:
                    states[gateway] = table[server]
                elif entry["action"] != "none" or entry.get("carried"):
                    observed = f"not known to gateway {gateway}"
                    action = f"Run site, so that {gateway} learns about the instance."
                    expected = f"server {server[1]} in pool {server[0]}"
                    findings.append(_fail("gateway_server", f"{host}/{name}", observed, expected, action))
            hosts[host][name] = {**entry, "gateway_before": _worst(states.values())}
    return {**plan, "hosts": hosts, "findings": findings}


def out_of_service(gateway_infos: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the servers that some gateway sends nothing to, and did not before a lease, as (pool, server)."""
    found = set()
    for info in gateway_infos.values():
        servers = info.get("servers") if isinstance(info, Mapping) and not _bad(info) else None
        for server in servers if isinstance(servers, Sequence) else ():
            if _before(server) != "ready" or server.get("operational_state") == "down":
                found.add((str(server["pool"]), str(server["server"])))
    return found


def in_service(gateway_infos: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the servers that every gateway which answers sends requests to, as (pool, server); also of other hosts.

    Now, whatever was before a lease: what a rollout has drained and left cannot stand in for others.
    """
    known = [
        {
            (str(server["pool"]), str(server["server"]))
            for server in info.get("servers") or ()
            if server.get("admin_state") == "ready"
        }
        for info in gateway_infos.values()
        if isinstance(info, Mapping) and not _bad(info)
    ]
    return set.intersection(*known) - out_of_service(gateway_infos) if known else set()


def _before(server: Mapping[str, Any]) -> str:
    """Return the state of a server, or the one from before a lease that stands."""
    lease = server.get("lease")
    before = lease.get("before") if isinstance(lease, Mapping) else None
    state = before.get("state") if isinstance(before, Mapping) else None
    return str(state or server.get("admin_state"))


def _worst(states: Any) -> str | None:
    present = set(states)
    return next((state for state in ("maint", "drain", "ready") if state in present), None)


def _bad(info: Mapping[str, Any]) -> bool:
    return bool(info.get("failed") or info.get("unreachable") or info.get("skipped"))


def _fail(check: str, subject: str, observed: str, expected: str, action: str) -> dict[str, Any]:
    return finding(check, "fail", subject, observed=observed, expected=expected, action=action, source=SOURCE)
