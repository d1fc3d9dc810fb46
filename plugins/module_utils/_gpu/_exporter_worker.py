# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The part of the GPU exporter that asks NVML: a process of its own, which reads again whenever it is told to.

A driver may hang for ever in any call. Then it is this process that hangs, and _exporter_child.py ends it or leaves it.
It takes one line on standard input for one reading, and writes JSON lines as _nvml_probe.py does: {"calling", "gpu"}
before every call, {"driver_version", ...}, {"gpu"} for each GPU, {"failed"} when there is nothing to ask, and {"done",
"last"} at the end. last: this process ends, because the next reading needs a new session.
A session with NVML stays open between readings: opening it takes a driver seconds on some machines.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_probe as nvml_probe
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_words as words
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_owners import owner_of

# Of the values that the health check reads, those that change and cost little: (key, function, arguments, divisor).
WANTED = frozenset(
    {
        "pci.generation_current",
        "pci.generation_max",
        "pci.width_current",
        "pci.width_max",
        "pci.replay_count",
        "mig",
        "clocks.sm_mhz",
        "clocks.memory_mhz",
        "temperature.gpu_celsius",
        "power.usage_watts",
        "power.enforced_limit_watts",
        "power.energy_joules",
        "ecc.volatile_corrected",
        "ecc.volatile_uncorrected",
        "row_remap.rows",
        "retired_pages.pending",
    }
)
VALUES = tuple(entry for entry in words.VALUES if entry[0] in WANTED)
# All links of a GPU together.
EVERY_LINK = 0xFFFFFFFF
KIBIBYTE = 1024
# Fields: (key, number, scope, factor).
FIELDS: tuple[tuple[str, int, int, float], ...] = (
    ("temperature.memory_celsius", 82, 0, 1),
    ("nvlink_count", 91, 0, 1),
    ("clock_event_seconds.sw_power_cap", 74, 0, 1e-9),
    ("pcie.transmitted_bytes", 197, 0, 1),
    ("pcie.received_bytes", 198, 0, 1),
    ("nvlink.transmitted_bytes", 138, EVERY_LINK, KIBIBYTE),
    ("nvlink.received_bytes", 139, EVERY_LINK, KIBIBYTE),
)
LINK_STATE = 165
# Errors of a link by type: the fields up to NVLink 4, and those of NVLink 5, which counts packets and recoveries.
LINK_ERRORS = (
    ("crc", 163, nvml_probe.FIELD_NVLINK_RECEIVE_ERRORS),
    ("replay", 161, None),
    ("recovery", 162, nvml_probe.FIELD_NVLINK_RECOVERIES),
)
# Uninitialised, driver not loaded, lost, reset required: a session that saw one of these is opened anew, not more often
# than this.
SPOILED = frozenset({1, 9, 15, 16})
RENEW_SECONDS = 60.0
MAX_CGROUP_BYTES = 4096


class Session:
    """Readings from one open NVML."""

    def __init__(self, reader: nvml_probe.Reader, procfs_root: str) -> None:
        """Remember where to write; nothing is asked yet."""
        self._reader = reader
        self._procfs_root = procfs_root
        self._handles: list[Any] = []
        self._identities: list[dict[str, Any]] = []
        self._driver: dict[str, Any] = {}
        self._spoiled = False
        self._opened = 0.0

    @property
    def finished(self) -> bool:
        """Return whether the next reading needs a process with a new session."""
        return not self._driver or (self._spoiled and time.monotonic() - self._opened >= RENEW_SECONDS)

    def read(self) -> None:
        """Write one reading."""
        if not self._driver and not self._open():
            return
        self._reader.say(**self._driver)
        for index, handle in enumerate(self._handles):
            self._read_gpu(index, handle)

    def _open(self) -> bool:
        reader = self._reader
        count = nvml_probe.open_nvml(reader)
        if count is None:
            return False
        driver = nvml_probe.text(reader.read("nvmlSystemGetDriverVersion"))
        reader.late_field_first = nvml_probe.late_field_first(driver)
        self._driver = {
            "driver_version": driver,
            "nvml_version": nvml_probe.text(reader.read("nvmlSystemGetNVMLVersion")),
            "cuda_version": words.cuda_version(reader.read("nvmlSystemGetCudaDriverVersion")),
        }
        self._opened = time.monotonic()
        for index in range(count):
            reader.gpu, reader.lost, reader.errors = index, False, {}
            handle = reader.read("nvmlDeviceGetHandleByIndex", index, quiet=())
            self._handles.append(handle)
            identity: dict[str, Any] = {}
            if handle is not None:
                identity["name"] = nvml_probe.text(reader.read("nvmlDeviceGetName", handle))
                identity["uuid"] = nvml_probe.text(reader.read("nvmlDeviceGetUUID", handle))
                info = reader.read("nvmlDeviceGetPciInfo", handle)
                identity["pci"] = words.pci_address(nvml_probe.text(info.busId)) if info is not None else None
            self._identities.append(identity)
            self._spoiled = self._spoiled or handle is None
        reader.gpu = None
        return True

    def _read_gpu(self, index: int, handle: Any) -> None:
        reader = self._reader
        reader.gpu, reader.lost, reader.stubborn, reader.errors = index, False, False, {}
        values: dict[str, Any] = dict(self._identities[index])
        if handle is not None:
            for key, function, arguments, divisor in VALUES:
                value = reader.read(function, handle, *arguments)
                values[key] = value / divisor if divisor and value is not None else value
            self._read_fields(handle, values)
            self._read_memory(handle, values)
            values["processes"] = self._read_processes(handle)
        codes = {error["code"] for error in reader.errors.values()}
        self._spoiled = self._spoiled or bool(codes & SPOILED)
        lost = handle is None or bool(codes & {nvml_probe.GPU_IS_LOST})
        reader.say(gpu=index, lost=lost, values=values)
        reader.gpu = None

    def _read_fields(self, handle: Any, values: dict[str, Any]) -> None:
        late = [
            (f"clock_event_seconds.{name}", number, 0, 1e-9)
            for number, name in enumerate(nvml_probe.LATE_FIELDS, self._reader.late_field_first)
        ]
        table = (*FIELDS, *late)
        answers = self._reader.fields(handle, [(number, scope) for _key, number, scope, _factor in table])
        for (key, _number, _scope, factor), answer in zip(table, answers):
            values[key] = None if answer is None else answer * factor
        links = range(min(int(values["nvlink_count"] or 0), nvml_probe.MAX_NVLINKS))
        wanted = [(LINK_STATE, link) for link in links]
        for _type, old, new in LINK_ERRORS:
            wanted += [(number, link) for number in (old, new) if number is not None for link in links]
        if not wanted:
            return
        found = dict(zip(wanted, self._reader.fields(handle, wanted)))
        values["nvlink.active"] = _sum(found[LINK_STATE, link] for link in links)
        for kind, old, new in LINK_ERRORS:
            total = _sum(found[old, link] for link in links)
            if total is None and new is not None:
                total = _sum(found[new, link] for link in links)
            values[f"nvlink.{kind}_errors"] = total

    def _read_memory(self, handle: Any, values: dict[str, Any]) -> None:
        reader = self._reader
        memory = None
        if hasattr(reader.nvml, "nvmlMemory_v2"):
            memory = reader.read(
                "nvmlDeviceGetMemoryInfo", handle, reader.nvml.nvmlMemory_v2, label="nvmlDeviceGetMemoryInfo_v2"
            )
        if memory is None:
            memory = reader.read("nvmlDeviceGetMemoryInfo", handle)
        for name in ("used", "free", "reserved"):
            values[f"memory.{name}_bytes"] = getattr(memory, name, None)
        rates = reader.read("nvmlDeviceGetUtilizationRates", handle)
        values["utilization.gpu_percent"] = getattr(rates, "gpu", None)
        values["utilization.memory_percent"] = getattr(rates, "memory", None)

    def _read_processes(self, handle: Any) -> list[dict[str, Any]]:
        processes = []
        for _kind, function in nvml_probe.PROCESS_LISTS:
            for item in self._reader.read(function, handle) or ():
                owner = owner_of(self._control_groups(item.pid))
                processes.append({"pid": item.pid, "memory_bytes": item.usedGpuMemory, "owner": owner})
        return processes

    def _control_groups(self, pid: int) -> str | None:
        path = os.path.join(self._procfs_root, str(pid), "cgroup")
        self._reader.calling(path)
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(MAX_CGROUP_BYTES)
        except OSError:
            return None


def _sum(answers: Any) -> float | None:
    known = [answer for answer in answers if answer is not None]
    return sum(known) if known else None


def serve(options: Mapping[str, Any]) -> None:
    """Read once for every line of standard input; return at its end. options: procfs_root."""
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not come between the lines
    reader = nvml_probe.Reader(None, out, {})
    session = None
    for _line in iter(sys.stdin.readline, ""):
        if session is None:
            reader.calling("import pynvml")
            try:
                import pynvml
            except ImportError as error:
                reader.say(failed="import", code=None, name=None, error=str(error))
                reader.say(done=True, last=True)
                return
            reader.nvml = pynvml
            session = Session(reader, options["procfs_root"])
        session.read()
        reader.say(done=True, last=session.finished)
        if session.finished:
            return
