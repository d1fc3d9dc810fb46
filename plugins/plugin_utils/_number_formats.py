# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which GPU computes which number format with which engine: number_formats.yml, read and checked. Controller only."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

with contextlib.suppress(ImportError):
    # ansible-core brings it along; only ansible-test's import check runs without it, and uses nothing of it.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import version_number

KINDS = ("weights", "cache", "computation", "attention")
EVERY = "*"
_KEYS = {
    "engine": True, "kind": True, "versions": True, "names": True, "minimum_compute_capability": False,
    "too_new_compute_capability": False, "native_compute_capability": False, "below_native": False, "quiet": False,
    "refused": False, "warning": False, "cpu": False, "computes_in": False, "unfit_architectures": False,
    "instead": True, "source": True, "verified": False,
}  # fmt: skip
_CAPABILITY = re.compile(r"\d+\.\d+")


class NumberFormatsError(ValueError):
    """number_formats.yml is malformed; one line per problem, each with row, key, value and fix."""


@dataclass(frozen=True)
class Row:
    """One row of the file."""

    engine: str
    kind: str
    versions: str
    names: tuple[str, ...]
    instead: str
    source: tuple[str, ...]
    minimum_compute_capability: str | None = None
    too_new_compute_capability: str | None = None
    native_compute_capability: str | None = None
    below_native: str = ""
    quiet: bool = False
    refused: str = ""
    warning: str = ""
    cpu: bool = True
    computes_in: tuple[str, ...] = ()
    unfit_architectures: tuple[str, ...] = ()
    verified: bool = True

    def holds_for(self, version: str) -> bool:
        """Tell whether the row says something about a version."""
        if self.versions == EVERY:
            return True
        number = version_number(version, "release")
        return number is not None and SpecifierSet(self.versions).contains(number, prereleases=True)


def row_for(engine: str, version: str, kind: str, name: str) -> Row | None:
    """Return what is known about a name, or None. A form (method:scheme) that no row names has no answer."""
    rows = [row for row in load_number_formats() if row.engine == engine and row.kind == kind]
    for wanted in (name, EVERY):
        for row in rows:
            if wanted in row.names and row.holds_for(version):
                return row
    return None


def unknown_version(engine: str, version: str, kind: str) -> bool:
    """Tell whether something is known about this kind of an engine, but not for this version."""
    rows = [row for row in load_number_formats() if row.engine == engine and row.kind == kind]
    return bool(rows) and not any(row.holds_for(version) for row in rows)


@functools.lru_cache(maxsize=4)
def load_number_formats(path: Path | None = None) -> tuple[Row, ...]:
    """Return the rows. Raises NumberFormatsError for a malformed file."""
    place = path or Path(__file__).with_name("number_formats.yml")
    try:
        document = yaml.safe_load(place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NumberFormatsError(f"{place}: it cannot be read: {error}. Install the collection again.") from error
    problems = list(number_formats_problems(document))
    if problems:
        raise NumberFormatsError("\n".join(problems))
    return tuple(map(_row, document["rows"]))


def _row(values: Mapping[str, Any]) -> Row:
    tuples: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Row(**tuples)


def number_formats_problems(document: Any) -> Iterator[str]:
    """Yield what is wrong with the document, one text per problem."""
    where = "number_formats"
    if not isinstance(document, Mapping) or document.get("schema") != 1:
        yield f"{where}: schema: it is none that this version reads. Install the collection again."
        return
    sources, rows = document.get("sources"), document.get("rows")
    if not isinstance(sources, Mapping) or not isinstance(rows, list) or not rows:
        yield f"{where}: sources or rows are missing. Install the collection again."
        return
    for name, source in sources.items():
        if not isinstance(source, Mapping) or set(source) != {"what", "url"}:
            yield f"{where}: sources.{name}: {source!r} is not {{what: a text, url: an address}}."
    for number, row in enumerate(rows):
        yield from _row_problems(f"{where}: rows[{number}]", row, sources)


def _row_problems(where: str, row: Any, sources: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(row, Mapping):
        yield f"{where}: {row!r} is no mapping."
        return
    for key in row:
        if key not in _KEYS:
            near = nearest(str(key), _KEYS)
            yield f"{where}: {key}: no such key.{f' Did you mean {near}?' if near else ''}"
    for key, needed in _KEYS.items():
        if needed and not row.get(key):
            yield f"{where}: {key}: it is missing. Add it."
    if row.get("kind") not in KINDS:
        yield f"{where}: kind: {row.get('kind')!r} is none of {', '.join(KINDS)}."
    versions = row.get("versions")
    try:
        usable = versions == EVERY or bool(len(SpecifierSet(str(versions))))
    except InvalidSpecifier:
        usable = False
    if not usable:
        yield f'{where}: versions: {versions!r} is no range. Write it as in ">=0.22,<0.34", or "*".'
    for key in ("names", "source", "computes_in", "unfit_architectures"):
        value = row.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            yield f"{where}: {key}: {value!r} is no list of texts."
    for key in ("minimum", "too_new", "native"):
        value = row.get(f"{key}_compute_capability")
        if value is not None and not (isinstance(value, str) and _CAPABILITY.fullmatch(value)):
            yield f'{where}: {key}_compute_capability: {value!r} is not a text such as "7.5", or null.'
    if bool(row.get("native_compute_capability")) != bool(row.get("below_native")):
        yield f"{where}: below_native: say what happens below native_compute_capability, and only then."
    for source in row.get("source") or []:
        if source not in sources:
            near = nearest(str(source), sources)
            yield f"{where}: source: {source!r} is not among the sources.{f' Did you mean {near}?' if near else ''}"
