# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How a rollout stands, read from its plan and its journal: go on, take back, halt; and what to tell the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import host_lines

SCOPES = ("fleet", "batch")
# A verdict that lacks proof halts for a person; it does not condemn the hosts that were proven healthy before.
HALTING_VERDICTS = ("inconclusive", "error", "no_approval")
# The gate's refusal in the journal; a fault when a host itself says against what was proven before.
REFUSED_EVENT = "gate_refused"
# The old release turned out to be as slow afterwards: the pairs that spoke against the new one speak of the machine.
DRIFT_EVENT = "drift_found"
# Instances in these states were never taken out of service by the rollout.
UNTOUCHED_STATES = ("pending", "staged")

Line = Mapping[str, Any]


def decide(plan: Mapping[str, Any], lines: Sequence[Line], scope: str) -> dict[str, Any]:
    """Return {"outcome", "take_back", "failures"} after the last batch.

    outcome: completed (every planned instance is healthy), rolling_back or halted.
    take_back: {host: [instances]} that were promoted, in this rollout or in the one that it goes on with, and must go
    back too.
    failures: one sentence per cause, with the hosts that it stopped, in the order in which they failed.
    """
    if scope not in SCOPES:
        raise ValueError(f"local_llm_rollout_scope is '{scope}'. Use one of: {', '.join(SCOPES)}.")
    states = instance_states(plan, lines)
    failures = _failures(lines)
    if states and all(state == "healthy" for state in states.values()):
        return {"outcome": "completed", "take_back": {}, "failures": []}
    halted = _halts(lines)
    take_back: dict[str, list[str]] = {}
    if not halted and scope == "fleet":
        for (host, instance), state in states.items():
            if state == "healthy":
                take_back.setdefault(host, []).append(instance)
    return {"outcome": "halted" if halted else "rolling_back", "take_back": take_back, "failures": failures}


def conclude(plan: Mapping[str, Any], lines: Sequence[Line], scope: str) -> dict[str, Any]:
    """Return {"state", "message", "release_lock"} once everything that could be taken back was.

    state is a rollout state of the design: completed, halted, rolled_back_verified or rollback_failed.
    """
    decision = decide(plan, lines, scope)
    states = instance_states(plan, lines)
    names = {state: _names(states, state) for state in set(states.values())}
    what = " ".join(decision["failures"]) or "The rollout was stopped."
    if states and all(state == "rolled_back_verified" for state in states.values()) and not decision["failures"]:
        message = f"Rolled back, verified: {_names(states, 'rolled_back_verified')} serve the earlier release again."
        return {"state": "rolled_back_verified", "message": message, "release_lock": True}
    if decision["outcome"] == "completed":
        return {"state": "completed", "message": f"Completed: {_names(states, 'healthy')} serve the new release.",
                "release_lock": True}  # fmt: skip
    if "rollback_failed" in names:
        message = (
            f"{what} The way back is NOT proven on {names['rollback_failed']}; the gateway sends nothing there. "
            "Look at the instance's unit on that host, mend it, then run rollback again."
        )
        return {"state": "rollback_failed", "message": message, "release_lock": False}
    settled = (*UNTOUCHED_STATES, "healthy", "rolled_back_verified")
    if any(state not in settled for state in states.values()):
        lost = ", ".join("/".join(where) for where, state in states.items() if state not in settled)
        message = (
            f"{what} Nothing is known of {lost}. A change that was not committed there goes back by itself, at its "
            "deadline or at the next boot; what was committed stays, and the gateway sends nothing there. "
            "When the host answers again, run upgrade or rollback once more."
        )
        return {"state": "halted", "message": message, "release_lock": False}
    carried = _carried(plan)
    untouched = all(state in UNTOUCHED_STATES for where, state in states.items() if where not in carried)
    if untouched and not decision["take_back"] and all(states[where] == "healthy" for where in carried):
        serve = f"{names['healthy']} keep the new release, all others" if carried else "all"
        message = (
            f"{what} No host was taken out of service; {serve} serve their old release. "
            "Mend it, then run upgrade again."
        )
        return {"state": "halted", "message": message, "release_lock": True}
    if decision["take_back"]:
        # They were to go back, and nothing in the journal says that they did.
        message = (
            f"{what} {names['healthy']} should have gone back too and still serve the new release. "
            "Run rollback to take them back, or upgrade to go on."
        )
        return {"state": "halted", "message": message, "release_lock": False}
    if decision["outcome"] == "halted":
        healthy = f" {names['healthy']} keep the new release." if "healthy" in names else ""
        message = f"{what}{healthy} A person decides: run upgrade again to go on, or rollback to go back everywhere."
        return {"state": "halted", "message": message, "release_lock": "healthy" not in names}
    healthy = f" {names['healthy']} keep the new release (scope batch)." if "healthy" in names else ""
    back = names.get("rolled_back_verified", "No host had changed; all")
    message = (
        f"{what} {back} serve the old release again, verified.{healthy} Mend the new release, then run upgrade again."
    )
    return {"state": "rolled_back_verified", "message": message, "release_lock": True}


def instance_states(plan: Mapping[str, Any], lines: Sequence[Line]) -> dict[tuple[str, str], str]:
    """Return the last state of every instance that the plan changes, or carries over from an interrupted rollout."""
    last = host_lines(lines)
    states: dict[tuple[str, str], str] = {}
    for host in (host for batch in plan["batches"] for host in batch):
        for instance, entry in plan["hosts"].get(host, {}).items():
            if entry["action"] != "none":
                states[host, instance] = str(last.get(f"{host}/{instance}", {}).get("state", "pending"))
    for host, instance in _carried(plan):
        states[host, instance] = str(last.get(f"{host}/{instance}", {}).get("state", "healthy"))
    return states


def _carried(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the instances that an interrupted rollout has promoted already."""
    return [
        (host, instance)
        for host, entries in plan["hosts"].items()
        for instance, entry in entries.items()
        if entry.get("carried")
    ]


def _failures(lines: Sequence[Line]) -> list[str]:
    last = host_lines(lines).values()
    causes: dict[str, list[str]] = {}
    for line in lines:
        # A way back that failed counts until a later one is proven.
        stands = line["event"] == "rollback_failed" and any(line is other for other in last)
        # A gate that only repeats an earlier failure tells nothing new.
        refused = line["event"] == REFUSED_EVENT and (_is_fault(line) or not causes)
        if line["event"] in ("failed", "stage_failed") or stands or refused:
            # The first line says what happened; what follows it in the journal is log text.
            text = (line["detail"].splitlines() or ["failed"])[0].rstrip(".")
            hosts = causes.setdefault(text, [])
            where = line["host"] or "gate"
            if where not in hosts:
                hosts.append(where)
    return [f"{', '.join(hosts)}: {text}." for text, hosts in causes.items()]


def _halts(lines: Sequence[Line]) -> bool:
    """Tell whether the rollout stopped for want of proof or of a yes, not because of a proven fault."""
    faults = [line for line in lines if line["event"] == "failed" or _is_fault(line)]
    if not faults:
        return True
    excused = {line["host"] for line in lines if line["event"] == DRIFT_EVENT}
    return all(
        line["evidence"].get("verdict") in HALTING_VERDICTS
        or (line["event"] == "failed" and line["evidence"].get("verdict") == "fail" and line["host"] in excused)
        for line in faults
    )


def _is_fault(line: Line) -> bool:
    return bool(line["event"] == REFUSED_EVENT and line["evidence"].get("fault") is True)


def _names(states: Mapping[tuple[str, str], str], wanted: str) -> str:
    return ", ".join(f"{host}/{instance}" for (host, instance), state in states.items() if state == wanted)
