# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What driver_facts.yml must look like. Pure: a document in, texts about its faults out."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import FLAVOURS, GENERATIONS, ORIGINS
from ansible_collections.local_llm.ops.plugins.plugin_utils._facts_file import is_text, key_problems, source_problems

ARCHIVES = ("distribution", "nvidia")
BUILDS = ("dkms", "precompiled")
OPEN_MODULES = ("never", "possible", "required")
EXTRAS = ("fabric_manager", "nscq", "subnet_manager", "persistenced")
ESTIMATES = (
    "stop_seconds", "packages_seconds", "build_seconds_per_kernel", "reload_seconds", "reboot_seconds",
    "verify_seconds", "disk_bytes",
)  # fmt: skip
_TOP = {
    "schema": True,
    "sources": True,
    "generations": True,
    "open_by_default": True,
    "estimates": True,
    "distributions": True,
}
_GENERATION = {"open_modules": True, "first_branch": True, "last_branch": True, "source": True, "verified": False}
_DEFAULT = {"from_branch": True, "source": True, "verified": False}
_ROW = {
    "distributions": True, "versions": True, "archive": True, "package_manager": True, "origins": True, "headers": True,
    "branches": True, "transitional": True, "sets": True, "extras": True, "streams": False, "absent": False,
    "notes": True, "source": True, "verified": True,
}  # fmt: skip
_SET = {
    "modules": True, "build": True, "branches": False, "packages": True, "optional": True, "kernel_packages": False,
    "conflicts": True,
}  # fmt: skip
_PLACES = {"branch", "version", "kernel"}


def driver_facts_problems(document: Any) -> list[str]:
    """Return what is wrong with the document, one text per problem, each with row, key, value and fix."""
    where = "driver_facts"
    if not isinstance(document, Mapping):
        return [f"{where}: {document!r} is no dictionary. Install the collection again."]
    found = list(key_problems(where, document, _TOP))
    if document.get("schema") != 1:
        found.append(f"{where}: schema: {document.get('schema')!r} is not known. This version reads schema 1.")
    if found:
        return found
    sources = document["sources"]
    if not isinstance(sources, Mapping) or not sources:
        return [f"{where}: sources: {sources!r} names no source. Write {{guide: {{what: ..., url: ...}}}}."]
    for name, source in sources.items():
        texts = isinstance(source, Mapping) and set(source) == {"what", "url"} and all(map(is_text, source.values()))
        if not texts:
            found.append(f"{where}: sources.{name}: {source!r} is not {{what: a text, url: an address}}.")
    found += _generation_problems(document["generations"], sources)
    found += key_problems("open_by_default", document["open_by_default"], _DEFAULT)
    found += source_problems("open_by_default", document["open_by_default"], sources)
    found += _estimate_problems(document["estimates"], sources)
    rows = document["distributions"]
    if not isinstance(rows, list) or not rows:
        return [*found, f"{where}: distributions: {rows!r} is no list with at least one row."]
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        found += _row_problems(row, sources, seen)
    return found


def _generation_problems(generations: Any, sources: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(generations, Mapping) or set(generations) != set(GENERATIONS):
        yield f"generations: there must be exactly {', '.join(GENERATIONS)}."
        return
    for name, item in generations.items():
        where = f"generations.{name}"
        yield from key_problems(where, item, _GENERATION)
        yield from source_problems(where, item, sources)
        if isinstance(item, Mapping) and item.get("open_modules") not in OPEN_MODULES:
            yield f"{where}: open_modules: {item.get('open_modules')!r} is none of {', '.join(OPEN_MODULES)}."
        for key in ("first_branch", "last_branch"):
            if isinstance(item, Mapping) and not isinstance(item.get(key), (int, type(None))):
                yield f"{where}: {key}: {item[key]!r} is no number of a branch, such as 580. Write null for no limit."


def _estimate_problems(estimates: Any, sources: Mapping[str, Any]) -> Iterator[str]:
    yield from key_problems(
        "estimates", estimates, {**dict.fromkeys(ESTIMATES, True), "source": True, "verified": False}
    )
    yield from source_problems("estimates", estimates, sources)
    for key in ESTIMATES:
        value = estimates.get(key) if isinstance(estimates, Mapping) else None
        if not isinstance(value, int) or value <= 0:
            yield f"estimates: {key}: {value!r} is no number above 0."


def _row_problems(row: Any, sources: Mapping[str, Any], seen: set[tuple[str, str, str]]) -> Iterator[str]:
    names = row.get("distributions") if isinstance(row, Mapping) else None
    versions = row.get("versions") if isinstance(row, Mapping) else None
    where = f"distribution {names} {versions} {row.get('archive') if isinstance(row, Mapping) else ''}"
    problems = list(key_problems(where, row, _ROW))
    if problems:
        yield from problems
        return
    yield from source_problems(where, row, sources)
    for key in ("distributions", "versions", "origins"):
        if not isinstance(row[key], list) or not all(map(is_text, row[key])):
            yield f'{where}: {key}: {row[key]!r} is no list of texts. Put versions in quotes: ["24.04"].'
            return
    if row["archive"] not in ARCHIVES:
        yield f"{where}: archive: {row['archive']!r} is none of {', '.join(ARCHIVES)}."
    if row["package_manager"] not in ("apt", "dnf"):
        yield f"{where}: package_manager: {row['package_manager']!r} is neither apt nor dnf."
    for origin in row["origins"]:
        if origin not in ORIGINS:
            yield f"{where}: origins: {origin!r} is none of {', '.join(ORIGINS)}."
    for name in row["distributions"]:
        for version in row["versions"]:
            place = (name, version, row["archive"])
            if place in seen:
                yield f"{where}: there are two rows about {name} {version} {row['archive']}. Leave one."
            seen.add(place)
    if bool(row["sets"]) == bool(row.get("absent")):
        yield f"{where}: give either sets, or in absent the reason why there are none."
    for number, item in enumerate(row["sets"]):
        yield from _set_problems(f"{where}: sets[{number}]", item)
    yield from key_problems(f"{where}: extras", row["extras"], dict.fromkeys(EXTRAS, True))
    for key in EXTRAS:
        yield from _name_problems(f"{where}: extras.{key}", (row["extras"] or {}).get(key))
    streams = row.get("streams")
    if streams is not None and set(streams) != set(FLAVOURS):
        yield f"{where}: streams: {streams!r} must have exactly {' and '.join(FLAVOURS)}."


def _set_problems(where: str, item: Any) -> Iterator[str]:
    problems = list(key_problems(where, item, _SET))
    if problems:
        yield from problems
        return
    if item["modules"] not in FLAVOURS:
        yield f"{where}: modules: {item['modules']!r} is none of {', '.join(FLAVOURS)}."
    if item["build"] not in BUILDS:
        yield f"{where}: build: {item['build']!r} is none of {', '.join(BUILDS)}."
    if (item["build"] == "precompiled") != bool(item.get("kernel_packages")):
        yield f"{where}: kernel_packages: exactly sets with build: precompiled have them."
    if not item["packages"]:
        yield f"{where}: packages: it is empty. Name at least one package of the driver's version."
    for key in ("packages", "optional", "kernel_packages"):
        yield from _name_problems(f"{where}: {key}", item.get(key, []))
    for pattern in item["conflicts"]:
        try:
            re.compile(str(pattern))
        except re.error as error:
            yield f"{where}: conflicts: {pattern!r} is no regular expression: {error}."
    limits = item.get("branches")
    if limits is not None and set(limits) != {"from", "to"}:
        yield f"{where}: branches: {limits!r} is not {{from: a number or null, to: a number or null}}."


def _name_problems(where: str, names: Any) -> Iterator[str]:
    if not isinstance(names, list):
        yield f"{where}: {names!r} is no list of names."
        return
    for name in names:
        places = {place for _text, place, _format, _conversion in string.Formatter().parse(str(name)) if place}
        if not places <= _PLACES:
            yield f"{where}: {name!r}: only {{branch}}, {{version}} and {{kernel}} can be filled in."
