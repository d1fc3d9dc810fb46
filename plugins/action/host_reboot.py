# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reboot a host as ansible.builtin.reboot does, and say every minute what is awaited."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.plugin_utils._told_wait import told_every

REBOOT = "ansible.builtin.reboot"


class ActionModule(ActionBase):
    """Everything about the reboot is done by the action of ansible-core."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "timeout_seconds": {"type": "int", "default": 1200},
        "reason": {"type": "str", "default": "Reboot by local_llm.ops"},
        "tell_seconds": {"type": "float", "default": 60.0},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the reboot returned."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=self.ARGUMENTS)
        timeout = arguments["timeout_seconds"]
        task = self._task.copy()
        task.args = {"reboot_timeout": timeout, "msg": arguments["reason"]}
        reboot = self._shared_loader_obj.action_loader.get(
            REBOOT,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        host = str(self._task.delegate_to or (task_vars or {}).get("inventory_hostname"))
        what = f"{host}: waiting for it to go down, to answer again and to show another boot id"
        with told_every(Display().display, what, timeout, arguments["tell_seconds"]):
            result.update(reboot.run(task_vars=task_vars))
        return result
