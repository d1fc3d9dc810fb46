# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Append a line to the journal of a rollout; fail when the step it speaks of was not really done."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import JournalError, append_line, check_record
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._task_result import Problem, result_problem


class ActionModule(ControllerAction):
    """Runs on the controller; several workers may append at the same time."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "directory": {"type": "path", "required": True},
        "rollout_id": {"type": "str", "required": True},
        "event": {"type": "str", "required": True},
        "host": {"type": "str"},
        "instance": {"type": "str"},
        "state": {"type": "str"},
        "release": {"type": "str"},
        "previous_release": {"type": "str"},
        "seconds": {"type": "float"},
        "category": {"type": "str", "choices": ["orchestration", "engine", "measurement", "waiting"]},
        "evidence": {"type": "dict"},
        "detail": {"type": "str"},
        "result": {"type": "raw"},
        "result_from": {"type": "str"},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Write the line; return it."""
        host = str(task_vars.get("inventory_hostname", "")) if arguments["host"] is None else arguments["host"]
        evidence = plain(arguments["evidence"] or {})
        if arguments["category"]:
            evidence["category"] = arguments["category"]
        record = {key: plain(arguments[key]) or None for key in ("instance", "state", "release", "previous_release")}
        record.update(
            rollout_id=plain(arguments["rollout_id"]),
            host=plain(host) or None,
            event=plain(arguments["event"]),
            seconds=arguments["seconds"],
            evidence=evidence,
            detail=plain(arguments["detail"] or ""),
        )
        problem = self._problem(arguments, task_vars)
        written = {**record, **_failure(record, problem)} if problem else record
        try:
            check_record(record)
            line = record if self._task.check_mode else append_line(Path(arguments["directory"]).absolute(), written)
        except (JournalError, ValueError) as error:
            raise AnsibleActionFail(f"rollout_journal: {error}") from error
        except OSError as error:
            raise AnsibleActionFail(
                f"rollout_journal: {error.filename or arguments['directory']} cannot be written: {error.strerror}. "
                f"Make the directory writable for this user, then run again."
            ) from error
        if problem:
            where = "/".join(part for part in (record["host"], record["instance"]) if part) or "rollout"
            message = f"{where}: step {record['event']} is not proven: {problem.reason}"
            raise AnsibleActionFail(message, result={"problem": problem.kind})
        return {"changed": True, "line": line}

    def _problem(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> Problem | None:
        if arguments["result_from"]:
            return result_problem(plain(task_vars.get(arguments["result_from"])))
        if "result" in self._task.args:
            return result_problem(plain(arguments["result"]))
        return None


def _failure(record: dict[str, Any], problem: Problem) -> dict[str, Any]:
    """Return what a line says instead when its step was not done."""
    unreachable = problem.kind == "unreachable"
    at_host = record["host"] is not None
    return {
        "event": "unreachable" if unreachable else "step_failed",
        "state": "unknown" if unreachable and at_host else None,
        "evidence": {**record["evidence"], "step": record["event"], "reason": problem.kind},
        "detail": problem.reason,
    }
