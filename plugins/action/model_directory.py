# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module on the host, and doubt the controller's cache where a file that came from it is wrong."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.plugin_utils._artifact_doubt import doubt
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain


class ActionModule(ActionBase):
    """Everything else happens in the module."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        result.update(
            self._execute_module(
                module_name="local_llm.ops.model_directory", module_args=arguments, task_vars=task_vars
            )
        )
        if not self._task.check_mode:
            doubt(plain(arguments), result)
        return result
