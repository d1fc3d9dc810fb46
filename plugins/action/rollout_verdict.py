# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin rollout_verdict: evidence in, verdict out, on the controller."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem
from ansible_collections.local_llm.ops.plugins.module_utils._verdict import (
    ToleranceError,
    judge,
    only_late,
    parse_tolerances,
    usable,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge import compare
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_rounds import as_rounds, merge_rounds, without_rows
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError, get_tier

ARGUMENTS: dict[str, dict[str, Any]] = {
    "benchmark": {"type": "raw"},
    "quality": {"type": "dict"},
    "baseline": {"type": "raw"},
    "slo_tier": {"type": "str", "default": "standard"},
    "slo_tiers": {"type": "dict", "default": {}},
    "tolerances": {"type": "dict", "default": {}},
    "require_quality": {"type": "bool", "default": True},
    "rounds_max": {"type": "int", "default": 1},
    "attempts": {"type": "int", "default": 1},
    "fail_unless_pass": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Judge; change nothing."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the verdict and the limits it used."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            tier = get_tier(args["slo_tier"], args["slo_tiers"])
            tolerances = parse_tolerances(args["tolerances"])
        except (SloError, ToleranceError) as exc:
            raise AnsibleActionFail(str(exc)) from exc
        rounds, before = (_reports(args[name], name) for name in ("benchmark", "baseline"))
        statistics = None
        if rounds and before:
            statistics = compare(rounds, before, tier, tolerances, args["rounds_max"], max(1, args["attempts"]))
            if not tolerances.baseline_required and not _usable(before):
                statistics = None
        merged, merged_before = merge_rounds(rounds, with_failures=True), merge_rounds(before)
        verdict = judge(
            merged,
            args["quality"],
            merged_before,
            args["slo_tier"],
            tier,
            tolerances,
            args["require_quality"],
            statistics,
        )
        undecided = verdict["verdict"] == "inconclusive" or (len(rounds) == 1 and only_late(verdict))
        more = undecided and len(rounds) < args["rounds_max"] and _usable(before)
        suspicious = more and (statistics is None or (statistics["worse"] or 0) > (statistics["better"] or 0))
        result.update(changed=False, verdict=verdict, slo=tier, more=more, wait=suspicious)
        result.update(benchmark=without_rows(merged), baseline=without_rows(merged_before))
        if args["fail_unless_pass"] and verdict["verdict"] != "pass":
            result.update(failed=True, msg=verdict["summary"])
        return result


def _reports(given: Any, name: str) -> list[Any]:
    """Return the rounds that an option holds; what is no report is left for the judge to refuse."""
    rounds = as_rounds(plain(given))
    if any(isinstance(item, str) for item in rounds):
        raise AnsibleActionFail(
            f"{name}: it is a text; give a report of llm_benchmark, or a list of reports, one per round"
        )
    return rounds


def _usable(reports: list[Any]) -> bool:
    return any(benchmark_problem(report) is None and usable(report) for report in reports)
