# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the desired state of the fleet and plan the rollout to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.module_utils._release import release_id_problem, rollout_id_problem
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import (
    ControllerAction,
    hosts_variable,
    results_by_host,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_settings import (
    capacity_setting_findings,
    pool_capacities,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._compat_inputs import (
    compat_inputs,
    judged_of_plan,
    judged_of_site,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._controller_files import ControllerFiles, default_cache_path
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_paths import GATEWAY_VARIABLES
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_read import (
    read_variables,
    to_mend,
    variable_names,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_releases import desired_releases, mixed_pools
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_state import check_desired, check_variable_names
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_versions import (
    COMPAT_VARIABLE,
    without_version_refusals,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._freeze import freeze_findings
from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import read_journal, rollout_state
from ansible_collections.local_llm.ops.plugins.plugin_utils._knowledge import collection_knowledge
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import build_plan, serial_findings, unlisted_serving
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_back import build_rollback_plan
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_gateways import (
    add_gateways,
    in_service,
    out_of_service,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_text import (
    plan_markdown,
    plan_text,
    rollback_markdown,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._quality_files import VARIABLE as QUALITY_VARIABLE
from ansible_collections.local_llm.ops.plugins.plugin_utils._quality_files import quality_findings
from ansible_collections.local_llm.ops.plugins.plugin_utils._rollout_id import new_rollout_id
from ansible_collections.local_llm.ops.plugins.plugin_utils._ssh_keepalive import keepalive_findings


class ActionModule(ControllerAction):
    """Runs on the controller: reads the inventory and files, writes plan files only when asked to."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "str"},
        "gateway_hosts": {"type": "list", "elements": "str"},
        "release_infos": {"type": "dict"},
        "release_infos_from": {"type": "str"},
        "gateway_infos": {"type": "dict"},
        "rollout_id": {"type": "str"},
        "check_only": {"type": "bool", "default": False},
        "keep_serving": {"type": "bool", "default": False},
        "direction": {"type": "str", "choices": ["forward", "back"], "default": "forward"},
        "release_id": {"type": "str"},
        "canary_host": {"type": "str"},
        "serial": {"type": "raw", "default": [1, "10%", "50%", "100%"]},
        "allow_pool_outage": {"type": "bool", "default": False},
        "short_pools": {"type": "list", "elements": "str"},
        "freeze_windows": {"type": "raw"},
        "ignore_freeze": {"type": "str"},
        "root": {"type": "path"},
        "write": {"type": "bool", "default": False},
        "show": {"type": "bool", "default": True},
        "fail": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return findings, the releases that hosts shall run, and the plan."""
        rollout_id = plain(arguments["rollout_id"]) or new_rollout_id()
        problem = rollout_id_problem(rollout_id)
        if problem:
            raise AnsibleActionFail(f"rollout_plan: {problem}")
        groups = task_vars["groups"]
        hosts = _names(arguments["hosts"], task_vars.get("ansible_play_hosts_all") or groups.get("gpu_hosts") or [])
        gateways = _names(arguments["gateway_hosts"], groups.get("gateway") or [])
        problem = release_id_problem(plain(arguments["release_id"])) if arguments["release_id"] else None
        if problem:
            raise AnsibleActionFail(f"rollout_plan: {problem}")
        knowledge = collection_knowledge()
        files = ControllerFiles(default_cache_path())
        findings: list[dict[str, Any]] = []
        names = knowledge.desired_variables()
        host_state = {host: read_variables(task_vars, host, names, findings) for host in hosts}
        gateway_state = {host: read_variables(task_vars, host, GATEWAY_VARIABLES, findings) for host in gateways}
        findings += check_variable_names(variable_names(task_vars, [*hosts, *gateways]))
        checked = check_desired(host_state, gateway_state, knowledge, files)
        # A hole in a version that serves already must not keep anybody from going back.
        findings += without_version_refusals(checked) if arguments["direction"] == "back" else checked
        settings = {host: variables.get(QUALITY_VARIABLE) for host, variables in host_state.items()}
        findings += quality_findings(settings, plain(task_vars.get("inventory_dir")))
        pools = {host: variables.get("local_llm_pools") for host, variables in {**gateway_state, **host_state}.items()}
        findings += capacity_setting_findings(pools)
        findings += serial_findings(_serial(arguments))
        files.save()
        if failures(findings):
            return self._refuse(arguments, findings)
        desired = {host: desired_releases(variables, knowledge, files) for host, variables in host_state.items()}
        findings += mixed_pools(desired)
        result: dict[str, Any] = {
            "changed": False,
            "rollout_id": rollout_id,
            "desired": desired,
            "preflight": {host: _preflight(instances) for host, instances in desired.items()},
            "wanted": {host: _wanted(instances) for host, instances in desired.items()},
            "findings": findings,
            "msg": "The desired state is sound.",
        }
        infos = results_by_host(arguments, "release_infos", hosts, task_vars)
        if arguments["keep_serving"]:
            if infos is None:
                raise AnsibleActionFail("rollout_plan: keep_serving needs release_infos or release_infos_from.")
            findings += unlisted_serving(desired, infos)
            if failures(findings):
                return self._refuse(arguments, findings, result)
        if infos is not None and arguments["check_only"]:
            result["compat"] = _compat(desired, host_state, judged_of_site(desired, infos), findings)
        if infos is None or arguments["check_only"]:
            # No plan will show the warnings.
            for item in findings:
                if item["status"] == "warn" and arguments["show"]:
                    Display().warning(finding_line(item))
            return result
        plan = self._plan(arguments, task_vars, rollout_id, desired, infos, pool_capacities(pools))
        if arguments["direction"] == "forward":
            windows = plain(arguments["freeze_windows"])
            findings += freeze_findings(windows, datetime.now(UTC), plain(arguments["ignore_freeze"]))
            result["compat"] = _compat(desired, host_state, judged_of_plan(plan), findings)
        plan["findings"] = findings + plan["findings"]
        return self._finish(arguments, task_vars, result, plan)

    def _plan(
        self,
        arguments: dict[str, Any],
        task_vars: dict[str, Any],
        rollout_id: str,
        desired: Any,
        infos: Any,
        capacity: dict[str, dict[str, Any]],
    ) -> dict[str, Any]:
        if arguments["direction"] == "back":
            return build_rollback_plan(
                rollout_id=rollout_id,
                desired=desired,
                current=infos,
                release_id=plain(arguments["release_id"]) or None,
            )
        gateway_infos = results_by_host(arguments, "gateway_infos", [], task_vars) or {}
        return build_plan(
            rollout_id=rollout_id,
            desired=desired,
            current=infos,
            canary=plain(arguments["canary_host"]) or None,
            serial=_serial(arguments),
            allow_pool_outage=arguments["allow_pool_outage"],
            completed=_completed(arguments["root"], infos),
            capacity=capacity,
            short_pools=[str(name) for name in plain(arguments["short_pools"]) or []],
            out_of_service=out_of_service(gateway_infos),
            in_service=in_service(gateway_infos),
        )

    def _finish(
        self, arguments: dict[str, Any], task_vars: dict[str, Any], result: dict[str, Any], plan: dict[str, Any]
    ) -> dict[str, Any]:
        """Show, write and return the plan; refuse it when something in it must be mended."""
        gateway_infos = results_by_host(arguments, "gateway_infos", [], task_vars)
        if gateway_infos is not None:
            plan = add_gateways(plan, gateway_infos)
        if plan["order"]:
            plan["findings"] = plan["findings"] + keepalive_findings(_ssh_hosts(task_vars, plan["order"]))
        text = plan_text(plan)
        result.update(
            plan=plan,
            findings=plan["findings"],
            has_changes=bool(plan["order"]),
            roll={host: _roll(entries) for host, entries in plan["hosts"].items()},
            settle=_settle(plan),
            text=text,
            markdown=plan_markdown(plan),
            rollback_markdown=rollback_markdown(plan),
            msg=text.splitlines()[0],
        )
        if arguments["show"]:
            Display().display(text)
        if arguments["root"]:
            result["directory"] = str(Path(arguments["root"]).absolute() / result["rollout_id"])
        if failures(plan["findings"]):
            return self._refuse(arguments, plan["findings"], result)
        if arguments["write"] and not self._task.check_mode:
            result["files"] = _write(result)
            result["changed"] = True
        return result

    def _refuse(
        self, arguments: dict[str, Any], findings: list[dict[str, Any]], more: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a failed result that lists every fault, or a quiet one when the caller decides."""
        bad = failures(findings)
        result = {"changed": False, "plan": None, **(more or {}), "findings": findings, "msg": to_mend(bad)}
        return {**result, "failed": True} if arguments["fail"] else result


def _serial(arguments: dict[str, Any]) -> list[Any]:
    serial = plain(arguments["serial"])
    return serial if isinstance(serial, list) else [serial]


def _names(given: Any, default: Any) -> list[str]:
    return [str(name) for name in (default if given is None else given)]


def _ssh_hosts(task_vars: dict[str, Any], hosts: list[str]) -> dict[str, dict[str, str]]:
    """Return {host: {"address", "arguments"}} of the hosts that are reached by SSH."""
    result = {}
    for host in hosts:
        if (hosts_variable(task_vars, host, "ansible_connection") or "ssh") not in (
            "ssh",
            "ansible.builtin.ssh",
            "smart",
        ):
            continue
        own = hosts_variable(task_vars, host, "ansible_ssh_args")
        given = [
            C.config.get_config_value("ssh_args", plugin_type="connection", plugin_name="ssh") if own is None else own
        ]
        given += [hosts_variable(task_vars, host, f"ansible_ssh_{kind}_args") for kind in ("common", "extra")]
        address = hosts_variable(task_vars, host, "ansible_host") or host
        result[host] = {"address": str(address), "arguments": " ".join(str(part) for part in given if part)}
    return result


def _compat(
    desired: dict[str, Any], host_state: dict[str, Any], judged: dict[str, list[str]], findings: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what the compatibility gate needs; what cannot be read of a model goes into the findings."""
    wanted = {host: names for host, names in judged.items() if host_state[host].get(COMPAT_VARIABLE) != "ignore"}
    found = compat_inputs(desired, host_state, wanted)
    findings += found.pop("findings")
    return found


def _preflight(instances: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what llm_preflight takes as its option instances."""
    keys = ("description", "release_id", "model_bytes", "engine_bytes")
    return [{"instance": name, **{key: item[key] for key in keys}} for name, item in instances.items()]


def _wanted(instances: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the instances as the inventory wants them, in the shape in which _roll() returns those of a plan."""
    entries = {
        name: {**item, "from": None, "to": item["release_id"], "action": "install"} for name, item in instances.items()
    }
    return _roll(entries)


def _roll(instances: dict[str, dict[str, Any]], carried: bool = False) -> list[dict[str, Any]]:
    """Return the instances with something to do, and on demand the carried ones, as a list to loop over."""
    return [
        {
            "name": name,
            "served_name": entry["description"]["served_name"],
            "port": entry["description"]["port"],
            **entry,
        }
        for name, entry in instances.items()
        if entry["action"] != "none" or (carried and entry.get("carried"))
    ]


def _settle(plan: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return what may have to go back, by host: what the rollout moves, and what an interrupted one has moved."""
    hosts = [*plan["order"], *(host for host in plan.get("carried") or [] if host not in plan["order"])]
    return {host: _roll(plan["hosts"][host], carried=True) for host in hosts}


def _completed(root: str | None, infos: Any) -> list[str]:
    """Return which of the rollouts that the hosts remember are known here to have completed."""
    if not root:
        return []
    states = [
        item.get("instance_state")
        for info in infos.values()
        if isinstance(info, dict)
        for item in info.get("instances") or []
        if isinstance(item, dict)
    ]
    ids = {str(state["rollout_id"]) for state in states if isinstance(state, dict) and state.get("rollout_id")}
    result = []
    for rollout_id in sorted(ids):
        if rollout_id_problem(rollout_id):
            continue
        try:
            journal = read_journal(Path(root).absolute() / rollout_id)
        except OSError:
            # It cannot be read, so nothing is known of it: what it brought counts as not completed.
            continue
        if journal.intact and rollout_state(journal.lines) == "completed":
            result.append(rollout_id)
    return result


def _write(result: dict[str, Any]) -> dict[str, str]:
    directory = Path(result.get("directory") or "")
    if not result.get("directory"):
        raise AnsibleActionFail("rollout_plan: write needs root, the directory in which each rollout gets its own.")
    texts = {"deployment-plan.md": result["markdown"], "rollback-plan.md": result["rollback_markdown"]}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_json_atomic(str(directory / "plan.json"), json.loads(json.dumps(result["plan"])), 0o644)
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise AnsibleActionFail(
            f"rollout_plan: {error.filename or directory} cannot be written: {error.strerror}. "
            f"Make it writable for this user, or set root to another directory."
        ) from error
    return {
        "plan": str(directory / "plan.json"),
        "deployment_plan": str(directory / "deployment-plan.md"),
        "rollback_plan": str(directory / "rollback-plan.md"),
    }
