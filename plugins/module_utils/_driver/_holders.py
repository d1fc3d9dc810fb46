# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which processes have a device of the driver open or mapped, and which unit each belongs to."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import list_directory, read_text

_DEVICE = "/dev/nvidia"
_MAPPED = re.compile(rb"\s(/dev/nvidia\S*)$", re.M)
_UNIT = re.compile(r"([^/]+\.(?:service|scope))(?:/|$)")
_MAPS_BYTES = 16 << 20


def find_holders(procfs_root: str) -> list[dict[str, Any]] | None:
    """Return pid, command, unit and device of each process, by pid; None when not every process may be looked at.

    unit is null for a process without a service or scope. Of several devices the first by name is given. A process may
    hide what it has mapped even from root, by one more privilege; then its open files alone tell.
    """
    found = []
    for pid in sorted(int(name) for name in list_directory(procfs_root) if name.isdigit()):
        place = os.path.join(procfs_root, str(pid))
        try:
            devices = open_devices(place) | mapped_devices(place)
        except PermissionError:
            return None
        if devices:
            found.append(
                {
                    "pid": pid,
                    "command": read_text(place, "comm") or "?",
                    "unit": unit_of(read_text(place, "cgroup")),
                    "device": min(devices),
                }
            )
    return found


def open_devices(place: str) -> set[str]:
    """Return the devices of the driver among the open files of a process. Raises PermissionError."""
    directory = os.path.join(place, "fd")
    try:
        names = os.listdir(directory)
    except PermissionError:
        raise
    except OSError:  # It ended in the meantime.
        return set()
    found = set()
    for name in names:
        try:
            target = os.readlink(os.path.join(directory, name))
        except OSError:
            continue
        if target.startswith(_DEVICE):
            found.add(target)
    return found


def mapped_devices(place: str) -> set[str]:
    """Return the devices of the driver that a process has mapped, also after it closed them."""
    # The kernel gives the file in pieces: one read call is not all of it.
    try:
        with open(os.path.join(place, "maps"), "rb") as stream:
            text = stream.read(_MAPS_BYTES)
    except OSError:
        return set()
    return {name.decode("utf-8", "replace") for name in _MAPPED.findall(text)}


def unit_of(control_groups: str | None) -> str | None:
    """Return the systemd unit for the content of /proc/PID/cgroup: the innermost service or scope."""
    for line in (control_groups or "").splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3 and (fields[0] == "0" or fields[1] == "name=systemd"):
            units: list[str] = _UNIT.findall(fields[2])
            if units:
                return units[-1]
    return None
