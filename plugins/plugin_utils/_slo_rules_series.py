# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One set of names for all engines and GPU exporters: recording rules from their own names to ours. Controller only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import Member, Pool
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import Signal, gpu_metrics
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import (
    ENGINE_JOB,
    GATEWAY_JOB,
    TEST_RELEASE,
)

Rule = dict[str, Any]
Group = dict[str, Any]
TIER_LIMIT = "local_llm:tier_limit"
LABELS = "host, server, pool, engine, model, release"
# Signals that rules read under our name; objectives read the engine's own.
_GAUGES = ("requests_running", "requests_waiting", "kv_cache_used")
_COUNTERS = ("generated_tokens", "generation_seconds", "generation_tokens_timed", "preemptions")


def instance_group(pools: Iterable[Pool]) -> Group:
    """Return what the inventory says that there is, and whether it answers."""
    members = [member for pool in pools for member in pool.members]
    rules: list[Rule] = []
    for member in members:
        rules.append({"record": "local_llm:instance_expected", "expr": "vector(1)", "labels": member.labels})
        if member.slots:
            expr = f"vector({member.slots})"
            rules.append({"record": "local_llm:instance_requests_max", "expr": expr, "labels": member.labels})
    up = "local_llm:instance_up"
    if any(member.metrics.metrics for member in members):
        rules.append({"record": up, "expr": f'sum by ({LABELS}) (up{{job="{ENGINE_JOB}"}})'})
    for member in members:
        if member.metrics.metrics:
            continue
        # No metrics of its own: what the gateway's health checks see.
        down = f'haproxy_server_status{{{_at_gateway(member)},state="DOWN"}}'
        rules.append({"record": up, "expr": f"max(1 - {down})", "labels": member.labels})
        sessions = f"sum(haproxy_server_current_sessions{{{_anywhere(member)}}})"
        rules.append({"record": "local_llm:requests_running", "expr": sessions, "labels": member.labels})
    return {"name": "local_llm_instances", "rules": rules}


def limit_group(pools: Iterable[Pool]) -> Group:
    """Return the limits of each pool's tier as series, for panels and rules that hold something against them."""
    rules = [
        {"record": TIER_LIMIT, "expr": f"vector({value:.12g})", "labels": {**pool.labels, "limit": key}}
        for pool in pools
        for key, value in pool.tier.items()
        if value is not None
    ]
    return {"name": "local_llm_tiers", "rules": rules}


def engine_group(pools: Iterable[Pool]) -> Group:
    """Return the signals of all engines under one name; of two metrics that tell the same the newer one counts."""
    members = [member for pool in pools for member in pool.members]
    rules: list[Rule] = []
    for name in (*_GAUGES, *_COUNTERS):
        used = {_selector(m.metrics.signals[name]): None for m in members if name in m.metrics.signals}
        if not used:
            continue
        # The selector with more labels belongs to the newer version.
        ordered = sorted(used, key=lambda text: (-text.count("="), text))
        if name in _GAUGES:
            expr = " or ".join(f"sum by ({LABELS}) ({selector})" for selector in ordered)
            rules.append({"record": f"local_llm:{name}", "expr": expr})
        else:
            expr = " or ".join(f"sum by ({LABELS}) (rate({selector}[5m]))" for selector in ordered)
            rules.append({"record": f"local_llm:{name}:rate5m", "expr": expr})
    return {"name": "local_llm_engines", "rules": rules}


def gpu_group() -> Group:
    """Return the names of GPU metrics for hosts where DCGM is the exporter."""
    rules: list[Rule] = []
    for name, entry in gpu_metrics().items():
        if "dcgm" not in entry:
            continue
        value = f'max by (host, gpu, uuid) (label_replace({entry["dcgm"]}, "uuid", "$1", "UUID", "(.*)"))'
        expr = value if entry["scale"] == 1 else f"{value} * {entry['scale']:.9g}"
        rule: Rule = {"record": name, "expr": expr}
        if entry.get("dcgm_labels"):
            rule["labels"] = dict(entry["dcgm_labels"])
        rules.append(rule)
    codes = 'count_values by (host, gpu, uuid) ("xid", local_llm_gpu_last_xid > 0)'
    rules.append({"record": "local_llm:gpu_last_xid_code", "expr": codes})
    return {"name": "local_llm_gpus", "rules": rules}


def fed_series(member: Member, signal: str) -> tuple[str, dict[str, str]]:
    """Return a series that feeds a signal of an instance in a test, and the labels of what is recorded from it."""
    if signal in member.metrics.signals:
        found = member.metrics.signals[signal]
        labels = {**member.labels, "release": TEST_RELEASE}
        return f"{found.metric}{{{_pairs({'job': ENGINE_JOB, **labels, **found.labels})}}}", labels
    if signal == "requests_running":
        return f"haproxy_server_current_sessions{{{_test_place(member)}}}", member.labels
    raise KeyError(f"{member.engine} {member.version} has no signal {signal}")


def fed_up(member: Member) -> tuple[str, dict[str, str], bool]:
    """Return the series that says whether an instance answers, the labels, and whether 1 means that it does."""
    if member.metrics.metrics:
        labels = {**member.labels, "release": TEST_RELEASE}
        return f"up{{{_pairs({'job': ENGINE_JOB, **labels})}}}", labels, True
    return f'haproxy_server_status{{{_test_place(member)},state="DOWN"}}', member.labels, False


def has_signal(member: Member, signal: str) -> bool:
    """Tell whether rules have this signal of an instance."""
    if signal == "slots":
        return member.slots is not None
    return signal in member.metrics.signals or (signal == "requests_running" and not member.metrics.metrics)


def _selector(signal: Signal) -> str:
    return f"{signal.metric}{{{_pairs({'job': ENGINE_JOB, **signal.labels})}}}"


def _at_gateway(member: Member) -> str:
    return f'job="{GATEWAY_JOB}",proxy="pool_{member.pool}",server="{member.server}"'


def _anywhere(member: Member) -> str:
    name = member.server.replace(".", "[.]")
    return f'job="{GATEWAY_JOB}",proxy=~"(pool|canary)_{member.pool}",server=~"(fallback[.])?{name}"'


def _test_place(member: Member) -> str:
    return f'job="{GATEWAY_JOB}",host="gw1",proxy="pool_{member.pool}",server="{member.server}"'


def _pairs(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())
