# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a driver rollout over the fleet, from the driver plan of each host."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import (
    ControllerAction,
    hosts_variable,
    results_by_host,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_settings import pool_capacities
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_read import to_mend
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_rollout import (
    NAME,
    build_driver_rollout,
    servers_of,
    was_drained,
    work_of,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_text import (
    driver_back_markdown,
    driver_markdown,
    driver_text,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._freeze import freeze_findings
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_gateways import in_service, out_of_service
from ansible_collections.local_llm.ops.plugins.plugin_utils._rollout_id import new_rollout_id

KNOWN_KEYS = ("facts", "plan", "wanted")


class ActionModule(ControllerAction):
    """Runs on the controller and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "str"},
        "known": {"type": "dict"},
        "known_from": {"type": "str"},
        "release_infos": {"type": "dict"},
        "release_infos_from": {"type": "str"},
        "gateway_infos": {"type": "dict"},
        "canary_host": {"type": "str"},
        "serial": {"type": "raw", "default": [1, "10%", "50%", "100%"]},
        "allow_pool_outage": {"type": "bool", "default": False},
        "short_pools": {"type": "list", "elements": "str"},
        "freeze_windows": {"type": "raw"},
        "ignore_freeze": {"type": "str"},
        "root": {"type": "path", "required": True},
        "show": {"type": "bool", "default": True},
        "fail": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan, what each host carries out, and the findings."""
        hosts = [str(host) for host in (arguments["hosts"] or task_vars["ansible_play_hosts_all"])]
        known = results_by_host(arguments, "known", hosts, task_vars) or {}
        infos = results_by_host(arguments, "release_infos", hosts, task_vars) or {}
        gateways = plain(arguments["gateway_infos"]) or {}
        silent = [name for name, info in gateways.items() if not isinstance(info.get("servers"), list)]
        if silent:
            told = "; ".join(f"{name}: {gateways[name].get('msg') or 'no answer'}" for name in silent)
            raise AnsibleActionFail(
                f"gpu_driver_rollout: nobody knows what {', '.join(silent)} sends where ({told}). Make its admin "
                "socket answer (systemctl status haproxy there), or run site on it."
            )
        whole = {host: _whole(host, known, infos, gateways, task_vars) for host in hosts}
        rollout_id = f"driver-{new_rollout_id()}"
        serial = plain(arguments["serial"])
        pools = {host: hosts_variable(task_vars, host, "local_llm_pools") for host in hosts}
        plan = build_driver_rollout(
            rollout_id=rollout_id,
            hosts=whole,
            canary=plain(arguments["canary_host"]) or None,
            serial=serial if isinstance(serial, list) else [serial],
            allow_pool_outage=arguments["allow_pool_outage"],
            capacity=pool_capacities(pools),
            short_pools=[str(name) for name in plain(arguments["short_pools"]) or []],
            out_of_service=out_of_service(gateways),
            in_service=in_service(gateways),
        )
        if plan["order"]:
            windows = plain(arguments["freeze_windows"])
            plan["findings"] += freeze_findings(windows, datetime.now(UTC), plain(arguments["ignore_freeze"]))
        text = driver_text(plan)
        if arguments["show"]:
            Display().display(text)
        entries = {host: plan["hosts"][host][NAME] for host in plan["order"]}
        work = {host: work_of(whole[host], entry) for host, entry in entries.items()}
        bad = failures(plan["findings"])
        return {
            "changed": False,
            "failed": bool(bad) and arguments["fail"],
            "msg": to_mend(bad) if bad else text.splitlines()[0],
            "rollout_id": rollout_id,
            "directory": str(Path(str(arguments["root"])).absolute() / rollout_id),
            "plan": plan,
            "findings": plan["findings"],
            "has_changes": bool(plan["order"]),
            "roll": {host: [{"name": NAME, **entry}] for host, entry in entries.items()},
            "work": work,
            "was_drained": {host: was_drained(item["servers"]) for host, item in work.items()},
            "text": text,
            "markdown": driver_markdown(plan),
            "rollback_markdown": driver_back_markdown(plan),
        }


def _whole(
    host: str,
    known: Mapping[str, Any],
    infos: Mapping[str, Any],
    gateways: Mapping[str, Any],
    task_vars: dict[str, Any],
) -> dict[str, Any]:
    """Return all that is known of a host."""
    own = known.get(host)
    missing = [key for key in KNOWN_KEYS if not isinstance((own or {}).get(key), Mapping)]
    if not isinstance(own, Mapping) or missing:
        raise AnsibleActionFail(f"gpu_driver_rollout: known.{host} has no {', '.join(missing)}. Ask the host first.")
    instances = hosts_variable(task_vars, host, "local_llm_instances") or []
    listed = (infos.get(host) or {}).get("instances") or []
    serving = [item["instance"] for item in listed if item.get("current") and item.get("active_state") == "active"]
    return {
        **own,
        "instances": instances,
        "serving": [name for name in serving if name in [item["name"] for item in instances]],
        "servers": servers_of(host, instances, gateways),
    }
