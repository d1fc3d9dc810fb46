# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the controller-side actions of rollouts share."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version

from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain


class ControllerAction(ActionBase):
    """An action that works on the controller and needs no connection to the host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    ARGUMENTS: ClassVar[dict[str, Any]] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate the arguments, then act."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=self.ARGUMENTS)
        result.update(self.act(arguments, task_vars or {}))
        return result

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the task."""
        raise NotImplementedError

    def strategy(self) -> str | None:
        """Return the strategy of the play, or None when this version of ansible-core does not tell."""
        play = getattr(self._task, "play", None)
        if play is None:
            block = getattr(self._task, "_parent", None)
            play = getattr(block, "_play", None)
        strategy = getattr(play, "strategy", None)
        return str(strategy) if isinstance(strategy, str) else None


def hosts_variable(task_vars: Mapping[str, Any], host: str, name: str) -> Any:
    """Return a variable of a host as plain data, None when it is not set. Raises AnsibleError when it has an error."""
    variables = task_vars["hostvars"].get(host)
    if variables is None or name not in variables:
        return None
    try:
        return plain(variables[name])
    except AnsibleError as error:
        raise AnsibleError(f"{host}: {name} cannot be read: {error}") from error


def results_by_host(arguments: Mapping[str, Any], option: str, hosts: list[str], task_vars: Mapping[str, Any]) -> Any:
    """Return {host: result} from an option that holds it, from a looped result, or from a variable of each host.

    The option itself may be {host: result}, or the registered result of a task that looped over the hosts.
    The option with _from behind its name gives the name of a variable that each host registered.
    """
    name = arguments.get(f"{option}_from")
    if name:
        return {host: hosts_variable(task_vars, host, name) for host in hosts}
    value = arguments.get(option)
    if value is None:
        return None
    value = plain(value)
    looped = value.get("results")
    if not isinstance(looped, list):
        return value
    return {
        str(item.get(str(item.get("ansible_loop_var", "item")))): item for item in looped if isinstance(item, Mapping)
    }


def answers_by_host(arguments: Mapping[str, Any], option: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Return {host: result} of the hosts that were asked. With --limit some were not: of them there is nothing to tell.

    Raises AnsibleActionFail when none was asked.
    """
    found = results_by_host(arguments, option, arguments["hosts"] or [], task_vars)
    answers = {host: answer for host, answer in found.items() if answer is not None}
    if not answers:
        raise AnsibleActionFail("No host was asked. Look at the pattern of --limit.")
    return answers


def made_now() -> str:
    """Return the time that a report is made at, ISO 8601 in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def made_with() -> dict[str, str]:
    """Return what a report is made with."""
    return {"ansible-core": ansible_version, "Python": platform.python_version()}
