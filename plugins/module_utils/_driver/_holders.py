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
_MAPPED = re.compile(r"\s(/dev/nvidia\S*)(?: \(deleted\))?$")
_UNIT = re.compile(r"([^/]+\.(?:service|scope))(?:/|$)")


class CannotLook(Exception):
    """A process may not be looked at: nobody can say that the driver is free. The message names it and the fix."""


def find_holders(procfs_root: str) -> list[dict[str, Any]]:
    """Return pid, command, unit and device of each process that holds a device of the driver, by pid.

    unit is null for a process without a service or scope. Of several devices the first by name is given. A process that
    hides what it has open or mapped may hold one as well: raises CannotLook.
    """
    found = []
    for pid in sorted(int(name) for name in list_directory(procfs_root) if name.isdigit()):
        place = os.path.join(procfs_root, str(pid))
        try:
            devices = open_devices(place) | mapped_devices(place)
        except PermissionError as error:
            raise CannotLook(
                f"{error.filename or place} may not be read: whether process {pid} "
                f"({read_text(place, 'comm') or '?'}) holds the driver is not known. Run as root of the host "
                "itself, not of a container."
            ) from error
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
    found = set()
    for name in _entries(directory):
        try:
            target = os.readlink(os.path.join(directory, name))
        except PermissionError:
            raise
        except OSError:  # It was closed in the meantime.
            continue
        if target.startswith(_DEVICE):
            found.add(target.removesuffix(" (deleted)"))
    return found


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except PermissionError:
        raise
    except OSError:  # It ended in the meantime.
        return []


def mapped_devices(place: str) -> set[str]:
    """Return the devices of the driver that a process has mapped, also after it closed them. Raises PermissionError."""
    found = set()
    try:
        with open(os.path.join(place, "maps"), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                match = _MAPPED.search(line.rstrip("\n")) if _DEVICE in line else None
                if match:
                    found.add(match.group(1))
    except PermissionError:
        raise
    except OSError:  # It ended in the meantime.
        return found
    return found


def unit_of(control_groups: str | None) -> str | None:
    """Return the systemd unit for the content of /proc/PID/cgroup: the innermost service or scope."""
    for line in (control_groups or "").splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3 and (fields[0] == "0" or fields[1] == "name=systemd"):
            units: list[str] = _UNIT.findall(fields[2])
            if units:
                return units[-1]
    return None
