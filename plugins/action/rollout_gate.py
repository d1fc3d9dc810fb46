# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence gate before a batch: go only on positive evidence of every earlier batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction, results_by_host
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_rollout import KIND, driver_answer
from ansible_collections.local_llm.ops.plugins.plugin_utils._gate import gate, reasons_text
from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import read_journal
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain


class ActionModule(ControllerAction):
    """Runs on the controller, reads the journal and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "directory": {"type": "path", "required": True},
        "plan": {"type": "dict", "required": True},
        "batch_hosts": {"type": "list", "elements": "str"},
        "release_infos": {"type": "dict"},
        "release_infos_from": {"type": "str"},
        "fail": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return go and the reasons."""
        plan = plain(arguments["plan"])
        if not isinstance(plan.get("batches"), list) or not isinstance(plan.get("hosts"), dict):
            raise AnsibleActionFail("rollout_gate: plan has no batches or no hosts. Hand over plan of rollout_plan.")
        hosts = arguments["batch_hosts"]
        batch_hosts = [str(host) for host in (task_vars["ansible_play_batch"] if hosts is None else hosts)]
        infos = results_by_host(arguments, "release_infos", list(plan["hosts"]), task_vars) or {}
        if plan.get("kind") == KIND:
            infos = {host: driver_answer(info) for host, info in infos.items()}
        try:
            journal = read_journal(Path(arguments["directory"]).absolute())
        except OSError as error:
            raise AnsibleActionFail(
                f"rollout_gate: the journal in {arguments['directory']} cannot be read: {error.strerror}"
            ) from error
        decision = gate(plan, journal, infos, batch_hosts, self.strategy())
        total = len(plan["batches"])
        number = decision["batch"]
        message = f"batch {number} of {total} may start" if decision["go"] else _no(decision["reasons"], number, total)
        if arguments["fail"] and not decision["go"]:
            raise AnsibleActionFail(message)
        return {
            "changed": False,
            "go": decision["go"],
            "batch_number": number,
            "batches_total": total,
            "fault": decision["fault"],
            "reasons": decision["reasons"],
            "reasons_text": reasons_text(decision["reasons"]),
            "checked": decision["checked"],
            "torn": journal.torn is not None,
            "msg": message,
        }


def _no(reasons: list[dict[str, Any]], number: int | None, total: int) -> str:
    which = f"batch {number} of {total}" if number else "this batch"
    return f"{which} must not start. {reasons_text(reasons)}"
