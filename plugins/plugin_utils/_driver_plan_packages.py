# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which packages, in which versions: what goes in, what moves along, what leaves. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import (
    SIDE_PACKAGES,
    driver_version,
    installed_version,
    is_older,
    newest_first,
    sort_key,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_wanted import Wanted

_HERE = ("installed", "unpacked", "half-configured", "half-installed", "triggers-awaited", "triggers-pending")


@dataclass(frozen=True)
class Stock:
    """What a host has of the driver, and what it can get from the archive that the site wants."""

    packages: Mapping[str, Mapping[str, Any]]
    available: Mapping[str, list[Mapping[str, str]]]
    origins: tuple[str, ...]

    def versions(self, name: str) -> list[str]:
        """Return the versions of a package that may be taken, the newest first; what is installed counts too."""
        # What a foreign architecture can get is what the host's own can: repositories have both.
        offers = self.available.get(name.partition(":")[0], [])
        found = [one["version"] for one in offers if one["origin"] in self.origins]
        here = self.here(name)
        # The old version is often gone from the archive; a host that has it has it.
        if here and here["origin"] in (*self.origins, "local"):
            found.append(str(here["version"]))
        return newest_first(found)

    def of_driver(self, name: str, version: str) -> str | None:
        """Return the newest package of exactly this driver's version."""
        return next((one for one in self.versions(name) if driver_version(one) == version), None)

    def here(self, name: str) -> Mapping[str, Any] | None:
        """Return an installed package, None when it is not there."""
        item = self.packages.get(name)
        return item if item is not None and item["status"] in _HERE else None

    def installed(self) -> dict[str, str]:
        """Return {name: version} of what is installed of the driver."""
        return {name: str(item["version"]) for name, item in self.packages.items() if item["status"] in _HERE}


@dataclass(frozen=True)
class Choice:
    """A set of packages in one version of the driver. packages: {name: exact version}."""

    modules: str
    build: str
    version: str
    packages: Mapping[str, str]
    conflicts: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """Why no set of packages could be had. seen: the driver's versions that there are, the newest first."""

    wanted: tuple[str, ...]
    seen: tuple[str, ...]


@dataclass
class Changes:
    """What a transaction does to packages."""

    install: dict[str, str] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    downgrade: list[str] = field(default_factory=list)


def choose_set(
    sets: Iterable[Mapping[str, Any]],
    stock: Stock,
    wanted: Wanted,
    kernels: list[str],
) -> Choice | Missing:
    """Return the best set in the newest version that is wanted: most of it installed, then the order of the row."""
    sets = [item for item in sets if _branch_fits(item, wanted.branch)]
    found = [choice for item in sets for choice in [_resolve(item, stock, wanted, kernels)] if choice]
    if found:
        # A host keeps to its way: ready-made modules stay ready-made. max() takes the first of equals.
        return max(found, key=lambda choice: _kinship(choice, stock))
    names = tuple(dict.fromkeys(_fill(item["packages"][0], wanted.branch, wanted.version, "") for item in sets))
    seen = {driver_version(one) for name in names for one in stock.versions(name)} - {None}
    return Missing(names, tuple(sorted((str(one) for one in seen), key=sort_key, reverse=True)))


def plan_changes(choice: Choice, extras: Mapping[str, str], stock: Stock) -> Changes:
    """Return what to install, remove and downgrade, so that every package of the driver has one version."""
    changes = Changes()
    target = {**choice.packages, **extras}
    before = installed_version(stock.packages)
    for name, version in stock.installed().items():
        if name in target:
            continue
        if _conflicts(name, choice):
            changes.remove.append(name)
        elif before is not None and driver_version(version) == before != choice.version:
            _move_along(name, version, before, choice, stock, target, changes)
    for name, version in sorted(target.items()):
        here = stock.here(name)
        if here is None or here["version"] != version or here["status"] != "installed":
            changes.install[name] = version
        if here is not None and is_older(version, str(here["version"])):
            changes.downgrade.append(name)
    changes.remove = sorted(set(changes.remove) - set(target))
    return changes


def side_version(names: Iterable[str], stock: Stock, version: str) -> tuple[str, str] | None:
    """Return name and version of a package beside the driver: its version, else its branch, else the newest."""
    for name in names:
        versions = stock.versions(name)
        exact = stock.of_driver(name, version)
        branch = [one for one in versions if (driver_version(one) or "").partition(".")[0] == version.partition(".")[0]]
        if exact or branch or versions:
            return name, exact or (branch or versions)[0]
    return None


def filled(names: Iterable[str], wanted: Wanted, version: str) -> list[str]:
    """Return names with the branch and the version in their places."""
    return [_fill(name, wanted.branch, version, "") for name in names]


def _resolve(item: Mapping[str, Any], stock: Stock, wanted: Wanted, kernels: list[str]) -> Choice | None:
    """Return a set in the newest version in which all of it is there."""
    first = _fill(item["packages"][0], wanted.branch, wanted.version, "")
    versions = dict.fromkeys(driver_version(one) for one in stock.versions(first))
    for version in versions:
        if version is None or not wanted.accepts(version):
            continue
        packages = _all_of(item["packages"], stock, wanted.branch, version)
        ready = _ready_made(item, stock, wanted.branch, version, kernels)
        if packages is not None and ready is not None:
            optional = (_fill(name, wanted.branch, version, "") for name in item["optional"])
            extra = {name: found for name in optional for found in [stock.of_driver(name, version)] if found}
            return Choice(
                item["modules"], item["build"], version, {**packages, **extra, **ready}, tuple(item["conflicts"])
            )
    return None


def _all_of(names: Iterable[str], stock: Stock, branch: int, version: str) -> dict[str, str] | None:
    found = {}
    for name in names:
        name = _fill(name, branch, version, "")
        exact = stock.of_driver(name, version)
        if exact is None:
            return None
        found[name] = exact
    return found


def _ready_made(
    item: Mapping[str, Any], stock: Stock, branch: int, version: str, kernels: list[str]
) -> dict[str, str] | None:
    """Return the ready-made modules of each kernel; None when one lacks them.

    Their versions are the kernel's: the archive makes them for its newest driver of the branch, and for that one only.
    """
    if item["build"] != "precompiled":
        return {}
    newest = driver_version((stock.versions(_fill(item["packages"][0], branch, version, "")) or [""])[0])
    if newest != version:
        return None
    found = {}
    for pattern in item["kernel_packages"]:
        for kernel in kernels:
            name = _fill(pattern, branch, version, kernel)
            versions = stock.versions(name)
            if not versions:
                return None
            found[name] = versions[0]
    return found


def _kinship(choice: Choice, stock: Stock) -> int:
    """Return how many packages of the host are of the way of a set, in whatever version: its modules count."""
    branch = choice.version.partition(".")[0]
    patterns = [
        re.compile(re.escape(name).replace(branch, r"\d{3}"))
        for name in choice.packages
        if "dkms" in name or "linux-modules" in name
    ]
    return sum(any(pattern.fullmatch(name) for pattern in patterns) for name in stock.installed())


def _move_along(
    name: str,
    version: str,
    before: str,
    choice: Choice,
    stock: Stock,
    target: dict[str, str],
    changes: Changes,
) -> None:
    """Decide about a package that has the old driver's version and is in no set: it follows, stays or leaves."""
    for new_name in _renamed(name, before, choice.version):
        exact = stock.of_driver(new_name, choice.version)
        if exact and not _conflicts(new_name, choice):
            target[new_name] = exact
            if new_name != name:
                changes.remove.append(name)
            return
    if not SIDE_PACKAGES.fullmatch(name.partition(":")[0]):
        changes.remove.append(name)


def _renamed(name: str, before: str, after: str) -> Iterator[str]:
    """Yield the names that a package may have in the new version: the same, of the other branch, without a branch."""
    old, new = before.partition(".")[0], after.partition(".")[0]
    yield name
    for found in dict.fromkeys(
        (
            name.replace(before, after),
            re.sub(rf"-{old}(?=-|$)", f"-{new}", name),
            re.sub(rf"-{old}(?=-|$)", "", name),
        )
    ):
        if found != name:
            yield found


def _conflicts(name: str, choice: Choice) -> bool:
    plain = name.partition(":")[0]
    return plain not in choice.packages and any(re.fullmatch(pattern, plain) for pattern in choice.conflicts)


def _branch_fits(item: Mapping[str, Any], branch: int) -> bool:
    limits = item.get("branches") or {"from": None, "to": None}
    return (limits["from"] is None or branch >= limits["from"]) and (limits["to"] is None or branch <= limits["to"])


def _fill(name: str, branch: int, version: str, kernel: str) -> str:
    return name.format(branch=branch, version=version, kernel=kernel)
