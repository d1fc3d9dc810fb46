# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The plan of a rollback: which instances go back to which release. Plain data in, plain data out.

It has the shape of a rollout plan read in the other direction: "to" is the release that serves and shall go, "from" the
one to go back to, so that the same way back serves a failed rollout and a rollback that a person asked for. The key
"serves" names what serves now; the texts are written from it, in the direction that a person reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import SCHEMA, SOURCE

# An instance in one of these has gone back, and nobody has proven that it serves well.
UNPROVEN_STATES = ("rolling_back", "rollback_failed", "unknown")
# An instance in one of these serves what the rollout brought it; one in the others has left that.
PROMOTED_STATES = ("healthy", "verifying")
LEFT_STATES = ("rolling_back", "rolled_back_verified")


def build_rollback_plan(
    *,
    rollout_id: str,
    desired: Mapping[str, Mapping[str, Mapping[str, Any]]],
    current: Mapping[str, Any],
    release_id: str | None = None,
) -> dict[str, Any]:
    """Return the plan: the releases that the last rollout brought go, each instance back to its own release before.

    It asks for releases, not for the instances of one run: so it also takes back what an interrupted run before had
    promoted, and goes on where a rollback was killed. With release_id every instance that has that release goes to it.
    An instance whose way back was never proven (a dead-man took it back, or a rollback failed) stays on the release it
    has gone to, and is proven and let in again.

    desired tells pool and SLO tier: {host: {instance: release}} as desired_releases() gives it.
    current: {host: result of llm_release_info}. Order is that of the inventory, one host a batch.
    """
    findings: list[dict[str, Any]] = []
    hosts: dict[str, dict[str, dict[str, Any]]] = {}
    last = _last_rollout(current)
    brought = _brought(desired, current, last)
    known = release_id is None or _is_anywhere(current, release_id)
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
            name: _entry(host, name, item, by_name.get(name), release_id, last, brought, known, findings)
            for name, item in instances.items()
        }
    order = [host for host, entries in hosts.items() if any(entry["action"] != "none" for entry in entries.values())]
    return {
        "schema": SCHEMA,
        "rollout_id": rollout_id,
        "direction": "back",
        "canary": order[0] if order else None,
        "serial": [1],
        "order": order,
        "batches": [[host] for host in order],
        "hosts": hosts,
        "carried": [],
        "findings": findings,
    }


def _state(info: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found = info.get("instance_state") if info else None
    return found if isinstance(found, Mapping) else {}


def _last_rollout(current: Mapping[str, Any]) -> str | None:
    """Return the newest rollout id that any instance knows; ids begin with their time."""
    ids = [_state(item).get("rollout_id") for _host, item in _instances(current)]
    return max((str(one) for one in ids if one), default=None)


def _instances(current: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return every instance that a host told of, with its host."""
    return [
        (host, item)
        for host, info in current.items()
        if isinstance(info, Mapping) and isinstance(info.get("instances"), Sequence)
        for item in info["instances"]
        if isinstance(item, Mapping)
    ]


def _brought(
    desired: Mapping[str, Mapping[str, Mapping[str, Any]]], current: Mapping[str, Any], last: str | None
) -> set[str]:
    """Return the releases that the last rollout brought; when it was a way back, those that it took away."""
    result: set[str | None] = set()
    for host, item in _instances(current):
        state = _state(item)
        if state.get("rollout_id") != last:
            continue
        serving = item.get("current")
        if state.get("state") in LEFT_STATES:
            result.add(item.get("previous"))
            # The way back of a change that was armed restores the link `previous` from before it; then the inventory
            # still tells what the instance has left.
            wanted = desired.get(host, {}).get(str(item.get("instance")), {}).get("release_id")
            if wanted != serving:
                result.add(wanted)
        else:
            # Also rollback_failed: the host writes that when it could not leave the release.
            result.add(serving)
    return {one for one in result if one}


def _is_anywhere(current: Mapping[str, Any], release_id: str) -> bool:
    return any(
        release_id == item.get("current") or release_id in (item.get("releases") or [])
        for _host, item in _instances(current)
    )


def _entry(
    host: str,
    name: str,
    wanted: Mapping[str, Any],
    info: Mapping[str, Any] | None,
    release_id: str | None,
    last: str | None,
    brought: set[str],
    known: bool,
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
    elif not release_id and not armed and state.get("state") == "rolled_back_verified":
        action, reason = "none", "has gone back already; to go further back name a release"
    elif not release_id and not armed and not unproven and serving not in brought:
        action, reason = "none", f"does not serve a release that the last rollout, {last}, brought"
    elif not release_id and not armed and not unproven and state.get("state") not in PROMOTED_STATES:
        action, reason = "none", f"is {state.get('state') or 'in no known state'}, which no rollout let in"
    elif target == serving and not armed and not unproven:
        action, reason = "none", "serves that release already"
    elif target not in here:
        action, reason = "none", f"does not have release {target}"
    elif target == serving:
        reason = "serves the earlier release already; it is proven there and let in again"
    if action == "none" and (release_id or target is None) and target != serving:
        has = f"It has: {', '.join(here) or 'none'}. Name one of them: -e local_llm_rollback_release=ID."
        findings.append(
            finding(
                "rollback",
                "fail" if not known else "warn",
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
        "serves": serving,
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
        "carried": False,
        "share_limit_percent": 100,
    }
