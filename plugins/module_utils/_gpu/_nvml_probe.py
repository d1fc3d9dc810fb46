# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The program that asks NVML. _nvml_child.py writes it to an interpreter's standard input, with a last line run({...}).

It stands alone: it imports nothing of the collection, so that any interpreter that has nvidia-ml-py can run it.
It writes one JSON object per line: {"calling", "gpu"} before every call that could hang, {"gpu"} for every GPU that was
read to its end, {"topology"}, {"failed"} when there is nothing to ask, {"done"} at the end. Numbers stay as NVML gives
them, apart from their units; _nvml_words.py turns them into words.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import sys
from collections.abc import Iterable
from typing import Any

# Answers that mean "this card, driver or package does not know that": invalid argument (an enum value or a field that
# is newer than the driver), not supported, function not found, argument version mismatch, deprecated.
QUIET = frozenset({2, 3, 13, 25, 26})
GPU_IS_LOST = 15
CORRUPTED_INFOROM = 14
MAX_NVLINKS = 36
HISTOGRAM = ("max", "high", "partial", "low", "none")

# Error counters of NVLink 5, where nvmlDeviceGetNvLinkErrorCounter knows none.
FIELD_NVLINK_RECEIVE_ERRORS = 208
FIELD_NVLINK_RECOVERIES = 215
# Drivers 575.0 to 580.81 number these 251 to 253 and use 269 to 271 for something else; later ones number them as here.
# Drivers before 575 do not know them. Seen in the constants of nvidia-ml-py 12.570, 12.575, 13.580.65 and 13.580.82.
LATE_FIELDS = ("sw_thermal", "hw_thermal", "hw_power_brake")
LATE_FIELD_FIRST = 269
RENUMBERED_FIELD_FIRST = 251
RENUMBERED_DRIVERS = ((575, 0), (580, 82))

P2P_READ = 0
P2P_NVLINK = 2
PROCESS_LISTS = (
    ("compute", "nvmlDeviceGetComputeRunningProcesses"),
    ("graphics", "nvmlDeviceGetGraphicsRunningProcesses"),
    ("mps", "nvmlDeviceGetMPSComputeRunningProcesses"),
)


def late_field_first(driver_version: str | None) -> int:
    """Return the number of the first of LATE_FIELDS in this driver."""
    try:
        major, minor = (int(part) for part in (driver_version or "").split(".")[:2])
    except ValueError:
        return LATE_FIELD_FIRST
    first, end = RENUMBERED_DRIVERS
    return RENUMBERED_FIELD_FIRST if first <= (major, minor) < end else LATE_FIELD_FIRST


class Reader:
    """Asks one thing at a time, says before each call what it asks, and keeps what went wrong."""

    def __init__(self, nvml: Any, out: int, request: dict[str, Any]) -> None:
        self.nvml = nvml
        self.out = out
        self.request = request
        self.lost = False
        self.stubborn = True  # asks on when the GPU is lost
        self.gpu: int | None = None
        self.errors: dict[str, dict[str, Any]] = {}
        self.late_field_first = LATE_FIELD_FIRST
        self.users: dict[int, str] = {}

    def say(self, **record: Any) -> None:
        """Write one line."""
        _write(self.out, json.dumps(record).encode() + b"\n")

    def calling(self, name: str) -> None:
        """Say what comes next, so that the parent knows it when it never comes back."""
        gpu = "null" if self.gpu is None else str(self.gpu)
        _write(self.out, f'{{"calling": "{name}", "gpu": {gpu}}}\n'.encode())

    def read(self, name: str, *arguments: Any, label: str = "", quiet: Iterable[int] = QUIET) -> Any:
        """Return the answer of one NVML function, or None; an error that is not just "unknown here" is kept."""
        function = getattr(self.nvml, name, None)
        if function is None or (self.lost and not self.stubborn):
            return None
        self.calling(label or name)
        try:
            return function(*arguments)
        except self.nvml.NVMLError as error:
            self.note(label or name, int(error.value), quiet)
        except (UnicodeError, ctypes.ArgumentError, TypeError, ValueError) as error:  # text that is no text, for one
            self.errors[label or name] = {"code": 999, "name": type(error).__name__}
        return None

    def note(self, name: str, code: int, quiet: Iterable[int] = QUIET) -> None:
        """Keep what a call answered instead of a value."""
        self.lost = self.lost or code == GPU_IS_LOST
        if code not in quiet:
            self.errors[name] = {"code": code, "name": error_name(self.nvml, code)}

    def fields(self, handle: Any, wanted: list[tuple[int, int]]) -> list[int | float | None]:
        """Return fields, given as (number, scope), in one call."""
        answers = self.read("nvmlDeviceGetFieldValues", handle, wanted)
        if answers is None:
            return [None] * len(wanted)
        result: list[int | float | None] = []
        for answer, (number, _scope) in zip(answers, wanted):
            if answer.nvmlReturn:
                self.note(f"nvmlDeviceGetFieldValues[{number}]", int(answer.nvmlReturn))
                result.append(None)
            else:
                names = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
                kind = answer.valueType
                result.append(getattr(answer.value, names[kind]) if kind < len(names) else None)
        return result


def _write(out: int, data: bytes) -> None:
    while data:
        data = data[os.write(out, data) :]


def error_name(nvml: Any, code: int) -> str:
    """Return the name of a return code, without its prefix."""
    prefix = "NVML_ERROR_"
    names = (key for key, value in vars(nvml).items() if value == code and key.startswith(prefix))
    return str(next(names, prefix + str(code)))[len(prefix) :]


def text(value: Any) -> Any:
    """Return a character array as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def read_gpu(reader: Reader, index: int) -> Any:
    """Read one GPU to its end and write its line. Return its handle, None when there is none."""
    reader.gpu, reader.lost, reader.stubborn, reader.errors = index, False, True, {}
    handle = reader.read("nvmlDeviceGetHandleByIndex", index, quiet=())
    values: dict[str, Any] = {}
    if handle is not None:
        _read_pci(reader, handle, values)
        _read_table(reader, handle, values, reader.request["identity"])
        _read_fields(reader, handle, values)
        reader.stubborn = (
            False  # a lost GPU is asked who it is and what it wants done, not more: each call may take long
        )
        _read_table(reader, handle, values, reader.request["values"])
        _read_structures(reader, handle, values)
        values["fabric"] = _read_fabric(reader, handle)
        values["nvlink"] = _read_nvlink(reader, handle, values.get("nvlink_count"))
        values["processes"] = _read_processes(reader, handle)
    reader.say(gpu=index, values=values, errors=reader.errors)
    reader.gpu, reader.stubborn = None, True
    return None if reader.lost else handle


def _read_table(reader: Reader, handle: Any, values: dict[str, Any], table: Iterable[tuple[Any, ...]]) -> None:
    for key, function, arguments, divisor in table:
        value = text(reader.read(function, handle, *arguments))
        values[key] = value / divisor if divisor and value is not None else value


def _read_pci(reader: Reader, handle: Any, values: dict[str, Any]) -> None:
    info = reader.read("nvmlDeviceGetPciInfo", handle)
    if info is not None:
        values["pci"] = {
            "address": text(info.busId),
            "bus": info.bus,
            "device": info.pciDeviceId,
            "subsystem": info.pciSubSystemId,
        }


def _read_fields(reader: Reader, handle: Any, values: dict[str, Any]) -> None:
    late = enumerate(LATE_FIELDS, reader.late_field_first)
    table = [*reader.request["fields"], *((f"clock_event_seconds.{name}", number, 10**9) for number, name in late)]
    answers = reader.fields(handle, [(number, 0) for _key, number, _divisor in table])
    for (key, _number, divisor), answer in zip(table, answers):
        values[key] = answer / divisor if divisor and answer is not None else answer


def _read_structures(reader: Reader, handle: Any, values: dict[str, Any]) -> None:
    nvml = reader.nvml
    memory = None
    if hasattr(nvml, "nvmlMemory_v2"):
        memory = reader.read("nvmlDeviceGetMemoryInfo", handle, nvml.nvmlMemory_v2, label="nvmlDeviceGetMemoryInfo_v2")
    if memory is None:
        memory = reader.read("nvmlDeviceGetMemoryInfo", handle)
    for key, name in (("total", "total"), ("used", "used"), ("free", "free"), ("reserved", "reserved")):
        values[f"memory.{key}_bytes"] = getattr(memory, name, None)
    bar1 = reader.read("nvmlDeviceGetBAR1MemoryInfo", handle)
    values["bar1.total_bytes"] = getattr(bar1, "bar1Total", None)
    values["bar1.used_bytes"] = getattr(bar1, "bar1Used", None)
    rates = reader.read("nvmlDeviceGetUtilizationRates", handle)
    values["utilization.gpu_percent"] = getattr(rates, "gpu", None)
    values["utilization.memory_percent"] = getattr(rates, "memory", None)
    limits = reader.read("nvmlDeviceGetPowerManagementLimitConstraints", handle)
    if limits is not None:
        values["power.min_limit_watts"], values["power.max_limit_watts"] = limits[0] / 1000, limits[1] / 1000
    reasons = reader.read("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if reasons is None:  # the name before driver 535
        reasons = reader.read("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    values["clock_event_reasons"] = reasons
    histogram = reader.read("nvmlDeviceGetRowRemapperHistogram", handle)
    if histogram is not None:
        values["row_remap.histogram"] = {name: getattr(histogram, name) for name in HISTOGRAM}
    for key, cause in (("single_bit", 0), ("double_bit", 1)):
        pages = reader.read("nvmlDeviceGetRetiredPages_v2", handle, cause)
        values[f"retired_pages.{key}"] = None if pages is None else len(pages)
    if hasattr(nvml, "c_nvmlEccSramErrorStatus_v1_t"):
        sram = nvml.c_nvmlEccSramErrorStatus_v1_t()
        if reader.read("nvmlDeviceGetSramEccErrorStatus", handle, ctypes.byref(sram)) is not None:
            values["ecc.sram_aggregate_uncorrected"] = sram.aggregateUncParity + sram.aggregateUncSecDed
            values["ecc.sram_threshold_exceeded"] = sram.bThresholdExceeded
    values["inforom_valid"] = _read_inforom(reader, handle)


def _read_inforom(reader: Reader, handle: Any) -> bool | None:
    name = "nvmlDeviceValidateInforom"
    function = getattr(reader.nvml, name, None)
    if function is None or reader.lost:
        return None
    reader.calling(name)
    try:
        function(handle)
    except reader.nvml.NVMLError as error:
        if error.value == CORRUPTED_INFOROM:
            return False
        reader.note(name, int(error.value))
        return None
    return True


def _read_fabric(reader: Reader, handle: Any) -> dict[str, Any] | None:
    for function, structure in (
        ("nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v3_t"),
        ("nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v2_t"),
        ("nvmlDeviceGetGpuFabricInfo", "c_nvmlGpuFabricInfo_t"),
    ):
        if not hasattr(reader.nvml, structure):
            continue
        info = getattr(reader.nvml, structure)()
        if reader.read(function, handle, ctypes.byref(info)) is not None:
            return {
                "state": info.state,
                "status": info.status,
                "health_mask": getattr(info, "healthMask", None),
                "health_summary": getattr(info, "healthSummary", None),
            }
    return None


def _read_nvlink(reader: Reader, handle: Any, count: int | None) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = []
    for link in range(MAX_NVLINKS if count is None else min(int(count), MAX_NVLINKS)):
        active = reader.read("nvmlDeviceGetNvLinkState", handle, link)
        if active is None and count is None:
            break  # the number of links is not told: they end where there is no answer
        record: dict[str, Any] = {"link": link, "active": active, "version": None, "remote_pci": None}
        kept = dict(reader.errors)
        if active:
            record["version"] = reader.read("nvmlDeviceGetNvLinkVersion", handle, link)
            remote = reader.read("nvmlDeviceGetNvLinkRemotePciInfo", handle, link)
            record["remote_pci"] = None if remote is None else text(remote.busId)
        for key, counter in (("replay_errors", 0), ("recovery_errors", 1), ("crc_errors", 2)):
            record[key] = reader.read("nvmlDeviceGetNvLinkErrorCounter", handle, link, counter)
        if not active:
            reader.errors = kept  # what a dead link does not answer is no error of its own
        links.append(record)
    # NVLink 5 has no such counters; it counts packets with errors and recoveries in fields.
    silent = [record for record in links if record["crc_errors"] is None and record["recovery_errors"] is None]
    for key, field in (("crc_errors", FIELD_NVLINK_RECEIVE_ERRORS), ("recovery_errors", FIELD_NVLINK_RECOVERIES)):
        if silent:
            kept = dict(reader.errors)
            answers = reader.fields(handle, [(field, record["link"]) for record in silent])
            reader.errors = kept
            for record, answer in zip(silent, answers):
                record[key] = answer
    return links


def _read_processes(reader: Reader, handle: Any) -> list[dict[str, Any]]:
    processes = []
    for kind, function in PROCESS_LISTS:
        for item in reader.read(function, handle) or ():
            process = {"pid": item.pid, "kind": kind, "memory_bytes": item.usedGpuMemory}
            processes.append({**process, **_look_up(reader, item.pid)})
    return processes


def _look_up(reader: Reader, pid: int) -> dict[str, Any]:
    """Return name and user of a process; not alive when it is gone or only a zombie is left of it."""
    directory = os.path.join(reader.request["procfs_root"], str(pid))
    reader.calling(directory)
    try:
        with open(os.path.join(directory, "stat"), "rb") as file:
            line = file.read().decode(errors="replace")
        uid = os.stat(directory).st_uid
    except OSError:
        return {"name": None, "user": None, "alive": False}
    name, _parenthesis, rest = line.partition("(")[2].rpartition(")")
    if uid not in reader.users:
        try:
            reader.users[uid] = pwd.getpwuid(uid).pw_name
        except KeyError:
            reader.users[uid] = str(uid)
    return {"name": name, "user": reader.users[uid], "alive": rest.split()[:1] not in (["Z"], ["X"], ["x"])}


def read_topology(reader: Reader, handles: list[Any]) -> list[dict[str, Any]]:
    """Return what lies between every two GPUs."""
    pairs = []
    for a, first in enumerate(handles):
        for b in range(a + 1, len(handles)):
            second = handles[b]
            pair: dict[str, Any] = {"a": a, "b": b, "ancestor": None, "p2p_nvlink": None, "p2p_read": None}
            reader.lost, reader.errors = False, {}
            if first is not None and second is not None:
                pair["ancestor"] = reader.read("nvmlDeviceGetTopologyCommonAncestor", first, second)
                pair["p2p_nvlink"] = reader.read("nvmlDeviceGetP2PStatus", first, second, P2P_NVLINK)
                pair["p2p_read"] = reader.read("nvmlDeviceGetP2PStatus", first, second, P2P_READ)
            pairs.append(pair)
    return pairs


def open_nvml(reader: Reader) -> int | None:
    """Initialise NVML and return the number of GPUs; None after having said why there is none."""
    for name in ("nvmlInit", "nvmlDeviceGetCount"):
        reader.calling(name)
        try:
            count = getattr(reader.nvml, name)()
        except reader.nvml.NVMLError as error:
            code = int(error.value)
            reader.say(failed=name, code=code, name=error_name(reader.nvml, code), error=_detail(code, error))
            return None
    return int(count)


def _detail(code: int, error: Exception) -> str:
    """Return why the library cannot be loaded: the package keeps that to itself."""
    if code == 12:
        try:
            ctypes.CDLL("libnvidia-ml.so.1")
        except OSError as problem:
            return str(problem)
    return str(error)


def run(request: dict[str, Any]) -> None:
    """Read everything. request: procfs_root, topology, and the tables of _nvml_words.py: identity, values, fields."""
    sys.path[:] = [path for path in sys.path if path]  # never import from the current directory
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not come between the lines
    _read_all(Reader(None, out, request))
    os._exit(0)  # the kernel tidies up; nothing of Python or of the library may hold the answer back


def _read_all(reader: Reader) -> None:
    reader.calling("import pynvml")
    try:
        import pynvml
    except ImportError as error:
        reader.say(failed="import", code=None, name=None, error=str(error))
        return
    reader.nvml = pynvml
    count = open_nvml(reader)
    if count is None:
        return
    driver = text(reader.read("nvmlSystemGetDriverVersion"))
    reader.late_field_first = late_field_first(driver)
    nvml_version = text(reader.read("nvmlSystemGetNVMLVersion"))
    cuda = reader.read("nvmlSystemGetCudaDriverVersion")
    reader.say(driver_version=driver, nvml_version=nvml_version, cuda_version=cuda)
    handles = [read_gpu(reader, index) for index in range(count)]
    if reader.request["topology"]:
        reader.say(topology=read_topology(reader, handles))
    reader.say(done=True)
