#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FAKE: stands for modprobe, rmmod and dkms on a lab host, where no kernel module can be built or loaded.

What is loaded and what lies on the disk is written into the scenario of the fake GPUs (tests/fakes/nvml).
    driver_stand_in.py build VERSION MODULE_VERSION ok|fails|silent    what the package of the module does
    driver_stand_in.py unbuild VERSION
    driver_stand_in.py library VERSION|-                               which library the packages have put there
    driver_stand_in.py boot                                            what the host does while it boots
"""

from __future__ import annotations

import glob
import importlib
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib")
scenarios: Any = importlib.import_module("fake_nvml.scenarios")
fake_host: Any = importlib.import_module("fake_nvml.fake_host")

KERNEL = os.uname().release
BUILT = Path("/var/lib/driver_stand_in/dkms")
STUCK = Path("/run/driver_stand_in/stuck")
MODULE = "nvidia-current"
ALL = ("nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia")


def change(**values: object) -> None:
    """Set keys of the scenario, None removes one, and bring the fake files in line with it."""
    before = scenarios.read()
    after = scenarios.changed(before, **values)
    loaded, library = after.get("host.module_version"), after.get("host.library_version")
    code = None if loaded and loaded == library else 18 if loaded else 9
    after = scenarios.changed(after, init_code=code)
    if loaded:
        after = scenarios.changed(after, driver_version=loaded, nvml_version=f"13.{loaded}")
    scenarios.write(after)
    fake_host.follow(before, after, Path("/srv/fake-sys"), Path("/srv/fake-kmsg"), Path("/"), KERNEL)


def kernels() -> list[str]:
    """Return the kernels of the host for which a module is built."""
    return [KERNEL, *filter(None, [scenarios.read().get("host.next_kernel")])]


def note(version: str, status: str) -> None:
    """Remember what DKMS says of a version from now on; an empty status forgets it."""
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    lines = BUILT.read_text(encoding="ascii").splitlines() if BUILT.exists() else []
    lines = [line for line in lines if f"/{version}" not in line]
    if status == "added":
        lines.append(f"{MODULE}/{version}: added")
    elif status:
        lines += [f"{MODULE}/{version}, {kernel}, x86_64: {status}" for kernel in kernels()]
    BUILT.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def build(version: str, module_version: str, outcome: str) -> int:
    """Do what the package of the module does when it is configured."""
    if outcome == "ok":
        note(version, "installed")
        change(host__disk_version=module_version, host__next_module="signed")
        return 0
    note(version, "added")
    change(host__disk_version=None)
    if outcome == "silent":
        return 0
    print(f"Error! Bad return status for module build on kernel: {KERNEL} (x86_64)", file=sys.stderr)
    print(f"Consult /var/lib/dkms/{MODULE}/{version}/build/make.log for more information.", file=sys.stderr)
    return 10


def modprobe(names: list[str]) -> int:
    """Load modules."""
    path = Path(f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko")
    for name in names:
        if not path.exists():
            print(f"modprobe: FATAL: Module {name} not found in directory /lib/modules/{KERNEL}", file=sys.stderr)
            return 1
        now = scenarios.read()
        loaded = now.get("host.modules", "").split()
        fields = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines())
        if "nvidia" not in loaded:
            change(host__module_version=fields["version"].strip(), host__modules=" ".join({*loaded, "nvidia"}))
        if name not in loaded:
            change(host__modules=" ".join(sorted({*scenarios.read().get("host.modules", "").split(), name})))
        for device in ("/dev/nvidia0", "/dev/nvidiactl"):
            Path(device).touch()
    return 0


def rmmod(names: list[str]) -> int:
    """Unload modules."""
    for name in names:
        loaded = scenarios.read().get("host.modules", "").split()
        users = [link for link in glob.glob("/proc/[0-9]*/fd/*") if is_device(link)]
        if name not in loaded:
            print(f"rmmod: ERROR: Module {name} is not currently loaded", file=sys.stderr)
            return 1
        if users or STUCK.exists():
            print(f"rmmod: ERROR: Module {name} is in use", file=sys.stderr)
            return 1
        left = [one for one in loaded if one != name]
        version = None if name == "nvidia" else scenarios.read().get("host.module_version")
        change(host__modules=" ".join(left) or None, host__module_version=version)
    return 0


def is_device(link: str) -> bool:
    """Return whether a file that a process has open is a device of the driver."""
    try:
        return os.readlink(link).startswith("/dev/nvidia")
    except OSError:
        return False


def boot() -> int:
    """Do what the host does while it boots: the module that lies on the disk is loaded."""
    change(host__modules=None, host__module_version=None)
    if Path(f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko").exists():
        return modprobe(["nvidia", "nvidia_uvm"])
    return 0


def main() -> int:
    """Do what the name says under which it was called."""
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    plain = [word for word in words if not word.startswith("-")]
    if name == "modprobe":
        return rmmod([one for one in ALL if one in plain]) if "-r" in words else modprobe(plain)
    if name == "rmmod":
        return rmmod(plain)
    if name == "dkms":
        print(BUILT.read_text(encoding="ascii") if BUILT.exists() else "", end="")
        return 0
    action, *rest = words
    if action == "build":
        return build(*rest)
    if action == "unbuild":
        note(rest[0], "")
        change(host__disk_version=None)
        return 0
    if action == "library":
        change(host__library_version=None if rest[0] == "-" else rest[0])
        return 0
    return boot()


if __name__ == "__main__":
    sys.exit(main())
