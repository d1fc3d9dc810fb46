# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The facts about engines by version, from engine_facts.yml. Controller only; _engine_facts_schema.py checks the file.

A version is the name that a site gives it: 0.33.0, 0.33.0-cu129, b8911, 1:0.7.0+dfsg-2 or any free text. The number
that the name begins with counts; a name without one cannot be compared, and everything about it is unknown (None).
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

try:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version
except ImportError:  # pragma: no cover
    # ansible-core brings it along; only ansible-test's import check runs without it, and uses nothing of it.
    pass

from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts_schema import engine_facts_problems, extended

Document = dict[str, Any]

# The loader in C reads the same language, ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What may stand behind the number of a version name.
_END = r"(?=$|[-+~_.:@])"
_RELEASE = re.compile(
    r"(?:\d+:)?v?(?P<number>\d+(?:\.\d+)+)(?:[-_.]?(?P<kind>a|b|c|rc|alpha|beta|pre|dev|post)[-_.]?(?P<count>\d+))?"
    + _END
)
_BUILD = re.compile(r"b?(?P<number>\d{3,7})" + _END)
_VARIANT = re.compile(r"[-+_.](?:(?P<cpu>cpu)|cu(?P<cuda>\d{2})\d{0,2})(?![a-z0-9])")


class EngineFactsError(ValueError):
    """engine_facts.yml is malformed; one line per problem, each with engine, range, key, value and fix."""


def load_engine_facts(path: Path | None = None) -> Document:
    """Return the whole document. Raises EngineFactsError for a malformed file."""
    return copy.deepcopy(_read(path or Path(__file__).with_name("engine_facts.yml")))


def facts_for(engine: str, version: str) -> dict[str, Any] | None:
    """Return the facts about a version, or None when nothing is known about it.

    Beside the keys of its range it has engine, numbering, safe_floor, and in vulnerabilities those that this very
    version has. A name that says cpu or cu129 (0.33.0+cu129) stands for a build of its own, with its own cuda.
    """
    for line, number in _lines(engine, version):
        for entry in line["ranges"]:
            if SpecifierSet(entry["versions"]).contains(number, prereleases=True):
                facts = copy.deepcopy(entry)
                facts.update(
                    engine=engine,
                    numbering=line["numbering"],
                    safe_floor=line["safe_floor"],
                    vulnerabilities=vulnerabilities(engine, version),
                )
                return _with_variant(facts, version)
    return None


def facts_or_newest(engine: str, version: str) -> dict[str, Any] | None:
    """Return the facts about a version; about the newest known one when nothing is known about it."""
    found = facts_for(engine, version)
    lines = _document()["engines"].get(engine)
    if found is None and lines:
        return copy.deepcopy(dict(lines[0]["ranges"][0]))
    return found


def gate_facts(engine: str, version: str) -> dict[str, Any]:
    """Return the facts that may refuse an instance: what is not verified, and what is not known, is left out."""
    facts = facts_for(engine, version)
    if facts is None or not facts.get("verified", True):
        return {}
    cuda = facts["cuda"]
    if cuda is not None and not cuda.get("verified", True):
        cuda = None
    return {"cuda": cuda, "minimum_compute_capability": facts["minimum_compute_capability"]}


def vulnerabilities(engine: str, version: str) -> list[dict[str, Any]]:
    """Return what is known to be wrong with this version; empty when it cannot be compared."""
    return [
        copy.deepcopy(item)
        for line, number in _lines(engine, version)
        for item in line["vulnerabilities"]
        if _affects(item, line["numbering"], number)
    ]


def safe_floor(engine: str, version: str) -> str | None:
    """Return the first safe version in the numbering of this version name."""
    return next((line["safe_floor"] for line, _number in _lines(engine, version)), None)


def below_floor(engine: str, version: str) -> bool | None:
    """Tell whether a version is below the safe floor of its engine; None when that cannot be told."""
    for line, number in _lines(engine, version):
        floor = line["safe_floor"]
        return floor is not None and number < _number(floor, line["numbering"])
    return None


def has_floor(engine: str) -> bool:
    """Tell whether there is a version of this engine that is refused."""
    return any(line["safe_floor"] is not None for line in _document()["engines"].get(engine) or [])


def looks_like_version(version: str) -> bool:
    """Tell whether a name says a version, and is not just some text."""
    return re.match(r"(?:\d+:)?(?:v|b)?\d", version) is not None


def known_engines() -> list[str]:
    """Return the engines that the file has facts about."""
    return sorted(_document()["engines"])


def _lines(engine: str, version: str) -> Iterator[tuple[Mapping[str, Any], Version]]:
    """Yield the numbering that a version name belongs to, with its number: one, or none."""
    for line in _document()["engines"].get(engine) or []:
        number = version_number(version, line["numbering"])
        if number is not None:
            yield line, number
            return


def version_number(version: str, numbering: str) -> Version | None:
    """Return the number that a version name begins with, None when it has none of this numbering."""
    found = (_RELEASE if numbering == "release" else _BUILD).match(version.strip())
    if found is None:
        return None
    if numbering == "build":
        return Version(found["number"])
    return Version(found["number"] + (f".{found['kind']}{found['count']}" if found["kind"] else ""))


def _number(version: str, numbering: str) -> Version:
    number = version_number(version, numbering)
    if number is None:
        raise EngineFactsError(f"engine_facts: {version!r} is no version of the numbering {numbering}.")
    return number


def _affects(item: Mapping[str, Any], numbering: str, number: Version) -> bool:
    since, fixed = item["introduced"], item["fixed_in"]
    if since is not None and number < _number(since, numbering):
        return False
    return fixed is None or number < _number(fixed, numbering)


def _with_variant(facts: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the facts with the CUDA that the name of the version says."""
    variant = _VARIANT.search(version)
    if variant is None:
        return facts
    if variant["cpu"]:
        return {**facts, "cuda": None, "minimum_compute_capability": None}
    driver = _document()["cuda_drivers"].get(variant["cuda"])
    return {**facts, "cuda": {"major": int(variant["cuda"]), "minimum_driver": driver}}


def _document() -> Document:
    return _read(Path(__file__).with_name("engine_facts.yml"))


@functools.lru_cache(maxsize=4)
def _read(path: Path) -> Document:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EngineFactsError(f"{path}: it cannot be read: {error}. Install the collection again.") from error
    document, problems = extended(document)
    problems = problems or engine_facts_problems(document)
    if problems:
        raise EngineFactsError("\n".join(problems))
    loaded: Document = document
    return loaded
