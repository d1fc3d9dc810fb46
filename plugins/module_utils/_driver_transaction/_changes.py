# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which packages move from which version to which. Pure.

changes: {package: (version before, version after)}; None stands for "not installed".
packages: {package: {"version", "status", "held", "broken"}}, as the package manager tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def upstream(version: str) -> str:
    """Return the version of a package without epoch and revision: 1:580.95.05-0ubuntu1 is 580.95.05."""
    bare = version.partition(":")[2] if ":" in version else version
    return bare.rpartition("-")[0] if "-" in bare else bare


def closure(packages: Mapping[str, Mapping[str, Any]], driver_version: str, also: list[str]) -> list[str]:
    """Return the installed packages at the version of the driver, and those of also that are installed."""
    return sorted(
        name
        for name, one in packages.items()
        if one["status"] == "installed" and (upstream(one["version"]) == driver_version or name in also)
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
