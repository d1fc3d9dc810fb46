# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A result against its tier: every objective met, missed or not measured, with the margin, and the error budget.

This says how a service does; whether a release must go back is another question, and the judge's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import CLIENT_LIMIT
from ansible_collections.local_llm.ops.plugins.module_utils._bench._validity import REASON_ALL_FAILED, REASON_GAVE_UP
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError, Tier, get_tier, tier_problems

MET, MISSED, NOT_MEASURED = "met", "missed", "not_measured"
# Why a percentile is null. A tier that rests on it is neither kept nor missed.
TOO_FEW = "too few answers"


@dataclass(frozen=True)
class _Objective:
    """One key of a tier. timing: it rests on clocks, or on being alone: an invalid run says nothing of it."""

    key: str
    name: str
    unit: str
    at_most: bool
    timing: bool
    place: tuple[str, ...] = ()


OBJECTIVES = (
    _Objective("ttft_p50_max_seconds", "time to first token p50", "s", True, True, ("ttft_seconds", "p50")),
    _Objective("ttft_p95_max_seconds", "time to first token p95", "s", True, True, ("ttft_seconds", "p95")),
    _Objective("latency_p50_max_seconds", "whole answer p50", "s", True, True, ("e2el_seconds", "p50")),
    _Objective("latency_p95_max_seconds", "whole answer p95", "s", True, True, ("e2el_seconds", "p95")),
    _Objective(
        "tokens_per_second_p50_min",
        "tokens/s of a request p50",
        "tokens/s",
        False,
        True,
        ("output_tokens_per_second_per_request", "p50"),
    ),
    _Objective("requests_per_minute_min", "requests per minute", "/min", False, True),
    _Objective("queue_depth_max", "longest queue", "requests", True, True, ("server", "queue_max")),
    _Objective("error_rate_max_percent", "error rate", "%", True, False),
    _Objective("timeout_rate_max_percent", "timeout rate", "%", True, False),
    _Objective("availability_min_percent", "answered requests", "%", False, False),
)


def pool_tier(name: str, additions: Any, pool: str | None, overrides: Any) -> Tier:
    """Return a tier with what a pool sets for itself (local_llm_pools.<pool>.slo) on top. Raises SloError."""
    tier = get_tier(name, additions)
    if not overrides:
        return tier
    if not isinstance(overrides, Mapping):
        raise SloError(f"local_llm_pools.{pool}.slo: is {overrides!r}; write limits, such as ttft_p95_max_seconds: 1.5")
    marker = "pool"
    problems = tier_problems({marker: {**tier, **overrides}})
    if problems:
        where = f"local_llm_pools.{pool}.slo"
        raise SloError("\n".join(text.replace(f"local_llm_slo_tiers.{marker}", where) for text in problems))
    return {**tier, **overrides}


def slo_verdict(report: Mapping[str, Any] | None, tier_name: str, tier: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict on one report: each objective of the tier, the error budget of the run, and one sentence."""
    problem = benchmark_problem(report)
    if report is None or problem:
        return _verdict(tier_name, [], None, NOT_MEASURED, f"Not measured: {problem}.")
    objectives = [
        _judge(objective, report, tier[objective.key])
        for objective in OBJECTIVES
        if tier.get(objective.key) is not None
    ]
    budget = error_budget(report, tier.get("availability_min_percent"))
    missed = [item for item in objectives if item["status"] == MISSED]
    unknown = [item for item in objectives if item["status"] == NOT_MEASURED]
    if missed:
        worst = min(missed, key=lambda item: item["margin_percent"] if item["margin_percent"] is not None else -1e9)
        more = f", and {len(missed) - 1} more" if len(missed) > 1 else ""
        return _verdict(tier_name, objectives, budget, MISSED, f"Over its tier {tier_name}: {told(worst)}{more}.")
    if not report["valid"]:
        why = "; ".join(str(reason) for reason in report["invalid_reasons"])
        return _verdict(tier_name, objectives, budget, NOT_MEASURED, f"The run is not valid: {why}.")
    unsure = [item["name"] for item in unknown if item["reason"] == TOO_FEW]
    if unsure:
        text = f"Not measured against its tier {tier_name}: too few answers for {', '.join(unsure)}."
        return _verdict(tier_name, objectives, budget, NOT_MEASURED, text)
    if unknown:
        names = ", ".join(item["name"] for item in unknown)
        text = f"Within its tier {tier_name}, as far as it was measured. Not measured: {names}."
        return _verdict(tier_name, objectives, budget, MET, text)
    return _verdict(tier_name, objectives, budget, MET, f"Within its tier {tier_name}.")


def _verdict(
    tier: str, objectives: list[dict[str, Any]], budget: dict[str, Any] | None, status: str, summary: str
) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "slo_verdict",
        "tier": tier,
        "status": status,
        "objectives": objectives,
        "error_budget": budget,
        "summary": summary,
    }


def _judge(objective: _Objective, report: Mapping[str, Any], limit: float) -> dict[str, Any]:
    observed, why = _observed(objective, report)
    # What is missing of a run that cannot be believed is missed all the same; what is kept there proves nothing.
    if objective.timing and not _believable(report):
        observed, why = None, "the run is not valid"
    status, margin = NOT_MEASURED, None
    if observed is not None:
        kept = observed <= limit if objective.at_most else observed >= limit
        status = MET if kept else MISSED
        room = limit - observed if objective.at_most else observed - limit
        margin = round(100 * room / limit, 1) if limit else None
    return {
        "objective": objective.key,
        "name": objective.name,
        "unit": objective.unit,
        "observed": observed,
        "limit": limit,
        "status": status,
        "margin_percent": margin,
        "reason": why if observed is None else "",
    }


def _believable(report: Mapping[str, Any]) -> bool:
    """Tell whether the clocks of a run may be believed; failures of the server make them no less true."""
    return all(str(reason).startswith((REASON_ALL_FAILED, REASON_GAVE_UP)) for reason in report["invalid_reasons"])


def _observed(objective: _Objective, report: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return the value, or None and why there is none."""
    requests = report["requests"]
    issued, failed = _sent(report)
    if objective.place:
        part = report.get(objective.place[0])
        value = part.get(objective.place[1]) if isinstance(part, Mapping) else None
        why = "the server's metrics were not read" if objective.place[0] == "server" else TOO_FEW
        return value, why
    if objective.key == "requests_per_minute_min":
        rate = report.get("requests_per_second")
        return (None, "nothing was answered") if not rate else (round(60 * rate, 3), "")
    if not issued:
        return None, "no request was sent"
    counts = {
        "error_rate_max_percent": failed - requests["timeouts"],
        "timeout_rate_max_percent": requests["timeouts"],
        "availability_min_percent": requests["succeeded"],
    }
    return round(100 * counts[objective.key] / issued, 3), ""


def _sent(report: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many requests were sent, and how many of them failed. One that our own client did not send is no
    failure of the server."""
    requests = report["requests"]
    unsent = requests.get("errors", {}).get(CLIENT_LIMIT, 0)
    return requests["issued"] - unsent, requests["failed"] - unsent


def error_budget(report: Mapping[str, Any], availability_percent: float | None) -> dict[str, Any] | None:
    """Return how many failures the tier's availability allows for as many requests as this run issued, and what of it
    was spent. It is the budget of this run, not of a month: it says whether such a run may repeat itself."""
    issued, failed = _sent(report)
    if availability_percent is None or not issued:
        return None
    allowed = issued * (100 - availability_percent) / 100
    spent = 100 * failed / allowed if allowed else (0.0 if not failed else None)
    return {
        "availability_min_percent": availability_percent,
        "issued": issued,
        "failed": failed,
        "allowed_failures": round(allowed, 3),
        "spent_percent": None if spent is None else round(spent, 1),
        "left_percent": None if spent is None else round(max(0.0, 100 - spent), 1),
        # with fewer requests than this not even one failure fits, so a single one spends all of it
        "requests_for_one_failure": round(100 / (100 - availability_percent)) if availability_percent < 100 else None,
    }


def told(objective: Mapping[str, Any]) -> str:
    """Return one objective as part of a sentence."""
    unit = f" {objective['unit']}" if objective["unit"] else ""
    sign = "at most" if "_max_" in objective["objective"] or objective["objective"].endswith("_max") else "at least"
    return f"{objective['name']} is {objective['observed']:.4g}{unit}, {sign} {objective['limit']:g}{unit} is agreed"
