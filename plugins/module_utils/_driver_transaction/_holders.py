# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Who holds the devices of the driver: processes with one of them open or mapped into their memory."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import list_directory, read_text

# What a device of the driver begins with.
DEVICES = "/dev/nvidia"
# The kernel ends a process of a stopped unit a moment after systemd says that it is stopped.
PATIENCE_SECONDS = 10.0


def find_holders(procfs_root: str) -> list[dict[str, Any]]:
    """Return the processes that hold a device, with the keys pid, command, unit and device (the first one of each)."""
    found = []
    for name in list_directory(procfs_root):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        place = os.path.join(procfs_root, name)
        device = _open_device(place) or _mapped_device(place)
        if device:
            found.append({"pid": int(name), "command": _command(place), "unit": _unit(place), "device": device})
    return sorted(found, key=lambda one: one["pid"])


def _open_device(place: str) -> str | None:
    directory = os.path.join(place, "fd")
    try:
        numbers = os.listdir(directory)
    except PermissionError as error:
        raise DriverError(f"{directory} may not be read: does it hold the driver? Run as root.") from error
    except OSError:  # it ended in the meantime
        return None
    for number in numbers:
        try:
            target = os.readlink(os.path.join(directory, number))
        except OSError:  # closed since
            continue
        if target.startswith(DEVICES):
            return target
    return None


def _mapped_device(place: str) -> str | None:
    try:
        with open(os.path.join(place, "maps"), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if DEVICES in line:
                    return line[line.index(DEVICES) :].strip()
    except OSError:  # a thread of the kernel, or ended since
        return None
    return None


def _command(place: str) -> str:
    words = (read_text(place, "cmdline") or "").replace("\0", " ").strip()
    return words[:200] or f"[{read_text(place, 'comm') or '?'}]"


def _unit(place: str) -> str | None:
    """Return the unit of a process: the last part of its control group that is one."""
    for line in (read_text(place, "cgroup") or "").splitlines():
        for part in reversed(line.split("/")):
            if part.endswith((".service", ".scope")):
                return part
    return None


def wait_free(procfs_root: str, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
    """Return who still holds a device after a while; an empty list is the proof that nobody does."""
    deadline = time.monotonic() + seconds
    while True:
        found = find_holders(procfs_root)
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.2)


def holders_text(holders: Sequence[dict[str, Any]]) -> str:
    """Return holders for an error: process, command, unit and device of each, and what to do."""
    words = [
        f"process {one['pid']} ({one['command']}) of {one['unit'] or 'no unit'} holds {one['device']}"
        for one in holders[:8]
    ]
    more = f", and {len(holders) - 8} more" if len(holders) > 8 else ""
    units = sorted({one["unit"] for one in holders if one["unit"]})
    fix = f"Stop {', '.join(units)}" if units else "End it"
    return f"The driver is in use: {'; '.join(words)}{more}. {fix}, then run again."
