# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compatibility gate: do the instances of a host work there, before anything on the host changes."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._compat import compat
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain

_INSTANCE_KEYS = ("name", "engine", "model", "config")


class ActionModule(ControllerAction):
    """Runs on the controller over facts that others have read, and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "instances": {"type": "list", "elements": "dict", "required": True},
        "gpus": {"type": "list", "elements": "dict", "default": []},
        "driver_version": {"type": "str"},
        "ram_total_bytes": {"type": "int"},
        "models": {"type": "dict", "required": True},
        "engine_facts": {"type": "dict", "default": {}},
        "fail": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the answer for each instance."""
        instances = plain(arguments["instances"])
        for number, item in enumerate(instances):
            missing = [key for key in _INSTANCE_KEYS if key not in item]
            if missing:
                raise AnsibleActionFail(f"llm_compat: instances[{number}] has no {missing[0]}. Give it.")
        host = {key: plain(arguments[key]) for key in ("gpus", "driver_version", "ram_total_bytes")}
        results = compat(instances, host, plain(arguments["models"]), plain(arguments["engine_facts"]))
        findings = [entry for result in results for entry in result["findings"]]
        failed = failures(findings)
        message = " ".join(finding_line(entry) for entry in failed)
        if failed and arguments["fail"]:
            raise AnsibleActionFail(f"llm_compat: {message}")
        return {"changed": False, "ok": not failed, "instances": results, "findings": findings, "msg": message}
