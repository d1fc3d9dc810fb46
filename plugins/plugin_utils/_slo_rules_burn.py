# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Recording rules and alerts of objectives: rates, ratios over windows, what is left of the budget, how fast it burns.

Every alert has a short and a long window; both must burn too fast. Controller only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import (
    PAGE,
    PERIOD_DAYS,
    TICKET,
    Objective,
    Window,
)

Rule = dict[str, Any]
Group = dict[str, Any]
_HOURS = {"5m": 1 / 12, "30m": 0.5, "1h": 1, "2h": 2, "6h": 6, "1d": 24, "3d": 72}
_WORDS = {
    "availability": ("Availability", "the clients of pool {pool} get errors"),
    "errors": ("Errors", "{engine} fails requests of pool {pool}"),
    "ttft": ("Ttft", "pool {pool} is slow to begin its answers"),
    "latency": ("Latency", "pool {pool} is slow to finish its answers"),
}


def rate_group(pool_name: str, objectives: Iterable[Objective]) -> Group:
    """Return the rates on which everything else rests: how much happened, and how much of it was bad."""
    rules: list[Rule] = []
    for item in objectives:
        labels = _series_labels(item)
        rules.append({"record": "local_llm:slo_total:rate5m", "expr": item.total, "labels": labels})
        rules.append({"record": "local_llm:slo_bad:rate5m", "expr": item.bad, "labels": labels})
        objective = f"vector({item.percent / 100:.9g})"
        rules.append({"record": "local_llm:slo_objective:ratio", "expr": objective, "labels": labels})
    return {"name": f"local_llm_slo_{pool_name}", "rules": rules}


def window_group() -> Group:
    """Return the bad share of every objective over every window; without traffic there is none, and no NaN."""
    rules = [
        {
            "record": f"local_llm:slo_error:ratio_{window}",
            "expr": f"sum_over_time(local_llm:slo_bad:rate5m[{window}])"
            f" / (sum_over_time(local_llm:slo_total:rate5m[{window}]) > 0)"
            if window != "5m"
            else "local_llm:slo_bad:rate5m / (local_llm:slo_total:rate5m > 0)",
        }
        for window in _HOURS
    ]
    return {"name": "local_llm_slo_windows", "rules": rules}


def budget_group() -> Group:
    """Return what is left of the error budget of 30 days: 1 is all of it, 0 is none, below 0 is overspent."""
    days = f"{PERIOD_DAYS}d"
    return {
        "name": "local_llm_slo_budget",
        "interval": "5m",
        "rules": [
            {
                "record": f"local_llm:slo_error:ratio_{days}",
                "expr": f"sum_over_time(local_llm:slo_bad:rate5m[{days}])"
                f" / (sum_over_time(local_llm:slo_total:rate5m[{days}]) > 0)",
            },
            {
                "record": "local_llm:slo_budget_remaining:ratio",
                "expr": f"1 - local_llm:slo_error:ratio_{days} / (1 - local_llm:slo_objective:ratio)",
            },
        ],
    }


def burn_alerts(item: Objective, min_bad_requests: int, page: str) -> list[Rule]:
    """Return the alerts of one objective: page, ticket, and one for an objective that cannot be seen."""
    word, summary = _WORDS[item.name]
    summary = summary.format(pool=item.pool.name, engine=item.labels.get("engine", ""))
    base = {**item.labels, "slo": item.name}
    runbook = f"{page}#{item.name}"
    goal = f"{item.percent:g} % over {PERIOD_DAYS} days"
    bad = "{{ $value | humanizePercentage }} of the requests were bad"
    hours, days = PERIOD_DAYS * 24 / PAGE[0].factor, PERIOD_DAYS / PAGE[1].factor
    fast = (
        f"In the last minutes {bad}: {item.what}. The objective is {goal}. At this rate the whole budget is gone "
        f"within {hours:.0f} hours or, when it burns for hours already, {days:.0f} days. Look at it now; stop a "
        "rollout that runs."
    )
    slow = (
        f"In the last hours {bad}: {item.what}. The objective is {goal}. The budget will not last the {PERIOD_DAYS} "
        "days. Find the cause in working hours, before the next rollout."
    )
    absent = (
        f"There is no series for the objective {item.name} ({goal}), so nobody would be told when it is missed. A "
        "target is gone, a metric has another name since an upgrade, or the gateway does not know the pool. Look at "
        "the targets in Prometheus."
    )
    return [
        {
            "alert": f"LocalLlm{word}BudgetBurnsFast",
            "expr": _burns(item, PAGE, min_bad_requests),
            "labels": {**base, "severity": "critical"},
            "annotations": {"summary": f"{summary}, fast", "description": fast, "runbook_url": runbook},
        },
        {
            "alert": f"LocalLlm{word}BudgetBurnsSlowly",
            "expr": _burns(item, TICKET, min_bad_requests),
            "for": "15m",
            "labels": {**base, "severity": "warning"},
            "annotations": {"summary": f"{summary}, steadily", "description": slow, "runbook_url": runbook},
        },
        {
            "alert": "LocalLlmSloMetricMissing",
            "expr": f"absent(local_llm:slo_total:rate5m{_selector(item)})",
            "for": "10m",
            "labels": {**base, "severity": "warning"},
            "annotations": {
                "summary": f"Nobody watches the objective {item.name} of pool {item.pool.name}",
                "description": absent,
                "runbook_url": f"{page}#missing",
            },
        },
    ]


def reachable(item: Objective, windows: Iterable[Window]) -> list[Window]:
    """Return the windows in which the alert can come at all."""
    return [window for window in windows if window.factor * item.budget < 1]


def _burns(item: Objective, windows: Iterable[Window], min_bad_requests: int) -> str:
    where = _selector(item)
    return "\nor\n".join(
        f"(local_llm:slo_error:ratio_{window.short}{where} > {window.factor * item.budget:.9g}"
        f" and local_llm:slo_error:ratio_{window.long}{where} > {window.factor * item.budget:.9g}"
        f" and avg_over_time(local_llm:slo_bad:rate5m{where}[{window.long}]) * {window.long_hours * 3600:g}"
        f" >= {min_bad_requests})"
        for window in reachable(item, windows)
    )


def _series_labels(item: Objective) -> dict[str, str]:
    """Return labels that outlive a new model and a new tier: the budget counts 30 days."""
    kept = {name: item.labels[name] for name in ("pool", "engine") if name in item.labels}
    return {**kept, "slo": item.name}


def _selector(item: Objective) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in _series_labels(item).items()) + "}"
