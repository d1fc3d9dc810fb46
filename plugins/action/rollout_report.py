# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a rollout, on the controller."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version

from ansible_collections.local_llm.ops.plugins.plugin_utils._report_files import (
    ReportError,
    changed_files,
    make_report,
    write_files,
)

ARGUMENTS = {"directory": {"type": "path", "required": True}}


class ActionModule(ActionBase):
    """Read journal and evidence of one rollout, write report.json and report.html beside them."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return paths, outcome and summary."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        directory = Path(str(arguments["directory"])).absolute()
        tool = {"ansible_core": ansible_version, "python": platform.python_version()}
        try:
            report, texts = make_report(directory, tool)
            names = changed_files(directory, texts)
            if names and not self._task.check_mode:
                write_files(directory, texts, names)
        except ReportError as error:
            raise AnsibleActionFail(str(error)) from error
        result.update(
            changed=bool(names),
            html_path=str(directory / "report.html"),
            json_path=str(directory / "report.json"),
            rollout_id=report["rollout_id"],
            outcome=report["outcome"],
            finished=report["finished"],
            summary=report["summary"],
            next_steps=report["next_steps"],
            journal=report["journal"],
            hosts=[
                {
                    key: entry[key]
                    for key in ("host", "instance", "outcome", "wall_seconds", "seconds", "orchestration_share")
                }
                for entry in report["hosts"]
            ],
        )
        return result
