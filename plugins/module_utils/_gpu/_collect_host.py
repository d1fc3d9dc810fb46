# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What of the host decides whether its GPUs can work: processors, clocks, memory errors, disks, stuck processes."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._holders import open_devices
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    answers_within,
    list_directory,
    read_int,
    read_text,
)

DISK_PATHS = ("/", "/var/lib/local_llm/models", "/var/lib/local_llm", "/opt/local_llm", "/var/log")
# adjtimex() gives no exact time when the largest error it knows of is above this; timedatectl decides the same way.
MAX_CLOCK_ERROR_MICROSECONDS = 16_000_000
# A file system on the network whose server is gone never answers.
DISK_SECONDS = 5.0
_STATE = re.compile(r"^(\d+) \((.*)\) (\S) (.*)$", re.S)
_VIRTUAL = re.compile(
    r"QEMU|KVM|VMware|Virtual Machine|VirtualBox|Bochs|HVM domU|Google Compute Engine|OpenStack|Cloud Hypervisor", re.I
)
_START_TIME_FIELD = 18  # Field 22 of /proc/<pid>/stat, counted from the first one after the state.


@dataclass(frozen=True)
class Process:
    """A process as /proc/<pid>/stat tells it."""

    pid: int
    name: str
    state: str
    started_ticks: int


def collect_host(sysfs_root: str, procfs_root: str, uptime_seconds: float | None) -> dict[str, Any]:
    """Return the part `host` of a snapshot. Pass it to still_there() later, which drops what has passed."""
    stuck = stuck_processes(procfs_root)
    return {
        "cpu_governors": cpu_governors(sysfs_root),
        "clocksource": read_text(sysfs_root, "devices", "system", "clocksource", "clocksource0", "current_clocksource")
        or None,
        "edac_corrected": edac_count(sysfs_root, "ce_count"),
        "edac_uncorrected": edac_count(sysfs_root, "ue_count"),
        "time_synchronised": time_synchronised() if procfs_root == "/proc" else None,
        "disks": disks(DISK_PATHS),
        "blocked_processes": [
            {"pid": one.pid, "name": one.name}
            for one in stuck
            if one.state == "D" and (one.name.startswith("nvidia") or holds_nvidia(procfs_root, one.pid))
        ],
        "zombie_processes": [
            {"pid": one.pid, "name": one.name, "age_seconds": age_seconds(one, uptime_seconds)}
            for one in stuck
            if one.state == "Z"
        ],
        "virtual_machine": virtual_machine(
            read_text(procfs_root, "cpuinfo", limit_bytes=4096),
            " ".join(
                read_text(sysfs_root, "class", "dmi", "id", name) or "" for name in ("sys_vendor", "product_name")
            ),
        ),
    }


def still_there(host: dict[str, Any], procfs_root: str) -> dict[str, Any]:
    """Return the part `host` with only the stuck processes that are still stuck: waiting a moment is no fault."""

    def stuck(entry: dict[str, Any], state: str) -> bool:
        process = parse_stat(read_text(procfs_root, str(entry["pid"]), "stat"))
        return process is not None and process.state == state and process.name == entry["name"]

    return {
        **host,
        "blocked_processes": [entry for entry in host["blocked_processes"] if stuck(entry, "D")],
        "zombie_processes": [entry for entry in host["zombie_processes"] if stuck(entry, "Z")],
    }


def cpu_governors(sysfs_root: str) -> list[str]:
    """Return the frequency governors in use, each once; none on a host that does not let the system choose."""
    place = os.path.join(sysfs_root, "devices", "system", "cpu", "cpufreq")
    found = {read_text(place, name, "scaling_governor") for name in list_directory(place) if name.startswith("policy")}
    if not found:
        processors = os.path.join(sysfs_root, "devices", "system", "cpu")
        names = [name for name in list_directory(processors) if re.match(r"cpu\d+$", name)]
        found = {read_text(processors, name, "cpufreq", "scaling_governor") for name in names}
    return sorted(name for name in found if name)


def edac_count(sysfs_root: str, name: str) -> int | None:
    """Return the memory errors that the memory controllers counted, None on a host that counts none."""
    place = os.path.join(sysfs_root, "devices", "system", "edac", "mc")
    counts = [read_int(place, controller, name) for controller in list_directory(place) if controller.startswith("mc")]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def time_synchronised() -> bool | None:
    """Return whether something keeps the clock right; None where the kernel may not be asked, as in a container."""
    # struct timex of the 64-bit interfaces: the mode (0: only ask), offset, frequency, then the largest error.
    record = (ctypes.c_long * 64)()
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(record))
    except (OSError, AttributeError):
        return None
    if answer < 0 or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    return record[3] < MAX_CLOCK_ERROR_MICROSECONDS


def device_and_space(path: str) -> tuple[int, os.statvfs_result]:
    """Return the device that holds a path, and its space. Raises OSError; on a dead mount it never returns."""
    return os.stat(path).st_dev, os.statvfs(path)


def disks(
    paths: tuple[str, ...],
    look: Callable[[str], tuple[int, os.statvfs_result]] = device_and_space,
    seconds: float = DISK_SECONDS,
) -> list[dict[str, Any]]:
    """Return each file system that holds one of the paths, once, with the space that is left for everybody.

    One that does not answer in time is left out, as one that is not there.
    """
    result: dict[int, dict[str, Any]] = {}
    answers = answers_within(seconds, [partial(look, path) for path in paths])
    for path, answer in zip(paths, answers):
        if answer is None:
            continue
        device, status = answer
        if device not in result:
            result[device] = {
                "path": path,
                "total_bytes": status.f_blocks * status.f_frsize,
                "free_bytes": status.f_bavail * status.f_frsize,
                "read_only": bool(status.f_flag & os.ST_RDONLY),
            }
    return list(result.values())


def stuck_processes(procfs_root: str) -> list[Process]:
    """Return the processes that wait without an end (D) or are dead and not yet collected (Z)."""
    found = []
    for name in list_directory(procfs_root):
        if name.isdigit():
            process = parse_stat(read_text(procfs_root, name, "stat", limit_bytes=2048))
            if process is not None and process.state in "DZ":
                found.append(process)
    return found


def parse_stat(text: str | None) -> Process | None:
    """Return a line of /proc/<pid>/stat as a record; the name in it may hold blanks and brackets."""
    match = _STATE.match(text or "")
    if not match:
        return None
    fields = match.group(4).split()
    started = fields[_START_TIME_FIELD] if len(fields) > _START_TIME_FIELD else "0"
    return Process(int(match.group(1)), match.group(2), match.group(3), int(started) if started.isdigit() else 0)


def age_seconds(process: Process, uptime_seconds: float | None) -> float | None:
    """Return how long ago a process was started: a zombie is at most that old."""
    if uptime_seconds is None:
        return None
    return round(max(0.0, uptime_seconds - process.started_ticks / os.sysconf("SC_CLK_TCK")), 1)


def holds_nvidia(procfs_root: str, pid: int) -> bool:
    """Return whether a process has a device of the driver open. To read the mappings of a stuck one would block."""
    try:
        return bool(open_devices(os.path.join(procfs_root, str(pid))))
    except PermissionError:
        return False


def virtual_machine(cpuinfo: str | None, dmi: str) -> bool | None:
    """Return whether the host is a virtual machine: processors of x86 say so, others by the name of the product."""
    flags = next((line for line in (cpuinfo or "").splitlines() if line.startswith("flags")), None)
    if flags is not None:
        return "hypervisor" in flags.split()
    return bool(_VIRTUAL.search(dmi)) if dmi.strip() else None
