# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read how a rollout stands from its plan and its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_outcome import conclude_driver
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_rollout import KIND
from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import read_journal
from ansible_collections.local_llm.ops.plugins.plugin_utils._outcome import conclude, decide
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain


class ActionModule(ActionBase):
    """Runs on the controller only; reads the journal and changes nothing."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the decision or the conclusion."""
        super().run(tmp, task_vars)
        _result, arguments = self.validate_argument_spec(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "plan": {"type": "dict", "required": True},
                "scope": {"type": "str", "default": "fleet", "choices": ["fleet", "batch"]},
                "phase": {"type": "str", "required": True, "choices": ["decide", "conclude"]},
            }
        )
        journal = read_journal(Path(arguments["directory"]))
        if not journal.intact:
            raise AnsibleActionFail(
                f"The journal in {arguments['directory']} is damaged from line {journal.broken_line} on: "
                f"{journal.broken_reason} Look at the file before you run anything else."
            )
        plan = plain(arguments["plan"])
        if arguments["phase"] == "decide":
            found = decide(plan, journal.lines, arguments["scope"])
        elif plan.get("kind") == KIND:
            found = conclude_driver(plan, journal.lines)
        else:
            found = conclude(plan, journal.lines, arguments["scope"])
        return {"changed": False, **found}
