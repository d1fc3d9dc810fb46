# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a rollout: what burns on its pools and hosts refuses it, what burns elsewhere does not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import Series
from ansible_collections.local_llm.ops.plugins.plugin_utils._rollout_alerts import (
    Scope,
    alert_findings,
    concerns,
    scope_of,
)

SCOPE = Scope(("chat",), ("gpu1", "gpu2", "gw1"))
RULES = [Series({}, ((1.0, 3.0),))]


def alert(**labels: str) -> Series:
    return Series({"alertname": "LocalLlmGpuVeryHot", "severity": "critical", **labels}, ((1.0, 1.0),))


def statuses(**answers: list[Series]) -> list[tuple[str, str]]:
    found = alert_findings(SCOPE, {"rules": RULES, **answers})
    return [(item["check"], item["status"]) for item in found]


def test_the_scope_is_the_changing_pools_with_all_their_hosts_and_the_gateways() -> None:
    entry: dict[str, Any] = {"pool": "chat", "action": "none"}
    plan = {
        "hosts": {
            "gpu1": {"chat": {**entry, "action": "upgrade"}, "old": {**entry, "pool": "other"}},
            "gpu2": {"chat": entry},
            "gpu3": {"batch": {**entry, "pool": "batch"}},
        }
    }
    assert scope_of(plan, ["gw1"]) == SCOPE


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ({"host": "gpu1"}, True),
        ({"host": "gpu9"}, False),
        ({"pool": "chat"}, True),
        ({"pool": "batch"}, False),
        ({"pool": "batch", "host": "gpu1"}, False),
        ({"pool": "chat", "host": "gpu9"}, True),
        ({"server": "gpu2-chat"}, True),
        ({"server": "gpu9-chat"}, False),
        ({}, True),
        ({"alertname": "DatabaseDown"}, False),
        ({"alertname": "SmartFailure", "host": "gpu2"}, True),
    ],
)
def test_alerts_count_where_the_rollout_is(labels: dict[str, str], counts: bool) -> None:
    assert concerns(alert(**labels).labels, SCOPE) is counts
    expected = ("firing_alert", "fail") if counts else ("alerts", "ok")
    assert statuses(alerts=[alert(**labels)]) == [expected]


@pytest.mark.parametrize(("pool", "left", "refused"), [("chat", -0.2, True), ("chat", 0.0, True), ("chat", 0.01, False),
                                                       ("batch", -1.0, False)])  # fmt: skip
def test_a_spent_error_budget_of_the_pool_refuses(pool: str, left: float, refused: bool) -> None:
    budget = Series({"pool": pool, "slo": "availability"}, ((1.0, left),))
    expected = ("error_budget", "fail") if refused else ("alerts", "ok")
    assert statuses(budgets=[budget]) == [expected]


def test_without_the_rules_nothing_could_fire_so_it_is_refused() -> None:
    (found,) = alert_findings(SCOPE, {"rules": [], "alerts": [], "budgets": []})
    assert found["status"] == "fail" and "slo_rules" in found["expected"]


def test_a_finding_names_alert_and_place() -> None:
    (found,) = alert_findings(SCOPE, {"rules": RULES, "alerts": [alert(host="gpu1", gpu="3")]})
    assert found["subject"] == "alert LocalLlmGpuVeryHot (host gpu1, gpu 3)"
