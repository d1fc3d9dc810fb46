# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The kernel that runs, the one that will run after the next reboot, and whether the driver is ready for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    RunCommand,
    find_program,
    list_directory,
    read_bytes,
    read_text,
)

_SECURE_BOOT = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# nvidia.ko, and the names that distributions give it: nvidia-current.ko, nvidia-tesla-535.ko, nvidia-current-open.ko.
_MODULE = re.compile(rb"^(\S*/nvidia(?:-current|-tesla|-legacy)?(?:-\d+x*)?(?:-open)?\.ko(?:\.(?:gz|xz|zst))?):", re.M)
_NOT_A_KERNEL = ("rescue", ".old", ".bak", ".dpkg-")
_PARTS = re.compile(r"\d+|[a-z]+")


@dataclass(frozen=True)
class KernelModules:
    """Kernels of a host and the NVIDIA module file of each.

    files: {kernel: path of the module, None when it has none}; a kernel whose modules cannot be read is left out.
    info: {path: {field: value}} as modinfo says.
    """

    running: str
    newest: str | None
    files: dict[str, str | None] = field(default_factory=dict)
    info: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, kernel: str | None) -> dict[str, str]:
        """Return what modinfo says of the module for a kernel, nothing when there is none."""
        path = self.files.get(kernel or "")
        return self.info.get(path, {}) if path else {}


def read_modules(
    procfs_root: str, run_command: RunCommand, system_root: str = "/", running: str | None = None
) -> KernelModules:
    """Return the kernels and their NVIDIA modules; modinfo runs once, and only when there is a module.

    running: counts as the running kernel; None: the one that /proc names.
    """
    running = running or read_text(procfs_root, "sys", "kernel", "osrelease") or os.uname().release
    newest = newest_kernel(system_root)
    modules = os.path.join(system_root, "lib", "modules")
    files: dict[str, str | None] = {}
    for kernel in {running, newest} - {None}:
        directory = os.path.join(modules, str(kernel))
        listing = read_whole(os.path.join(directory, "modules.dep"))
        if listing is not None:
            relative = module_in(listing)
            files[str(kernel)] = os.path.join(directory, relative) if relative else None
    paths = sorted({path for path in files.values() if path})
    program = find_program("modinfo") if paths else None
    info: dict[str, dict[str, str]] = {}
    if program:
        _rc, out, _err = run_command([program, *paths])
        info = parse_modinfo(out)
    return KernelModules(running, newest, files, info)


def collect_kernel(modules: KernelModules, sysfs_root: str) -> dict[str, Any]:
    """Return the part `kernel` of a snapshot."""
    newest = modules.newest
    has_module = None if newest is None or newest not in modules.files else modules.files[newest] is not None
    info = modules.of(newest)
    return {
        "running": modules.running,
        "newest": newest,
        "newest_has_module": has_module,
        "newest_module_signed": bool(info.get("signer") or info.get("sig_id")) if info else None,
        "secure_boot": secure_boot(read_bytes(sysfs_root, "firmware", "efi", "efivars", _SECURE_BOOT)),
    }


def secure_boot(variable: bytes | None) -> bool | None:
    """Return whether Secure Boot is on: four bytes of attributes, then the value; None without EFI."""
    return None if variable is None or len(variable) < 5 else variable[4] == 1


def newest_kernel(system_root: str = "/") -> str | None:
    """Return the newest kernel in /boot, else the newest with modules; None when there is neither."""
    names = [name[len("vmlinuz-") :] for name in list_directory(system_root, "boot") if name.startswith("vmlinuz-")]
    if not names:
        modules = os.path.join(system_root, "lib", "modules")
        names = [name for name in list_directory(modules) if os.path.exists(os.path.join(modules, name, "modules.dep"))]
    names = [name for name in names if not any(word in name for word in _NOT_A_KERNEL)]
    return max(names, key=version_key, default=None)


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts versions of kernels: numbers as numbers, a release candidate before its release."""
    key: list[tuple[int, int, str]] = []
    for part in _PARTS.findall(version.lower()):
        if part.isdigit():
            key.append((2, int(part), ""))
        else:
            key.append((-1 if part == "rc" else 1, 0, part))
    # Ends between "rc" and everything that may follow a release.
    return [*key, (0, 0, "")]


def module_in(listing: bytes) -> str | None:
    """Return the path of the NVIDIA module in a modules.dep, relative to it as there; None when there is none."""
    match = _MODULE.search(listing)
    return match.group(1).decode("utf-8", "replace") if match else None


def parse_modinfo(text: str) -> dict[str, dict[str, str]]:
    """Return {path: {field: value}} from what modinfo prints for one or many files."""
    result: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            continue
        if name == "filename":
            fields = {}
            result[value.strip()] = fields
        fields.setdefault(name, value.strip())
    return result


def read_whole(path: str) -> bytes | None:
    """Return a file of any size, None when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None
