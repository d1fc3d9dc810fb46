# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for the driver of a host: what would be installed, held and removed, and what forbids it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import FACTS_KEYS
from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import DriverFactsError, load_driver_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan import plan_driver
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_holds import only_holds
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_text import plan_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_wanted import WantedError
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain


class ActionModule(ControllerAction):
    """Runs on the controller over facts that gpu_driver_info has read, and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "driver_facts": {"type": "dict", "required": True},
        "wanted": {"type": "dict", "required": True},
        "fail": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan."""
        facts = plain(arguments["driver_facts"])
        missing = [key for key in FACTS_KEYS if key not in facts]
        if missing:
            raise AnsibleActionFail(
                f"gpu_driver_plan: driver_facts has no {missing[0]}. Give driver_facts of a result of gpu_driver_info."
            )
        try:
            plan = plan_driver(facts, plain(arguments["wanted"]), load_driver_facts())
        except (WantedError, DriverFactsError) as error:
            raise AnsibleActionFail(f"gpu_driver_plan: {error}") from error
        refusals = " ".join(finding_line(entry) for entry in plan["refusals"])
        if refusals and arguments["fail"]:
            raise AnsibleActionFail(f"gpu_driver_plan: {refusals}")
        answer = {
            "changed": False,
            "driver_plan": plan,
            "only_holds": only_holds(plan, facts["loaded_version"]),
            "refused": bool(refusals),
            "msg": refusals or plan_line(plan),
        }
        if plan["warnings"]:
            answer["warnings"] = [f"gpu_driver_plan: {finding_line(entry)}" for entry in plan["warnings"]]
        return answer
