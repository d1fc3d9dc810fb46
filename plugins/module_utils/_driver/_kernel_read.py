# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Kernels, their headers, the modules that DKMS built for them, and whether Secure Boot lets them load."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_driver import LIBRARY_DIRECTORIES
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_kernel import (
    KernelModules,
    secure_boot,
    version_key,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    RunCommand,
    find_program,
    list_directory,
    read_bytes,
    read_text,
)

EFI_VARIABLE = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# Keys that DKMS signs with: its own, Ubuntu's.
MACHINE_OWNER_KEYS = ("var/lib/dkms/mok.pub", "var/lib/shim-signed/mok/MOK.der")

_NOT_A_KERNEL = ("rescue", ".old", ".bak", ".dpkg-")
# nvidia-current/535.261.03, 6.1.0-37-amd64, x86_64: installed     and, without a kernel:  nvidia/580.95.05: added
_DKMS = re.compile(
    r"^(?P<module>nvidia[^/,\s]*)[/,]\s*(?P<version>[^,:\s]+)(?:,\s*(?P<kernel>[^,\s]+))?(?:,\s*[^,:\s]+)?"
    r":\s*(?P<status>[a-z]+)"
)
_LIBRARY = re.compile(r"libnvidia-ml\.so\.(\d+(?:\.\d+)+)")


def kernels(running: str, system_root: str) -> list[dict[str, Any]]:
    """Return release and headers of each kernel that is installed, and of the running one, oldest first."""
    found = {running}
    for name in list_directory(system_root, "boot"):
        if name.startswith("vmlinuz-") and not any(word in name for word in _NOT_A_KERNEL):
            found.add(name[len("vmlinuz-") :])
    for name in list_directory(system_root, "lib", "modules"):
        if os.path.exists(os.path.join(system_root, "lib", "modules", name, "modules.dep")):
            found.add(name)
    return [{"release": name, "headers": has_headers(name, system_root)} for name in sorted(found, key=version_key)]


def has_headers(release: str, system_root: str) -> bool:
    """Tell whether modules can be built for a kernel: its build directory is there and has a Makefile."""
    link = os.path.join(system_root, "lib", "modules", release, "build")
    target = os.path.realpath(link)
    if os.path.islink(link) and os.path.isabs(os.readlink(link)):
        target = os.path.join(system_root, os.readlink(link).lstrip("/"))
    return os.path.isfile(os.path.join(target, "Makefile"))


def parse_dkms(text: str) -> list[dict[str, Any]]:
    """Return module, version, kernel (null before it is built) and status from `dkms status`; only NVIDIA's."""
    return [found.groupdict() for found in map(_DKMS.match, text.splitlines()) if found]


def modules_on_disk(modules: KernelModules, wanted: Iterable[str]) -> dict[str, str | None]:
    """Return {kernel: version of the driver's module for it}, null where there is none."""
    return {kernel: modules.of(kernel).get("version") for kernel in wanted}


def loaded_flavour(procfs_root: str, loaded_version: str | None) -> str | None:
    """Return open or proprietary for the loaded module, None when none is loaded or it does not tell."""
    text = read_text(procfs_root, "driver", "nvidia", "version")
    if loaded_version is None or not text:
        return None
    return "open" if "Open Kernel Module" in text else "proprietary"


def library_version(system_root: str) -> str | None:
    """Return the version of the libnvidia-ml.so.1 that programs load, None when there is none."""
    for directory in LIBRARY_DIRECTORIES:
        place = os.path.join(system_root, directory.lstrip("/"), "libnvidia-ml.so.1")
        found = _LIBRARY.fullmatch(os.path.basename(resolved(place, system_root)))
        if found:
            return found.group(1)
    return None


def resolved(path: str, system_root: str, steps: int = 8) -> str:
    """Return where a link ends; absolute ones, as those of update-alternatives, begin at the root of the system."""
    for _step in range(steps):
        if not os.path.islink(path):
            break
        target = os.readlink(path)
        path = (
            os.path.join(system_root, target.lstrip("/"))
            if os.path.isabs(target)
            else (os.path.join(os.path.dirname(path), target))
        )
    return path


def secure_boot_state(sysfs_root: str, ask_mokutil: Callable[[], str]) -> str:
    """Return on, off or unknown. A host that did not start by EFI has no Secure Boot."""
    firmware = os.path.join(sysfs_root, "firmware")
    if not os.path.isdir(os.path.join(firmware, "efi")):
        return "off" if os.path.isdir(firmware) else "unknown"
    state = secure_boot(read_bytes(firmware, "efi", "efivars", EFI_VARIABLE))
    if state is None:
        said = ask_mokutil().lower()
        state = True if "secureboot enabled" in said else False if "secureboot disabled" in said else None
    return {True: "on", False: "off", None: "unknown"}[state]


def key_enrolled(run_command: RunCommand, system_root: str) -> bool | None:
    """Tell whether the firmware trusts the key that DKMS signs with; None when there is no key or nobody to ask."""
    program = find_program("mokutil")
    answers = []
    for key in MACHINE_OWNER_KEYS:
        path = os.path.join(system_root, key)
        if program and os.path.isfile(path):
            _rc, out, err = run_command([program, "--test-key", path])
            answers.append(parse_test_key(out + err))
    if True in answers:
        return True
    return False if False in answers else None


def parse_test_key(text: str) -> bool | None:
    """Return what `mokutil --test-key` says, None for anything else."""
    said = text.lower()
    if "is already enrolled" in said:
        return True
    return False if "is not enrolled" in said else None
