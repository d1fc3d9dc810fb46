# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The recovery ladder, decided from plain data: which rung comes next for a host, what it touches, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_causes import (
    RUNGS,
    Cause,
    causes_of,
    same_cause,
    touches,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_mark import under_way

HOUR_SECONDS = 3600.0
# A rung that did not help is not tried again for the same cause within this time.
RETRY_WINDOW_SECONDS = 24 * HOUR_SECONDS
# Reboots and actions are counted over this time.
COUNT_WINDOW_SECONDS = 7 * 24 * HOUR_SECONDS
REBOOT_LIMIT = 2
ACTION_LIMIT = 5
COOLDOWN_SECONDS = 600.0
CONSENTS = ("yes", "no", "ask")
# What the reason of an action says once nvidia-smi refused a reset for good.
UNSUPPORTED = "[reset not supported]"

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class Host:
    """What the ladder must know of a host. boot_id and gpus as gpu_health knows them.

    reset_together: why all GPUs must be reset in one go, or None. reset_refused: why none can be reset, or None.
    """

    name: str
    now_seconds: float
    boot_id: str | None = None
    boot_seconds: float | None = None
    gpus: Sequence[Plain] = ()
    reset_together: str | None = None
    reset_refused: str | None = None


@dataclass(frozen=True)
class Rules:
    """What the site allows."""

    consent: str = "no"
    allow_pool_outage: bool = False
    cooldown_seconds: float = COOLDOWN_SECONDS


@dataclass(frozen=True)
class Memory:
    """What the host remembers: actions of state.json, and mark, parked and cleared of recovery.json."""

    actions: Sequence[Plain] = ()
    mark: Plain | None = None
    parked: Sequence[Plain] = ()
    cleared: Sequence[Plain] = field(default_factory=tuple)


def decide(
    findings: Sequence[Plain],
    memory: Memory,
    instances: Sequence[Plain],
    gateways: Mapping[str, Sequence[Plain]],
    host: Host,
    rules: Rules,
) -> dict[str, Any]:
    """Return the next step for a host. The keys of a plan are documented in gpu_recovery.

    instances: {"name", "pool", "gpus", "active"}; active is false for one that was stopped on purpose.
    gateways: {gateway: servers as gateway_info returns them}, for the question who else serves a pool.
    """
    causes, by_hand = causes_of(findings, host.gpus)
    open_causes = [cause for cause in causes if not _is_parked(cause, memory.parked)]
    marked = _marked_instances(memory.mark)
    present = [one for one in instances if one.get("active", True) or one["name"] in marked]
    plan = _empty_plan(by_hand)
    plan["readmit"] = _may_come_back(present, marked, [*causes, *by_hand], memory.parked, host)
    if not open_causes:
        return _without_a_rung(plan, memory, marked, by_hand, host)

    climbed = [(cause, *climb(cause, memory, host, rules)) for cause in open_causes]
    limit = _over_the_limit(memory, host)
    rung = "hardware" if limit else max((one[1] for one in climbed), key=RUNGS.index)
    chosen = [one for one in climbed if limit or one[1] == rung]
    plan["rung"] = rung
    plan["causes"] = [cause.plain() for cause, _rung, _notes in chosen]
    plan["notes"] = _unique([*([limit] if limit else []), *(note for _c, _r, notes in chosen for note in notes)])
    plan["reason"] = "; ".join(_unique([cause.text() for cause, _rung, _notes in chosen]))
    _fill_gpus(plan, [cause for cause, _rung, _notes in chosen], host)
    if rung == "reboot":
        _fill_reboot(plan, memory, host, rules)
    elif rung == "hardware":
        plan["waits_for"] = "person"
    everything = rung == "reboot" and plan["waits_for"] is None
    plan["instances"] = [one["name"] for one in present if everything or _touched(one, plan, host)]
    outage = pool_outage(present, plan["instances"], gateways, host.name)
    if outage and not rules.allow_pool_outage:
        plan["refused"] = outage
        plan["act"] = False
    return plan


def climb(cause: Cause, memory: Memory, host: Host, rules: Rules) -> tuple[str, list[str]]:
    """Return the rung for one cause, with a note for every rung that was passed over."""
    mine = [action for action in _counting(memory, host) if same_cause(cause, action)]
    reboots = {action["at_seconds"] for action in mine if action["rung"] == "reboot"}
    if len(reboots) >= REBOOT_LIMIT:
        return "hardware", [f"{cause.name()} came back after {len(reboots)} reboots within 7 days"]
    rung, notes = cause.remedy, []
    while rung != "hardware":
        why = _passed_over(rung, mine, host, rules)
        if why is None:
            break
        notes.append(why)
        rung = RUNGS[RUNGS.index(rung) + 1]
    return rung, notes


def still_failing(plan: Plain, findings: Sequence[Plain], parked: Sequence[Plain], gpus: Sequence[Plain]) -> list[str]:
    """Return what still keeps the GPUs of a plan out of service, as texts; empty when its cause is gone.

    A fault that only a person mends and that was there before does not count against the rung.
    """
    causes, by_hand = causes_of(findings, gpus)
    addresses = {gpu["pci_address"] for gpu in plan["gpus"]}
    checks = {cause["check"] for cause in plan["causes"]}
    before = tuple(str(text) for text in plan["by_hand"])
    result = []
    for cause in [*causes, *by_hand]:
        if _is_parked(cause, parked) or (cause.check not in checks and _was_there(cause, before)):
            continue
        host_wide = plan["rung"] == "reboot" or cause.pci_address is None
        if host_wide or cause.pci_address in addresses:
            result.append(cause.text())
    return _unique(result)


def pool_outage(
    instances: Sequence[Plain], names: Sequence[str], gateways: Mapping[str, Sequence[Plain]], host: str
) -> str | None:
    """Return why these instances must stay: nobody else serves their pool at some gateway. None: they may go."""
    touched = {f"{host}-{one['name']}": one for one in instances if one["name"] in names}
    for gateway in sorted(gateways):
        for pool in sorted({str(one["pool"]) for one in touched.values()}):
            ready = [
                str(server["server"])
                for server in gateways[gateway]
                if server["pool"] == pool
                and server["admin_state"] == "ready"
                and server.get("operational_state") == "up"
            ]
            mine = sorted(name for name in ready if name in touched)
            if mine and len(mine) == len(ready):
                return (
                    f"{', '.join(mine)} is all that serves pool {pool} at {gateway}: taking it out ends the service. "
                    "Bring another server of the pool up first, or accept the outage with "
                    "-e local_llm_allow_pool_outage=true."
                )
    return None


def reset_together(switches: int, fabric_manager_active: bool, device_ids: Sequence[str]) -> str | None:
    """Return why GPUs joined by NVSwitches must be reset in one command; None when each can be reset alone.

    Source: the manual page of nvidia-smi, --gpu-reset. Device ids that begin with 1 are older than Ampere.
    """
    if not switches:
        return None
    if any(name.lower().startswith("1") for name in device_ids):
        return "GPUs older than Ampere on NVSwitches are reset together"
    if not fabric_manager_active:
        return "without a running Fabric Manager all GPUs on NVSwitches are reset together"
    return None


def reset_unsupported(actions: Sequence[Plain]) -> str | None:
    """Return why a reset is not worth trying here: this host refused one within the counted time."""
    for action in actions:
        if action["rung"] == "reset_gpu" and UNSUPPORTED in str(action.get("reason", "")):
            return "this host refused a GPU reset before: not supported"
    return None


def consent_word(value: Any) -> str:
    """Return yes, no or ask; in YAML an unquoted yes or no is a boolean. Raises ValueError."""
    word = {"true": "yes", "false": "no"}.get(str(value).strip().lower(), str(value).strip().lower())
    if word not in CONSENTS:
        raise ValueError(f"consent (local_llm_reboot_consent): {value!r} is none of yes, no and ask.")
    return word


def plan_lines(plan: Plain, host: str) -> list[str]:
    """Return a plan in words."""
    if plan["rung"] == "none":
        first = f"{host}: no rung of the ladder. {plan['reason'] or 'Nothing to do'}."
    else:
        verb = "" if plan["act"] else " (nothing is done)" if plan["refused"] or plan["waits_for"] else " (verify only)"
        first = f"{host}: {plan['rung']}{verb}, because of {plan['reason']}"
    lines = [first, *(f"Note: {note}." for note in plan["notes"])]
    if plan["refused"]:
        return [*lines, f"Refused: {plan['refused']}"]
    if plan["instances"]:
        lines.append(f"Leaves service: {', '.join(plan['instances'])}")
    if plan["reset"]:
        lines.append(f"GPU reset: {', '.join(plan['reset'])}")
    if plan["waits_for"] == "consent":
        lines.append("Waits for consent to reboot: set local_llm_reboot_consent to yes or ask")
    elif plan["consent"] == "ask":
        lines.append("A person is asked before the reboot")
    if plan["readmit"] and plan["rung"] == "none":
        lines.append(f"Comes back once it answers: {', '.join(plan['readmit'])}")
    if plan["by_hand"]:
        lines.append(f"For a person: {'; '.join(plan['by_hand'])}")
    return lines


def _passed_over(rung: str, mine: Sequence[Plain], host: Host, rules: Rules) -> str | None:
    """Return why a rung is not taken, or None."""
    if rung == "reset_gpu" and host.reset_refused:
        return f"no GPU reset: {host.reset_refused}"
    same = [action for action in mine if action["rung"] == rung]
    ages = [host.now_seconds - float(action["at_seconds"]) for action in same if action["result"] != "verified"]
    if any(age <= RETRY_WINDOW_SECONDS for age in ages):
        return f"{rung} was tried {_ago(min(ages))} ago for the same cause and did not help"
    ages = [host.now_seconds - float(action["at_seconds"]) for action in same if action["result"] == "verified"]
    if any(age < rules.cooldown_seconds for age in ages):
        return f"{rung} held for {_ago(min(ages))} only: the same step is not repeated that soon"
    return None


def _counting(memory: Memory, host: Host) -> list[Plain]:
    """Return the actions that count: of the last 7 days, not forgiven by a person, without the one under way."""
    open_actions = under_way(memory.mark, memory.actions)
    return [
        action
        for action in memory.actions
        if host.now_seconds - float(action["at_seconds"]) <= COUNT_WINDOW_SECONDS
        and action not in open_actions
        and not any(_forgives(entry, action) for entry in memory.cleared)
    ]


def _forgives(entry: Plain, action: Plain) -> bool:
    if float(entry["at_seconds"]) < float(action["at_seconds"]):
        return False
    if entry["pci_address"] in ("*", action.get("pci_address")):
        return True
    return action.get("gpu_uuid") in entry.get("gpu_uuids", ())


def _over_the_limit(memory: Memory, host: Host) -> str | None:
    moments = {action["at_seconds"] for action in _counting(memory, host) if action["rung"] != "hardware"}
    if len(moments) < ACTION_LIMIT:
        return None
    return f"{len(moments)} actions within 7 days did not make this host last: it needs hardware service"


def _fill_gpus(plan: dict[str, Any], causes: Sequence[Cause], host: Host) -> None:
    known = {gpu["pci_address"]: gpu for gpu in host.gpus}
    addresses = [cause.pci_address for cause in causes]
    if None in addresses or (plan["rung"] == "reset_gpu" and host.reset_together):
        plan["gpus"] = [dict(gpu) for gpu in host.gpus]
        plan["host_wide"] = None in addresses
    else:
        unknown = {cause.pci_address: cause.gpu() for cause in causes}
        plan["gpus"] = [dict(known.get(address) or unknown[address]) for address in _unique(addresses)]
    if plan["rung"] == "reset_gpu":
        plan["reset"] = [str(gpu["pci_address"]) for gpu in plan["gpus"]]
        if host.reset_together:
            plan["notes"].append(host.reset_together)


def _fill_reboot(plan: dict[str, Any], memory: Memory, host: Host, rules: Rules) -> None:
    """Set what a reboot needs: consent, unless the host was rebooted since it waits for one, or one is under way."""
    mark = memory.mark or {}
    rebooting = any(action["rung"] == "reboot" for action in under_way(memory.mark, memory.actions))
    wanted = mark.get("rung") == "reboot" and (mark.get("waits_for") == "consent" or rebooting)
    if wanted and mark.get("boot_id") and host.boot_id and mark["boot_id"] != host.boot_id:
        plan["act"] = False
        plan["since_seconds"] = host.boot_seconds
        plan["notes"].append("the host was rebooted since: it is verified now, not rebooted again")
        return
    plan["consent"] = rules.consent
    if rules.consent == "no":
        plan["act"] = False
        plan["waits_for"] = "consent"


def _without_a_rung(
    plan: dict[str, Any], memory: Memory, marked: Sequence[str], by_hand: Sequence[Cause], host: Host
) -> dict[str, Any]:
    """Complete a plan when no rung applies: let in what may come back, or say what is waited for."""
    staying = [name for name in marked if name not in plan["readmit"]]
    if plan["readmit"]:
        plan["reason"] = f"well again: {', '.join(plan['readmit'])}"
    elif memory.mark is None and not by_hand:
        plan["reason"] = "nothing to do"
    if by_hand:
        plan["reason"] = "; ".join(_unique([plan["reason"], *(cause.text() for cause in by_hand)])).strip("; ")
        if not plan["readmit"]:
            plan["refused"] = "no rung of the ladder mends this; a person must: " + "; ".join(plan["by_hand"])
    if staying and memory.parked:
        plan["waits_for"] = "person"
        what = "; ".join(_unique([str(entry["reason"]) for entry in memory.parked]))
        text = (
            f"{', '.join(staying)} on {host.name} wait for hardware service: {what}. After the repair, say so: "
            f"gpu_recovery with state=cleared, gpu=all or the PCI address, and a reason."
        )
        plan["reason"] = "; ".join(_unique([plan["reason"], text])).strip("; ")
        if not plan["readmit"]:
            plan["refused"] = text
    return plan


def _may_come_back(
    present: Sequence[Plain], marked: Sequence[str], failing: Sequence[Cause], parked: Sequence[Plain], host: Host
) -> list[str]:
    """Return the drained instances that touch no GPU that fails or waits for service."""
    bad: list[Plain] = [cause.gpu() for cause in failing if cause.pci_address is not None]
    bad += [entry for entry in parked if entry["pci_address"] != "*"]
    host_wide = any(cause.pci_address is None for cause in failing) or any(
        entry["pci_address"] == "*" for entry in parked
    )
    return [
        str(one["name"])
        for one in present
        if one["name"] in marked
        and not touches(one.get("gpus"), bad, host.gpus)
        and not (host_wide and uses_a_gpu(one))
    ]


def uses_a_gpu(instance: Plain) -> bool:
    """Tell whether an instance uses any GPU; one of which nothing is known does."""
    return instance.get("gpus") not in ("none", [])


def _touched(instance: Plain, plan: Plain, host: Host) -> bool:
    if plan["host_wide"]:
        return uses_a_gpu(instance)
    return touches(instance.get("gpus"), plan["gpus"], host.gpus)


def _is_parked(cause: Cause, parked: Sequence[Plain]) -> bool:
    return any(entry["pci_address"] in ("*", cause.pci_address) for entry in parked)


def _was_there(cause: Cause, before: Sequence[str]) -> bool:
    """Tell whether a person had to mend this already before the rung; what was observed may read otherwise now."""
    return any(text.startswith(f"{cause.check}: {cause.subject}") for text in before)


def _marked_instances(mark: Plain | None) -> list[str]:
    return _unique([str(server["instance"]) for server in (mark or {}).get("servers", ())])


def _empty_plan(by_hand: Sequence[Cause]) -> dict[str, Any]:
    return {
        "rung": "none",
        "act": True,
        "consent": "not_needed",
        "waits_for": None,
        "refused": None,
        "reason": "",
        "notes": [],
        "causes": [],
        "by_hand": _unique([cause.text() for cause in by_hand]),
        "gpus": [],
        "host_wide": False,
        "reset": [],
        "instances": [],
        "readmit": [],
        "since_seconds": None,
    }


def _ago(seconds: float) -> str:
    if seconds >= HOUR_SECONDS:
        return f"{seconds / HOUR_SECONDS:.0f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _unique(items: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
