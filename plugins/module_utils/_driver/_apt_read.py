# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The driver's packages on Debian and Ubuntu: what dpkg has, what apt could bring, who holds the locks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import (
    CONTAINER_TOOLKIT,
    PREFIXES,
    closure,
    in_family,
    installed_version,
    newest_first,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver._locks import lock_holder
from ansible_collections.local_llm.ops.plugins.module_utils._driver._origins import LOCAL, UNKNOWN, mirrored, origin_of
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import RunCommand, find_program

LOCKS = ("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/cache/apt/archives/lock")
# States in which dpkg has not finished with a package, so that apt refuses further work.
UNFINISHED = ("half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending")

_QUERY = "${Package}\t${Architecture}\t${Version}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\n"
# How many names one call of apt-cache is given.
_NAMES_A_CALL = 400
_KERNEL_MODULES = re.compile(r"linux-(?:modules|objects|signatures)-nvidia-.*")
_VERSION = re.compile(r"^ (?:\*\*\*|   ) (?P<version>\S+) -?\d+")
_SOURCE = re.compile(r"^ +-?\d+ (?P<source>\S.*)$")


def read_apt(
    run_command: RunCommand, kernels: Iterable[str], mirrors: Mapping[str, str], system_root: str
) -> dict[str, Any]:
    """Return packages, available, sources, broken_packages, locks_held and unattended_upgrades.

    kernels: those whose ready-made modules are of interest. mirrors: {beginning of an address: origin}.
    """
    programs = {name: find_program(name) or name for name in ("dpkg-query", "dpkg", "apt-cache", "apt-config")}
    _rc, native, _err = run_command([programs["dpkg"], "--print-architecture"])
    _rc, out, _err = run_command([programs["dpkg-query"], "-W", "-f", _QUERY])
    known = parse_dpkg(out, native.strip())
    mine = {name: known[name] for name in closure(known, installed_version(known))}
    names = sorted({*_names(run_command, programs["apt-cache"], kernels), *(name.partition(":")[0] for name in mine)})
    _rc, out, _err = run_command([programs["apt-cache"], "policy"])
    origins = parse_sources(out, mirrors)
    table: dict[str, list[tuple[str, list[str]]]] = {}
    for start in range(0, len(names), _NAMES_A_CALL):
        _rc, out, _err = run_command([programs["apt-cache"], "policy", *names[start : start + _NAMES_A_CALL]])
        table.update(parse_policy(out))
    available = {name: versions for name in names if (versions := offers(table.get(name, []), origins))}
    packages = {
        name: {
            "version": item["version"],
            "status": item["status"],
            "held": item["held"],
            "origin": origin_of_installed(table.get(name.partition(":")[0], []), item["version"], origins),
        }
        for name, item in mine.items()
    }
    _rc, out, _err = run_command([programs["apt-config"], "dump", "APT::Periodic::Unattended-Upgrade"])
    return {
        "packages": packages,
        "available": available,
        "sources": sorted({one["origin"] for versions in available.values() for one in versions} - {LOCAL}),
        "broken_packages": sorted(name for name, item in known.items() if item["broken"]),
        "locks_held": held_locks(system_root),
        "unattended_upgrades": known.get("unattended-upgrades", {}).get("status") == "installed" and periodic(out),
    }


def parse_dpkg(text: str, native: str) -> dict[str, dict[str, Any]]:
    """Return {name: version, status, held, broken} of what dpkg knows; of a foreign architecture name:architecture."""
    result = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != 6 or fields[5] == "not-installed":
            continue
        name, architecture, version, want, flag, status = fields
        key = name if architecture in ("all", native) else f"{name}:{architecture}"
        broken = status in UNFINISHED or flag == "reinstreq"
        result[key] = {"version": version, "status": status, "held": want == "hold", "broken": broken}
    return result


def parse_sources(text: str, mirrors: Mapping[str, str]) -> dict[str, str]:
    """Return {source as apt writes it: origin} from `apt-cache policy` without names."""
    result: dict[str, str] = {}
    source = None
    for line in text.splitlines():
        if line.startswith("Pinned packages"):
            break
        found = _SOURCE.match(line)
        if found:
            source = found.group("source")
            result[source] = mirrored(source, mirrors) or UNKNOWN
        elif source and line.strip().startswith("release ") and mirrored(source, mirrors) is None:
            fields = dict(part.partition("=")[::2] for part in line.strip()[len("release ") :].split(","))
            result[source] = origin_of(fields.get("o", ""))
    return result


def parse_policy(text: str) -> dict[str, list[tuple[str, list[str]]]]:
    """Return {package: [(version, the sources that have it)]} from `apt-cache policy` with names."""
    result: dict[str, list[tuple[str, list[str]]]] = {}
    versions: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            versions = result.setdefault(line.rstrip(":"), [])
            continue
        version = _VERSION.match(line)
        source = _SOURCE.match(line) if version is None else None
        if version:
            versions.append((version.group("version"), []))
        elif source and versions:
            versions[-1][1].append(source.group("source"))
    return result


def offers(versions: list[tuple[str, list[str]]], origins: Mapping[str, str]) -> list[dict[str, str]]:
    """Return {version, origin} of what the sources of the host have of a package, the newest first."""
    found = {
        (version, origins.get(source, UNKNOWN))
        for version, sources in versions
        for source in sources
        if not source.endswith("/dpkg/status")
    }
    order = newest_first(version for version, _origin in found)
    return [
        {"version": version, "origin": origin}
        for version, origin in sorted(found, key=lambda one: (order.index(one[0]), one[1]))
    ]


def origin_of_installed(versions: list[tuple[str, list[str]]], version: str, origins: Mapping[str, str]) -> str:
    """Return where the installed version comes from; local when no source of the host has it any more."""
    found = sorted({one["origin"] for one in offers(versions, origins) if one["version"] == version})
    known = [origin for origin in found if origin != UNKNOWN]
    return (known or found or [LOCAL])[0]


def periodic(text: str) -> bool:
    """Tell from `apt-config dump` whether the host upgrades by itself; a host that does not say does nothing."""
    found = re.search(r'"([^"]*)"', text)
    return found is not None and found.group(1) not in ("", "0", "never")


def held_locks(system_root: str) -> list[str]:
    """Return the locks of dpkg and apt that somebody holds now, as text."""
    holders = {path: lock_holder(os.path.join(system_root, path)) for path in LOCKS}
    return [f"/{path} is held by {holder}" for path, holder in holders.items() if holder]


def _names(run_command: RunCommand, program: str, kernels: Iterable[str]) -> set[str]:
    """Return the names of packages of the driver that apt knows; ready-made modules only for these kernels."""
    endings = tuple(f"-{kernel}" for kernel in kernels)
    _rc, out, _err = run_command([program, "pkgnames"])
    found = {
        name
        for name in out.split()
        if name.startswith(PREFIXES)
        and in_family(name)
        and (not _KERNEL_MODULES.fullmatch(name) or name.endswith(endings))
    }
    return {*found, CONTAINER_TOOLKIT}
