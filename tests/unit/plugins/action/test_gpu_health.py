# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: the policy comes from the collection, the site's own decisions go into it and not to the host."""

from __future__ import annotations

import json
import re
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.local_llm.ops.plugins.action.gpu_health import ActionModule, variable_problem


def run(**args: Any) -> dict[str, Any]:
    """Return the arguments that the module would get."""
    loader = DataLoader()
    task = Task()
    task.action, task.args, task.async_val = "local_llm.ops.gpu_health", args, 0
    action = ActionModule(task, MagicMock(), PlayContext(), loader, Templar(loader), None)
    execute = MagicMock(return_value={"status": "healthy"})
    action._execute_module = execute
    assert action.run(task_vars={})["status"] == "healthy"
    assert execute.call_args.kwargs["module_name"] == "local_llm.ops.gpu_health"
    arguments: dict[str, Any] = execute.call_args.kwargs["module_args"]
    return arguments


def test_the_module_gets_the_policies_as_compact_json() -> None:
    arguments = run(checks=["xid"])
    assert set(arguments) == {"checks", "xid_policy", "sxid_policy", "nvlink5_policy"}
    assert json.loads(arguments["xid_policy"])["codes"]["79"]["remedy"] == "reboot"
    assert sum(len(arguments[f"{name}_policy"]) for name in ("xid", "sxid", "nvlink5")) < 100_000


def test_the_site_decides_otherwise_and_the_host_sees_only_the_outcome() -> None:
    arguments = run(xid_overrides={79: {"severity": "info", "action": "none"}})
    entry = json.loads(arguments["xid_policy"])["codes"]["79"]
    assert (entry["status"], entry["remedy"]) == ("ok", "none")
    assert "xid_overrides" not in arguments
    assert json.loads(run()["xid_policy"])["codes"]["79"]["status"] == "fail"


def test_a_policy_of_the_task_is_left_as_it_is() -> None:
    assert run(xid_policy={"codes": {}})["xid_policy"] == {"codes": {}}
    assert isinstance(run(xid_policy=None)["xid_policy"], str)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([79], "xid_overrides: .* is no dictionary"),
        ("79", "xid_overrides: '79' is no dictionary"),
        ({"x": {"severity": "info"}}, "xid_overrides.x: the code must be a whole number"),
        ({79: {"severity": "high"}}, "xid_overrides.79.severity: 'high' is none of"),
        ({79: {"actoin": "none"}}, "xid_overrides.79: actoin: no such key. Did you mean action?"),
    ],
)
def test_a_wrong_decision_is_refused_on_the_controller(overrides: Any, message: str) -> None:
    with pytest.raises(AnsibleError, match=message):
        run(xid_overrides=overrides)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, None),
        ({}, None),
        ({"thresholds": {}, "xid_overrides": {}, "deadline_seconds": 5}, None),
        ({"treshholds": {}}, "local_llm_gpu_health.treshholds: .* Did you mean thresholds"),
        ({"fail": True}, "local_llm_gpu_health.fail: gpu_health has no such option"),
        ([], "write a mapping"),
    ],
)
def test_a_misspelt_key_of_the_sites_options_is_named_and_not_lost(value: Any, words: str | None) -> None:
    problem = variable_problem(value)
    assert (problem is None) == (words is None)
    assert words is None or re.search(words, str(problem))
