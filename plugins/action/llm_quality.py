# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and check the suite on the controller, then ask it on the host; keep the prompts out of the result."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import SuiteError, parse_suite
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._quality_files import load_suite


class ActionModule(ActionBase):
    """Everything else happens in the module."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        file = plain(arguments.pop("suite_file", None))
        try:
            if file:
                if arguments.get("suite"):
                    raise SuiteError("suite and suite_file are both given; leave one of them out")
                arguments["suite"] = load_suite(str(file), plain((task_vars or {}).get("inventory_dir")))
            elif isinstance(plain(arguments.get("suite")), list):
                parse_suite(plain(arguments["suite"]))
        except SuiteError as error:
            raise AnsibleActionFail(f"llm_quality: {error}") from error
        # The host would log the invocation, and with it the prompts.
        quiet = {**(task_vars or {}), "ansible_no_target_syslog": True}
        done = self._execute_module(module_name="local_llm.ops.llm_quality", module_args=arguments, task_vars=quiet)
        result.update(done)
        given = result.get("invocation", {}).get("module_args")
        if isinstance(given, dict) and isinstance(given.get("suite"), list):
            given["suite"] = f"{len(given['suite'])} items"
        return result
