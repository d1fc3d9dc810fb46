# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the health of the fleet: a table, a JSON document and an HTML page, on the controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.plugin_utils._action import (
    ControllerAction,
    answers_by_host,
    made_now,
    made_with,
    results_by_host,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_html import render_health_html
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import (
    build_health_report,
    must_leave,
    report_text,
    to_mend,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_files import ReportError, write_files


class ActionModule(ControllerAction):
    """Runs on the controller. Writes health.json and health.html, except in check mode."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "str", "required": True},
        "answers_from": {"type": "str", "default": "_health"},
        "outcomes_from": {"type": "str"},
        "directory": {"type": "path", "required": True},
        "fail": {"type": "bool", "default": True},
        "show": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return status, sentence, and which hosts must leave service."""
        answers = answers_by_host(arguments, "answers", task_vars)
        made_at = made_now()
        versions = made_with()
        outcomes = results_by_host(arguments, "outcomes", arguments["hosts"], task_vars)
        report = build_health_report(answers, made_at=made_at, versions=versions, outcomes=outcomes)
        directory = Path(str(arguments["directory"])).expanduser().absolute()
        text = report_text(report)
        if not self._task.check_mode:
            self._write(directory, report)
            text += f"\n\nPage: {directory / 'health.html'}"
        if arguments["show"]:
            Display().display(text)
        leave = must_leave(report)
        return {
            # The files tell when the fleet was asked; nothing that is managed has changed.
            "changed": False,
            "failed": bool(leave) and arguments["fail"],
            "msg": report["summary"],
            "status": report["status"],
            "must_leave": leave,
            "to_mend": to_mend(report),
            "html_path": str(directory / "health.html"),
            "json_path": str(directory / "health.json"),
        }

    @staticmethod
    def _write(directory: Path, report: dict[str, Any]) -> None:
        texts = {
            "health.json": json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
            "health.html": render_health_html(report),
        }
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o755)
            write_files(directory, texts, list(texts))
        except OSError as error:
            raise AnsibleActionFail(
                f"{directory} cannot be made: {error.strerror}. Set local_llm_health_root to a directory of yours."
            ) from error
        except ReportError as error:
            raise AnsibleActionFail(str(error)) from error
