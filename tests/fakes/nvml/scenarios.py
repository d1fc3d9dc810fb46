# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios for the fake libnvidia-ml: healthy hardware by profile, and faults as functions from scenario to scenario.

A fault sets everything that one real fault would show: readings of NVML, sysfs (keys host.*), and, with log=True, lines
of the kernel log. Nothing here changes the scenario that it is given.
"""

from __future__ import annotations

from collections.abc import Callable

from .profiles import GIB, PROFILES
from .repair import reboot, reset
from .scenario_file import (
    DEFAULT_PATH,
    Scenario,
    changed,
    gpu_address,
    gpu_change,
    gpu_count,
    gpu_value,
    log,
    log_messages,
    parse,
    processes,
    read,
    render,
    write,
)

__all__ = [
    "DEFAULT_PATH", "FAULTS", "PROFILES", "Scenario", "changed", "gpu_address", "gpu_change", "gpu_count", "gpu_value",
    "log", "log_messages", "parse", "processes", "profile", "read", "reboot", "render", "reset", "write", "xid",
]  # fmt: skip

LOST = 15
UNKNOWN_ERROR = 999


def profile(name: str) -> Scenario:
    """Return a healthy scenario by the name of its profile."""
    if name not in PROFILES:
        raise ValueError(f"There is no profile '{name}'. There are: {', '.join(PROFILES)}.")
    return PROFILES[name]()


def xid(
    scenario: Scenario, gpu: int, code: int, text: str, pid: str = "'<unknown>'", name: str = "<unknown>"
) -> Scenario:
    """Return a copy whose kernel log has one more XID, in the form of today's driver."""
    return log(scenario, f"NVRM: Xid (PCI:{gpu_address(scenario, gpu)[:-2]}): {code}, pid={pid}, name={name}, {text}")


# Driver and library


def driver_not_loaded(scenario: Scenario) -> Scenario:
    """The library is there, the kernel module is not."""
    return changed(scenario, init_code=9, host__module_version=None, host__modules="")


def version_mismatch(scenario: Scenario, library: str = "580.105.08", log: bool = True) -> Scenario:
    """An update replaced library and module on the disk under the loaded module."""
    loaded = scenario["host.module_version"]
    result = changed(scenario, init_code=18, host__library_version=library, host__disk_version=library)
    return _logged(
        result,
        log,
        f"NVRM: API mismatch: the client 'python3' (pid 4242) has the version {library}, but this kernel module has "
        f"the version {loaded}.  Please make sure that this kernel module and all NVIDIA driver components have the "
        "same version.",
    )


def init_error(scenario: Scenario, code: int = UNKNOWN_ERROR) -> Scenario:
    """NVML does not start and says no more than a number."""
    return changed(scenario, init_code=code)


def pending_update(scenario: Scenario, disk: str = "580.105.08") -> Scenario:
    """A newer module lies on the disk; what runs still fits together until the next load."""
    return changed(scenario, host__disk_version=disk)


def next_kernel(scenario: Scenario, version: str = "9.9.9-fake", module: str = "missing") -> Scenario:
    """A newer kernel is installed; its driver module is signed, unsigned or missing."""
    return changed(scenario, host__next_kernel=version, host__next_module=module)


def hang(
    scenario: Scenario, function: str = "nvmlDeviceGetPowerUsage", kind: str = "sleep", gpu: int | None = None
) -> Scenario:
    """A call never returns. kind: sleep, stubborn (only SIGKILL ends it), dstate (the process shows state D)."""
    if gpu is None:
        return {**scenario, f"hang.{function}": kind}
    return gpu_change(scenario, gpu, {f"hang.{function}": kind})


def delay(scenario: Scenario, function: str = "nvmlInitWithFlags", seconds: float = 2.0) -> Scenario:
    """A call takes so long every time."""
    return {**scenario, f"delay.{function}": str(seconds)}


def call_error(scenario: Scenario, function: str, code: int = UNKNOWN_ERROR, gpu: int | None = None) -> Scenario:
    """A call returns an error on one GPU, or everywhere. Code 13 stands for a symbol that the library lacks."""
    if gpu is None:
        return {**scenario, f"error.{function}": str(code)}
    return gpu_change(scenario, gpu, {f"error.{function}": code})


# A whole GPU


def gpu_lost(scenario: Scenario, gpu: int = 3, log: bool = True) -> Scenario:
    """A GPU has fallen off the bus: every call on it says so, its PCI configuration space reads ff."""
    result = gpu_change(scenario, gpu, {"error.*": LOST, "host.readable": 0})
    if log:
        result = xid(result, gpu, 79, "GPU has fallen off the bus.")
    return _logged(result, log, f"NVRM: GPU {gpu_address(scenario, gpu)}: GPU has fallen off the bus.")


def gpu_missing(scenario: Scenario, gpu: int = 3) -> Scenario:
    """A GPU did not come up with the host: neither NVML nor the PCI bus knows it, and the later ones move up."""
    count = gpu_count(scenario)
    if not 0 <= gpu < count:
        raise ValueError(f"There is no GPU {gpu}: the scenario has {count}.")

    def moved(index: str) -> str:
        return str(int(index) - 1) if index.isdigit() and int(index) > gpu else index

    result: Scenario = {}
    for key, value in scenario.items():
        parts = key.split(".")
        indexes = parts[1:3] if parts[0] in ("topology", "p2p") else parts[1:2] if parts[0] == "gpu" else []
        if str(gpu) not in indexes:
            result[".".join([parts[0], *map(moved, indexes), *parts[1 + len(indexes) :]])] = value
    result["count"] = str(count - 1)
    return result


def recovery_action(scenario: Scenario, gpu: int = 3, action: int = 1, log: bool = True) -> Scenario:
    """The driver asks for a recovery: 1 reset, 2 reboot of the node, 4 drain and reset, 7 reboot of the system."""
    words = {0: "None", 1: "GPU Reset Required", 2: "Node Reboot Required", 3: "Drain P2P", 4: "Drain and Reset"}
    result = gpu_change(scenario, gpu, {"recovery_action": action})
    text = f"GPU recovery action changed from 0x0 (None) to 0x{action:x} ({words.get(action, 'OS Reboot')})"
    return xid(result, gpu, 154, text) if log else result


def busy(scenario: Scenario, gpu: int = 0, pid: int = 1, used_bytes: int = 60 * GIB, kind: str = "compute") -> Scenario:
    """A process works on a GPU. kind: compute, graphics, mps."""
    number = len(processes(scenario, gpu))
    used = int(gpu_value(scenario, gpu, "memory.used") or 0) + used_bytes
    values = {f"process.{number}": f"{kind} {pid} {used_bytes}", "memory.used": used}
    return gpu_change(scenario, gpu, {**values, "utilization.gpu": 97, "clock_event_reasons": "0x0"})


def zombie_memory(scenario: Scenario, gpu: int = 3, used_bytes: int = 20 * GIB) -> Scenario:
    """Memory is taken and no process is listed for it."""
    return gpu_change(scenario, gpu, {"memory.used": used_bytes})


def dead_process(scenario: Scenario, gpu: int = 3, pid: int = 4194300, used_bytes: int = 20 * GIB) -> Scenario:
    """Memory is taken by a process that is listed and no longer exists."""
    return gpu_change(busy(scenario, gpu, pid, used_bytes), gpu, {"utilization.gpu": None, "clock_event_reasons": None})


# Memory


def ecc_volatile(scenario: Scenario, gpu: int = 3, count: int = 1, log: bool = True) -> Scenario:
    """Errors in memory that ECC could not correct, since the last reset."""
    result = gpu_change(scenario, gpu, {"ecc.volatile_uncorrected": count, "ecc.aggregate_uncorrected": count})
    return xid(result, gpu, 48, "DBE (double bit error) ECC Error detected.") if log else result


def ecc_corrected(scenario: Scenario, gpu: int = 3, count: int = 100_000_000) -> Scenario:
    """Very many errors that ECC corrected."""
    return gpu_change(scenario, gpu, {"ecc.volatile_corrected": count, "ecc.aggregate_corrected": count})


def ecc_sram_threshold(scenario: Scenario, gpu: int = 3) -> Scenario:
    """So many errors in SRAM over its life that the vendor takes the card back."""
    values = {"sram.aggregate_parity": 5, "sram.aggregate_secded": 1, "sram.bucket_l2": 4, "sram.bucket_sm": 2}
    return gpu_change(scenario, gpu, {**values, "sram.threshold_exceeded": 1, "ecc.aggregate_uncorrected": 6})


def ecc_pending(scenario: Scenario, gpu: int = 3, wanted: int = 0) -> Scenario:
    """ECC was switched, and waits for a reset."""
    return gpu_change(scenario, gpu, {"ecc.mode_pending": wanted})


def remap_pending(scenario: Scenario, gpu: int = 3, log: bool = True) -> Scenario:
    """A row of memory waits for the next reset to be replaced."""
    values = {"row_remap.pending": 1, "row_remap.uncorrected": 1, "row_remap.histogram.high": 1}
    result = gpu_change(scenario, gpu, values)
    return xid(result, gpu, 63, "Row Remapper: New row marked for remapping, reset gpu to activate.") if log else result


def remap_failed(scenario: Scenario, gpu: int = 3, log: bool = True) -> Scenario:
    """A row of memory could not be replaced: no spare is left."""
    values = {"row_remap.failed": 1, "row_remap.uncorrected": 8, "row_remap.histogram.none": 1}
    result = gpu_change(scenario, gpu, values)
    return xid(result, gpu, 64, "Row Remapper: Failed to remap a row.") if log else result


def retired_pages(
    scenario: Scenario, gpu: int = 0, single_bit: int = 2, double_bit: int = 16, pending: int = 1
) -> Scenario:
    """Pages of memory were taken out of use, on a card without row remapping."""
    values = {"retired.single_bit": single_bit, "retired.double_bit": double_bit, "retired.pending": pending}
    return gpu_change(scenario, gpu, values)


def repair_pending(scenario: Scenario, gpu: int = 3) -> Scenario:
    """A channel of memory waits for a reset to be repaired."""
    return gpu_change(scenario, gpu, {"repair.channel_pending": 1, "repair.tpc_pending": 0})


def unrepairable_memory(scenario: Scenario, gpu: int = 3) -> Scenario:
    """Memory is broken and cannot be repaired."""
    return gpu_change(scenario, gpu, {"repair.unrepairable_memory": 1})


# Heat, power, clocks


def throttle_hw_thermal(scenario: Scenario, gpu: int = 3, seconds: float = 12.5) -> Scenario:
    """The hardware slows the clocks down for heat."""
    return _held_back(scenario, gpu, "0x48", "event_ns.hw_thermal", seconds)


def throttle_power_brake(scenario: Scenario, gpu: int = 3, seconds: float = 4.0) -> Scenario:
    """The power supply tells the hardware to slow the clocks down."""
    return _held_back(scenario, gpu, "0x88", "event_ns.hw_power_brake", seconds)


def throttle_sw_thermal(scenario: Scenario, gpu: int = 3, seconds: float = 30.0) -> Scenario:
    """The driver slows the clocks down for heat."""
    return _held_back(scenario, gpu, "0x20", "event_ns.sw_thermal", seconds)


def _held_back(scenario: Scenario, gpu: int, reasons: str, counter: str, seconds: float) -> Scenario:
    slow = int(gpu_value(scenario, gpu, "clock.sm_max_mhz") or 0) // 2
    values = {"clock_event_reasons": reasons, counter: int(seconds * 1e9), "performance_state": 0}
    return gpu_change(scenario, gpu, {**values, "clock.sm_mhz": slow, "clock.graphics_mhz": slow})


def hot_gpu(scenario: Scenario, gpu: int = 3, above: int = 1) -> Scenario:
    """The GPU is hotter than it may be while it works."""
    celsius = int(gpu_value(scenario, gpu, "temperature.gpu_max") or 90) + above
    margin = -above if gpu_value(scenario, gpu, "temperature.margin") else None
    return gpu_change(scenario, gpu, {"temperature.gpu": celsius, "temperature.margin": margin})


def hot_memory(scenario: Scenario, gpu: int = 3, above: int = 1) -> Scenario:
    """The memory is hotter than it may be."""
    celsius = int(gpu_value(scenario, gpu, "temperature.memory_max") or 95) + above
    return gpu_change(scenario, gpu, {"temperature.memory": celsius})


def power_capped(scenario: Scenario, gpu: int = 3, share: float = 0.5) -> Scenario:
    """Somebody lowered the power limit."""
    limit = int(int(gpu_value(scenario, gpu, "power.default_limit_mw") or 0) * share)
    return gpu_change(scenario, gpu, {"power.limit_mw": limit, "power.enforced_limit_mw": limit})


def power_unreadable(scenario: Scenario, gpu: int = 3) -> Scenario:
    """The power sensor cannot be read."""
    return call_error(scenario, "nvmlDeviceGetPowerUsage", UNKNOWN_ERROR, gpu)


# Links


def nvlink_dead(scenario: Scenario, gpu: int = 3, link: int = 7, log: bool = True) -> Scenario:
    """An NVLink is down."""
    result = gpu_change(scenario, gpu, {f"nvlink.{link}.active": 0})
    text = f"NVLink: fatal error detected on link {link}(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)"
    return xid(result, gpu, 74, text) if log else result


def nvlink_errors(scenario: Scenario, gpu: int = 3, link: int = 7, count: int = 1200) -> Scenario:
    """An NVLink works and counts errors."""
    prefix = f"nvlink.{link}"
    return gpu_change(scenario, gpu, {f"{prefix}.crc_errors": count, f"{prefix}.replay_errors": count // 100})


def fabric_not_ready(scenario: Scenario, gpu: int | None = None, state: int = 2) -> Scenario:
    """The GPU is not part of the NVSwitch fabric yet: 1 not started, 2 in progress."""
    return gpu_change(scenario, gpu, {"fabric.state": state, "fabric.health_summary": 0, "fabric.health_mask": 0})


def fabric_degraded(scenario: Scenario, gpu: int = 3) -> Scenario:
    """The fabric works with less bandwidth than it should."""
    return gpu_change(scenario, gpu, {"fabric.health_mask": 0xA9, "fabric.health_summary": 2})


def fabric_manager_down(scenario: Scenario) -> Scenario:
    """The service nvidia-fabricmanager has failed."""
    return changed(scenario, host__fabric_manager="failed")


def pcie_generation_dropped(scenario: Scenario, gpu: int = 3, generation: int = 3) -> Scenario:
    """The link to the host is slower than it can be, although the GPU works."""
    load = {"performance_state": 0, "utilization.gpu": 95, "clock_event_reasons": "0x0"}
    return gpu_change(scenario, gpu, {**load, "pcie.generation_current": generation})


def pcie_width_dropped(scenario: Scenario, gpu: int = 3, width: int = 8) -> Scenario:
    """The link to the host has fewer lanes than it can have."""
    return gpu_change(scenario, gpu, {"pcie.width_current": width})


def pcie_replays(scenario: Scenario, gpu: int = 3, count: int = 5000) -> Scenario:
    """The link to the host repeats many packets."""
    return gpu_change(scenario, gpu, {"pcie.replay_count": count, "host.aer_correctable": count})


def p2p_broken(scenario: Scenario, a: int = 0, b: int = 1) -> Scenario:
    """Two GPUs cannot reach each other's memory."""
    pair = f"p2p.{min(a, b)}.{max(a, b)}"
    return {**scenario, f"{pair}.nvlink": "6", f"{pair}.read": "6", f"{pair}.write": "6"}


# Modes and firmware


def persistence_off(scenario: Scenario, gpu: int | None = None) -> Scenario:
    """Persistence mode is off."""
    return gpu_change(scenario, gpu, {"persistence_mode": 0})


def compute_mode(scenario: Scenario, gpu: int = 3, mode: int = 2) -> Scenario:
    """Another compute mode: 1 exclusive thread, 2 prohibited, 3 exclusive process."""
    return gpu_change(scenario, gpu, {"compute_mode": mode})


def mig_pending(scenario: Scenario, gpu: int = 3) -> Scenario:
    """MIG was switched on, and waits for a reset."""
    return gpu_change(scenario, gpu, {"mig.pending": 1})


def inforom_corrupt(scenario: Scenario, gpu: int = 3) -> Scenario:
    """The card's own configuration store is corrupt."""
    return gpu_change(scenario, gpu, {"inforom.validate_code": 14})


def vbios_differs(scenario: Scenario, gpu: int = 3, version: str = "96.00.61.00.01") -> Scenario:
    """One card has another VBIOS than its peers."""
    return gpu_change(scenario, gpu, {"vbios_version": version})


def bar1_small(scenario: Scenario, gpu: int = 3) -> Scenario:
    """The window of the PCI bus into the memory is small."""
    return gpu_change(scenario, gpu, {"bar1.total": 256 * 1024**2})


def _logged(scenario: Scenario, wanted: bool, message: str) -> Scenario:
    return log(scenario, message) if wanted else scenario


FAULTS: dict[str, Callable[..., Scenario]] = {
    function.__name__: function
    for function in (
        driver_not_loaded, version_mismatch, init_error, pending_update, next_kernel, hang, delay, call_error, gpu_lost,
        gpu_missing, recovery_action, busy, zombie_memory, dead_process, ecc_volatile, ecc_corrected,
        ecc_sram_threshold, ecc_pending, remap_pending, remap_failed, retired_pages, repair_pending,
        unrepairable_memory, throttle_hw_thermal, throttle_power_brake, throttle_sw_thermal, hot_gpu, hot_memory,
        power_capped, power_unreadable, nvlink_dead, nvlink_errors, fabric_not_ready, fabric_degraded,
        fabric_manager_down, pcie_generation_dropped, pcie_width_dropped, pcie_replays, p2p_broken, persistence_off,
        compute_mode, mig_pending, inforom_corrupt, vbios_differs, bar1_small,
    )
}  # fmt: skip
