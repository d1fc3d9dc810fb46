# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Everything that the checks look at, read once: NVML, sysfs, procfs, services, packages and the kernel log."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_driver import (
    collect_driver,
    collect_packages,
    fabric_manager_version,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_host import collect_host, still_there
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_kernel import collect_kernel, read_modules
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_pci import collect_pci
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    RunCommand,
    read_text,
    with_time_limit,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_units import collect_units
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import (
    COMPARING_CHECKS,
    State,
    changed_state,
    next_counters,
    read_state,
    with_events,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log import LogRead, read_kernel_log
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_lines import Clock
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._log_events import events as find_events
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Ask, probe
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_mark import (
    MarkError,
    mark_line,
    read_document,
)


@dataclass(frozen=True)
class Sources:
    """Where a snapshot is read from. kernel_log and state_path: as the options of gpu_health."""

    nvml: Ask
    kernel_log: str
    state_path: str

    @property
    def sysfs_root(self) -> str:
        """Return where sysfs is mounted."""
        return self.nvml.sysfs_root

    @property
    def procfs_root(self) -> str:
        """Return where procfs is mounted."""
        return self.nvml.procfs_root


def take_snapshot(
    sources: Sources,
    run_command: RunCommand,
    *,
    write_state: bool,
    ran: Collection[str] = COMPARING_CHECKS,
    skipped: Collection[str] = (),
) -> dict[str, Any]:
    """Return the snapshot of this host. With write_state the host remembers what was read of the log, and the counters.

    ran, skipped: the checks that will look at it, and those that the site leaves out; they decide over the counters.
    The key `recovery` says in a sentence what is drained for a repair; empty when nothing is.
    The key `state` tells of the state file: path, problem (None: all is well), cleared_at_seconds, actions, and
    mended_at_seconds: when a person last said that a GPU was mended, by PCI address or "*".
    """
    run_command = with_time_limit(run_command)
    started = time.time()
    uptime = read_uptime(sources.procfs_root)
    boot_id = read_text(sources.procfs_root, "sys", "kernel", "random", "boot_id") or None
    # NVML takes longest and is asked in a process of its own; the rest is read while it answers.
    nvml = _Later(lambda: probe(sources.nvml))
    parts = read_parts(sources, run_command, uptime)
    asked = nvml.result()
    parts["host"] = still_there(parts["host"], sources.procfs_root)
    snapshot = {
        "schema": 1,
        "taken_at": iso_utc(started),
        "taken_at_seconds": started,
        "boot_id": boot_id,
        "uptime_seconds": uptime,
        **asked,
        **parts,
    }
    result = {
        **snapshot,
        **remembered(sources, run_command, snapshot, write_state, ran, skipped),
        "recovery": recovery_line(os.path.dirname(sources.state_path)),
    }
    result["state"]["mended_at_seconds"] = mended_at_seconds(os.path.dirname(sources.state_path))
    return result


def recovery_line(directory: str) -> str:
    """Return what is drained on this host for a repair, and why; empty when nothing is."""
    try:
        return mark_line(read_document(directory))
    except MarkError as error:
        return str(error)


def mended_at_seconds(directory: str) -> dict[str, float]:
    """Return when a person last said that a GPU was mended, by PCI address or "*": a new card has no past."""
    result: dict[str, float] = {}
    try:
        for one in read_document(directory).get("cleared") or ():
            result[one["pci_address"]] = max(float(one["at_seconds"]), result.get(one["pci_address"], 0.0))
    except (MarkError, KeyError, TypeError, ValueError):
        # recovery_line() tells of a file that cannot be read.
        return {}
    return result


def read_parts(sources: Sources, run_command: RunCommand, uptime: float | None) -> dict[str, Any]:
    """Return the parts driver, pci, kernel, units, fabric_manager_version and host of a snapshot."""
    pci = collect_pci(sources.sysfs_root)
    modules = read_modules(sources.procfs_root, run_command)
    # A host without a device and without a module has no driver to tell of: no program needs to be run for it.
    concerned = bool(pci) or read_text(sources.sysfs_root, "module", "nvidia", "version") is not None
    packages = collect_packages(run_command) if concerned else {}
    return {
        "driver": collect_driver(
            sources.sysfs_root, sources.nvml.library_directory, modules.of(modules.running), packages
        ),
        "pci": pci,
        "kernel": collect_kernel(modules, sources.sysfs_root),
        "units": collect_units(run_command, ask=concerned),
        "fabric_manager_version": fabric_manager_version(packages, run_command) if concerned else None,
        "host": collect_host(sources.sysfs_root, sources.procfs_root, uptime),
    }


def remembered(
    sources: Sources,
    run_command: RunCommand,
    snapshot: Mapping[str, Any],
    write_state: bool,
    ran: Collection[str],
    skipped: Collection[str],
) -> dict[str, Any]:
    """Return the parts log, previous and state: what the kernel log brought, and what earlier runs left."""
    clock = Clock(snapshot["taken_at_seconds"], snapshot["uptime_seconds"], snapshot["boot_id"])

    def read(state: State) -> tuple[State, LogRead]:
        log = read_kernel_log(sources.kernel_log, state["cursor"], clock, run_command, find_events)
        merged = with_events(state, log.events, clock.now_seconds, log.overlap)
        return {**merged, "cursor": log.cursor}, log

    problem = None
    done: tuple[State, LogRead, State] | None = None
    if write_state:
        try:
            with changed_state(sources.state_path) as held:
                problem = held.problem
                before = held.state
                state, log = read(before)
                held.state = {**state, "previous": next_counters(before["previous"], snapshot, ran, skipped)}
                done = (state, log, before)
        except OSError as error:
            problem = f"{sources.state_path} cannot be written: {error.strerror or error}"
    if done is None:
        before, unreadable = read_state(sources.state_path)
        problem = problem or unreadable
        done = (*read(before), before)
    state, log, before = done
    return {
        "log": {
            "source": log.source,
            "readable": log.readable,
            "error": log.error,
            "lost_messages": log.lost_messages,
            "events": state["events"],
        },
        "previous": before["previous"],
        "state": {
            "path": sources.state_path,
            "problem": problem,
            "cleared_at_seconds": before["cleared_at_seconds"],
            "actions": before["actions"],
        },
    }


class _Later:
    """A call that runs beside the others."""

    def __init__(self, call: Callable[[], dict[str, Any]]) -> None:
        self._call = call
        self._value: dict[str, Any] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001  # It is raised again where the result is wanted.
            self._error = error

    def result(self) -> dict[str, Any]:
        """Return what the call returned, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value or {}


def read_uptime(procfs_root: str) -> float | None:
    """Return the seconds since boot, None when they cannot be read."""
    text = read_text(procfs_root, "uptime")
    try:
        return float(text.split()[0]) if text else None
    except ValueError:
        return None


def iso_utc(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
