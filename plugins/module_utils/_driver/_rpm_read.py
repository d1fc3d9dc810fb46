# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The driver's packages on Enterprise Linux: what rpm has, what dnf could bring. Tested with recorded texts only."""

from __future__ import annotations

import os
from collections.abc import Mapping
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

LOCKS = ("var/lib/rpm/.rpm.lock", "usr/lib/sysimage/rpm/.rpm.lock")
_RPM = "%{NAME}\t%{EPOCH}\t%{VERSION}-%{RELEASE}\t%{VENDOR}\n"
_DNF = "%{name}\t%{epoch}\t%{version}-%{release}\t%{vendor}\t%{repoid}"


def read_rpm(run_command: RunCommand, mirrors: Mapping[str, str], system_root: str) -> dict[str, Any]:
    """Return packages, available, sources, broken_packages, locks_held and unattended_upgrades.

    mirrors: {id of a repository: origin}.
    """
    rpm, dnf = find_program("rpm") or "rpm", find_program("dnf") or "dnf"
    _rc, out, _err = run_command([rpm, "-qa", "--qf", _RPM])
    known = parse_rpm(out)
    mine = closure(known, installed_version(known))
    patterns = [*(f"{prefix}*" for prefix in PREFIXES), CONTAINER_TOOLKIT]
    # Streams of modules that are not enabled hide their packages; the site may want to go to one of them.
    command = [dnf, "-q", "--setopt=*.module_hotfixes=1", "repoquery", "--showduplicates", "--qf", _DNF]
    _rc, out, _err = run_command([*command, *patterns])
    available = parse_repoquery(out, mirrors)
    _rc, out, _err = run_command([dnf, "-q", "versionlock", "list"])
    locked = parse_versionlock(out)
    _rc, automatic, _err = run_command([find_program("systemctl") or "systemctl", "is-enabled", "dnf-automatic.timer"])
    held = [
        f"/{path} is held by {holder}" for path in LOCKS if (holder := lock_holder(os.path.join(system_root, path)))
    ]
    return {
        "packages": {
            name: {
                "version": known[name]["version"],
                "status": "installed",
                "held": name in locked,
                "origin": _installed_origin(available.get(name, []), known[name]),
            }
            for name in mine
        },
        "available": available,
        "sources": sorted({one["origin"] for versions in available.values() for one in versions}),
        "broken_packages": [],
        "locks_held": held,
        "unattended_upgrades": automatic.strip() == "enabled",
    }


def parse_rpm(text: str) -> dict[str, dict[str, Any]]:
    """Return {name: version, status, vendor}; of packages installed more than once, as kernels are, the last."""
    result = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 4:
            name, epoch, version, vendor = fields
            result[name] = {"version": with_epoch(epoch, version), "status": "installed", "vendor": vendor}
    return result


def parse_repoquery(text: str, mirrors: Mapping[str, str]) -> dict[str, list[dict[str, str]]]:
    """Return {name: [{version, origin}]}, the newest first, from lines of name, epoch, version, vendor, repository."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != 5 or not (in_family(fields[0]) or fields[0] == CONTAINER_TOOLKIT):
            continue
        name, epoch, version, vendor, repository = fields
        origin = mirrored(repository, mirrors) or origin_of(vendor)
        found.setdefault(name, set()).add((with_epoch(epoch, version), origin))
    result = {}
    for name, versions in found.items():
        order = newest_first(version for version, _origin in versions)
        result[name] = [
            {"version": version, "origin": origin}
            for version, origin in sorted(versions, key=lambda one: (order.index(one[0]), one[1]))
        ]
    return result


def parse_versionlock(text: str) -> set[str]:
    """Return the names that are locked, from lines such as nvidia-driver-cuda-3:580.95.05-1.el9.*"""
    result = set()
    for line in text.splitlines():
        parts = line.strip().rsplit("-", 2)
        if len(parts) == 3 and not line.startswith(("#", "!")):
            result.add(parts[0])
    return result


def with_epoch(epoch: str, version: str) -> str:
    """Return a version with its epoch in front where it has one."""
    return version if epoch in ("", "0", "(none)") else f"{epoch}:{version}"


def _installed_origin(versions: list[dict[str, str]], item: Mapping[str, Any]) -> str:
    found = [one["origin"] for one in versions if one["version"] == item["version"] and one["origin"] != UNKNOWN]
    if found:
        return found[0]
    vendor = origin_of(str(item["vendor"]))
    return vendor if vendor != UNKNOWN else LOCAL
