# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The plan of a driver rollout, from the plan of each host: who moves, in which batches, who goes on where he stopped.

It has the shape of the plan of a release rollout, so that gate, journal, outcome and report read both. In the place of
instances each host has one entry, NAME; its releases are versions of the driver.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._batches import batches, order_hosts
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_holds import only_holds
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import canary_findings, pool_findings, serial_findings
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_capacity import (
    capacity_findings,
    limit_batches,
    pool_limits,
)

SCHEMA = 1
KIND = "driver"
SOURCE = "driver"
# Stands where a release rollout has the name of an instance; no instance can be called so.
NAME = "nvidia_driver"
# A transaction in one of these states has changed nothing yet; one in the next is on its way back. Packages that are
# back are not the end of it: the host must be proven and let in, and then the transaction is closed.
NOT_BEGUN = ("planned", "downloaded")
BACKWARD = ("rolling_back", "rolled_back", "failed")
CONSENT = "nvidia_driver_reboot"


def build_driver_rollout(
    *,
    rollout_id: str,
    hosts: Mapping[str, Mapping[str, Any]],
    canary: str | None = None,
    serial: Sequence[int | str] = (1, "10%", "50%", "100%"),
    allow_pool_outage: bool = False,
    capacity: Mapping[str, Mapping[str, Any]] | None = None,
    short_pools: Collection[str] = (),
    out_of_service: Collection[tuple[str, str]] = (),
    in_service: Collection[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the plan.

    hosts: {host: {"facts": driver_facts, "plan": driver_plan, "wanted": the wanted driver, "instances": the host's
    local_llm_instances, "serving": names of those that serve, "servers": as servers_of() gives them}}, in inventory
    order. The plan's "services" are the instances that the hosts serve, in the shape of the entries of a release plan.
    """
    entries = {host: _entry(host, known) for host, known in hosts.items()}
    services = {host: _services(known, leaves_service(entries[host])) for host, known in hosts.items()}
    changing = [host for host, entry in entries.items() if entry["action"] != "none"]
    findings = [item for host, known in hosts.items() for item in _host_findings(host, known, entries[host])]
    findings += canary_findings(canary, list(hosts), changing) + serial_findings(serial)
    resumed = {host for host in changing if entries[host]["action"] == "resume"}
    order = order_hosts(changing, canary, resumed)
    meant = [] if serial_findings(serial) else batches(order, serial)
    left = {(host, name) for host in resumed for name in services[host]}
    limits = pool_limits(services, capacity or {}, out_of_service, in_service, left)
    planned = limit_batches(meant, limits)
    findings += capacity_findings(meant, planned, limits, short_pools)
    findings += pool_findings(services, planned, allow_pool_outage)
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "rollout_id": rollout_id,
        "direction": "forward",
        "canary": order[0] if order else None,
        "serial": list(serial) if planned == meant else [len(batch) for batch in planned],
        "order": order,
        "batches": planned,
        "hosts": {host: {NAME: entry} for host, entry in entries.items()},
        "services": services,
        "carried": [],
        "findings": findings,
    }


def leaves_service(entry: Mapping[str, Any]) -> bool:
    """Tell whether a host must be drained for what it does: not where packages are only held."""
    return entry["action"] != "none" and not entry["only_holds"]


def ended(transaction: Mapping[str, Any]) -> bool:
    """Tell whether a transaction is over: the new driver is committed, or the old one proven and the host let in."""
    return transaction.get("state") == "committed" or bool(transaction.get("closed"))


def servers_of(
    host: str, instances: Sequence[Mapping[str, Any]], gateway_infos: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the servers of a host at every gateway: {"gateway", "pool", "server", "instance", "state",
    "share_percent"}, as they are, or as they were before a lease that stands."""
    result = []
    for gateway, info in gateway_infos.items():
        known = {(one["pool"], one["server"]): one for one in info.get("servers") or ()}
        for instance in instances:
            found = known.get((instance["pool"], f"{host}-{instance['name']}"))
            if found is None:
                continue
            before = (found.get("lease") or {}).get("before") or {}
            result.append(
                {
                    "gateway": gateway,
                    "pool": instance["pool"],
                    "server": found["server"],
                    "instance": instance["name"],
                    "state": before.get("state") or found["admin_state"],
                    "share_percent": before.get("share_percent") or found.get("share_percent") or 100,
                }
            )
    return result


def work_of(known: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a host carries out: its driver plan, with the servers and instances to bring back afterwards.

    A transaction that did not end keeps what it noted when it began: by now its servers may be drained.
    """
    noted = (_unfinished(known) or {}).get("plan") or {}
    plan = noted if entry["action"] == "resume" and noted else known["plan"]
    keys = ("loaded_version", "library_version", "module_on_disk_version")
    return {
        **plan,
        # What the way back is measured by.
        "before": noted.get("before", {}) if noted else {key: known["facts"].get(key) for key in keys},
        "servers": list(noted.get("servers", known["servers"])),
        "serving": list(noted.get("serving", known["serving"])),
        "gpu_count": noted.get("gpu_count", len(known["facts"]["gpus"])),
    }


def was_drained(servers: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether no client reached the host before: none of its servers took requests."""
    return bool(servers) and all(server["state"] != "ready" for server in servers)


def matches(version: str | None, wanted: str | None) -> bool:
    """Tell whether a version of the driver is the wanted one, or of the wanted branch."""
    return bool(version and wanted) and f"{version}.".startswith(f"{wanted}.")


def driver_answer(answer: Any) -> Any:
    """Return an answer of gpu_driver_info in the shape of one of llm_release_info, as the evidence gate reads it."""
    facts = answer.get("driver_facts") if isinstance(answer, Mapping) else None
    if not isinstance(facts, Mapping) or not facts:
        return answer
    transaction = facts.get("transaction") or {}
    over = ended(transaction)
    return {
        "instances": [
            {
                "instance": NAME,
                "current": running_version(facts),
                "armed": None if over or not transaction else {"id": transaction.get("id")},
                "active_state": "active" if facts.get("loaded_version") else "not loaded",
                "instance_state": {"state": "healthy" if over else str(transaction.get("state"))},
                "evidence": {"verdict": "pass"} if over else None,
            }
        ]
    }


def running_version(facts: Mapping[str, Any]) -> str | None:
    """Return the version of the driver where loaded module, module on disk and library agree; else what each is."""
    loaded, library = facts.get("loaded_version"), facts.get("library_version")
    disk = (facts.get("module_on_disk_version") or {}).get(facts.get("kernel_running"))
    if loaded == library == disk:
        return str(loaded) if loaded else None
    return f"loaded {loaded}, on disk {disk}, library {library}"


def _unfinished(known: Mapping[str, Any]) -> Mapping[str, Any] | None:
    transaction = known["facts"].get("transaction")
    return transaction if transaction and not ended(transaction) else None


def _was_left_drained(known: Mapping[str, Any]) -> bool:
    """Tell whether a run that died took the host out of service, and then changed nothing."""
    transaction = _unfinished(known)
    if transaction is None or transaction.get("state") not in NOT_BEGUN:
        return False
    noted = transaction.get("plan") or {}
    now = {(one["gateway"], one["server"]): one for one in known["servers"]}
    places = ((now.get((one["gateway"], one["server"])), one) for one in noted.get("servers") or ())
    moved = any(here and here["state"] != one["state"] for here, one in places)
    return moved or not set(noted.get("serving") or ()) <= set(known["serving"])


def _entry(host: str, known: Mapping[str, Any]) -> dict[str, Any]:
    plan, transaction, left = known["plan"], _unfinished(known), _was_left_drained(known)
    entry = {
        "pool": ", ".join(sorted({str(item["pool"]) for item in known["instances"]})) or "-",
        "slo_tier": None,
        "from": plan["from"],
        "to": plan["to"],
        "way": "forward",
        "meant_back": False,
        "modules": plan["modules"],
        "modules_reason": plan["modules_reason"],
        "reboot": plan["reboot"],
        "reboot_reason": plan["reboot_reason"],
        "downtime_seconds": plan["downtime_seconds"],
        "packages": _packages(plan, known["facts"]),
        "changes": [],
        "carried": False,
        "only_holds": only_holds(plan, known["facts"].get("loaded_version")),
        "restore": False,
        "share_limit_percent": 100,
        "gateway_before": "ready" if any(server["state"] == "ready" for server in known["servers"]) else None,
    }
    wanted = known["wanted"].get("version")
    ends = [(transaction or {}).get("from"), (transaction or {}).get("to")]
    # Of a branch both may be; then the way is forward.
    meant_back = matches(ends[0], wanted) and not matches(ends[1], wanted)
    # Nothing was changed, and nothing is to be changed: what is left to do is to let the host in.
    meant_back |= left and not plan["changes"] and not plan["refusals"]
    if transaction and (meant_back or transaction.get("state") not in NOT_BEGUN):
        noted = transaction.get("plan") or {}
        back = transaction["state"] in BACKWARD or meant_back
        more = {
            key: noted[key]
            for key in ("modules", "modules_reason", "reboot", "reboot_reason", "downtime_seconds")
            if key in noted
        }
        reason = f"goes on where it stopped: {transaction['state']}{', on the way back' if back else ''}"
        way = "back" if back else "forward"
        entry.update(more, action="resume", way=way, meant_back=meant_back, reason=reason)
        entry["only_holds"] = bool(noted) and only_holds(noted, known["facts"].get("loaded_version"))
        if transaction["state"] == "rolled_back":
            entry.update(reboot="not_needed", reboot_reason="the old packages and modules are back already")
        entry["from"], entry["to"] = reversed(ends) if meant_back else ends
        entry["packages"] = _packages(noted, known["facts"]) if noted else entry["packages"]
    elif entry["only_holds"]:
        entry.update(action="hold", reason=f"{plan['to']} runs already; packages of it are not held", restore=left)
    elif plan["changes"]:
        action = "upgrade" if plan["from"] else "install"
        entry.update(action=action, reason=f"{plan['from'] or 'no driver'} -> {plan['to']}", restore=left)
    else:
        entry.update(action="none", reason="runs it already")
    entry["changes"] = [{"key": item["package"], "from": item["from"], "to": item["to"]} for item in entry["packages"]]
    return entry


def _packages(plan: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what happens to each package: {"package", "from", "to"}; to is null for one that goes."""
    installed = {name: item["version"] for name, item in facts["packages"].items()}
    found = [
        {"package": name, "from": installed.get(name), "to": version}
        for name, version in sorted((plan.get("install") or {}).items())
    ]
    gone = [{"package": name, "from": installed.get(name), "to": None} for name in sorted(plan.get("remove") or ())]
    return found + gone


def _services(known: Mapping[str, Any], moves: bool) -> dict[str, dict[str, Any]]:
    """Return the instances that the host serves, in the shape in which the plan of a release has them."""
    action = "upgrade" if moves else "none"
    return {
        str(item["name"]): {"pool": item["pool"], "from": "serves", "to": "serves", "action": action}
        for item in known["instances"]
        if item["name"] in known["serving"] or (moves and _unfinished(known))
    }


def _host_findings(host: str, known: Mapping[str, Any], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    if entry["action"] == "resume":
        return _resume_findings(host, known, entry) + _consent(host, known["wanted"], entry)
    plan = known["plan"]
    # The one of a host's own plan knows only "no"; below is asked for a word as well.
    refused = [item for item in plan["refusals"] if item.get("check") != "driver_reboot"]
    told = [{**item, "subject": f"{host}: {item['subject']}"} for item in refused]
    if entry["action"] != "none":
        told += [{**item, "subject": f"{host}: {item['subject']}"} for item in plan.get("warnings") or ()]
        told += _consent(host, known["wanted"], entry)
        # What a run that died had drained comes back as it was before that run.
        told += [] if entry["restore"] else _left_drained(host, known)
    return told


def _resume_findings(host: str, known: Mapping[str, Any], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    wanted = str(known["wanted"].get("version") or "")
    if not wanted or matches(entry["to"], wanted) or matches(entry["from"], wanted):
        return []
    return [
        finding(
            "driver_transaction",
            "fail",
            f"{host}: nvidia_driver_version",
            observed=wanted,
            expected=f"{entry['to']} to go on, or {entry['from']} to go back",
            action=f"The host is in the middle of a change (state {known['facts']['transaction']['state']}). End that "
            f"one first: set one of the two for {host}, run driver, then set {wanted} again.",
            source=SOURCE,
        )
    ]


def _consent(host: str, wanted: Mapping[str, Any], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a refusal where a reboot needs a word that nobody has said."""
    said, reboot = str(wanted.get("reboot")), entry["reboot"]
    if said == "yes" or reboot == "not_needed" or (said == "no" and reboot == "maybe"):
        return []
    how = {"needed": "must be rebooted", "maybe": "may have to be rebooted"}[reboot]
    no = f" With -e {CONSENT}=no it tries without, and goes back if it cannot." if reboot == "maybe" else ""
    return [
        finding(
            "driver_reboot",
            "fail",
            f"{host}: {CONSENT}",
            observed=said,
            expected=f"yes: {host} {how} ({entry['reboot_reason']})",
            action=f"Allow it: -e {CONSENT}=yes, or in its host_vars.{no} Leave the host out: --limit '!{host}'.",
            source=SOURCE,
        )
    ]


def _left_drained(host: str, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    drained = sorted({server["server"] for server in known["servers"] if server["state"] != "ready"})
    if not drained:
        return []
    return [
        finding(
            "driver_drained",
            "warn",
            f"{host}: {', '.join(drained)}",
            observed="out of service before the rollout",
            action="It stays so afterwards. Let it in with: start --limit " + host,
            source=SOURCE,
        )
    ]
