# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which packages move from which version to which. Pure.

changes: {package: (version before, version after)}; None stands for "not installed".
packages: {package: {"version", "status", "held", "broken"}}, as the package manager tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import closure

Changes = dict[str, tuple["str | None", "str | None"]]
Packages = dict[str, dict[str, Any]]


def installed_version(packages: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    """Return the version of a package that is installed in full, else None."""
    found = packages.get(name)
    return str(found["version"]) if found and found["status"] == "installed" else None


def reverse(changes: Changes) -> Changes:
    """Return the changes that undo others."""
    return {name: (after, before) for name, (before, after) in changes.items()}


def targets(changes: Changes) -> dict[str, str | None]:
    """Return what shall be installed afterwards, None for a package that goes."""
    return {name: after for name, (_before, after) in changes.items()}


def from_json(stored: Mapping[str, Any]) -> Changes:
    """Return changes as the snapshot stores them."""
    return {name: (one["from"], one["to"]) for name, one in stored.items()}


def to_json(changes: Changes) -> dict[str, dict[str, str | None]]:
    """Return changes as the snapshot stores them."""
    return {name: {"from": before, "to": after} for name, (before, after) in sorted(changes.items())}


def missing(wanted: Mapping[str, str | None], packages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return, in words, which packages are not as wanted; an empty list says that all are."""
    result = []
    for name, version in sorted(wanted.items()):
        found = packages.get(name)
        if version is None:
            if found and found["status"] not in ("not-installed", "config-files"):
                result.append(f"{name} is still there ({found['version']}, {found['status']})")
        elif found is None or found["status"] in ("not-installed", "config-files"):
            result.append(f"{name} {version} is not installed")
        elif found["version"] != version or found["status"] != "installed" or found["broken"]:
            result.append(f"{name} is {found['version']} ({found['status']}), not {version} (installed)")
    return result


def unfinished(packages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the packages whose installation or removal did not come to its end."""
    done = ("installed", "config-files", "not-installed")
    return sorted(name for name, one in packages.items() if one["status"] not in done or one["broken"])


def half_installed(packages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the packages whose files are not whole, so that apt asks for them to be installed anew."""
    return sorted(name for name, one in packages.items() if one["status"] == "half-installed" or one["broken"])


def of_driver(packages: Mapping[str, Mapping[str, Any]], version: str | None, also: Sequence[str]) -> list[str]:
    """Return the installed packages that belong to the driver of a version, and those of also that are installed."""
    return sorted(
        name
        for name in {*closure(packages, version), *also}
        if name in packages and packages[name]["status"] == "installed"
    )


def lines(packages: Mapping[str, Mapping[str, Any]], names: list[str]) -> str:
    """Return packages as text for a diff: one line each, those that are not installed left out."""
    rows = []
    for name in sorted(names):
        one = packages.get(name)
        if one and one["status"] not in ("not-installed", "config-files"):
            words = [
                word for word, said in (("held", one["held"]), (one["status"], one["status"] != "installed")) if said
            ]
            rows.append(f"{name} {one['version']}" + (f" ({', '.join(words)})" if words else ""))
    return "".join(f"{row}\n" for row in rows)
