# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare a benchmark on the controller, run it on the host, and show how far it is."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.module_utils._bench._options import ARGUMENTS
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_options import (
    RefusedError,
    check_prompts,
    longest_seconds,
    resolve,
    worth_watching,
    would_measure,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._controller_files import controller_path
from ansible_collections.local_llm.ops.plugins.plugin_utils._progress_watch import Shown, watched

MODULE = "local_llm.ops.llm_benchmark"
# A look costs the host one `cat`.
LOOK_SECONDS = 3.0
# Warm-up, preparation, and the time of answers under way: on top of what the load takes.
SPARE_SECONDS = 900.0
# A host that does not answer a look is asked again; after so many looks in a row the run counts as lost.
MISSED_LOOKS_MAX = 12


class ActionModule(ActionBase):
    """Everything that is measured, is measured in the module."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            arguments = resolve(given)
            if arguments["prompts_path"]:
                self._bring_prompts(arguments)
        except RefusedError as error:
            raise AnsibleActionFail(str(error)) from error
        variables = task_vars or {}
        if self._task.async_val:
            # The caller looks after it. Its directory goes when it ends, with the prompts in it.
            result.update(
                self._execute_module(
                    module_name=MODULE, module_args=_given(arguments), task_vars=variables, wrap_async=True
                )
            )
            return result
        if self._connection.transport == "local" and not arguments["progress_path"]:
            done = self._here(arguments, variables)
        elif worth_watching(arguments) and not self._task.check_mode:
            done = self._watched(arguments, variables)
        else:
            done = self._execute_module(module_name=MODULE, module_args=_given(arguments), task_vars=variables)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        result.update(done)
        if self._task.check_mode and not result.get("failed"):
            result["would_measure"] = would_measure(arguments)
        return result

    def _bring_prompts(self, arguments: dict[str, Any]) -> None:
        """Check the user's prompts, and lay them on the host in a directory that goes with the task."""
        given = str(arguments["prompts_path"])
        path = controller_path(self._loader, given)
        check_prompts(path, f"prompts_path: {given}")
        if self._task.check_mode:
            arguments["prompts_path"] = None
            return
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "prompts.jsonl")
        self._transfer_file(str(path), remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        arguments["prompts_path"] = remote

    def _here(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run on the controller and show lines meanwhile."""
        with tempfile.TemporaryDirectory(prefix="local_llm_progress_", dir=C.DEFAULT_LOCAL_TMP) as directory:
            path = Path(directory) / "progress.json"
            arguments["progress_path"] = str(path)
            with watched(path):
                done: dict[str, Any] = self._execute_module(
                    module_name=MODULE, module_args=_given(arguments), task_vars=task_vars
                )
        return done

    def _watched(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run in the background of the host, where a connection that breaks ends nothing, and show lines meanwhile."""
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        if not arguments["progress_path"]:
            arguments["progress_path"] = self._connection._shell.join_path(
                self._connection._shell.tmpdir, "progress.json"
            )
        path = str(arguments["progress_path"])
        before = self._task.async_val
        self._task.async_val = int(longest_seconds(arguments) + SPARE_SECONDS)
        try:
            begun = self._execute_module(
                module_name=MODULE, module_args=_given(arguments), task_vars=task_vars, wrap_async=True
            )
        finally:
            self._task.async_val = before
        job = begun.get("ansible_job_id")
        if not job or begun.get("failed"):
            return begun
        try:
            return follow(
                look=lambda: self._low_level_execute_command(f"cat {shlex.quote(path)}", sudoable=True),
                ask=lambda: self._status(str(job), "status", task_vars),
                host=str(task_vars.get("inventory_hostname", "")),
            )
        finally:
            self._status(str(job), "cleanup", task_vars)

    def _status(self, job: str, mode: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="ansible.builtin.async_status",
            module_args={
                "jid": job,
                "mode": mode,
                "_async_dir": self.get_shell_option("async_dir", default="~/.ansible_async"),
            },
            task_vars=task_vars,
        )
        return answer


def follow(
    look: Callable[[], Mapping[str, Any]],
    ask: Callable[[], dict[str, Any]],
    host: str,
    sleep: Callable[[float], None] = time.sleep,
    show: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Show lines until the run has ended, then return its result.

    look reads the small file and costs next to nothing. ask starts an interpreter on the host, so it is asked only when
    the file says that the run has ended, is gone, or has not moved for a while.
    """
    shown, still, before, missed, seen = Shown(), 0, "", 0, False
    say = show or Display().display
    while True:
        sleep(LOOK_SECONDS)
        text = str(look().get("stdout") or "")
        line = shown.line(text)
        if line:
            say(f"{host}: {line}")
        still = still + 1 if text == before else 0
        before = text
        seen = seen or bool(text)
        if '"finished": true' not in text and not (seen and not text) and still < MISSED_LOOKS_MAX:
            continue
        still = 0
        answer = ask()
        if answer.get("unreachable"):
            missed += 1
            if missed >= MISSED_LOOKS_MAX:
                return answer
            continue
        missed = 0
        if answer.get("finished") or answer.get("failed"):
            return {key: value for key, value in answer.items() if key not in _OF_THE_JOB}


_OF_THE_JOB = ("ansible_job_id", "finished", "started", "results_file")


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those that were left out: an explicit null is no choice."""
    return {name: value for name, value in arguments.items() if value is not None}
