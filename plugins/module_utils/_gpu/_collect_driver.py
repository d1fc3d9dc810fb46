# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which NVIDIA driver is loaded, which lies on the disk, and which libraries and packages there are."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    RunCommand,
    find_program,
    list_directory,
    read_text,
)

LIBRARY_DIRECTORIES = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib64",
    "/usr/lib",
)
PACKAGE_PATTERNS = ("nvidia*", "libnvidia*", "cuda-drivers*", "xserver-xorg-video-nvidia*")
PACKAGE_WORDS = ("nvidia", "cuda-drivers")
FABRIC_MANAGER = "nvidia-fabricmanager"

# 570.133.20 and 535.261: what versions of drivers look like, also inside the version of a package.
_DRIVER_VERSION = re.compile(r"(?<![\d.])(\d{3}\.\d{2,3}(?:\.\d{2,3})?)(?![\d.])")
_LIBRARY = re.compile(r"^libnvidia-ml\.so\.(\d+\.\d+(?:\.\d+)*)$")


def collect_driver(
    sysfs_root: str, library_directory: str | None, module_info: dict[str, str], packages: dict[str, str]
) -> dict[str, Any]:
    """Return the part `driver` of a snapshot. module_info: what modinfo says of the module for the running kernel."""
    modules = os.path.join(sysfs_root, "module")
    names = list_directory(modules)
    return {
        "loaded_version": read_text(modules, "nvidia", "version") or None,
        "disk_version": module_info.get("version"),
        "module_licence": module_info.get("license"),
        "library_versions": library_versions(library_directory),
        "nouveau_loaded": "nouveau" in names,
        "loaded_modules": [name for name in names if name.startswith("nvidia")],
        "packages": packages,
    }


def library_versions(directory: str | None) -> list[str]:
    """Return the versions in the real names of libnvidia-ml.so.*, in one directory or in the usual ones."""
    found = set()
    for place in (directory,) if directory else LIBRARY_DIRECTORIES:
        for name in list_directory(place):
            if not name.startswith("libnvidia-ml.so"):
                continue
            real = os.path.basename(os.path.realpath(os.path.join(place, name)))
            match = _LIBRARY.match(real)
            # A library without a version in its name says nothing; libnvidia-ml.so.1 alone is such a one.
            if match:
                found.add(match.group(1))
    return sorted(found)


def collect_packages(run_command: RunCommand, dpkg_directory: str = "/var/lib/dpkg") -> dict[str, str]:
    """Return {package: driver version} of the installed packages of an NVIDIA driver, by dpkg or by rpm."""
    if os.path.isfile(os.path.join(dpkg_directory, "status")):
        names = list_directory(dpkg_directory, "info")
        if not any(name.endswith(".list") and any(word in name for word in PACKAGE_WORDS) for name in names):
            return {}
        program, line = find_program("dpkg-query"), "${Package}\t${Version}\t${db:Status-Status}\n"
        arguments = [program or "", "-W", "-f", line, *PACKAGE_PATTERNS]
    else:
        program = find_program("rpm")
        arguments = [program or "", "-qa", "--qf", "%{NAME}\t%{VERSION}\tinstalled\n", *PACKAGE_PATTERNS]
    if program is None:
        return {}
    # dpkg-query ends with 1 when one of the patterns matches nothing; what it found is complete all the same.
    _rc, out, _err = run_command(arguments)
    return parse_packages(out)


def parse_packages(text: str) -> dict[str, str]:
    """Return {package: driver version} from lines of name, version and status; others are left out."""
    result = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != 3 or fields[2].strip() != "installed":
            continue
        match = _DRIVER_VERSION.search(fields[1])
        if match:
            result[fields[0]] = match.group(1)
    return result


def fabric_manager_version(packages: dict[str, str], run_command: RunCommand) -> str | None:
    """Return the version of the fabric manager: from its package, else from the program; None when it is not there."""
    for name, version in packages.items():
        if name.startswith(FABRIC_MANAGER):
            return version
    program = find_program("nv-fabricmanager")
    if program is None:
        return None
    _rc, out, err = run_command([program, "--version"])
    return driver_version_in(out + err)


def driver_version_in(text: str) -> str | None:
    """Return the first thing in a text that looks like the version of a driver."""
    match = _DRIVER_VERSION.search(text)
    return match.group(1) if match else None
