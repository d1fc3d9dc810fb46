# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The capacity of every pool of a fleet, from its inventory and its stored benchmarks; as a document and as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._engines import EngineError, get_engine, known_engines
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity import (
    CapacityError,
    Demand,
    Supply,
    capacity_plan,
    goodput_of_reports,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import names

SCHEMA = 1
_DEMAND = ("growth_percent_per_month", "lead_months", "headroom_percent", "failures", "rollout_batch")
# What bounds the requests that one instance works on at the same time.
_SLOTS = {"vllm": "max_num_seqs", "llamacpp": "parallel_requests", "ollama": "parallel_requests"}


def build_capacity_report(
    instances: Mapping[str, Any],
    capacities: Mapping[str, Mapping[str, Any]],
    reports: Mapping[str, Any],
    made_at: str,
) -> dict[str, Any]:
    """Return the document. instances: {host: local_llm_instances}; reports: {"<host>-<instance>": benchmark report}."""
    members: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for host, listed in instances.items():
        for instance in listed or ():
            members.setdefault(str(instance["pool"]), []).append((f"{host}-{instance['name']}", instance))
    pools = [_pool(name, members[name], capacities.get(name) or {}, reports) for name in sorted(members)]
    return {"schema": SCHEMA, "kind": "capacity_report", "made_at": made_at, "pools": pools}


def instance_problem(host: str, listed: Any) -> str | None:
    """Return why the instances of a host cannot be counted, or None."""
    if not isinstance(listed, list):
        return f"local_llm_instances of {host} is a {type(listed).__name__}; write a list of instances"
    for number, instance in enumerate(listed):
        for key in ("name", "pool"):
            if not isinstance(instance, Mapping) or not isinstance(instance.get(key), str):
                return f"local_llm_instances[{number}] of {host} has no {key}; playbook plan names all that is missing"
    return None


def read_reports(directory: Path, wanted: list[str]) -> dict[str, Any]:
    """Return the stored benchmark reports by name; one that is missing is left out, a damaged one is its own text."""
    found: dict[str, Any] = {}
    for name in wanted:
        try:
            found[name] = json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            found[name] = f"{directory / name}.json cannot be read: {error}"
    return found


def _pool(
    name: str,
    members: list[tuple[str, Mapping[str, Any]]],
    capacity: Mapping[str, Any],
    reports: Mapping[str, Any],
) -> dict[str, Any]:
    known = {server: reports[server] for server, _instance in members if server in reports}
    entry: dict[str, Any] = {"pool": name, "servers": [server for server, _instance in members]}
    try:
        plan = capacity_plan(_demand(name, capacity), _supply(members, capacity, known))
    except CapacityError as error:
        return {**entry, "plan": None, "problem": str(error)}
    return {**entry, "plan": plan, "problem": None}


def _demand(pool: str, capacity: Mapping[str, Any]) -> Demand:
    peaks = tuple(capacity.get("weekly_peaks") or ())
    # The last peaks are the demand of now; older ones tell only how it grows.
    peak = capacity.get("peak_requests_per_second") or max(peaks[-4:], default=None)
    if peak is None:
        raise CapacityError(f"peak: it is not known; set local_llm_pools.{pool}.capacity.peak_requests_per_second")
    given = {key: capacity[key] for key in _DEMAND if capacity.get(key) is not None}
    return Demand(peak, weekly_peaks=peaks, **given)


def _supply(
    members: list[tuple[str, Mapping[str, Any]]], capacity: Mapping[str, Any], reports: Mapping[str, Any]
) -> Supply:
    goodput, source = capacity.get("goodput_requests_per_second"), "inventory"
    if goodput is None:
        goodput, source = goodput_of_reports(reports)
    means = [report["e2el_seconds"].get("mean") for report in reports.values() if _has_latency(report)]
    slots = [value for value in (_slots(instance) for _server, instance in members) if value]
    return Supply(
        goodput,
        source,
        replicas=len(members),
        max_concurrency=capacity.get("max_concurrency") or min(slots, default=None),
        mean_seconds=max((mean for mean in means if mean), default=None),
    )


def _has_latency(report: Any) -> bool:
    return isinstance(report, Mapping) and bool(report.get("valid")) and isinstance(report.get("e2el_seconds"), Mapping)


def _slots(instance: Mapping[str, Any]) -> int | None:
    engine = str(instance.get("engine"))
    if engine not in known_engines() or engine not in _SLOTS:
        return None
    try:
        value = get_engine(engine).complete_config(dict(instance.get("config") or {})).get(_SLOTS[engine])
    except (EngineError, TypeError, ValueError) as error:
        raise CapacityError(f"instance {instance['name']}: {error}") from error
    return value if isinstance(value, int) and value > 0 else None


def capacity_text(document: Mapping[str, Any]) -> str:
    """Return the document as a page for the screen."""
    lines = [f"Capacity of {len(document['pools'])} {'pool' if len(document['pools']) == 1 else 'pools'}"]
    for entry in document["pools"]:
        lines += ["", f"Pool {entry['pool']}: {len(entry['servers'])} replicas ({names(entry['servers'])})"]
        lines += [f"  {line}" for line in (_plan_lines(entry["plan"]) if entry["plan"] else [entry["problem"]])]
    return "\n".join(lines)


def _plan_lines(plan: Mapping[str, Any]) -> list[str]:
    given, need, rollout = plan["inputs"], plan["replicas"], plan["rollout"]
    decision = plan["decision"]
    lines = [
        f"measured     {given['goodput_requests_per_second']:g} requests/s per replica ({given['goodput_source']})",
        f"peak         {given['peak_requests_per_second']:g} requests/s, growth {_growth(plan['growth'])}",
        f"needed       {need['needed']}: {need['for_peak']} for the peak, {need['with_headroom']} with "
        f"{given['headroom_percent']:g} % headroom, {need['spare']} to spare{_missing(need)}",
        "headroom     " + ", ".join(f"{part['headroom_percent']:g} %: {part['needed']}" for part in plan["choices"]),
        f"utilisation  {plan['utilisation_percent']:g} % at the peak: {decision['level']}. {decision['advice']}",
        "thresholds   " + "; ".join(_threshold(part) for part in plan["thresholds"]),
        f"rollout      {_batch(rollout)}",
    ]
    flight, wait = plan["concurrency"], plan["waiting"]
    if flight and flight["limit"] is not None:
        fits = "fits" if flight["fits"] else "does not fit: requests wait inside the engine"
        lines.append(f"in flight    {flight['per_replica']:g} per replica, of {flight['limit']:g} good slots: {fits}")
    if wait:
        late = "without end" if wait["wait_p95_seconds"] is None else f"{wait['wait_p95_seconds']:g} s"
        lines.append(
            f"waiting      at least {100 * wait['wait_probability']:.1f} % wait, p95 at least {late} (Erlang C)"
        )
    return lines + [f"note         {note}" for note in plan["notes"]]


def _growth(growth: Mapping[str, Any]) -> str:
    text = f"{growth['percent_per_month']:g} % per month"
    if growth["low_percent"] is not None:
        text += f" ({growth['low_percent']:g} to {growth['high_percent']:g}, 95 %, from {growth['weeks']} weeks)"
    return text


def _missing(need: Mapping[str, Any]) -> str:
    return f"; {need['missing']} missing" if need["missing"] else "; there are enough"


def _threshold(part: Mapping[str, Any]) -> str:
    head = f"{part['level']} ({part['utilisation_percent']:g} %)"
    if part["months"] == 0:
        return f"{head} now"
    if part["months"] is None:
        return f"{head} not by this growth"
    spread = ""
    if part["months_earliest"] is not None:
        latest = "never" if part["months_latest"] is None else f"{part['months_latest']:g}"
        spread = f" ({part['months_earliest']:g} to {latest})"
    return f"{head} in {part['months']:g} months{spread}"


def _batch(rollout: Mapping[str, Any]) -> str:
    if not rollout["largest_batch"]:
        return f"not even one may be away at the peak: {rollout['replicas_needed_now']} must answer"
    return (
        f"at most {rollout['largest_batch']} away at the same time, {rollout['replicas_needed_now']} must answer; "
        f"{rollout['largest_batch_with_failures']} when some have failed"
    )
