# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compatibility gate: do the instances of a host work there, before anything on the host changes."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._compat import compat
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import gate_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain

_INSTANCE_KEYS = ("name", "engine", "model", "config")


class ActionModule(ControllerAction):
    """Runs on the controller over facts that others have read, and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "instances": {"type": "list", "elements": "dict", "required": True},
        "judge": {"type": "list", "elements": "str"},
        "gpus": {"type": "list", "elements": "dict", "default": []},
        "gpu_info": {"type": "dict"},
        "driver_version": {"type": "str"},
        "ram_total_bytes": {"type": "int"},
        "models": {"type": "dict", "required": True},
        "later": {"type": "list", "elements": "str", "default": []},
        "engine_facts": {"type": "dict", "default": {}},
        "fail": {"type": "bool", "default": False},
        "fail_on": {"type": "list", "elements": "str", "default": []},
        "warn": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the answer for each instance."""
        instances = plain(arguments["instances"])
        for number, item in enumerate(instances):
            missing = [key for key in _INSTANCE_KEYS if key not in item]
            if missing:
                raise AnsibleActionFail(f"llm_compat: instances[{number}] has no {missing[0]}. Give it.")
        host = {key: plain(arguments[key]) for key in ("gpus", "driver_version", "ram_total_bytes")}
        # 0 stands for a host that did not tell.
        host["ram_total_bytes"] = host["ram_total_bytes"] or None
        if arguments["gpu_info"] is not None:
            host.update(host_gpus(plain(arguments["gpu_info"])))
        known = {
            str(item["name"]): gate_facts(str(item["engine"]), str(item["engine_version"]))
            for item in instances
            if item.get("engine_version")
        }
        results = compat(instances, host, plain(arguments["models"]), {**known, **plain(arguments["engine_facts"])})
        judge = arguments["judge"]
        late = {str(item["name"]) for item in instances if item["model"] in arguments["later"]}
        judged = [item for item in results if item["instance"] not in late]
        judged = [item for item in judged if judge is None or item["instance"] in judge]
        findings = [entry for result in judged for entry in result["findings"]]
        failed = failures(findings)
        message = " ".join(finding_line(entry) for entry in failed)
        refused = failed if arguments["fail"] else [entry for entry in failed if entry["check"] in arguments["fail_on"]]
        if refused:
            raise AnsibleActionFail(f"llm_compat: {' '.join(finding_line(entry) for entry in refused)}")
        answer = {"changed": False, "ok": not failed, "instances": results, "findings": findings, "msg": message}
        if arguments["warn"]:
            answer["warnings"] = [f"llm_compat: {finding_line(entry)}" for entry in findings if _worth_a_word(entry)]
        return answer


def host_gpus(answer: dict[str, Any]) -> dict[str, Any]:
    """Return gpus, driver_version and gpus_unknown from the answer of gpu_info; nothing when it was not asked."""
    if answer.get("skipped") or "nvml" not in answer:
        return {}
    nvml = answer["nvml"]
    if nvml["status"] != "ok":
        return {"gpus_unknown": f"the GPUs cannot be read: {nvml.get('error') or nvml['status']}"}
    gpus = [{**gpu, "total_bytes": (gpu.get("memory") or {}).get("total_bytes")} for gpu in answer["gpus"]]
    return {"gpus": gpus, "driver_version": nvml.get("driver_version")}


def _worth_a_word(entry: dict[str, Any]) -> bool:
    told = ("memory_fit", "quantisation")
    return entry["status"] in ("fail", "warn") or (entry["status"] == "skip" and entry["check"] in told)
