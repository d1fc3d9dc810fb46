# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin gpu_driver_plan: what it takes, what it returns, and failing only when asked to."""

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

from ansible_collections.local_llm.ops.plugins.action.gpu_driver_plan import ActionModule
from ansible_collections.local_llm.ops.plugins.modules import gpu_driver_plan
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.driver_hosts import DEBIAN_OFFER, host, wanted


def run(check: bool = False, **args: Any) -> dict[str, Any]:
    loader = DataLoader()
    task = Task()
    task.action, task.args, task.async_val = "local_llm.ops.gpu_driver_plan", args, 0
    action = ActionModule(task, MagicMock(), PlayContext(), loader, Templar(loader), None)
    action._task.check_mode = check
    result: dict[str, Any] = action.run(task_vars={})
    return result


@pytest.mark.parametrize("check", [False, True])
def test_it_returns_a_plan_and_changes_nothing_in_either_mode(check: bool) -> None:
    result = run(check, driver_facts=host(available=DEBIAN_OFFER), wanted=wanted())
    assert (result["changed"], result["refused"]) == (False, False)
    assert result["driver_plan"]["to"] == "535.261.03"
    assert result["msg"].startswith("no driver to 535.261.03")
    assert "warnings" not in result


def test_it_fails_only_when_asked_to_and_names_the_fix() -> None:
    facts = host(available=DEBIAN_OFFER, broken_packages=["nvidia-kernel-dkms"])
    result = run(driver_facts=facts, wanted=wanted())
    assert result["refused"] is True and "dpkg --configure -a" in result["msg"]
    with pytest.raises(
        AnsibleError, match=r"gpu_driver_plan: FAIL package manager: found: not finished: nvidia-kernel"
    ):
        run(driver_facts=facts, wanted=wanted(), fail=True)


def test_warnings_of_the_plan_are_warnings_of_the_task() -> None:
    result = run(driver_facts=host(available=DEBIAN_OFFER, holders=None), wanted=wanted())
    assert result["warnings"][0].startswith("gpu_driver_plan: WARN processes that use a GPU")


def test_what_is_wrong_with_the_arguments_is_said() -> None:
    with pytest.raises(AnsibleError, match=r"driver_facts has no schema.*result of gpu_driver_info"):
        run(driver_facts={"gpus": []}, wanted=wanted())
    with pytest.raises(AnsibleError, match=r"gpu_driver_plan: wanted: source: 'debian' is none of"):
        run(driver_facts=host(), wanted=wanted(source="debian"))


def test_the_documented_options_are_those_of_the_action() -> None:
    documented = yaml.safe_load(gpu_driver_plan.DOCUMENTATION)["options"]
    assert set(documented) == set(ActionModule.ARGUMENTS)
    for name, option in ActionModule.ARGUMENTS.items():
        assert documented[name]["type"] == option["type"]
        assert documented[name].get("default") == option.get("default")


def test_it_tells_whether_packages_are_only_held() -> None:
    assert run(driver_facts=host(available=DEBIAN_OFFER), wanted=wanted())["only_holds"] is False
