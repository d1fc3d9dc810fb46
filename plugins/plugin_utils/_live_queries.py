# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What is watched of one server under its new release, and what Prometheus is asked for it.

Series are chosen by the label `server` and by time, not by the label `release`: targets get that one when the rollout
is over. Controller only; nothing here asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import quoted
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_buckets import le_text, neighbours
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import Member, build_fleet
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import has_metrics
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import ENGINE_JOB, GATEWAY_JOB

# The alert LocalLlmEngineQueue has the same limit.
DEFAULT_QUEUE_MAX = 10
ANSWERS, BROKEN_OFF = "haproxy_server_http_responses_total", "haproxy_server_server_aborts_total"
# What the gateways tell. Their counters stood still before the server was let in, so they count from before it.
AT_GATEWAY = ("answers", "broken_off")


@dataclass(frozen=True)
class Watched:
    """What is watched, and its limits. ttft_bound: the bucket at which requests count as in time.

    unscraped_before: the engine that served before, when it has no metrics. Then Prometheus has no target of this
    server yet: targets are written when the rollout is over. Empty where a target must be there.
    """

    member: Member
    release: str
    gateways: tuple[str, ...]
    error_max_percent: float
    queue_max: float
    ttft_max_seconds: float | None
    ttft_bound: float | None
    unscraped_before: str = ""


def watched(
    host: str,
    instance: Mapping[str, Any],
    release: str,
    gateways: Sequence[str],
    pools: Any,
    tiers: Any,
    previous: Mapping[str, Any] | None = None,
) -> Watched:
    """Return what is to be watched of an instance, as in local_llm_instances. Raises RulesError.

    previous: {"engine", "engine_version"} of the release before; without it a target is taken to be there.
    """
    (pool,) = build_fleet({host: [dict(instance)]}, pools, tiers, {})
    (member,) = pool.members
    limit, bound = pool.tier.get("ttft_p95_max_seconds"), None
    if limit is not None and "ttft" in member.metrics.signals:
        bound = neighbours(member.metrics.buckets[member.metrics.signals["ttft"].metric], limit)[1]
    # Without a limit of the tier no error is agreed.
    errors, queue = pool.tier.get("error_rate_max_percent"), pool.tier.get("queue_depth_max")
    return Watched(
        member,
        release,
        tuple(gateways),
        0.0 if errors is None else errors,
        DEFAULT_QUEUE_MAX if queue is None else queue,
        limit,
        bound,
        _without_metrics(previous or {}),
    )


def queries(what: Watched, window_seconds: int) -> dict[str, str]:
    """Return the expressions to ask, by name: raw samples of the last so many seconds."""
    member, signals = what.member, what.member.metrics.signals
    name = member.server.replace(".", "[.]")
    at_gateway = (
        f"job={quoted(GATEWAY_JOB)},proxy=~{quoted(f'(pool|canary)_{member.pool}')}"
        f",server=~{quoted(f'(fallback[.])?{name}')}"
    )
    found = {"answers": f"{ANSWERS}{{{at_gateway}}}", "broken_off": f"{BROKEN_OFF}{{{at_gateway}}}"}
    if member.metrics.metrics:
        at_engine = f"job={quoted(ENGINE_JOB)},server={quoted(member.server)}"
        found["up"] = f"up{{{at_engine}}}"
        wanted = {"ended": "requests_ended", "failed": "requests_failed", "waiting": "requests_waiting"}
        for key, signal in wanted.items():
            if signal in signals:
                labels = "".join(f",{label}={quoted(value)}" for label, value in signals[signal].labels.items())
                found[key] = f"{signals[signal].metric}{{{at_engine}{labels}}}"
        if what.ttft_bound is not None:
            metric = signals["ttft"].metric
            found["first_tokens"] = f"{metric}_count{{{at_engine}}}"
            found["in_time"] = f"{metric}_bucket{{{at_engine},le={quoted(le_text(what.ttft_bound))}}}"
    return {key: f"{selector}[{window_seconds}s]" for key, selector in found.items()}


def _without_metrics(previous: Mapping[str, Any]) -> str:
    """Return the engine of a release when it has no metrics, so that it has no target; else an empty text."""
    engine = str(previous.get("engine") or "")
    return "" if not engine or has_metrics(engine, str(previous.get("engine_version") or "")) else engine
