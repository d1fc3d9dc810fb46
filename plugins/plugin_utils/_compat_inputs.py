# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the compatibility gate needs of a fleet: which instances, and the facts about their models.

Models that lie in a directory of the controller are read here, each once for the whole fleet. The others are read on
the hosts: before the rollout where they are published already, else when they have arrived there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_facts import model_facts
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError

Reader = Callable[[str, str], dict[str, Any]]
# States of an instance whose first release never served; site tries it again.
_NEVER_SERVED = ("pending", "staged", "switching", "warming")


def judged_of_plan(plan: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the instances that a plan moves, by host."""
    return {
        host: [name for name, entry in entries.items() if entry["action"] != "none"]
        for host, entries in plan["hosts"].items()
    }


def judged_of_site(desired: Mapping[str, Mapping[str, Any]], infos: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the instances that do not serve yet, by host."""
    result = {}
    for host, instances in desired.items():
        info = infos.get(host)
        listed = info.get("instances") if isinstance(info, Mapping) else None
        serving = {
            item.get("instance")
            for item in listed or ()
            if isinstance(item, Mapping)
            and item.get("current")
            and (item.get("instance_state") or {}).get("state") not in _NEVER_SERVED
        }
        result[host] = [name for name in instances if name not in serving]
    return result


def compat_inputs(
    desired: Mapping[str, Mapping[str, Any]],
    variables: Mapping[str, Mapping[str, Any]],
    judged: Mapping[str, Sequence[str]],
    read: Reader = model_facts,
) -> dict[str, Any]:
    """Return {"hosts": {host: {"instances", "judge", "models"}}, "models": {key: facts}, "findings"}.

    Only hosts with an instance to judge are in it, with all their instances, because those share the memory. Instances
    are in the shape that llm_compat takes; their model is a key that names the content, see model_key(). "models" of a
    host are those that can be read there only, in the shape that llm_preflight takes.
    """
    hosts: dict[str, Any] = {}
    models: dict[str, Any] = {}
    tried: set[tuple[str, str, str]] = set()
    findings: list[dict[str, Any]] = []
    for host, instances in desired.items():
        if not judged.get(host):
            continue
        remote: dict[str, dict[str, str]] = {}
        hosts[host] = {
            "judge": list(judged[host]),
            "instances": [
                _instance(name, release["description"], variables[host]) for name, release in instances.items()
            ],
            "models": remote,
        }
        for release in instances.values():
            description = release["description"]
            model = variables[host]["local_llm_models"][description["model"]]
            key = model_key(description)
            place = (key, str(model.get("path") or ""), str(description["model_entry"]))
            if model["source"] != "directory":
                remote[key] = {part: str(description[part]) for part in ("model", "model_revision", "model_entry")}
                continue
            if key in models or place in tried:
                continue
            tried.add(place)
            try:
                models[key] = read(place[1], place[2])
            except HeaderError as error:
                findings.append(_unreadable(description, str(error)))
    return {"hosts": hosts, "models": models, "findings": findings}


def model_key(description: Mapping[str, Any]) -> str:
    """Return a name for the very content of a model: two hosts may mean different files by one name."""
    names = "/".join(str(description[key]) for key in ("model", "model_revision", "model_entry"))
    return f"{names}@{str(description['model_manifest_sha256'])[:12]}"


def _instance(name: str, description: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return an instance in the shape that llm_compat takes, with the files of its model that are allowed by name."""
    keys = ("engine", "engine_version", "gpus", "config")
    model = variables["local_llm_models"][description["model"]]
    instance = {"name": name, "model": model_key(description), **{key: description[key] for key in keys}}
    instance["allow"] = list(model.get("allow") or [])
    if model["source"] == "directory":
        # Of a directory only the listed files go to the hosts.
        instance["files"] = list(model["files"])
    return instance


def _unreadable(description: Mapping[str, Any], error: str) -> dict[str, Any]:
    return finding(
        "model_facts",
        "warn",
        f"model {description['model']} {description['model_revision']}",
        observed=error,
        action="Whether it fits cannot be told, and the engine may not load it.",
    )
