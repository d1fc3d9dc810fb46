# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold the lock of a rollout on a gateway host: add who holds it, and decide whether a dead holder is replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.plugin_utils._lock_holder import (
    holder_alive,
    refusal,
    take_over_reason,
    this_holder,
    told,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain

MODULE = "local_llm.ops.rollout_lock"
# What core says of a task; everything else in an answer is the module's.
OF_CORE = ("failed", "msg", "exception", "warnings", "deprecations")


class ActionModule(ActionBase):
    """Runs the module of the same name on the gateway host, a second time for a take-over."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "state": {"type": "str", "choices": ["held", "released", "query"], "required": True},
        "rollout_id": {"type": "str"},
        "directory": {"type": "path", "default": "/var/lib/local_llm/gateway"},
        "ttl_seconds": {"type": "int", "default": 14400},
        "renew_only": {"type": "bool", "default": False},
        "take_over": {"type": "str"},
        "halted": {"type": "str"},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returned, with took_over added."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            argument_spec=self.ARGUMENTS,
            required_if=[("state", "held", ("rollout_id",)), ("state", "released", ("rollout_id",))],
        )
        arguments = {key: plain(value) for key, value in arguments.items() if value is not None}
        where = str(self._task.delegate_to or (task_vars or {}).get("inventory_hostname"))
        holder = this_holder(arguments.get("rollout_id", ""), main_process_id(), command_line())
        answer = self._module({**arguments, "holder": holder}, task_vars)
        if answer.get("failed") or answer.get("unreachable"):
            return {**result, **answer}
        outcome = answer["outcome"]
        reason = None
        if outcome in ("refused", "other_holder"):
            reason = take_over_reason(
                answer["holder"],
                holder,
                expired=answer["expired"],
                alive=holder_alive(answer["holder"]),
                asked_for=arguments.get("take_over"),
            )
            if outcome == "other_holder" and not arguments.get("take_over"):
                reason = None
            if reason is not None:
                again = {**arguments, "holder": holder, "replace_sha256": answer["sha256"]}
                answer = self._module(again, task_vars)
                if answer.get("failed") or answer.get("unreachable"):
                    return {**result, **answer}
        answer["told"] = told(where, answer["holder"]) if answer.get("holder") else ""
        path = answer.get("lock_path", "")
        if answer["outcome"] == "refused":
            message = refusal(where, path, answer["holder"], answer["age_seconds"])
            raise AnsibleActionFail(message, result=_of_the_module(answer))
        if answer["outcome"] == "lost":
            message = _lost(where, path, arguments["rollout_id"], answer)
            raise AnsibleActionFail(message, result=_of_the_module(answer))
        taken = answer["outcome"] in ("took_over", "released") and reason is not None
        answer["took_over"] = answer["before"] if taken else None
        answer["take_over_reason"] = reason if taken else None
        return {**result, **answer}

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        return answer


def _of_the_module(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what the module itself said, to go with a failure.

    The module ended well, so the answer carries failed: false. From core 2.21 on that would outweigh the failure in the
    registered result of the item, and break_when: lock is failed would let the loop go on to the next gateway host.
    """
    return {key: value for key, value in answer.items() if key not in OF_CORE}


def main_process_id() -> int:
    """Return the process id of ansible-playbook: actions run in its children."""
    return os.getppid()


def command_line() -> str:
    """Return the program and its playbooks. Other arguments stay out: they may hold secrets."""
    playbooks = [str(name) for name in context.CLIARGS.get("args", ())] if context.CLIARGS else []
    return " ".join(["ansible-playbook", *(Path(name).name for name in playbooks)])


def _lost(where: str, path: str, rollout_id: str, answer: dict[str, Any]) -> str:
    now = answer.get("holder")
    owner = (
        f"rollout {now['rollout_id']} of {now['user']} on {now['controller']} holds it" if now else "nobody holds it"
    )
    return (
        f"{where}: rollout {rollout_id} has lost its lock: {owner} ({path}). Another rollout may have changed hosts "
        f"meanwhile, so this one stops. Look at that one's journal, then run the playbook again."
    )
