# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The evidence gate: may a batch start? Only positive evidence says yes; what is missing says no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import Journal, host_lines, rollout_state

# A rollout in one of these states may go on. Every other state, and none at all, stops it.
GO_STATES = ("planned", "preflight", "canary", "analysing", "progressing")
# An instance of this rollout in one of these states stops it, whatever its batch.
STOP_STATES = ("rolling_back", "rolled_back_verified", "rollback_failed", "unknown")


def gate(
    plan: Mapping[str, Any],
    journal: Journal,
    release_infos: Mapping[str, Any],
    batch_hosts: Sequence[str],
    strategy: str | None = None,
) -> dict[str, Any]:
    """Return {"go", "batch" (from 1, or None), "fault", "reasons", "checked"} for the batch with these hosts.

    A reason is {"host", "instance", "expected", "observed", "fault"}. A fault is what a host itself says against an
    instance that counts as healthy: another release, or a unit that does not run. What is only missing is none.
    "checked" are the "host/instance" that gave evidence.
    """
    reasons: list[dict[str, Any]] = []
    checked: list[str] = []
    if strategy is not None and strategy not in ("linear", "ansible.builtin.linear"):
        reasons.append(_reason(None, None, "strategy linear", f"strategy {strategy}"))
    reasons += _journal_reasons(plan, journal)
    index = batch_index(plan, batch_hosts)
    if index is None:
        expected = "the hosts of one batch of the plan"
        reasons.append(_reason(None, None, expected, f"batch of {', '.join(batch_hosts) or 'no hosts'}"))
        return {"go": False, "batch": None, "fault": False, "reasons": reasons, "checked": checked}
    for host in plan["batches"][index]:
        if host not in batch_hosts:
            reasons.append(_reason(host, None, f"active in batch {index + 1}", "failed or unreachable in this batch"))
    last = host_lines(journal.lines)
    for number, batch in enumerate(plan["batches"][:index], start=1):
        for host in batch:
            instances = plan["hosts"].get(host) or {}
            if not instances:
                reasons.append(_reason(host, None, f"instances of batch {number} in the plan", "none"))
            for instance, entry in instances.items():
                found = _line_reasons(host, instance, entry, last)
                promoted = not found and (entry["action"] != "none" or bool(entry.get("carried")))
                found += _info_reasons(host, instance, entry, release_infos, promoted)
                reasons += found
                if not found:
                    checked.append(f"{host}/{instance}")
    fault = any(reason["fault"] for reason in reasons)
    return {"go": not reasons, "batch": index + 1, "fault": fault, "reasons": reasons, "checked": checked}


def batch_index(plan: Mapping[str, Any], batch_hosts: Sequence[str]) -> int | None:
    """Return the index of the plan's batch that holds all of these hosts, or None."""
    if not batch_hosts:
        return None
    for index, batch in enumerate(plan["batches"]):
        if set(batch_hosts) <= set(batch):
            return index
    return None


def reason_line(reason: Mapping[str, Any]) -> str:
    """Return a reason as one line."""
    where = "/".join(str(part) for part in (reason["host"], reason["instance"]) if part) or "rollout"
    return " ".join(f"{where}: expected {reason['expected']}, found {reason['observed']}".split())


def reasons_text(reasons: Sequence[Mapping[str, Any]]) -> str:
    """Return all reasons as one line."""
    return "; ".join(reason_line(reason) for reason in reasons)


def _journal_reasons(plan: Mapping[str, Any], journal: Journal) -> list[dict[str, Any]]:
    reasons = []
    if not journal.intact:
        observed = f"line {journal.broken_line}: {journal.broken_reason}"
        reasons.append(_reason(None, None, "an intact journal", observed))
    for line in journal.lines[:1]:
        if line["rollout_id"] != plan["rollout_id"]:
            reasons.append(_reason(None, None, f"journal of {plan['rollout_id']}", f"journal of {line['rollout_id']}"))
    state = rollout_state(journal.lines)
    if state not in GO_STATES:
        reasons.append(
            _reason(None, None, f"rollout state {' or '.join(GO_STATES)}", state or "no state in the journal")
        )
    for key, last in host_lines(journal.lines).items():
        if last["state"] in STOP_STATES:
            host, _slash, instance = key.partition("/")
            observed = f"{last['state']} (line {last['seq']}, {last['event']})"
            reasons.append(_reason(host, instance or None, "no instance that went back or is unknown", observed))
    return reasons


def _line_reasons(
    host: str, instance: str, entry: Mapping[str, Any], last: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return what the journal lacks for an instance that this rollout changed."""
    if entry["action"] == "none":
        return []
    expected = f"journal state healthy with release {entry['to']}"
    line = last.get(f"{host}/{instance}")
    if line is None:
        return [_reason(host, instance, expected, "no line in the journal")]
    whole_host = last.get(host)
    if whole_host is not None and whole_host["seq"] > line["seq"]:
        line = whole_host
    if line["state"] == "healthy" and line.get("release") == entry["to"]:
        return []
    return [
        _reason(host, instance, expected, f"{line['state']} with release {line.get('release')} (line {line['seq']})")
    ]


def _info_reasons(
    host: str, instance: str, entry: Mapping[str, Any], release_infos: Mapping[str, Any], promoted: bool
) -> list[dict[str, Any]]:
    """Return what the host itself does not confirm; of a promoted instance, what it says against it is a fault."""
    info = release_infos.get(host)
    if not isinstance(info, Mapping) or info.get("failed") or info.get("unreachable") or info.get("skipped"):
        observed = (
            "no answer" if not isinstance(info, Mapping) else f"no answer: {info.get('msg') or 'the query failed'}"
        )
        return [_reason(host, instance, "an answer of llm_release_info", observed)]
    listed = info.get("instances")
    items = [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, Sequence) else []
    found = next((item for item in items if item.get("instance") == instance), None)
    if found is None:
        return [_reason(host, instance, "the instance on the host", "not there")]
    state = found.get("instance_state")
    wanted = [
        ("current release", entry["to"], found.get("current")),
        ("dead-man", "disarmed", "armed" if found.get("armed") or "armed" not in found else "disarmed"),
        ("unit state", "active", found.get("active_state")),
    ]
    if entry["action"] != "none":
        # What this rollout leaves alone may be verifying (site) or rolled_back_verified, and serve well.
        state_found = state.get("state") if isinstance(state, Mapping) else None
        wanted.insert(2, ("state on the host", "healthy", state_found))
    found_reasons = [
        _reason(
            host,
            instance,
            f"{what} {expected}",
            f"{what} {observed if observed is not None else 'missing'}",
            fault=promoted and observed is not None and what in ("current release", "unit state"),
        )
        for what, expected, observed in wanted
        if observed != expected
    ]
    if entry["action"] != "none":
        kept = found.get("evidence")
        evidence = kept if isinstance(kept, Mapping) else {}
        unproven = evidence.get("verdict") in ("inconclusive", "error")
        if evidence.get("verdict") != "pass" and not (unproven and evidence.get("accepted")):
            observed = f"verdict {evidence.get('verdict')}" if evidence else "none"
            expected = f"evidence of release {entry['to']} on the host, with verdict pass or accepted by name"
            found_reasons.append(_reason(host, instance, expected, observed))
    return found_reasons


def _reason(
    host: str | None, instance: str | None, expected: str, observed: str, fault: bool = False
) -> dict[str, Any]:
    return {"host": host, "instance": instance, "expected": expected, "observed": observed, "fault": fault}
