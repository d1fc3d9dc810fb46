# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Silence the alerts of a server while a rollout restarts it. A silence that cannot be set is a warning, no failure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import request
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import SERVER_ARGS, PrometheusError, open_server
from ansible_collections.local_llm.ops.plugins.plugin_utils._silence import (
    PATH,
    read_id,
    refusal,
    silence_body,
    silence_path,
)


class ActionModule(ControllerAction):
    """Runs on the controller and asks Alertmanager."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        **SERVER_ARGS,
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        "server": {"type": "str", "required": True},
        "seconds": {"type": "float", "default": 3600.0},
        "comment": {"type": "str", "default": "restarted by a rollout"},
        "silence_id": {"type": "str", "default": ""},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Set, prolong or end the silence."""
        old = str(arguments["silence_id"] or "") or None
        present = arguments["state"] == "present"
        if self._task.check_mode or (not present and old is None):
            return {"changed": present, "silence_id": old, "msg": ""}
        try:
            endpoint = open_server(arguments, "local_llm_alertmanager_url")
        except PrometheusError as error:
            return _warned(f"{error}. The rollout goes on without a silence.", old)
        url, timeout = str(arguments["url"]), arguments["timeout_seconds"]
        if not present:
            ended = request(endpoint, silence_path(old or ""), timeout, method="DELETE")
            # One that has ended by itself, or that nobody knows any more, is what was wanted.
            if ended.status in (200, 404) or b"already expired" in ended.body:
                return {"changed": True, "silence_id": None, "msg": ""}
            return _warned(refusal(ended, url, f"end the silence {old}, which ends by itself at its time"), old)
        body = silence_body(
            str(arguments["server"]), str(arguments["comment"]), arguments["seconds"], datetime.now(UTC), old
        )
        answer = request(endpoint, PATH, timeout, payload=body)
        if old and read_id(answer) is None and answer.status in (400, 404):
            # The earlier one is over, so it cannot be prolonged: a new one is set.
            body.pop("id")
            answer = request(endpoint, PATH, timeout, payload=body)
        found = read_id(answer)
        if found is None:
            return _warned(refusal(answer, url, f"silence {arguments['server']}"), old)
        return {"changed": True, "silence_id": found, "msg": ""}


def _warned(message: str, old: str | None) -> dict[str, Any]:
    return {"changed": False, "silence_id": old, "msg": message, "warnings": [f"rollout_silence: {message}"]}
