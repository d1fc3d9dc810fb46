# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Suites in files on the controller, and the settings of a fleet that name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import SuiteError, parse_suite
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import (
    MEASURING_FIELDS,
    Field,
    Report,
    check_object,
)

VARIABLE = "local_llm_quality"
_SHARED = ("models", "pools", "embedding")
# What one model or one pool may set for itself.
OVERRIDE_FIELDS: dict[str, Field] = {
    key: spec for key, spec in MEASURING_FIELDS[VARIABLE].items() if key not in _SHARED
}
EMBEDDING_FIELDS: dict[str, Field] = {
    "url": Field("str", required=True),
    "model": Field("str", required=True),
    "api_key": Field("str"),
}


def find_suite(path: str, inventory_directory: str | None) -> Path:
    """Return the file that a path means: as it is, beside the inventory, or in the current directory."""
    given = Path(path).expanduser()
    places = [given] if given.is_absolute() else [Path(root) / given for root in (inventory_directory, ".") if root]
    for place in places:
        if place.is_file():
            return place
    tried = " and ".join(str(place.absolute()) for place in places)
    raise SuiteError(f"suite_file: {path} is not there; looked for {tried}. Write it, or correct the path")


def load_suite(path: str, inventory_directory: str | None) -> list[dict[str, Any]]:
    """Return the items of a suite file as they stand in it, after checking them. Raises SuiteError."""
    file = find_suite(path, inventory_directory)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"suite_file: {file} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SuiteError(
            f"suite_file: {file}{where} is no YAML: {getattr(error, 'problem', None) or error}; mend it"
        ) from error
    if isinstance(content, Mapping):
        unknown = sorted(str(key) for key in content if key != "items")
        if unknown or "items" not in content:
            named = f"the key {unknown[0]}" if unknown else "no key items"
            raise SuiteError(f"suite_file: {file} has {named}; write the items as a list under the one key items")
        content = content["items"]
    parse_suite(content, f"suite_file: {file}: items")
    return [dict(item) for item in content]


def quality_findings(settings: Mapping[str, Any], inventory_directory: str | None) -> list[dict[str, Any]]:
    """Return what is wrong inside local_llm_quality, given as {host: value}: suites, their files, overrides.

    Its own keys and their types are checked with the rest of the desired state.
    """
    out = Collector()
    for host, value in settings.items():
        out.host = host
        if isinstance(value, Mapping):
            _check_quality(value, inventory_directory, out.fail)
    return out.findings()


def _check_quality(value: Mapping[str, Any], inventory_directory: str | None, report: Report) -> None:
    _check_suite(VARIABLE, value, inventory_directory, report)
    if value.get("embedding"):
        check_object(f"{VARIABLE}.embedding", value["embedding"], EMBEDDING_FIELDS, report)
    for kind in ("models", "pools"):
        overrides = value.get(kind)
        for name, override in overrides.items() if isinstance(overrides, Mapping) else ():
            path = f"{VARIABLE}.{kind}.{name}"
            if check_object(path, override, OVERRIDE_FIELDS, report) is not None:
                _check_suite(path, override, inventory_directory, report)


def _check_suite(path: str, value: Mapping[str, Any], inventory_directory: str | None, report: Report) -> None:
    suite, file = value.get("suite"), value.get("suite_file")
    if suite is not None and file:
        report("quality", path, None, None, "suite and suite_file are both given; leave one of them out.")
        return
    try:
        if isinstance(file, str) and file:
            load_suite(file, inventory_directory)
        elif isinstance(suite, list):
            parse_suite(suite, "suite")
    except SuiteError as error:
        report("quality", path, None, None, f"{error}.")
