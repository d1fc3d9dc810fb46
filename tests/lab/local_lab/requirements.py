# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab needs of this machine, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys

from .shell import LabError

PACKAGE_OF_COMMAND = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "ssh-keygen": "openssh-client",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
    "mount": "mount",
}


def missing() -> list[str]:
    """Return one sentence for each thing that is missing here; an empty list when the lab can run."""
    problems = []
    if not sys.platform.startswith("linux"):
        return [f"This is {sys.platform}, not Linux: the lab needs Linux namespaces. Use a Debian or Ubuntu machine."]
    if os.geteuid() != 0:
        problems.append(f"You are user {os.geteuid()}, not root: mounts and networks need root. Run it with sudo.")
    packages = sorted({package for command, package in PACKAGE_OF_COMMAND.items() if shutil.which(command) is None})
    if packages:
        problems.append(f"Packages are missing: {' '.join(packages)}. Run: apt-get install {' '.join(packages)}")
    with open("/proc/filesystems", encoding="ascii") as filesystems:
        known = filesystems.read()
    if "overlay" not in known and shutil.which("modprobe") is None:
        problems.append("The kernel has no overlay file system. Run: modprobe overlay")
    return problems


def demand() -> None:
    """Raise LabError that lists everything that is missing, or return."""
    problems = missing()
    if problems:
        raise LabError("The lab cannot run here:\n" + "\n".join(f"  - {problem}" for problem in problems))
