# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The plan of a rollback: which instances go back to which release. Plain data in, plain data out.

It has the shape of a rollout plan read in the other direction: "to" is the release that serves and shall go, "from" the
one to go back to, so that the same way back serves a failed rollout and a rollback that a person asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import SCHEMA, SOURCE

# An instance in one of these has gone back, and nobody has proven that it serves well.
UNPROVEN_STATES = ("rolling_back", "rollback_failed", "unknown")


def build_rollback_plan(
    *,
    rollout_id: str,
    desired: Mapping[str, Mapping[str, Mapping[str, Any]]],
    current: Mapping[str, Any],
    release_id: str | None = None,
) -> dict[str, Any]:
    """Return the plan: what the last rollout changed goes back, each instance to its own release before it.

    With release_id every instance that has that release goes to it. An instance whose way back was never proven (a
    dead-man took it back, or a rollback failed) stays on the release it has gone to, and is proven and let in again.

    desired tells pool and SLO tier: {host: {instance: release}} as desired_releases() gives it.
    current: {host: result of llm_release_info}. Order is that of the inventory, one host a batch.
    """
    findings: list[dict[str, Any]] = []
    hosts: dict[str, dict[str, dict[str, Any]]] = {}
    last = _last_rollout(current)
    for host, instances in desired.items():
        info = current.get(host)
        listed = info.get("instances") if isinstance(info, Mapping) and not info.get("unreachable") else None
        if not isinstance(listed, Sequence):
            findings.append(
                finding("release_info", "fail", host, observed="no answer", expected="its releases",
                        action=f"Make {host} reachable, or leave it out: --limit '!{host}'.", source=SOURCE)
            )  # fmt: skip
            continue
        by_name = {item["instance"]: item for item in listed}
        hosts[host] = {
            name: _entry(host, name, item, by_name.get(name), release_id, last, findings)
            for name, item in instances.items()
        }
    order = [host for host, entries in hosts.items() if any(entry["action"] != "none" for entry in entries.values())]
    return {
        "schema": SCHEMA,
        "rollout_id": rollout_id,
        "canary": order[0] if order else None,
        "serial": [1],
        "order": order,
        "batches": [[host] for host in order],
        "hosts": hosts,
        "findings": findings,
    }


def _state(info: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found = info.get("instance_state") if info else None
    return found if isinstance(found, Mapping) else {}


def _last_rollout(current: Mapping[str, Any]) -> str | None:
    """Return the newest rollout id that any instance knows; ids begin with their time."""
    ids = [
        _state(item).get("rollout_id")
        for info in current.values()
        if isinstance(info, Mapping)
        for item in info.get("instances") or []
    ]
    return max((str(one) for one in ids if one), default=None)


def _entry(
    host: str,
    name: str,
    wanted: Mapping[str, Any],
    info: Mapping[str, Any] | None,
    release_id: str | None,
    last: str | None,
    findings: list[dict[str, Any]],
) -> dict[str, Any]:
    serving = info.get("current") if info else None
    armed = (info.get("armed") if info else None) or {}
    state = _state(info)
    unproven = state.get("state") in UNPROVEN_STATES
    before = serving if unproven and not armed else (info.get("previous") if info else None)
    target = release_id or armed.get("revert_to") or before
    here = list(info.get("releases") or []) if info else []
    action, reason = "upgrade", "goes back"
    if target is None or serving is None:
        action, reason = "none", "has no release to go back to"
    elif not release_id and not armed and not unproven and state.get("rollout_id") != last:
        action, reason = "none", f"was not changed by the last rollout, {last}"
    elif not release_id and state.get("state") == "rolled_back_verified":
        action, reason = "none", "has gone back already; to go further back name a release"
    elif target == serving and not armed and not unproven:
        action, reason = "none", "serves that release already"
    elif target not in here:
        action, reason = "none", f"does not have release {target}"
    if action == "none" and (release_id or target is None) and target != serving:
        has = f"It has: {', '.join(here) or 'none'}. Name one of them: -e local_llm_rollback_release=ID."
        findings.append(
            finding(
                "rollback",
                "fail" if release_id else "warn",
                f"{host}/{name}",
                observed=reason,
                expected="a release to go back to",
                action=has,
                source=SOURCE,
            )
        )
    description = (info or {}).get("current_description") or wanted["description"]
    return {
        "from": target,
        "to": (info or {}).get("previous") if target == serving else serving,
        "action": action,
        "reason": reason,
        "pool": wanted["pool"],
        "slo_tier": wanted["slo_tier"],
        "armed": bool(armed),
        "description": description,
        "previous_description": None,
        "changes": [],
        "bytes_needed": 0,
    }
