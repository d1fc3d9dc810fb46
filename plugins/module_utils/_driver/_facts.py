# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Everything about the driver of a host that a plan is made from, read once. Nothing is changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver import _apt_read, _rpm_read
from ansible_collections.local_llm.ops.plugins.module_utils._driver._generations import generation_of
from ansible_collections.local_llm.ops.plugins.module_utils._driver._holders import CannotLook, find_holders
from ansible_collections.local_llm.ops.plugins.module_utils._driver._kernel_read import (
    kernels,
    key_enrolled,
    library_version,
    loaded_flavour,
    modules_on_disk,
    parse_dkms,
    secure_boot_state,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import SCHEMA, SERVICES
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_kernel import newest_kernel, read_modules
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_pci import collect_pci
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    RunCommand,
    find_program,
    read_text,
    with_time_limit,
)

TRANSACTION = "var/lib/local_llm/driver/transaction.json"
# Where packages, modules and the cache of the transaction go.
_DISKS = ("usr", "var", "lib/modules")


@dataclass(frozen=True)
class Sources:
    """Where the facts are read from. mirrors: {beginning of an address, or id of a repository: origin}.

    running_kernel: counts as the running one, for a container, whose kernel is not its own; None: as /proc says.
    """

    sysfs_root: str = "/sys"
    procfs_root: str = "/proc"
    system_root: str = "/"
    running_kernel: str | None = None
    mirrors: Mapping[str, str] = field(default_factory=dict)


def gather_driver_facts(sources: Sources, run_command: RunCommand) -> dict[str, Any]:
    """Return driver_facts of this host, as docs/reference_contracts.md has them."""
    run = with_time_limit(run_command)
    modules = read_modules(sources.procfs_root, run, sources.system_root, sources.running_kernel)
    running = modules.running
    newest = newest_kernel(sources.system_root)
    wanted = sorted({kernel for kernel in (running, newest) if kernel})
    release = os_release(read_text(sources.system_root, "etc", "os-release") or "")
    manager = package_manager(sources.system_root)
    loaded = read_text(sources.sysfs_root, "module", "nvidia", "version") or None
    devices = collect_pci(sources.sysfs_root)
    boot = secure_boot_state(sources.sysfs_root, lambda: said_by(run, "mokutil", "--sb-state"))
    return {
        "schema": SCHEMA,
        "distribution": release.get("ID"),
        "distribution_version": release.get("VERSION_ID"),
        "architecture": os.uname().machine,
        "package_manager": manager,
        "kernel_running": running,
        "kernel_newest": newest,
        "kernels": kernels(running, sources.system_root),
        **_packages(manager, run, wanted, sources),
        "loaded_version": loaded,
        "loaded_flavour": loaded_flavour(sources.procfs_root, loaded),
        "module_on_disk_version": modules_on_disk(modules, wanted),
        "library_version": library_version(sources.system_root),
        "dkms": parse_dkms(said_by(run, "dkms", "status")),
        "secure_boot": boot,
        "mok_enrolled": key_enrolled(run, sources.system_root) if boot == "on" else None,
        "gpus": [
            {
                "address": device["address"],
                "device_id": device["device_id"],
                "generation": generation_of(device["device_id"]),
            }
            for device in devices
            if device["kind"] == "gpu"
        ],
        "nvswitch_count": sum(device["kind"] == "nvswitch" for device in devices),
        "holders": holders(sources.procfs_root),
        "services": services(run),
        "disk_free_bytes": free_bytes(sources.system_root),
        "transaction": transaction(sources.system_root),
    }


def _packages(manager: str, run: RunCommand, wanted: list[str], sources: Sources) -> dict[str, Any]:
    if manager == "apt":
        return _apt_read.read_apt(run, wanted, sources.mirrors, sources.system_root)
    if manager == "dnf":
        return _rpm_read.read_rpm(run, sources.mirrors, sources.system_root)
    return {
        "packages": {}, "available": {}, "sources": [], "broken_packages": [], "locks_held": [],
        "unattended_upgrades": False,
    }  # fmt: skip


def holders(procfs_root: str) -> list[dict[str, Any]] | None:
    """Return the processes that hold a device of the driver; None when not every process may be looked at."""
    try:
        return find_holders(procfs_root)
    except CannotLook:
        return None


def package_manager(system_root: str) -> str:
    """Return apt, dnf or none: by what is there, not by the name of the distribution."""
    if os.path.isfile(os.path.join(system_root, "var", "lib", "dpkg", "status")) and find_program("apt-cache"):
        return "apt"
    return "dnf" if find_program("dnf") and find_program("rpm") else "none"


def os_release(text: str) -> dict[str, str]:
    """Return the fields of /etc/os-release without their quotes."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _equals, value in pairs}


def said_by(run: RunCommand, program: str, *arguments: str) -> str:
    """Return what a program prints, nothing when the host does not have it."""
    path = find_program(program)
    if path is None:
        return ""
    _rc, out, _err = run([path, *arguments])
    return out


def services(run: RunCommand) -> dict[str, str]:
    """Return active, inactive or absent for each service of the driver."""
    units = [f"{name}.service" for name in SERVICES]
    return parse_services(said_by(run, "systemctl", "show", *units, "--property=Id,LoadState,ActiveState"))


def parse_services(text: str) -> dict[str, str]:
    """Return {service: active, inactive or absent} from blocks of `systemctl show`."""
    result = dict.fromkeys(SERVICES, "absent")
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        name = values.get("Id", "").removesuffix(".service")
        if name in result and values.get("LoadState") not in (None, "not-found"):
            working = values.get("ActiveState") in ("active", "activating", "reloading", "deactivating")
            result[name] = "active" if working else "inactive"
    return result


def free_bytes(system_root: str) -> int:
    """Return the room on the fullest of the file systems that a driver is installed on."""
    found = []
    for name in _DISKS:
        try:
            status = os.statvfs(os.path.join(system_root, name))
        except OSError:
            continue
        found.append(status.f_bavail * status.f_frsize)
    return min(found, default=0)


def transaction(system_root: str) -> dict[str, Any] | None:
    """Return the transaction that is on the host, None without one or when its file cannot be read as one."""
    text = read_text(system_root, TRANSACTION, limit_bytes=4 << 20)
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
