# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action and what it takes must not drift apart."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.action import rollout_gate as gate_action
from ansible_collections.local_llm.ops.plugins.action import rollout_journal as journal_action
from ansible_collections.local_llm.ops.plugins.action import rollout_lock as lock_action
from ansible_collections.local_llm.ops.plugins.action import rollout_plan as plan_action
from ansible_collections.local_llm.ops.plugins.modules import rollout_gate, rollout_journal, rollout_lock, rollout_plan

PAIRS = [
    pytest.param(rollout_plan, plan_action, id="rollout_plan"),
    pytest.param(rollout_journal, journal_action, id="rollout_journal"),
    pytest.param(rollout_gate, gate_action, id="rollout_gate"),
    pytest.param(rollout_lock, lock_action, id="rollout_lock"),
]
# Set by the action rollout_lock for its own module; nobody writes them into a task.
INTERNAL = {"holder", "replace_sha256"}


@pytest.mark.parametrize(("module", "action"), PAIRS)
def test_documentation_and_arguments_agree(module: ModuleType, action: ModuleType) -> None:
    options: dict[str, Any] = yaml.safe_load(module.DOCUMENTATION)["options"]
    arguments = action.ActionModule.ARGUMENTS
    assert sorted(options.keys() - INTERNAL) == sorted(arguments)
    for key, spec in arguments.items():
        for part in ("type", "elements", "choices", "default"):
            assert options[key].get(part) == spec.get(part), f"{key}.{part}"
        assert options[key].get("required", False) == spec.get("required", False), key


@pytest.mark.parametrize(("module", "action"), PAIRS)
def test_examples_and_returns_are_yaml(module: ModuleType, action: ModuleType) -> None:
    assert isinstance(yaml.safe_load(module.EXAMPLES), list)
    assert all("returned" in item and "type" in item for item in yaml.safe_load(module.RETURN).values())
