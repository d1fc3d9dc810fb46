# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How the driver comes to each distribution, by driver_facts.yml; controller only. _driver_facts_schema.py checks."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts_schema import driver_facts_problems

Document = dict[str, Any]

# The loader in C reads the same language, ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DriverFactsError(ValueError):
    """driver_facts.yml is malformed; one line per problem, each with the row, the key, the value and the fix."""


def load_driver_facts(path: Path | None = None) -> Document:
    """Return the whole document. Raises DriverFactsError for a malformed file."""
    return copy.deepcopy(_read(path or Path(__file__).with_name("driver_facts.yml")))


def row_for(
    document: Mapping[str, Any], distribution: str | None, version: str | None, archive: str
) -> Document | None:
    """Return the row about an archive of a distribution, None when nothing is known about it."""
    for row in document["distributions"]:
        fits = any(version == one or str(version).startswith(f"{one}.") for one in row["versions"])
        if fits and distribution in row["distributions"] and archive == row["archive"]:
            found: Document = row
            return found
    return None


def known_distributions(document: Mapping[str, Any]) -> list[str]:
    """Return the distributions that there are rows about, for a message."""
    names = {
        f"{name} {version}"
        for row in document["distributions"]
        for name in row["distributions"]
        for version in row["versions"]
    }
    return sorted(names)


def source_urls(document: Mapping[str, Any], keys: list[str]) -> str:
    """Return the addresses behind keys of sources, for a finding."""
    return ", ".join(str(document["sources"][key]["url"]) for key in keys)


@functools.lru_cache(maxsize=4)
def _read(path: Path) -> Document:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DriverFactsError(f"{path}: it cannot be read: {error}. Install the collection again.") from error
    problems = driver_facts_problems(document)
    if problems:
        raise DriverFactsError("\n".join(problems))
    loaded: Document = document
    return loaded
