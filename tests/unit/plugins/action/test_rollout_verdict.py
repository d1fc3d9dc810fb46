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
