# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find on the controller what scripts import, and hand the texts to the module in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._script_imports import MODULE_UTILS, PACKAGE, needed


class ActionModule(ActionBase):
    """Everything else happens in the module."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = plain(dict(self._task.args))
        scripts, modules = arguments.get("scripts"), arguments.get("modules") or []
        if not isinstance(scripts, list) or not scripts or not isinstance(modules, list) or "files" in arguments:
            raise AnsibleActionFail(
                "script_library: scripts must be a list of paths on the controller, modules a list of files below "
                "plugins/module_utils. What they need is found by itself."
            )
        try:
            names = needed([Path(str(script)) for script in scripts], [str(module) for module in modules])
            place = PACKAGE.replace(".", "/")
            files = {f"{place}/{name}": (MODULE_UTILS / name).read_text(encoding="utf-8") for name in sorted(names)}
        except (OSError, SyntaxError) as error:
            raise AnsibleActionFail(f"script_library: what the scripts import cannot be read: {error}") from error
        # The host would log the invocation, which is the whole library.
        quiet = {**(task_vars or {}), "ansible_no_target_syslog": True}
        done = self._execute_module(
            module_name="local_llm.ops.script_library", module_args={**arguments, "files": files}, task_vars=quiet
        )
        result.update(done)
        given = result.get("invocation", {}).get("module_args")
        if isinstance(given, dict):
            given["files"] = f"{len(files)} files"
        return result
