# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Check the desired state of a whole fleet before anything is touched.

The input is plain data: for every host the inventory variables local_llm_instances, local_llm_models, local_llm_pools,
local_llm_slo_tiers and the artefacts of the engines (<engine>_artifacts). The output is a list of findings; each names
the key path, the hosts, the value and the fix. Nothing is changed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.local_llm.ops.plugins.module_utils import _stop_time as stop_time
from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.module_utils._model_retention import VARIABLE as RETENTION_VARIABLE
from ansible_collections.local_llm.ops.plugins.module_utils._model_retention import retention_problems
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector, names
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_measuring import (
    LEASE_VARIABLE,
    TIMES,
    check_probes,
    check_times,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_measuring import VARIABLE as PROBES_VARIABLE
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_paths import check_allowed_paths
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_role_variables import ROLE_VARIABLES
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import (
    INSTANCE_FIELDS,
    KNOWN_VARIABLES,
    MEASURING_FIELDS,
    POOL_FIELDS,
    SLUG,
    VARIABLE_PREFIX,
    check_object,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_sources import (
    Files,
    check_archive,
    check_artifacts,
    check_model_use,
    check_models,
    check_venv,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_versions import (
    ALLOW_VARIABLE,
    COMPAT_VARIABLE,
    check_allowed_versions,
    check_compat_mode,
    check_version,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_verdict import pool_tier

# The inventory variables that describe the desired state of a host.
DESIRED_VARIABLES = (
    "local_llm_instances",
    "local_llm_models",
    "local_llm_pools",
    "local_llm_slo_tiers",
    "local_llm_model_cache",
    RETENTION_VARIABLE,
    ALLOW_VARIABLE,
    COMPAT_VARIABLE,
    stop_time.VARIABLE,
    *MEASURING_FIELDS,
    *TIMES,
    LEASE_VARIABLE,
)
# How alike a name must be to the default of a role to count as a slip of the pen.
_SLIP_RATIO = 0.85
_ROLE_PREFIXES = tuple(sorted({f"{name.partition('_')[0]}_" for name in ROLE_VARIABLES}))


class Engine(Protocol):
    """What the desired state needs to know about an engine."""

    def validate_config(self, config: dict[str, Any]) -> list[str]: ...
    def complete_config(self, config: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Knowledge:
    """What the checks lean on: the engines, the SLO tiers that ship with the collection, and the tier check."""

    engines: Mapping[str, Engine]
    tiers: Iterable[str]
    # Returns what is wrong with local_llm_slo_tiers, each as "<key path>: <value and fix>".
    tier_problems: Callable[[Any], list[str]]
    # Engines whose versions must be listed in an inventory variable <engine>_artifacts.
    artifact_engines: Iterable[str] = ("llamacpp",)

    def desired_variables(self) -> tuple[str, ...]:
        """Return the inventory variables that have to be handed in for every host."""
        return (*DESIRED_VARIABLES, *(f"{engine}_artifacts" for engine in self.artifact_engines))


def check_desired(
    hosts: Mapping[str, Mapping[str, Any]],
    gateways: Mapping[str, Mapping[str, Any]],
    knowledge: Knowledge,
    files: Files,
) -> list[dict[str, Any]]:
    """Return what is wrong with the desired state of these hosts behind these gateway hosts."""
    out = Collector()
    pools_used: dict[str, dict[str, list[str]]] = {}
    engines_used: dict[str, list[tuple[str, str]]] = {}
    for host, variables in hosts.items():
        out.host = host
        for name, fields in MEASURING_FIELDS.items():
            if variables.get(name) is not None:
                check_object(name, variables[name], fields, out.fail)
        check_probes(variables.get(PROBES_VARIABLE), out)
        check_times(variables, out)
        for path, value, expected, action in retention_problems(variables.get(RETENTION_VARIABLE)):
            out.fail("retention", path, value, expected, action)
        check_compat_mode(variables.get(COMPAT_VARIABLE), out)
        allowed = check_allowed_versions(variables.get(ALLOW_VARIABLE), knowledge.engines, out)
        tiers = _check_tiers(variables.get("local_llm_slo_tiers"), knowledge, out)
        models = check_models(variables.get("local_llm_models"), out)
        artifacts = {
            engine: check_artifacts(
                f"{engine}_artifacts",
                variables.get(f"{engine}_artifacts"),
                out,
                getattr(knowledge.engines.get(engine), "install_methods", ("archive", "package")),
            )
            for engine in knowledge.artifact_engines
        }
        instances = _check_instances(variables.get("local_llm_instances"), out)
        _check_unique(instances, out)
        for path, instance in instances:
            _check_engine(path, instance, knowledge, artifacts, out, files)
            _check_stop_time(path, instance, knowledge, variables.get(stop_time.VARIABLE), out)
            check_version(path, instance, allowed, out)
            check_model_use(path, instance, models, files, out)
            _check_tier_use(path, instance, tiers, out)
            _check_pool_slo(instance, variables, out)
            users = pools_used.setdefault(instance["pool"], {}).setdefault(instance["served_name"], [])
            users.append(f"{host}/{instance['name']}")
            engines_used.setdefault(instance["pool"], []).append((instance["engine"], instance["engine_version"]))
            _check_pool_use(path, instance, gateways, out)
    out.host = ""
    _check_gateways(gateways, bool(pools_used), out)
    check_allowed_paths(gateways, engines_used, out)
    for pool, served in pools_used.items():
        if len(served) > 1:
            observed = "; ".join(f"{name}: {names(users)}" for name, users in sorted(served.items()))
            action = f"Give every instance of pool {pool} the same served_name, or put them into different pools."
            out.fail("served_name", f"served_name in pool {pool}", observed, "one served_name per pool", action)
    return out.findings()


def check_variable_names(hosts: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """Return the variables of these hosts whose names nothing reads: {host: names of its variables}."""
    out = Collector()
    short = {name[len(VARIABLE_PREFIX) :]: name for name in KNOWN_VARIABLES}
    for host, variables in hosts.items():
        out.host = host
        for name in sorted(variables):
            if name.startswith(VARIABLE_PREFIX) and name not in KNOWN_VARIABLES:
                near = nearest(name[len(VARIABLE_PREFIX) :], short)
                hint = f"Did you mean {short[near]}?" if near else "See docs/reference_variables.md for the names."
                own = f"A variable of your own must not begin with {VARIABLE_PREFIX}."
                out.fail("unknown_variable", name, None, None, f"Unknown variable; nothing reads it. {hint} {own}")
            elif name.startswith(_ROLE_PREFIXES) and name not in ROLE_VARIABLES:
                close = difflib.get_close_matches(name, ROLE_VARIABLES, n=1, cutoff=_SLIP_RATIO)
                if close:
                    action = f"No role reads it. Did you mean {close[0]}?"
                    out.add("warn", "unknown_variable", name, None, None, action)
    return out.findings()


def _check_tiers(value: Any, knowledge: Knowledge, out: Collector) -> set[str]:
    for message in knowledge.tier_problems(value):
        path, _colon, fix = message.partition(": ")
        out.fail("slo_tier", path, None, None, fix)
    return {*knowledge.tiers, *(value if isinstance(value, dict) else ())}


def _check_pool_slo(instance: Mapping[str, Any], variables: Mapping[str, Any], out: Collector) -> None:
    """Report limits that a pool sets for itself and that do not fit the instance's tier."""
    pools = variables.get("local_llm_pools")
    pool = pools.get(instance["pool"]) if isinstance(pools, Mapping) else None
    overrides = pool.get("slo") if isinstance(pool, Mapping) else None
    if not overrides:
        return
    try:
        pool_tier(instance["slo_tier"], variables.get("local_llm_slo_tiers"), instance["pool"], overrides)
    except SloError as error:
        for message in str(error).splitlines():
            path, _colon, fix = message.partition(": ")
            out.fail("slo_tier", path, None, None, fix)


def _check_instances(value: Any, out: Collector) -> list[tuple[str, dict[str, Any]]]:
    if value is None:
        return []
    if not isinstance(value, list):
        out.fail(
            "type", "local_llm_instances", value, "a list", "Write a list of instances, each starting with '- name:'."
        )
        return []
    result = []
    for index, item in enumerate(value):
        path = f"local_llm_instances[{index}]"
        filled = check_object(path, item, INSTANCE_FIELDS, out.fail)
        if filled is not None and _check_gpus(f"{path}.gpus", filled["gpus"], out):
            result.append((path, filled))
    return result


def _check_gpus(path: str, value: Any, out: Collector) -> bool:
    if value in ("all", "none"):
        return True
    if isinstance(value, list) and value and all(isinstance(i, int) and not isinstance(i, bool) for i in value):
        if len(set(value)) == len(value) and min(value) >= 0:
            return True
        out.fail(
            "gpus", path, value, "different indexes from 0 upwards", "List each GPU once, as nvidia-smi numbers them."
        )
        return False
    out.fail("gpus", path, value, "all, none or a list of GPU indexes", "Write all, none, or for example [0, 1].")
    return False


def _check_unique(instances: list[tuple[str, dict[str, Any]]], out: Collector) -> None:
    for key, action in (
        ("name", "Give each instance of a host its own name."),
        ("port", "Give each instance of a host its own port."),
    ):
        seen: dict[Any, tuple[str, str]] = {}
        for path, instance in instances:
            value = instance[key]
            if value in seen:
                first_path, first_name = seen[value]
                out.fail(
                    f"duplicate_{key}", f"{path}.{key}", value, f"not the {key} of {first_path} ({first_name})", action
                )
            else:
                seen[value] = (path, instance["name"])


def _check_engine(
    path: str,
    instance: dict[str, Any],
    knowledge: Knowledge,
    artifacts: Mapping[str, dict[str, dict[str, Any] | None] | None],
    out: Collector,
    files: Files,
) -> None:
    name = instance["engine"]
    engine = knowledge.engines.get(name)
    if engine is None:
        near = nearest(name, knowledge.engines)
        known = ", ".join(sorted(knowledge.engines))
        action = f"Did you mean {near}?" if near else f"Choose one of {known}."
        out.fail("engine", f"{path}.engine", name, f"one of {known}", action)
        return
    for message in engine.validate_config(instance["config"]):
        key, equals, _rest = message.partition(" = ")
        where = f"{path}.{key}" if equals and key.startswith("config") else f"{path}.config"
        out.fail("config", where, None, None, message)
    listed = artifacts.get(name)
    if listed is None:
        return
    version = instance["engine_version"]
    if version not in listed:
        known_versions = names(sorted(listed)) or "none"
        action = f"Add {name}_artifacts[{version}], or choose one that is listed: {known_versions}."
        out.fail("artifact", f"{path}.engine_version", version, f"a key of {name}_artifacts", action)
        return
    artifact = listed[version]
    if artifact is not None and artifact["method"] == "archive":
        check_archive(f"{name}_artifacts[{version}]", artifact, files, out)
    elif artifact is not None and artifact["method"] == "venv":
        check_venv(f"{name}_artifacts[{version}]", artifact, files, out)


def _check_stop_time(path: str, instance: dict[str, Any], knowledge: Knowledge, stop: Any, out: Collector) -> None:
    """The service manager must not kill an engine that still finishes requests."""
    engine = knowledge.engines.get(instance["engine"])
    if engine is None or engine.validate_config(instance["config"]):
        return
    needed = stop_time.needed_seconds(engine.complete_config(dict(instance["config"])))
    # From the command line it comes as a text. What is no number at all is refused by the role host.
    has = str(stop_time.DEFAULT_SECONDS if stop is None else stop)
    if needed is not None and has.isdigit() and int(has) < needed:
        where = f"{path}.config.{stop_time.OPTION}"
        observed = f"{needed - stop_time.MARGIN_SECONDS}, with {stop_time.VARIABLE} = {has}"
        action = f"Raise {stop_time.VARIABLE} and run local_llm.ops.site, or lower {stop_time.OPTION}."
        out.fail("stop_time", where, observed, stop_time.expected(needed), action)


def _check_tier_use(path: str, instance: dict[str, Any], tiers: set[str], out: Collector) -> None:
    tier = instance["slo_tier"]
    if tier not in tiers:
        near = nearest(tier, tiers)
        known = ", ".join(sorted(tiers))
        action = f"Did you mean {near}?" if near else f"Choose one of {known}, or add it to local_llm_slo_tiers."
        out.fail("slo_tier", f"{path}.slo_tier", tier, f"one of {known}", action)


def _check_pool_use(
    path: str,
    instance: dict[str, Any],
    gateways: Mapping[str, Mapping[str, Any]],
    out: Collector,
) -> None:
    pool = instance["pool"]
    if not gateways:
        action = "Add a host to the inventory group gateway."
        out.fail("gateway", f"{path}.pool", pool, "a gateway host that serves the pool", action)
        return
    for gateway, gateway_variables in gateways.items():
        known = gateway_variables.get("local_llm_pools")
        # Without the variable a gateway serves every pool that an instance names. With it, a name not in it is a typo.
        if isinstance(known, dict) and known and pool not in known:
            near = nearest(pool, known)
            action = f"Did you mean {near}?" if near else f"Add {pool} to local_llm_pools where {gateway} sees it."
            out.fail("pool", f"{path}.pool", pool, f"a pool in local_llm_pools of gateway host {gateway}", action)


def _check_gateways(gateways: Mapping[str, Mapping[str, Any]], needed: bool, out: Collector) -> None:
    for gateway, variables in gateways.items():
        out.host = gateway
        pools = variables.get("local_llm_pools")
        if pools is None:
            continue
        if not isinstance(pools, dict):
            out.fail("type", "local_llm_pools", pools, "a mapping", "Write a mapping of pool name to its settings.")
            continue
        for name, pool in pools.items():
            path = f"local_llm_pools.{name}"
            if not SLUG.fits(name):
                out.fail("name", path, name, SLUG.words, "Write a name that fits.")
            check_object(path, {} if pool is None else pool, POOL_FIELDS, out.fail)
    out.host = ""
