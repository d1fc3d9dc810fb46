# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a gateway lets through to a pool, against what its engines must never be asked by clients."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import facts_or_newest

PATHS_VARIABLE = "gateway_allowed_paths"
# What a gateway host is asked for to know what it lets through.
GATEWAY_VARIABLES = ("local_llm_pools", "gateway_pools", PATHS_VARIABLE)
# A path goes into a rule of HAProxy as it stands: nothing in it may be a word of that language.
_PATH = re.compile(r"/[A-Za-z0-9_.~:@/-]*")
_METHOD = re.compile(r"[A-Z]+")


def check_allowed_paths(
    gateways: Mapping[str, Mapping[str, Any]], engines: Mapping[str, Iterable[tuple[str, str]]], out: Collector
) -> None:
    """Report paths that must not, or had better not, be let through. engines: pool to (engine, version) of it.

    Without a word of the site the gateway lets through the paths that the facts about engines allow.
    """
    for gateway, variables in gateways.items():
        out.host = gateway
        everywhere = variables.get(PATHS_VARIABLE)
        for pool, used in engines.items():
            where, allowed = PATHS_VARIABLE, everywhere
            for variable in ("local_llm_pools", "gateway_pools"):
                pools = variables.get(variable)
                settings = pools.get(pool) if isinstance(pools, dict) else None
                own = settings.get("allowed_paths") if isinstance(settings, dict) else None
                if own is not None:
                    where, allowed = f"{variable}.{pool}.allowed_paths", own
            if allowed is not None:
                _check_paths(where, pool, allowed, sorted(set(used)), out)
    out.host = ""


def _check_paths(where: str, pool: str, allowed: Any, used: list[tuple[str, str]], out: Collector) -> None:
    if not isinstance(allowed, list):
        out.fail("type", where, allowed, "a list", "Write a list of {path: /v1/..., methods: [POST]}.")
        return
    for number, item in enumerate(allowed):
        path = item.get("path") if isinstance(item, dict) else None
        methods = item.get("methods") if isinstance(item, dict) else None
        if not (isinstance(path, str) and _PATH.fullmatch(path)) or not (
            isinstance(methods, list) and methods and all(_METHOD.fullmatch(str(one)) for one in methods)
        ):
            action = "Write {path: /v1/..., methods: [POST]}, the whole path, and methods in capitals."
            out.fail("allowed_paths", f"{where}[{number}]", item, "a path that begins with / and its methods", action)
            continue
        for engine, version in used:
            _check_path(f"{where}[{number}].path", pool, path, engine, version, out)


def _check_path(where: str, pool: str, path: str, engine: str, version: str, out: Collector) -> None:
    facts = facts_or_newest(engine, version)
    if facts is None:
        return
    blocked = next((one for one in facts["blocked_paths"] if _is_under(path, one)), None)
    if blocked is not None:
        observed = f"{path} in pool {pool}: with {engine} it manages or changes the engine, or shows what others asked"
        action = "Take it out. An operator asks the engine itself, from the host."
        out.fail("blocked_path", where, observed, f"none under {blocked}", action)
        return
    served = {item["path"] for item in facts["allowed_paths"]}
    if path in facts["open_endpoints"] and path not in served:
        observed = f"{path} in pool {pool}: {engine} answers it to everybody, also when it has a key"
        action = "Take it out unless clients need it; the keys of the gateway are then all that guards it."
        out.add("warn", "open_path", where, observed, ", ".join(sorted(served)), action)


def _is_under(path: str, blocked: str) -> bool:
    return path == blocked or path.startswith(f"{blocked.rstrip('/')}/")
