# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Waiting until an instance answers: what counts as ready, and what ends the wait at once."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

_POLL_SECONDS = 0.1
_SLOW_POLL_SECONDS = 0.5
# After this long an engine is a slow starter: ask less often.
_PATIENT_AFTER_SECONDS = 10.0
_PROBE_TIMEOUT_SECONDS = 3.0
_LISTEN = "0A"


@dataclass(frozen=True)
class Readiness:
    """How the wait ended. seconds: stop, start, port_open and ready, as far as each was reached."""

    ready: bool
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


def probe_health(address: str, port: int, path: str = "/health") -> int | None:
    """Return the HTTP status of a health request; 0: the port is open without an HTTP answer, None: it is closed."""
    connection = http.client.HTTPConnection(address, port, timeout=_PROBE_TIMEOUT_SECONDS)
    try:
        connection.connect()
    except OSError:
        return None
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        response.read(65536)
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def listening_inodes(tables: Collection[str], port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port, from the text of /proc/net/tcp and tcp6."""
    found = set()
    for table in tables:
        for line in table.splitlines()[1:]:
            columns = line.split()
            if len(columns) > 9 and columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                found.add(columns[9])
    return found


def port_owned_by(control_group: str, port: int, proc: str = "/proc", cgroup: str = "/sys/fs/cgroup") -> bool | None:
    """Return whether a process of the unit listens on the port; None when this cannot be told here."""
    tables = []
    for name in ("tcp", "tcp6"):
        try:
            with open(os.path.join(proc, "net", name), encoding="ascii") as stream:
                tables.append(stream.read())
        except OSError:
            continue
    wanted = {f"socket:[{inode}]" for inode in listening_inodes(tables, port)}
    processes: list[str] = []
    for root in (cgroup, os.path.join(cgroup, "systemd")):
        for directory, _directories, files in os.walk(root + control_group) if control_group else ():
            if "cgroup.procs" in files:
                with open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as stream:
                    processes += stream.read().split()
        if processes:
            break
    if not wanted or not processes:
        return None
    for process in processes:
        descriptors = os.path.join(proc, process, "fd")
        try:
            if any(os.readlink(os.path.join(descriptors, name)) in wanted for name in os.listdir(descriptors)):
                return True
        except OSError:
            continue  # the process ended meanwhile
    return False


def _under_way(unit: dict[str, str]) -> bool:
    """Return whether the service manager still has to start, stop or restart the unit."""
    return unit.get("Job", "") not in ("", "0")


def start_problem(unit: dict[str, str], invocation_before: str | None) -> str | None:
    """Return why a unit will not become ready, or None while it still may. invocation_before as in wait_ready."""
    state, sub_state = unit.get("ActiveState", ""), unit.get("SubState", "")
    how = f"result {unit.get('Result', '')}, exit status {unit.get('ExecMainStatus', '')}"
    same_run = unit.get("InvocationID", "") == invocation_before
    if _under_way(unit) or (same_run and state == "deactivating"):
        return None  # the restart is still on its way, ours or the dead-man's
    if state == "failed":
        return f"the service failed ({how})"
    if same_run:
        return f"the service did not start again (it is {state}/{sub_state}, {how})"
    restarts = int(unit.get("NRestarts") or 0)
    # Without a restart of ours the count tells of days long gone.
    if restarts > 0 and invocation_before is not None:
        return f"the service exits again and again ({restarts} restarts by the service manager, {how})"
    if state == "inactive" or sub_state == "auto-restart":
        return f"the service exited ({how})"
    return None


def unit_seconds(unit: dict[str, str], begun_monotonic_seconds: float) -> dict[str, float]:
    """Return how long the stop of the old and the start of the new process took, by the service manager's own clock."""

    def at(name: str) -> float:
        return int(unit.get(name) or 0) / 1e6

    seconds = {"stop": 0.0}
    if at("ActiveExitTimestampMonotonic") >= begun_monotonic_seconds:
        seconds["stop"] = round(at("InactiveEnterTimestampMonotonic") - at("ActiveExitTimestampMonotonic"), 3)
    if at("ActiveEnterTimestampMonotonic") >= max(begun_monotonic_seconds, at("InactiveExitTimestampMonotonic")):
        seconds["start"] = round(at("ActiveEnterTimestampMonotonic") - at("InactiveExitTimestampMonotonic"), 3)
    return seconds


def wait_ready(
    *,
    show: Callable[[], dict[str, str]],
    probe: Callable[[], int | None],
    owned: Callable[[str], bool | None],
    moved: Callable[[], str | None],
    invocation_before: str | None,
    begun: float,
    timeout_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Readiness:
    """Wait until a new run of the unit answers its health request with 200.

    invocation_before: the run that was asked to restart; None: no restart was asked for, so any run counts.

    show: properties of the unit; probe: status of the health request; owned: whether the unit's control group holds
    the port; moved: the reason to give up because `current` points elsewhere; begun: clock at the restart.
    """
    seconds: dict[str, float] = {}
    while True:
        unit = show()
        problem = moved() or start_problem(unit, invocation_before)
        if problem:
            return Readiness(False, problem, {**unit_seconds(unit, begun), **seconds})
        status: int | None = None
        # With a job under way the process that answers now may be the one that is about to stop.
        if (
            unit.get("ActiveState") == "active"
            and unit.get("InvocationID") != invocation_before
            and not _under_way(unit)
        ):
            status = probe()
            elapsed = round(clock() - begun, 3)
            if status is not None:
                seconds.setdefault("port_open", elapsed)
            if status == 200 and owned(unit.get("ControlGroup", "")) is not False:
                return Readiness(True, "", {**unit_seconds(unit, begun), **seconds, "ready": elapsed})
        waited = clock() - begun
        if waited >= timeout_seconds:
            last = {
                None: "its port is closed",
                0: "its port gives no HTTP answer",
                200: "its port belongs to another process",
            }
            what = last.get(status, f"its health request gets HTTP status {status}")
            return Readiness(False, f"not ready after {waited:.1f} s: {what}", {**unit_seconds(unit, begun), **seconds})
        sleep(_POLL_SECONDS if waited < _PATIENT_AFTER_SECONDS else _SLOW_POLL_SECONDS)
