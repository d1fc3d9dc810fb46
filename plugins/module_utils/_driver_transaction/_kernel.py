# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The driver in the kernel: what is built for which kernel, what is loaded, out with the old and in with the new."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._kernel_read import (
    library_version,
    loaded_flavour,
    parse_dkms,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError, Host, told
from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_kernel import read_modules
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    find_program,
    list_directory,
    read_text,
)

# In the order in which they leave: each of the first ones holds those behind it.
UNLOAD = (
    "nvidia_drm",
    "nvidia_modeset",
    "nvidia_uvm",
    "nvidia_peermem",
    "nvidia_fs",
    "nvidia_vgpu_vfio",
    "gdrdrv",
    "nvidia",
)
# Loaded again when they were loaded before; these two always.
ALWAYS = ("nvidia", "nvidia_uvm")
LOG = "/var/lib/dkms/{module}/{version}/build/make.log"


@dataclass(frozen=True)
class DriverVersions:
    """Which driver is where. disk: by kernel, None for a kernel without a module; library: the one that
    programs load; flavour: of the loaded modules, None when it is not known.
    """

    loaded: str | None
    running: str
    newest: str | None
    disk: dict[str, str | None]
    library: str | None
    flavour: str | None


def loaded_modules(host: Host) -> list[str]:
    """Return the modules of the driver that are loaded, in the order in which they leave."""
    there = list_directory(host.sysfs_root, "module")
    known = [name for name in UNLOAD if name in there]
    others = [name for name in there if name.startswith("nvidia") and name not in UNLOAD]
    return others + known


def read_versions(host: Host) -> DriverVersions:
    """Return which driver is loaded, on the disk for each kernel, and among the libraries."""
    modules = read_modules(host.procfs_root, host.run, host.system_root)
    disk = {kernel: modules.of(kernel).get("version") for kernel in modules.files}
    loaded = read_text(host.sysfs_root, "module", "nvidia", "version") or None
    return DriverVersions(
        loaded,
        modules.running,
        modules.newest,
        disk,
        library_version(host.system_root),
        loaded_flavour(host.procfs_root, loaded),
    )


def is_loaded(host: Host, version: str | None, flavour: str | None) -> bool:
    """Return whether this very driver is loaded; a flavour that is not known fits."""
    return fits(read_versions(host), version, flavour)


def fits(versions: DriverVersions, version: str | None, flavour: str | None) -> bool:
    """Return whether what is loaded is this version, in this flavour as far as both are known."""
    same = not flavour or versions.flavour in (None, flavour)
    return same and version is not None and versions.loaded == version


def dkms_status(host: Host) -> list[dict[str, Any]]:
    """Return what DKMS says of the NVIDIA modules; nothing on a host without DKMS."""
    if find_program("dkms") is None:
        return []
    _code, out, _err = host.ask("dkms", "status")
    return parse_dkms(out)


def check_built(host: Host, version: str) -> list[dict[str, Any]]:
    """Prove that the driver is there for the running and for the newest kernel. Return findings that only warn."""
    versions, built = read_versions(host), dkms_status(host)
    findings = []
    kernels = [kernel for kernel in dict.fromkeys((versions.running, versions.newest)) if kernel]
    if versions.running not in versions.disk:
        findings.append(
            finding(
                "driver_running_kernel",
                "warn",
                f"kernel {versions.running}",
                observed="its modules are no longer on the disk",
                expected="modules for the kernel that runs",
                action=f"Only a reboot into {versions.newest or 'an installed kernel'} can load the driver.",
                source="/lib/modules",
            )
        )
        kernels.remove(versions.running)
    kernels += [one["kernel"] for one in built if one["kernel"] and one["version"] == version]
    if not kernels:
        raise DriverError(
            f"There is no module of driver {version} for any kernel: this host has no kernel headers. Install those "
            "of the kernel that runs and of the newest one, and run again, or go back (state rolled_back)."
        )
    for kernel in dict.fromkeys(kernels):
        said = [one for one in built if one["kernel"] == kernel and one["version"] == version]
        on_disk = versions.disk.get(kernel)
        if on_disk == version or (kernel not in versions.disk and said and said[0]["status"] == "installed"):
            continue
        if on_disk is not None:
            raise DriverError(
                f"For kernel {kernel} the module on the disk is {on_disk}, not {version}: the packages did not bring "
                "the driver that their version says. Go back (state rolled_back)."
            )
        names = said or [one for one in built if one["version"] == version]
        word = said[0]["status"] if said else "not built"
        log = LOG.format(module=names[0]["module"], version=version) if names else "/var/lib/dkms"
        raise DriverError(
            f"There is no module of driver {version} for kernel {kernel} (DKMS says: {word}). After the next boot of "
            f"it the GPUs would be gone. See {log}; the headers must be there: linux-headers-{kernel}. Go back (state "
            "rolled_back), or mend it and run again."
        )
    return findings


def unload(host: Host) -> str | None:
    """Take the modules of the driver out of the kernel. Return why that was not possible, None when they are out."""
    for name in loaded_modules(host):
        code, out, err = host.ask("rmmod", name)
        if code != 0 and os.path.isdir(os.path.join(host.sysfs_root, "module", name)):
            users = list_directory(host.sysfs_root, "module", name, "holders")
            count = read_text(host.sysfs_root, "module", name, "refcnt")
            return f"{name} cannot be unloaded (used by {', '.join(users) or count or '?'}). {told(out, err)}"
    return None


def load(host: Host, before: list[str]) -> None:
    """Load the driver and what was loaded of it before."""
    wanted = [*ALWAYS, *(name for name in reversed(before) if name not in ALWAYS and name in UNLOAD)]
    for name in wanted:
        code, out, err = host.ask("modprobe", name)
        if code != 0:
            raise DriverError(
                f"modprobe {name} failed. {told(out, err)} See the kernel's log: journalctl -k -n 50. A key that was "
                "rejected means Secure Boot does not know the key that signed the module."
            )


def check_loaded(host: Host, version: str, flavour: str | None) -> None:
    """Prove that what is loaded, what is on the disk and the library are one version, in the wanted flavour."""
    versions = read_versions(host)
    on_disk = versions.disk.get(versions.running)
    wrong = []
    if versions.loaded != version:
        wrong.append(f"loaded is {versions.loaded or 'none'}")
    if versions.loaded == version and not fits(versions, version, flavour):
        wrong.append(f"loaded are the {versions.flavour} modules, not the {flavour} ones")
    if on_disk != version:
        wrong.append(f"on the disk for kernel {versions.running} is {on_disk or 'none'}")
    if versions.library != version:
        wrong.append(f"the library libnvidia-ml is {versions.library or 'missing'}")
    if wrong:
        raise DriverError(f"The driver should be {version}, but {'; '.join(wrong)}. Go back (state rolled_back).")
