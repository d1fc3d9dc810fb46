# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a site wants of the driver, checked: a value that is not known is an error that names it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import (
    EXTRAS_KEYS,
    MODULES,
    REBOOT_CONSENTS,
    SOURCES,
    SWITCHES,
    WANTED_KEYS,
)
from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest

_VERSION = re.compile(r"\d{3}(?:\.\d{2,3}){1,2}")
_BRANCH = re.compile(r"\d{3}")


class WantedError(ValueError):
    """What is wanted cannot be: one text with the key, the value and the fix."""


@dataclass(frozen=True)
class Wanted:
    """What a site wants. version: a whole version, a branch, or empty with the source none."""

    version: str
    source: str
    modules: str
    fabric_manager: str
    persistenced: str
    container_toolkit: bool
    reboot: str

    @property
    def branch(self) -> int:
        """Return the branch: 580 for 580.95.05 and for 580."""
        return int(self.version.partition(".")[0])

    def accepts(self, version: str | None) -> bool:
        """Tell whether a driver's version is one that the site wants."""
        if version is None:
            return False
        return version == self.version or ("." not in self.version and version.partition(".")[0] == self.version)


def read_wanted(wanted: Mapping[str, Any]) -> Wanted:
    """Return what is wanted with the defaults filled in. Raises WantedError."""
    _known("wanted", wanted, WANTED_KEYS)
    extras = wanted.get("extras") or {}
    _known("wanted.extras", extras, EXTRAS_KEYS)
    source = _one_of("source", wanted.get("source"), SOURCES)
    version = str(wanted.get("version") or "")
    if source != "none" and not (_VERSION.fullmatch(version) or _BRANCH.fullmatch(version)):
        raise WantedError(
            f"wanted: version: {version!r} is no version of a driver. Write a whole one, such as 580.95.05, or a "
            'branch in quotes, such as "580", for the newest of it.'
        )
    toolkit = extras.get("container_toolkit", False)
    if not isinstance(toolkit, bool):
        raise WantedError(f"wanted: extras.container_toolkit: {toolkit!r} is neither true nor false.")
    return Wanted(
        version=version if source != "none" else "",
        source=source,
        modules=_one_of("modules", wanted.get("modules", "auto"), MODULES),
        fabric_manager=_one_of("extras.fabric_manager", _word(extras.get("fabric_manager", "auto")), SWITCHES),
        persistenced=_one_of("extras.persistenced", _word(extras.get("persistenced", "auto")), SWITCHES),
        container_toolkit=toolkit,
        reboot=_one_of("reboot", _word(wanted.get("reboot", "ask")), REBOOT_CONSENTS),
    )


def _word(value: Any) -> Any:
    """Return yes and no for what YAML made a boolean of."""
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _one_of(key: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise WantedError(f"wanted: {key}: {value!r} is none of {', '.join(known)}. Write one of them.")
    return str(value)


def _known(where: str, item: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    if not isinstance(item, Mapping):
        raise WantedError(f"{where}: {item!r} is no dictionary. Write {{{', '.join(keys)}}}.")
    for key in item:
        if key not in keys:
            near = nearest(str(key), keys)
            raise WantedError(f"{where}: {key}: no such key. {f'Did you mean {near}?' if near else 'Take it away.'}")
