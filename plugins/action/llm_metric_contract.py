# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work out on the controller what the rules read of an instance, then let the module look at the engine's page."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.plugin_utils._metric_contract import required_series, unknown_version
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import RulesError


class ActionModule(ActionBase):
    """Everything else happens in the module."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = plain(dict(self._task.args))
        instance = arguments.get("instance")
        if isinstance(instance, dict):
            arguments.setdefault("unknown_version", unknown_version(instance))
        if arguments.get("required_series") is None and isinstance(instance, dict):
            try:
                arguments["required_series"] = required_series(
                    instance,
                    pools=arguments.get("pools"),
                    tiers=arguments.get("slo_tiers"),
                    rule_settings=arguments.get("settings"),
                    extra_groups=arguments.get("extra_groups"),
                )
            except RulesError as error:
                raise AnsibleActionFail(f"llm_metric_contract: {error}") from error
        result.update(
            self._execute_module(
                module_name="local_llm.ops.llm_metric_contract", module_args=arguments, task_vars=task_vars
            )
        )
        return result
