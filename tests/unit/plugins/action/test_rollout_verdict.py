# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: options, refusals, and failing only when asked to."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.local_llm.ops.plugins.action.rollout_verdict import ActionModule
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.test_judge import report


def run(**args: Any) -> dict[str, Any]:
    loader = DataLoader()
    task = Task()
    task.action, task.args, task.async_val = "local_llm.ops.rollout_verdict", args, 0
    action = ActionModule(task, MagicMock(), PlayContext(), loader, Templar(loader), None)
    return action.run(task_vars={})


def test_without_evidence_the_verdict_is_error_and_the_task_does_not_fail() -> None:
    result = run()
    assert result["verdict"]["verdict"] == "error" and not result.get("failed") and result["changed"] is False
    assert result["slo"]["ttft_p50_max_seconds"] == 0.5


def test_it_fails_with_the_summary_when_asked_to() -> None:
    result = run(fail_unless_pass=True)
    assert result["failed"] and result["msg"] == result["verdict"]["summary"]


def test_users_tiers_are_used() -> None:
    assert run(slo_tier="lab", slo_tiers={"lab": {"ttft_p50_max_seconds": 7}})["slo"]["ttft_p50_max_seconds"] == 7


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"slo_tier": "gold"}, "slo_tier: 'gold' is not known"),
        ({"slo_tiers": {"lab": {"ttft": 1}}}, "local_llm_slo_tiers.lab.ttft: 1"),
        ({"tolerances": {"ratio": 1}}, "tolerances.ratio: not known"),
        ({"benchmak": {}}, "benchmak"),
    ],
)
def test_bad_options_are_refused(args: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleError, match=message):
        run(**args)


QUALITY = {
    "schema": 1, "kind": "quality", "items": [{"id": "sum", "status": "pass", "sha256": "x"}], "passed": 1, "failed": 0,
    "errors": 0, "pass_share": 1.0, "min_pass_share": 1.0, "ok": True,
}  # fmt: skip
LIMITS = {"lab": {"ttft_p95_max_seconds": 1.0}}


def judged(*rounds: dict[str, Any], **more: Any) -> dict[str, Any]:
    old = [report(seed=seed) for seed in (1, 2, 3, 4)]
    given = {"benchmark": list(rounds), "baseline": old, "quality": QUALITY, "slo_tier": "lab", "slo_tiers": LIMITS}
    return run(**{**given, "rounds_max": 4, **more})


def test_one_good_round_passes_and_asks_for_no_more() -> None:
    result = judged(report())
    assert (result["verdict"]["verdict"], result["more"], result["wait"]) == ("pass", False, False)
    assert result["verdict"]["statistics"]["pairs"] == 150
    assert "with 95 % certainty at most" in result["verdict"]["summary"].lower()


def test_worse_pairs_ask_for_one_more_round_after_a_wait_until_there_are_no_rounds_left() -> None:
    rounds = [report(slow=4), report(seed=2, slow=4), report(seed=3, slow=4), report(seed=4, slow=4)]
    first = judged(rounds[0])
    assert (first["verdict"]["verdict"], first["more"], first["wait"]) == ("inconclusive", True, True)
    last = judged(*rounds, rounds_max=4)
    assert last["more"] is False


def test_a_release_that_is_worse_in_two_rounds_goes_back() -> None:
    result = judged(report(slow=100), report(seed=2, slow=100))
    assert (result["verdict"]["verdict"], result["more"]) == ("fail", False)


def test_rounds_together_are_held_against_the_tier() -> None:
    result = judged(report(ttft=3.0))
    assert result["verdict"]["verdict"] in ("fail", "inconclusive")
    two = judged(report(), report(seed=2))
    assert two["benchmark"]["requests"]["issued"] == 300
    assert "samples" not in two["benchmark"] and two["baseline"]["requests"]["issued"] == 600


@pytest.mark.parametrize("baseline", [None, [], [report(valid=False)]])
def test_without_a_usable_baseline_no_further_round_is_asked_for(baseline: Any) -> None:
    result = judged(report(), baseline=baseline, tolerances={"baseline_required": True})
    assert (result["verdict"]["verdict"], result["more"]) == ("inconclusive", False)
    assert judged(report(), baseline=baseline)["verdict"]["verdict"] == "pass"


def test_one_round_that_leaves_the_tier_by_latency_alone_is_measured_again_once() -> None:
    late = {"p50": 2.0, "p90": 2.0, "p95": 2.0, "p99": None, "mean": 2.0, "min": 2.0, "max": 2.0, "count": 150}
    first = judged(report(ttft=2.0, ttft_seconds=late))
    assert (first["verdict"]["verdict"], first["more"], first["wait"]) == ("fail", True, True)
    second = judged(report(ttft=2.0, ttft_seconds=late), report(seed=2, ttft=2.0, ttft_seconds=late))
    assert (second["verdict"]["verdict"], second["more"]) == ("fail", False)
    wrong = {**QUALITY, "ok": False, "passed": 0, "failed": 1, "pass_share": 0.0}
    assert judged(report(ttft=2.0, ttft_seconds=late), quality=wrong)["more"] is False


def test_a_single_report_is_one_round() -> None:
    assert judged(benchmark=report(), baseline=report(), rounds_max=1)["verdict"]["verdict"] == "pass"


def test_a_text_is_no_report() -> None:
    with pytest.raises(AnsibleError, match="it is a text"):
        run(benchmark="report.json")
