# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin llm_compat: what it takes, what it returns, and failing only when asked to."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.local_llm.ops.plugins.action.llm_compat import ActionModule
from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.modules import llm_compat
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.test_fit import GIB, Q4

CHAT = {
    "name": "chat",
    "engine": "llamacpp",
    "model": "small",
    "config": get_engine("llamacpp").complete_config({"context_tokens": 8192}),
}


def run(**args: Any) -> dict[str, Any]:
    loader = DataLoader()
    task = Task()
    args = {"instances": [CHAT], "models": {"small": Q4}, **args}
    task.action, task.args, task.async_val = "local_llm.ops.llm_compat", args, 0
    action = ActionModule(task, MagicMock(), PlayContext(), loader, Templar(loader), None)
    return action.run(task_vars={})


def test_it_returns_findings_and_changes_nothing() -> None:
    result = run(ram_total_bytes=32 * GIB)
    assert (result["changed"], result["ok"], result["msg"]) == (False, True, "")
    assert result["instances"][0]["status"] == "fits"
    assert result["findings"] == result["instances"][0]["findings"]


def test_it_fails_only_when_asked_to_and_names_the_nearest_setting() -> None:
    result = run(ram_total_bytes=8 * GIB)
    assert result["ok"] is False
    nearest = result["instances"][0]["fit"]["nearest"]
    assert f"Set context_tokens to {nearest['context_tokens']} or parallel_requests to" in result["msg"]
    with pytest.raises(AnsibleError, match=r"llm_compat: FAIL chat: llama with llamacpp on RAM: found: needs"):
        run(ram_total_bytes=8 * GIB, fail=True)


def test_bad_options_are_refused() -> None:
    with pytest.raises(AnsibleError, match=r"instances\[0\] has no engine"):
        run(instances=[{"name": "chat"}])
    with pytest.raises(AnsibleError, match="gpu_list"):
        run(gpu_list=[])


def test_the_documentation_has_the_arguments_of_the_action() -> None:
    options = yaml.safe_load(llm_compat.DOCUMENTATION)["options"]
    documented = {
        name: {key: value for key, value in option.items() if key != "description"} for name, option in options.items()
    }
    assert documented == ActionModule.ARGUMENTS
