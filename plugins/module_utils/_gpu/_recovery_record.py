# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Write down what a recovery does: each step is a function from what the host remembers to what it remembers next.

state is state.json (see _health_state), document is recovery.json (see _recovery_mark).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _recovery_mark as mark_of
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import ALL_GPUS, MAX_ACTIONS
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery import still_failing

Plain = Mapping[str, Any]
Remembered = tuple[dict[str, Any], dict[str, Any]]
INTERRUPTED = "not concluded: the run that began it ended"


PLAN_KEYS = (
    "rung",
    "act",
    "waits_for",
    "reason",
    "causes",
    "by_hand",
    "gpus",
    "host_wide",
    "instances",
    "since_seconds",
)


class StepError(ValueError):
    """A step cannot be written down; the message says what is missing and what to do."""


_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]")


def check_address(gpu: str) -> str:
    """Return how the state names a GPU that a person clears: its PCI address, or * for all. Raises StepError."""
    address = "*" if gpu == "all" else gpu.lower()
    if address != "*" and not _ADDRESS.fullmatch(address):
        raise StepError(
            f"gpu: {gpu!r} is neither all nor a PCI address such as 0000:18:00.0. gpu_info tells the address of each "
            "GPU; a finding of gpu_health names it too."
        )
    return address


def check_plan(plan: Plain) -> None:
    """Raise StepError unless this is a plan of state=planned."""
    missing = [key for key in PLAN_KEYS if key not in plan]
    if missing:
        raise StepError(f"plan: it lacks {', '.join(missing)}. Hand over the plan that state=planned returned.")


def begun(
    state: dict[str, Any],
    document: dict[str, Any],
    plan: Plain,
    *,
    servers: Sequence[Plain],
    services: Sequence[str],
    by: str,
    boot_id: str | None,
    now_seconds: float,
) -> Remembered:
    """Mark what will be drained. Nothing counts as tried before acting()."""
    if plan["rung"] == "none":
        raise StepError("state=begun: the plan has no rung. Hand over the plan that state=planned returned.")
    return state, mark_of.begin(
        document,
        rung=plan["rung"],
        reason=plan["reason"],
        servers=servers,
        services=services,
        by=by,
        boot_id=boot_id,
        now_seconds=now_seconds,
        act=plan["act"],
        verify_only=not plan["act"] and plan["waits_for"] is None,
    )


def acting(
    state: dict[str, Any],
    document: dict[str, Any],
    plan: Plain,
    *,
    boot_id: str | None,
    boot_seconds: float | None,
    now_seconds: float,
) -> Remembered:
    """Record the action of a plan as started, one entry for each of its causes; events count against it from now on.

    After a reboot it is called again: the action stays, and events count from the boot on.
    """
    if document["mark"] is None:
        raise StepError("state=acting: nothing is drained on this host. Begin first: state=begun.")
    if plan["waits_for"] == "consent":
        raise StepError("state=acting: the plan waits for consent, so there is nothing to do yet.")
    opened = [one for one in mark_of.under_way(document["mark"], state["actions"]) if one["rung"] == plan["rung"]]
    rebooted = plan["rung"] == "reboot" and any(boot_id is None or one.get("boot_id") != boot_id for one in opened)
    if opened and (rebooted or not plan["act"]):
        since = plan["since_seconds"] or boot_seconds or now_seconds
        return state, mark_of.act(document, float(opened[0]["at_seconds"]), since)
    actions = _interrupted(state["actions"], document) + _entries(plan, boot_id, now_seconds, "started", "")
    document = mark_of.act(document, now_seconds, plan["since_seconds"] or now_seconds)
    return {**state, "actions": actions[-MAX_ACTIONS:]}, document


def verified(
    state: dict[str, Any], document: dict[str, Any], plan: Plain, findings: Sequence[Plain], gpus: Sequence[Plain]
) -> Remembered:
    """Record the open action as verified, and let the events from before it count no longer."""
    left = still_failing(plan, findings, document["parked"], gpus)
    if left:
        raise StepError(f"{plan['rung']} did not mend the host. It still finds: {'; '.join(left)}")
    mark = document["mark"] or {}
    at = mark.get("action_at_seconds")
    if at is None:
        raise StepError("state=verified: no action is under way on this host. Note it before the act: state=acting.")
    cleared = dict(state["cleared_at_seconds"])
    since = mark.get("count_from_seconds") or plan["since_seconds"] or at
    for address in addresses_of(plan):
        cleared[address] = max(since, float(cleared.get(address, 0.0)))
    state = {**state, "actions": _with_result(state["actions"], at, "verified", ""), "cleared_at_seconds": cleared}
    return state, mark_of.settle(document)


def failed(
    state: dict[str, Any],
    document: dict[str, Any],
    plan: Plain,
    why: str,
    *,
    boot_id: str | None,
    now_seconds: float,
) -> Remembered:
    """Record the open action as failed, with the reason.

    A rung that could not even be taken, such as a reset of a GPU that a process holds, has not helped either: with its
    plan it is recorded. Nothing open and no plan: nothing changes.
    """
    opened = mark_of.under_way(document["mark"], state["actions"])
    if opened and (not plan or opened[0]["rung"] == plan["rung"]):
        actions = _with_result(state["actions"], float(opened[0]["at_seconds"]), "failed", why)
    elif plan and plan["act"] and plan["waits_for"] is None:
        actions = _interrupted(state["actions"], document) + _entries(plan, boot_id, now_seconds, "failed", why)
    else:
        return state, document
    return {**state, "actions": actions[-MAX_ACTIONS:]}, mark_of.settle(document)


def waiting(
    state: dict[str, Any], document: dict[str, Any], plan: Plain, waits_for: str, message: str, now_seconds: float
) -> Remembered:
    """Note that the host waits: for consent to reboot, or for a person and hardware service."""
    gpus = () if plan["host_wide"] else plan["gpus"]
    return state, mark_of.wait(document, waits_for, message, gpus, now_seconds)


def cleared(
    state: dict[str, Any], document: dict[str, Any], address: str, reason: str, by: str, now_seconds: float
) -> Remembered:
    """Note that a person says a GPU is mended: its events and actions count no longer, and it waits no longer."""
    if not reason.strip():
        raise StepError("reason: it is empty. Say what was done, such as: card replaced, ticket 4711.")
    times = {**state["cleared_at_seconds"], address: now_seconds}
    uuids = {one["gpu_uuid"] for one in state["actions"] if one.get("pci_address") == address and one["gpu_uuid"]}
    document = mark_of.clear(document, address, sorted(uuids), reason, by, now_seconds)
    return {**state, "cleared_at_seconds": times}, document


def addresses_of(plan: Plain) -> list[str]:
    """Return the keys of cleared_at_seconds that a verified plan clears."""
    if plan["host_wide"] or plan["rung"] == "reboot":
        return [ALL_GPUS]
    return [str(gpu["pci_address"]).lower() for gpu in plan["gpus"]]


def _entries(plan: Plain, boot_id: str | None, at_seconds: float, result: str, why: str) -> list[dict[str, Any]]:
    return [
        {
            "at_seconds": at_seconds,
            "rung": plan["rung"],
            "gpu_uuid": cause["gpu_uuid"],
            "pci_address": cause["pci_address"],
            "reason": f"{cause['reason']} [{why}]" if why else cause["reason"],
            "xid": cause["xid"],
            "boot_id": boot_id,
            "result": result,
        }
        for cause in plan["causes"]
    ]


def _interrupted(actions: Sequence[Plain], document: Plain) -> list[dict[str, Any]]:
    """Return the actions with the one as failed that an earlier run left under way."""
    at = (document["mark"] or {}).get("action_at_seconds")
    return [dict(one) for one in actions] if at is None else _with_result(actions, at, "failed", INTERRUPTED)


def _with_result(actions: Sequence[Plain], at_seconds: float, result: str, why: str) -> list[dict[str, Any]]:
    return [
        {**one, "result": result, "reason": f"{one['reason']} [{why}]" if why else one["reason"]}
        if one["at_seconds"] == at_seconds and one["result"] == "started"
        else dict(one)
        for one in actions
    ]
