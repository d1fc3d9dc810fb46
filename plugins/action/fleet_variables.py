# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse variables that nothing reads, settings of a wrong form, and public addresses; on the controller."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_read import (
    read_variables,
    to_mend,
    variable_names,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_settings import (
    CHECKS,
    mirror_findings,
    setting_findings,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_state import check_variable_names
from ansible_collections.local_llm.ops.plugins.plugin_utils._private_address import READ_VARIABLES, address_findings


class ActionModule(ControllerAction):
    """Reads the inventory; changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {"hosts": {"type": "list", "elements": "str"}}

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the findings; fail when one must be mended."""
        play = task_vars.get("ansible_play_hosts_all") or []
        hosts = [str(host) for host in arguments["hosts"] or [*play, *(task_vars["groups"].get("gateway") or [])]]
        known = variable_names(task_vars, hosts)
        findings = check_variable_names(known)
        # Only what is set is read: every look at a host's variables puts all of them together anew.
        settings = {
            host: read_variables(task_vars, host, [name for name in CHECKS if name in names], findings)
            for host, names in known.items()
        }
        findings += setting_findings(settings)
        serving = [host for host in task_vars["groups"].get("gpu_hosts") or [] if host in known]
        findings += mirror_findings({host: settings[host] for host in serving})
        findings += address_findings(
            {host: read_variables(task_vars, str(host), READ_VARIABLES, findings) for host in serving}
        )
        for item in findings:
            if item["status"] == "warn":
                Display().warning(finding_line(item))
        bad = failures(findings)
        return {
            "changed": False,
            "failed": bool(bad),
            "findings": findings,
            "msg": to_mend(bad) if bad else "Every variable is known.",
        }
