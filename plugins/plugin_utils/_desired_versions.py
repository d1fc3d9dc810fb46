# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Refuse engine versions with known holes, unless the site allows them by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils import _engine_facts as facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_measuring import MEASURING_TIME

ALLOW_VARIABLE = "local_llm_allow_unsafe_versions"
COMPAT_VARIABLE = "local_llm_compat"
COMPAT_MODES = ("refuse", "warn", "ignore")
# The check of a finding about a version below its floor.
UNSAFE_VERSION = "unsafe_version"


def check_allowed_versions(value: Any, engines: Iterable[str], out: Collector) -> dict[str, list[str]]:
    """Return the versions that the site allows by name, by engine; what is wrong is reported and left out."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        action = f'Write {ALLOW_VARIABLE}: {{vllm: ["0.21.0"]}}.'
        out.fail("type", ALLOW_VARIABLE, value, "a mapping of engine to its versions", action)
        return {}
    allowed = {}
    for engine, versions in value.items():
        path = f"{ALLOW_VARIABLE}.{engine}"
        if engine not in engines:
            near = nearest(str(engine), engines)
            action = f"Did you mean {near}?" if near else f"Choose one of {', '.join(sorted(engines))}."
            out.fail("engine", path, engine, f"one of {', '.join(sorted(engines))}", action)
        elif not isinstance(versions, list) or not all(isinstance(version, str) for version in versions):
            action = 'Write each version in quotes: ["0.21.0"].'
            out.fail("type", path, versions, "a list of texts", action)
        else:
            allowed[engine] = versions
    return allowed


def check_compat_mode(value: Any, out: Collector) -> None:
    """Report a mode of the compatibility gate that does not exist."""
    if value is not None and value not in COMPAT_MODES:
        near = nearest(str(value), COMPAT_MODES)
        action = f"Did you mean {near}?" if near else f"Choose one of {', '.join(COMPAT_MODES)}."
        out.fail("choice", COMPAT_VARIABLE, value, f"one of {', '.join(COMPAT_MODES)}", action)


def without_version_refusals(findings: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings with refused versions, and times that bind nobody who goes back, as warnings only."""
    return [
        {**item, "status": "warn", "severity": "warning"} if item["check"] in (UNSAFE_VERSION, MEASURING_TIME) else item
        for item in findings
    ]


def check_version(path: str, instance: dict[str, Any], allowed: dict[str, list[str]], out: Collector) -> None:
    """Report an engine version that is below the safe floor, or whose place cannot be told."""
    engine, version = instance["engine"], instance["engine_version"]
    by_name = version in allowed.get(engine, ())
    below = facts.below_floor(engine, version)
    where = f"{path}.engine_version"
    if below is None:
        if not by_name and facts.has_floor(engine) and facts.looks_like_version(version):
            action = "It cannot be told whether it has known holes. Begin the name with the version's number, such as "
            action += "1.2.3-mine, or allow it by name in local_llm_allow_unsafe_versions."
            out.add("warn", "unknown_version", where, version, f"a version of {engine} that is known", action)
        return
    if not below:
        return
    expected = f"{engine} {facts.safe_floor(engine, version)} or newer"
    if by_name:
        out.add("warn", UNSAFE_VERSION, where, version, expected, f"Allowed by name. {_holes(engine, version)}")
        return
    out.fail(UNSAFE_VERSION, where, version, expected, f"{_holes(engine, version)} {_way_out(engine, version)}")


def version_refusal(engine: str, version: str, allowed: Iterable[str]) -> str:
    """Return why a version must not be installed, or an empty text. The roles of the engines ask here."""
    if version in allowed or not facts.below_floor(engine, version):
        return ""
    floor = facts.safe_floor(engine, version)
    return f"{engine} {version} is below {floor}. {_holes(engine, version)} {_way_out(engine, version)}"


def _holes(engine: str, version: str) -> str:
    holes = [item for item in facts.vulnerabilities(engine, version) if item["fixed_in"] is not None]
    told = "; ".join(f"{item['id']} ({item['severity']}): {item['what']}" for item in holes)
    return f"Known holes: {told}."


def _way_out(engine: str, version: str) -> str:
    return f'Choose a newer version. If it must be this one: {ALLOW_VARIABLE}: {{{engine}: ["{version}"]}}.'
