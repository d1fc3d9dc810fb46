# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Who holds the lock of a rollout: describe this process, and decide whether another holder is gone."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex

# How the name of a lock begins, who that is, and which playbook ends what a dead one has left.
_KINDS = (
    ("models-", "The playbook models, as", "run models once with -e local_llm_models_apply=true"),
    ("driver-", "Driver rollout", "run driver, which goes on where it stopped"),
    ("recovery-", "A recovery of GPU hosts,", "run health once with -e remediate=true"),
    ("", "Rollout", "run upgrade to go on, or rollback to go back"),
)


def process_start_ticks(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Return when a process began, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the program stands in brackets and may hold spaces and brackets itself.
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in ("Z", "X"):
        return None
    return int(fields[19])


def boot_id(proc: Path = Path("/proc")) -> str:
    """Return the id of this boot of the controller."""
    return _read(proc / "sys/kernel/random/boot_id")


def controller_id(proc: Path = Path("/proc"), etc: Path = Path("/etc")) -> str:
    """Return a digest that names this controller, empty when it cannot be told.

    Host name and process name space belong to it: containers made from one image share the machine id, and the process
    ids of one mean nothing in another.
    """
    machine = _read(etc / "machine-id")
    try:
        namespace = os.readlink(proc / "self/ns/pid")
    except OSError:
        namespace = ""
    if not machine or not namespace:
        return ""
    return sha256_hex(f"local_llm rollout lock|{machine}|{socket.gethostname()}|{namespace}")[:32]


def this_holder(rollout_id: str, pid: int, command: str) -> dict[str, Any]:
    """Return the holder that the process of this run is."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {
        "rollout_id": rollout_id,
        "controller": socket.gethostname(),
        "controller_id": controller_id(),
        "controller_boot_id": boot_id(),
        "user": user,
        "pid": pid,
        "pid_start_ticks": process_start_ticks(pid),
        "command": command,
    }


def take_over_reason(
    lock: Mapping[str, Any],
    holder: Mapping[str, Any],
    *,
    expired: bool,
    alive: bool,
    asked_for: str | None,
) -> str | None:
    """Return why the lock may be taken over, or None.

    alive: the process of the lock runs on this controller. It only counts when the lock is of this controller.
    """
    if asked_for and asked_for == lock.get("rollout_id"):
        return "it was asked for by name"
    if _changes_drivers(lock) != _changes_drivers(holder):
        # What a dead one has left half done is only seen, and ended, by its own playbook.
        return None
    same_controller = bool(holder["controller_id"]) and lock.get("controller_id") == holder["controller_id"]
    if same_controller and lock.get("controller_boot_id") != holder["controller_boot_id"]:
        return "its controller, which is this one, was restarted since"
    if same_controller and not alive:
        return f"its process {lock.get('pid')} on this controller is gone"
    if expired and not (same_controller and alive):
        return f"it gave no sign of life for more than its {lock.get('ttl_seconds')} seconds"
    return None


def holder_alive(lock: Mapping[str, Any]) -> bool:
    """Tell whether the process of a lock runs here. Ask only for locks of this controller."""
    pid = lock.get("pid")
    ticks = process_start_ticks(pid) if isinstance(pid, int) else None
    return ticks is not None and ticks == lock.get("pid_start_ticks")


def told(where: str, lock: Mapping[str, Any]) -> str:
    """Return who holds the fleet lock on a gateway host, and what to do about it, for whoever must wait."""
    name = str(lock.get("rollout_id"))
    who, way = _kind(name)
    halted = lock.get("halted")
    dead = f"It halted: {halted}. End" if halted else "Wait for its end. If it is dead, end"
    by = f"by {lock.get('user') or '?'} on {lock.get('controller') or '?'}"
    return f"{who} {name} holds the fleet lock on {where} ({by}). Nothing was changed. {dead} it first: {way}."


def refusal(where: str, path: str, lock: Mapping[str, Any], age_seconds: float) -> str:
    """Return the message for a second rollout: who holds the lock, how to look, how to take over."""
    halted = f" It halted: {lock['halted']}." if lock.get("halted") else ""
    _who, way = _kind(str(lock.get("rollout_id")))
    return (
        f"{where}: rollout {lock.get('rollout_id')} holds the lock: {lock.get('user')} on controller "
        f"{lock.get('controller')}, process {lock.get('pid')} ({lock.get('command')}), since {lock.get('started_at')}, "
        f"last sign of life {age_seconds:.0f} s ago; the lock lapses after {lock.get('ttl_seconds')} s without one."
        f"{halted} Look: `ps -o lstart,args -p {lock.get('pid')}` on {lock.get('controller')}, and {path} on {where}. "
        f"Wait for it to end. If it is dead, end it first: {way}. Only if it is certainly dead, take over: run again "
        f"with -e local_llm_rollout_take_over={lock.get('rollout_id')}"
    )


def _kind(name: str) -> tuple[str, str]:
    return next((who, way) for start, who, way in _KINDS if name.startswith(start))


def _changes_drivers(lock: Mapping[str, Any]) -> bool:
    return str(lock.get("rollout_id")).startswith("driver-")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
