# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the policy says of XIDs: look-up, NVLink decoding, bursts, repeats and the driver's own recovery action. Pure.

A policy is a document of plugin_utils/*_policy.yml, full or lean (plugin_utils/_xid_data.py). Its codes are numbers or,
after JSON, strings. An empty policy is allowed: then every code is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._log_events import (
    NVLINK5_CODES,
    RECOVERY_ACTION_CHANGED,
    nvlink5_fields,
)

Event = Mapping[str, Any]
Policy = Mapping[str, Any]
Burst = Sequence[Event]

UNKNOWN = {"meaning": "no table that we know of explains this code", "status": "warn", "remedy": "none"}
BURST_SECONDS = 180.0
JOIN_SECONDS = 60.0
# A boot answers these: what happened before it counts only as a repeat.
ANSWERED_BY_BOOT = ("reset_gpu", "reboot")
# Only these codes blame the application when several GPUs report them at once: a fault of the power or of NVLink, too,
# comes on many GPUs together.
OF_THE_APPLICATION = (13, 31)
# A log line and the boot time come from clocks that are set while the machine starts.
_CLOCK_SLACK_SECONDS = 120.0
_PLACE = re.compile(r"\bGPC[ :]*(\d+),?\s*TPC[ :]*(\d+)")


@dataclass(frozen=True)
class Situation:
    """What is known besides the log: which boot is running, what NVML says of the GPU, what connects the GPUs.

    application: {code: [at_seconds, ...]}: when a code came on several GPUs at once, which makes it the application's.
    answered: earlier events of this device that an action has answered; they count only where a code comes back.
    """

    boot_id: str | None = None
    boot_at_seconds: float | None = None
    gpu: Mapping[str, Any] | None = None
    has_nvswitch: bool = False
    application: Mapping[int, Sequence[float]] | None = None
    answered: Sequence[Event] = ()

    def is_this_boot(self, event: Event) -> bool:
        """Return whether an event belongs to the running boot; one that nothing tells apart does."""
        if self.boot_id and event["boot_id"]:
            return bool(event["boot_id"] == self.boot_id)
        if self.boot_at_seconds is not None and event["at_seconds"] is not None:
            return bool(event["at_seconds"] >= self.boot_at_seconds - _CLOCK_SLACK_SECONDS)
        return True


@dataclass(frozen=True)
class Decision:
    """What one code on one device means: status and remedy, and the words for whoever has to act."""

    code: int
    status: str
    remedy: str
    meaning: str
    advice: str
    count: int
    first: Event
    last: Event


def entry(policy: Policy, code: int) -> Mapping[str, Any]:
    """Return what the policy says of a code: its own entry, its group's, or that of unknown codes."""
    codes = policy.get("codes") or {}
    own = codes.get(code, codes.get(str(code)))
    if own:
        return dict(own)
    for group in policy.get("groups") or ():
        if code in group["codes"]:
            return dict(group)
    return dict(policy.get("unknown") or UNKNOWN)


def rule(policy: Policy, name: str, default: float) -> float:
    """Return a number of the policy's rules."""
    return float((policy.get("rules") or {}).get(name, default))


def recovery_action(policy: Policy, value: int | None) -> Mapping[str, Any] | None:
    """Return what a recovery action of the driver (0 to 7) asks for, or None for a number that nobody knows."""
    actions = policy.get("recovery_actions") or {}
    found = actions.get(value, actions.get(str(value)))
    return dict(found) if found else None


def recovery_value(event: Event) -> int | None:
    """Return the recovery action that an XID 154 announces, or None when it could not be read."""
    try:
        return int(str(event["sub_code"]), 16)
    except ValueError:
        return None


def decode_nvlink5(table: Policy, event: Event) -> Mapping[str, Any] | None:
    """Return the rule for an XID 144 to 150, or None when unit, sub-code and error status fit none."""
    fields = nvlink5_fields(event["message"])
    if not fields:
        return None
    units = _units(table, event["code"], fields)
    for found in table.get("rules") or ():
        if found["unit"] not in units or found["sub_code"] != fields["sub_code"]:
            continue
        status = fields["error_status"]
        # Drivers before 575 print one register. Then a rule counts only when it stands alone for its sub-code.
        if status is None and not _alone(table, found):
            continue
        if status is not None and status not in found["error_status"]:
            continue
        layout = units[found["unit"]]
        clear = found.get("only_when_clear")
        if clear and layout and fields["intrinfo"] >> clear[layout - 1] & 1:
            continue
        return {**found, "link": fields["link"]}
    return None


def bursts(events: Sequence[Event], gap_seconds: float) -> list[list[Event]]:
    """Return events of one code and device as bursts, which silence ends. One without a time joins the one before."""
    result: list[list[Event]] = []
    for event in sorted(events, key=_time):
        apart = not result or _time(event) - _time(result[-1][-1]) >= gap_seconds
        if apart or event["boot_id"] != result[-1][-1]["boot_id"]:
            result.append([event])
        else:
            result[-1].append(event)
    return result


def application_moments(policy: Policy, events: Sequence[Event]) -> dict[int, list[float]]:
    """Return the moments at which a code of an application came on several GPUs together: then it is no GPU's fault."""
    many = (policy.get("rules") or {}).get("many_gpus") or {"gpus": 2, "within_seconds": 60}
    result: dict[int, list[float]] = {}
    mine = [event for event in events if event["code"] in OF_THE_APPLICATION]
    timed = sorted((item for item in mine if item["at_seconds"] is not None and item["pci"]), key=_time)
    for place, event in enumerate(timed):
        gpus = set()
        for other in timed[place:]:
            if _time(other) - _time(event) > many["within_seconds"]:
                break
            if other["code"] == event["code"]:
                gpus.add(other["pci"])
        if len(gpus) >= many["gpus"]:
            result.setdefault(event["code"], []).append(_time(event))
    return result


def judge_gpu(
    xid: Policy, nvlink5: Policy, events: Sequence[Event], situation: Situation
) -> tuple[list[Decision], list[Decision]]:
    """Return what the XIDs of one GPU mean: (those to act on or to look at, those that are only noted)."""
    by_code: dict[int, list[Event]] = {}
    for event in events:
        by_code.setdefault(event["code"], []).append(event)
    changes = by_code.pop(RECOVERY_ACTION_CHANGED, [])
    shown: list[Decision] = []
    noted: list[Decision] = []
    driver = _driver(xid, changes, situation)
    for code, own in sorted(by_code.items()):
        decision = _judge_code(xid, nvlink5, code, own, events, situation)
        decision = _after_driver(decision, own, driver, situation)
        (noted if decision.status == "ok" else shown).append(decision)
    if changes and driver:
        (noted if driver.status == "ok" else shown).append(driver.decision(changes))
    return shown, noted


def judge_switch(policy: Policy, code: int, events: Sequence[Event], situation: Situation) -> Decision:
    """Return what one SXid of one switch means."""
    return _judged(entry(policy, code), policy, code, events, situation)


@dataclass(frozen=True)
class _Driver:
    """What the driver itself asks for, and when it last said so: what came later, it has not answered."""

    status: str
    remedy: str
    meaning: str
    advice: str
    until: float

    def decision(self, changes: Sequence[Event]) -> Decision:
        ordered = sorted(changes, key=_time)
        return Decision(
            RECOVERY_ACTION_CHANGED,
            self.status,
            self.remedy,
            self.meaning,
            self.advice,
            len(ordered),
            ordered[0],
            ordered[-1],
        )


def _driver(xid: Policy, changes: Sequence[Event], situation: Situation) -> _Driver | None:
    now = [event for event in sorted(changes, key=_time) if situation.is_this_boot(event)]
    value = situation.gpu["recovery_action"] if situation.gpu else None
    if value:
        # NVML speaks of this moment, the log of an earlier one.
        return _asked(xid, value, float("inf"), "NVML")
    if value == 0 and now:
        # That nothing is needed NVML also says of a GPU that never asked: only a line of the log answers an event.
        return _asked(xid, value, _time(now[-1]), "NVML")
    if now:
        return _asked(xid, recovery_value(now[-1]), _time(now[-1]), "XID 154")
    if changes:
        return _Driver("ok", "none", "the host has been rebooted since", "", float("-inf"))
    return None


def _asked(xid: Policy, value: int | None, until: float, who: str) -> _Driver:
    asked = recovery_action(xid, value)
    if asked is None:
        what = "could not be read" if value is None else f"is {value:#x}, which no table explains"
        return _Driver(
            "warn", "none", f"the recovery action that {who} announces {what}", "Ask nvidia-smi -q.", float("-inf")
        )
    meaning = f"the driver says ({who}): {asked['meaning']}"
    return _Driver(asked["status"], asked["remedy"], meaning, asked.get("advice", ""), until)


def _after_driver(decision: Decision, own: Sequence[Event], driver: _Driver | None, situation: Situation) -> Decision:
    """Return a decision that does not contradict the driver: only it knows whether a reset or a reboot is due."""
    if driver is None or decision.status != "fail" or decision.remedy not in ANSWERED_BY_BOOT:
        return decision
    here = [event for event in own if situation.is_this_boot(event)]
    if driver.status == "ok":
        if any(_time(event) > driver.until for event in here):
            return decision
        return replace(
            decision,
            status="warn",
            remedy="restart_app",
            advice="The driver says that the GPU has recovered. Make sure that the instance on it answers again.",
        )
    if driver.until == float("-inf") or any(_time(event) > driver.until + JOIN_SECONDS for event in here):
        return decision
    return replace(decision, remedy=driver.remedy, advice=f"It follows what {driver.meaning}. {driver.advice}".strip())


def _judge_code(
    xid: Policy, nvlink5: Policy, code: int, own: Sequence[Event], all_of_gpu: Sequence[Event], situation: Situation
) -> Decision:
    found = dict(entry(xid, code))
    if not found.get("overridden"):
        if code in NVLINK5_CODES:
            found = _decoded(nvlink5, found, own, situation)
        found = _joined(xid, found, code, own, all_of_gpu, situation)
        if found.get("defers_to") and _nvml_knows(situation.gpu):
            found.update(status="ok", remedy="none")
    return _judged(found, xid, code, own, situation)


def _judged(
    found: Mapping[str, Any], policy: Policy, code: int, own: Sequence[Event], situation: Situation
) -> Decision:
    groups = bursts(own, rule(policy, "burst_seconds", BURST_SECONDS))
    status, remedy, advice = found["status"], found["remedy"], found.get("advice", "")
    here = any(situation.is_this_boot(event) for event in own)
    if not here and remedy in ANSWERED_BY_BOOT:
        status, remedy, advice = "ok", "none", "The host has been rebooted since."
    elif not here and remedy == "restart_app":
        remedy, advice = "none", "The host has been rebooted since, so nothing needs a new start."
    then = found.get("then")
    moments = (situation.application or {}).get(code, ())
    past = [event for event in situation.answered if event["code"] == code]
    every = bursts([*past, *own], rule(policy, "burst_seconds", BURST_SECONDS)) if past else groups
    again = _repeats(every, then, moments, situation) if then else 0
    if then and again >= then["count"]:
        status, remedy = "fail", then["remedy"]
        advice = f"It came back: {again} times in {_span(then['within_seconds'])}. {found.get('advice', '')}".strip()
    elif then and moments and status != "ok":
        advice = "It came on several GPUs within a minute: suspect the application, not the GPU."
    ordered = sorted(own, key=_time)
    return Decision(code, status, remedy, found["meaning"], advice, len(groups), ordered[0], ordered[-1])


def _repeats(
    groups: Sequence[Burst], then: Mapping[str, Any], application: Sequence[float], situation: Situation
) -> int:
    """Return how often a code came back on one device (at most within_seconds apart), the newest time included."""
    own = [burst for burst in groups if not any(_time(burst[0]) - 60 <= at <= _time(burst[-1]) for at in application)]
    if not own or not any(situation.is_this_boot(event) for event in own[-1]):
        return 0
    near = [burst for burst in own if _time(own[-1][0]) - _time(burst[0]) <= then["within_seconds"]]
    if then.get("scope") != "gpc_tpc":
        return len(near)
    places = [{match.groups() for event in burst for match in _PLACE.finditer(event["message"])} for burst in near]
    # A line that names no place may be any place.
    return sum(1 for place in places if not place or not places[-1] or place & places[-1])


def _decoded(nvlink5: Policy, found: Mapping[str, Any], own: Sequence[Event], situation: Situation) -> dict[str, Any]:
    """Return the entry of an NVLink code with the worst rule of its lines; those of this boot come first."""
    here = [event for event in own if situation.is_this_boot(event)] or own
    rules = [decode_nvlink5(nvlink5, event) for event in here]
    known = [item for item in rules if item]
    if not known or (len(known) < len(rules) and all(item["status"] == "ok" for item in known)):
        return {**found, "advice": "Whether a reset is due, XID 154 and the check reset_required say."}
    worst = max(known, key=lambda item: ("ok", "warn", "fail").index(item["status"]))
    meaning = f"NVLink error of unit {worst['unit']} on link {worst['link']}, sub-code {worst['sub_code']}"
    return {**found, "status": worst["status"], "remedy": worst["remedy"], "meaning": meaning, "advice": _advice(worst)}


def _advice(worst: Mapping[str, Any]) -> str:
    words = "Whether a reset is due, XID 154 says." if worst.get("follows_154") else ""
    return f"{words} {worst.get('advice', '')}".strip()


def _joined(
    xid: Policy,
    found: dict[str, Any],
    code: int,
    own: Sequence[Event],
    all_of_gpu: Sequence[Event],
    situation: Situation,
) -> dict[str, Any]:
    joins = found.get("joins")
    if not joins:
        return found
    within = rule(xid, "join_seconds", JOIN_SECONDS)
    others = [
        event
        for event in all_of_gpu
        if event["code"] != code and (joins == "any" or event["code"] in joins or str(event["code"]) in joins)
    ]
    alone = [
        event
        for event in own
        if "caused by previous Xid" not in event["message"] and not any(_near(event, other, within) for other in others)
    ]
    if not alone:
        return {**found, "status": "ok", "remedy": "none", "then": None}
    solo = found.get("solo")
    if solo and (solo.get("needs") != "nvswitch" or situation.has_nvswitch):
        return {**found, **solo}
    return found


def _near(event: Event, other: Event, within: float) -> bool:
    if event["at_seconds"] is None or other["at_seconds"] is None:
        return True
    return abs(_time(event) - _time(other)) <= within


def _nvml_knows(gpu: Mapping[str, Any] | None) -> bool:
    if gpu is None:
        return False
    return gpu["row_remap"]["pending"] is not None or gpu["retired_pages"]["pending"] is not None


def _units(table: Policy, code: int, fields: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the units that a line may come from, with the layout of its register (1, 2 or None: neither fits)."""
    units = {name: unit for name, unit in (table.get("units") or {}).items() if unit["xid"] == code}
    layouts: dict[str, int | None] = {name: _layout(unit, fields["intrinfo"]) for name, unit in units.items()}
    printed = set(str(fields["unit"]).split("/"))
    named = {name: layouts[name] for name, unit in units.items() if printed & {name, *unit["names"]}}
    exact: dict[str, int | None] = {name: layout for name, layout in named.items() if layout}
    if exact or named:
        return exact or named
    return {name: layout for name, layout in layouts.items() if layout}


def _layout(unit: Mapping[str, Any], intrinfo: int) -> int | None:
    if intrinfo & 0x3FF == unit["layout_1"]:
        return 1
    return 2 if intrinfo & 0x7F == unit["layout_2"] else None


def _alone(table: Policy, found: Mapping[str, Any]) -> bool:
    same = [item for item in table["rules"] if item["unit"] == found["unit"] and item["sub_code"] == found["sub_code"]]
    return len(same) == 1


def _time(event: Event) -> float:
    return float(event["at_seconds"]) if event["at_seconds"] is not None else float("-inf")


def _span(seconds: float) -> str:
    days = seconds / 86400
    return f"{seconds / 3600:g} hours" if days <= 1 else f"{days:g} days"
