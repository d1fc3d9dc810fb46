# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which model lies where, in which state, and what the policy says: a table and a JSON document."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import (
    ControllerAction,
    answers_by_host,
    made_now,
    made_with,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._models_report import (
    build_models_report,
    next_steps,
    silent_hosts,
    table_text,
)

NAME = "models.json"


class ActionModule(ControllerAction):
    """Runs on the controller. Writes models.json, except in check mode."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "str", "required": True},
        "answers_from": {"type": "str", "default": "_model_store"},
        "directory": {"type": "path", "required": True},
        "applied": {"type": "bool", "default": False},
        "delete": {"type": "bool", "default": False},
        "show": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the summary, what is to do, and which hosts did not answer."""
        answers = answers_by_host(arguments, "answers", task_vars)
        made_at = made_now()
        versions = made_with()
        report = build_models_report(answers, made_at=made_at, versions=versions)
        directory = Path(str(arguments["directory"])).expanduser().absolute()
        steps = next_steps(
            report, applied=arguments["applied"], delete=arguments["delete"], check_mode=bool(self._task.check_mode)
        )
        text = "\n".join([table_text(report), *([steps] if steps else [])])
        if not self._task.check_mode:
            self._write(directory, report)
            text += f"\nDocument: {directory / NAME}"
        if arguments["show"]:
            Display().display(text)
        return {
            # The file tells when the fleet was asked; nothing that is managed has changed.
            "changed": False,
            "msg": report["summary"],
            "to_do": report["to_do"],
            "silent": silent_hosts(report),
            "json_path": str(directory / NAME),
        }

    @staticmethod
    def _write(directory: Path, report: dict[str, Any]) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o755)
            write_json_atomic(str(directory / NAME), report, 0o640)
        except OSError as error:
            raise AnsibleActionFail(
                f"{directory / NAME} cannot be written: {error.strerror}. Make room and allow writing there, or set "
                "local_llm_models_root to a directory of yours."
            ) from error
