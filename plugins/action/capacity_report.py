# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the capacity of every pool, from the inventory and the stored benchmarks, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction, hosts_variable, made_now
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_report import (
    build_capacity_report,
    capacity_text,
    instance_problem,
    read_reports,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_settings import (
    capacity_setting_findings,
    pool_capacities,
)


class ActionModule(ControllerAction):
    """Runs on the controller. Writes capacity.json, except in check mode."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "str", "required": True},
        "gateway_hosts": {"type": "list", "elements": "str", "default": []},
        "directory": {"type": "path", "required": True},
        "show": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the document and its page."""
        directory = Path(str(arguments["directory"])).expanduser().absolute()
        hosts = arguments["hosts"]
        pools = {
            host: hosts_variable(task_vars, host, "local_llm_pools") for host in [*arguments["gateway_hosts"], *hosts]
        }
        wrong = failures(capacity_setting_findings(pools))
        if wrong:
            raise AnsibleActionFail("capacity_report: " + "; ".join(finding_line(item) for item in wrong))
        instances = {host: hosts_variable(task_vars, host, "local_llm_instances") or [] for host in hosts}
        problems = [text for text in (instance_problem(host, listed) for host, listed in instances.items()) if text]
        if problems:
            raise AnsibleActionFail(f"capacity_report: {'; '.join(problems)}.")
        wanted = [f"{host}-{instance['name']}" for host, listed in instances.items() for instance in listed]
        made_at = made_now()
        document = build_capacity_report(instances, pool_capacities(pools), read_reports(directory, wanted), made_at)
        path = directory / "capacity.json"
        text = capacity_text(document)
        if not self._task.check_mode:
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o755)
                write_json_atomic(str(path), document, 0o644)
            except OSError as error:
                raise AnsibleActionFail(
                    f"capacity_report: {path} cannot be written: {error.strerror}. Set local_llm_benchmark_root to a "
                    f"directory of yours."
                ) from error
            text += f"\n\nAs JSON: {path}"
        if arguments["show"]:
            Display().display(text)
        return {"changed": False, "report": document, "text": text, "json_path": str(path), "msg": text.splitlines()[0]}
