# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What engine_facts.yml must look like. Pure: a document in, texts about its faults out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

with contextlib.suppress(ImportError):
    # ansible-core brings it along; only ansible-test's import check runs without it, and uses nothing of it.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils._facts_file import is_text, key_problems, source_problems

NUMBERINGS = {"release": r"\d+(\.\d+)+", "build": r"b\d+"}
SEVERITIES = ("critical", "high", "medium", "low")
_METHODS = ("GET", "POST", "PUT", "DELETE")
_LINE = {"numbering": True, "safe_floor": True, "vulnerabilities": True, "ranges": True}
_VULNERABILITY = {
    "id": True, "introduced": True, "fixed_in": True, "severity": True, "what": True, "source": True, "verified": False,
}  # fmt: skip
_RANGE = {
    "versions": True, "default_port": True, "health_path": True, "flags": True, "renamed": True, "removed": True,
    "open_endpoints": True, "allowed_paths": True, "blocked_paths": True, "metrics": True, "more_metrics": True,
    "cuda": True, "minimum_compute_capability": True, "source": True, "verified": False,
}  # fmt: skip
_CUDA = {"major": True, "minimum_driver": True, "older_gpus": False, "verified": False}
_OLDER = {"below_compute_capability": True, "minimum_driver": True}


def extended(document: Any) -> tuple[Any, list[str]]:
    """Return the document with every range whole, without `name` and `extends`, and what is wrong with those two."""
    engines = document.get("engines") if isinstance(document, Mapping) else None
    if not isinstance(engines, Mapping):
        return document, []
    problems: list[str] = []
    whole = {}
    for engine, lines in engines.items():
        named: dict[str, Mapping[str, Any]] = {}
        for entry in (
            entry for line in _each(lines) if isinstance(line, Mapping) for entry in _each(line.get("ranges"))
        ):
            name = entry.get("name") if isinstance(entry, Mapping) else None
            if name in named:
                problems.append(f"{engine}: name: {name} is there twice. Give each range its own.")
            if name is not None:
                named[name] = entry
        whole[engine] = [
            {**line, "ranges": [_whole(str(engine), entry, named, problems) for entry in line["ranges"]]}
            if isinstance(line, Mapping) and isinstance(line.get("ranges"), list)
            else line
            for line in _each(lines)
        ]
    return {**document, "engines": whole}, problems


def _whole(engine: str, entry: Any, named: Mapping[str, Mapping[str, Any]], problems: list[str]) -> Any:
    """Return a range with what it takes from the range that it extends; that one extends nothing itself."""
    if not isinstance(entry, Mapping):
        return entry
    base: Mapping[str, Any] = {}
    wanted = entry.get("extends")
    if wanted is not None:
        base = named.get(str(wanted), {})
        if not base or base.get("extends") is not None:
            near = nearest(str(wanted), [name for name, item in named.items() if item.get("extends") is None])
            hint = f"Did you mean {near}?" if near else "Name a range of this engine that extends nothing itself."
            problems.append(f"{engine} {entry.get('versions')}: extends: {wanted!r} is no such range. {hint}")
    return {key: value for key, value in {**base, **entry}.items() if key not in ("name", "extends")}


def engine_facts_problems(document: Any) -> list[str]:
    """Return what is wrong with the document, one text per problem, each with engine, range, key, value and fix."""
    where = "engine_facts"
    if not isinstance(document, Mapping):
        return [f"{where}: {document!r} is no dictionary. Install the collection again."]
    found = []
    if document.get("schema") != 1:
        found.append(f"{where}: schema: {document.get('schema')!r} is not known. This version reads schema 1.")
    sources = document.get("sources")
    if not isinstance(sources, Mapping) or not sources:
        found.append(f"{where}: sources: it is missing. Name every source: {{vllm_source: {{what: ..., url: ...}}}}.")
        sources = {}
    for name, source in sources.items():
        texts = isinstance(source, Mapping) and set(source) == {"what", "url"} and all(map(is_text, source.values()))
        if not texts:
            found.append(f"{where}: sources.{name}: {source!r} is not {{what: a text, url: an address}}.")
    drivers = document.get("cuda_drivers")
    if not isinstance(drivers, Mapping) or not all(is_text(item) for pair in drivers.items() for item in pair):
        found.append(f'{where}: cuda_drivers: {drivers!r} is not {{"13": "580"}}, with both in quotes.')
    engines = document.get("engines")
    if not isinstance(engines, Mapping) or not engines:
        return [*found, f"{where}: engines: it is missing. Write {{vllm: [{{numbering: release, ...}}]}}."]
    for engine, lines in engines.items():
        found += _engine_problems(str(engine), lines, sources)
    return found


def _engine_problems(engine: str, lines: Any, sources: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(lines, list) or not lines:
        yield f"{engine}: {lines!r} is no list of numberings. Write [{{numbering: release, ...}}]."
        return
    seen: set[str] = set()
    for line in lines:
        numbering = line.get("numbering") if isinstance(line, Mapping) else None
        where = f"{engine} {numbering}"
        yield from key_problems(where, line, _LINE)
        if numbering not in NUMBERINGS:
            yield f"{engine}: numbering: {numbering!r} is none of {', '.join(NUMBERINGS)}."
            continue
        if numbering in seen:
            yield f"{engine}: numbering: {numbering} is there twice. Leave it in one place."
        seen.add(numbering)
        yield from _version_problems(where, "safe_floor", line.get("safe_floor"), numbering)
        for item in _each(line.get("vulnerabilities")):
            yield from _vulnerability_problems(where, item, numbering, sources)
        if not isinstance(line.get("ranges"), list) or not line["ranges"]:
            yield f"{where}: ranges: {line.get('ranges')!r} is no list with at least one range."
        for entry in _each(line.get("ranges")):
            yield from _range_problems(where, entry, sources)


def _vulnerability_problems(where: str, item: Any, numbering: str, sources: Mapping[str, Any]) -> Iterator[str]:
    name = f"{where}: vulnerability {item.get('id') if isinstance(item, Mapping) else item}"
    yield from key_problems(name, item, _VULNERABILITY)
    if not isinstance(item, Mapping):
        return
    for key in ("introduced", "fixed_in"):
        yield from _version_problems(name, key, item.get(key), numbering)
    if item.get("severity") not in SEVERITIES:
        yield f"{name}: severity: {item.get('severity')!r} is none of {', '.join(SEVERITIES)}."
    for key in ("id", "what"):
        if not is_text(item.get(key)):
            yield f"{name}: {key}: {item.get(key)!r} is no text."
    yield from source_problems(name, item, sources)


def _range_problems(where: str, entry: Any, sources: Mapping[str, Any]) -> Iterator[str]:
    name = f"{where} {entry.get('versions') if isinstance(entry, Mapping) else entry}"
    yield from key_problems(name, entry, _RANGE)
    if not isinstance(entry, Mapping):
        return
    try:
        usable = bool(len(SpecifierSet(str(entry.get("versions")))))
    except InvalidSpecifier:
        usable = False
    if not usable:
        yield f'{name}: versions: {entry.get("versions")!r} is no range. Write it as in ">=0.22,<0.34".'
    for key, right, words in _CHECKS:
        if key in entry and not right(entry[key]):
            yield f"{name}: {key}: {entry[key]!r} is not {words}."
    allowed = [
        item["path"] for item in _each(entry.get("allowed_paths")) if isinstance(item, Mapping) and "path" in item
    ]
    for path in sorted({*allowed} & {*map(str, _each(entry.get("blocked_paths")))}):
        yield f"{name}: allowed_paths: {path} is among blocked_paths too. Leave it in one of both."
    for key in ("flags", "removed"):
        for flag in {*_each(entry.get(key))} & {*(_each(entry.get("removed")) if key == "flags" else ())}:
            yield f"{name}: flags: {flag} is among removed too. Leave it in one of both."
    if isinstance(entry.get("cuda"), Mapping):
        yield from key_problems(f"{name}: cuda", entry["cuda"], _CUDA)
        driver = entry["cuda"].get("minimum_driver")
        if driver is not None and not is_text(driver):
            yield f'{name}: cuda.minimum_driver: {driver!r} is no text. Put it in quotes: "{driver}".'
        older = entry["cuda"].get("older_gpus")
        if older is not None:
            yield from key_problems(f"{name}: cuda.older_gpus", older, _OLDER)
            if isinstance(older, Mapping) and not all(is_text(value) for value in older.values()):
                yield f"{name}: cuda.older_gpus: {older!r}: put both numbers in quotes."
    yield from source_problems(name, entry, sources)


def _version_problems(where: str, key: str, value: Any, numbering: str) -> Iterator[str]:
    if value is not None and not (isinstance(value, str) and re.fullmatch(NUMBERINGS[numbering], value)):
        example = "1.2.3" if numbering == "release" else "b1234"
        yield f"{where}: {key}: {value!r} is no version of this numbering. Write it as in {example}, or null."


def _each(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, Mapping)) else []


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"/[A-Za-z0-9_./-]*", value) is not None


def _is_allowed(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, Mapping)
        and set(item) == {"path", "methods"}
        and _is_path(item["path"])
        and isinstance(item["methods"], list)
        and bool(item["methods"])
        and all(method in _METHODS for method in item["methods"])
        for item in value
    )


def _list_of(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(right, value)) and len({*value}) == len(value)


def _names_of(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(is_text(k) and right(v) for k, v in value.items())


# Key of a range, whether its value is right, and what a right value is.
_CHECKS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("default_port", lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 < v < 65536, "a port"),
    ("health_path", _is_path, "a path that begins with /"),
    (
        "flags",
        _names_of(lambda v: v is None or isinstance(v, (str, int, float))),
        "flags with their defaults, null for none",
    ),
    ("renamed", _names_of(is_text), "old names with new ones"),
    ("removed", _list_of(is_text), "a list of flags, each once"),
    ("open_endpoints", _list_of(_is_path), "a list of paths that begin with /, each once"),
    ("allowed_paths", _is_allowed, "a list of {path: /..., methods: [GET, POST, ...]}"),
    ("blocked_paths", _list_of(_is_path), "a list of paths that begin with /, each once"),
    ("metrics", _names_of(lambda v: v is None or is_text(v)), "keys of llm_info with the engine's names, or null"),
    ("more_metrics", _names_of(is_text), "names with the engine's names"),
    ("cuda", lambda v: v is None or isinstance(v, Mapping), "null or {major, minimum_driver}"),
    (
        "minimum_compute_capability",
        lambda v: v is None or (isinstance(v, str) and re.fullmatch(r"\d+\.\d+", v) is not None),
        'a text such as "7.5", or null',
    ),
)
