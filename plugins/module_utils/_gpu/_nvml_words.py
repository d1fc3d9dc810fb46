# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What NVML says, in words: which functions fill which keys of a GPU, and what their numbers mean. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What the probe reads with one plain call each: (key, function, arguments, divisor; 0: as it is).
# A GPU that is lost is asked for IDENTITY and FIELDS only.
Table = tuple[tuple[str, str, tuple[int, ...], int], ...]
IDENTITY: Table = (
    ("name", "nvmlDeviceGetName", (), 0),
    ("uuid", "nvmlDeviceGetUUID", (), 0),
    ("serial", "nvmlDeviceGetSerial", (), 0),
    ("vbios_version", "nvmlDeviceGetVbiosVersion", (), 0),
)
VALUES: Table = (
    ("architecture", "nvmlDeviceGetArchitecture", (), 0),
    ("compute_capability", "nvmlDeviceGetCudaComputeCapability", (), 0),
    ("inforom_version", "nvmlDeviceGetInforomImageVersion", (), 0),
    ("gsp_firmware_version", "nvmlDeviceGetGspFirmwareVersion", (), 0),
    ("pci.generation_current", "nvmlDeviceGetCurrPcieLinkGeneration", (), 0),
    ("pci.generation_max", "nvmlDeviceGetMaxPcieLinkGeneration", (), 0),
    ("pci.width_current", "nvmlDeviceGetCurrPcieLinkWidth", (), 0),
    ("pci.width_max", "nvmlDeviceGetMaxPcieLinkWidth", (), 0),
    ("pci.replay_count", "nvmlDeviceGetPcieReplayCounter", (), 0),
    ("performance_state", "nvmlDeviceGetPerformanceState", (), 0),
    ("persistence_mode", "nvmlDeviceGetPersistenceMode", (), 0),
    ("compute_mode", "nvmlDeviceGetComputeMode", (), 0),
    ("mig", "nvmlDeviceGetMigMode", (), 0),
    ("memory.bus_width_bits", "nvmlDeviceGetMemoryBusWidth", (), 0),
    ("clocks.graphics_mhz", "nvmlDeviceGetClockInfo", (0,), 0),
    ("clocks.sm_mhz", "nvmlDeviceGetClockInfo", (1,), 0),
    ("clocks.memory_mhz", "nvmlDeviceGetClockInfo", (2,), 0),
    ("clocks.graphics_max_mhz", "nvmlDeviceGetMaxClockInfo", (0,), 0),
    ("clocks.sm_max_mhz", "nvmlDeviceGetMaxClockInfo", (1,), 0),
    ("clocks.memory_max_mhz", "nvmlDeviceGetMaxClockInfo", (2,), 0),
    ("temperature.gpu_celsius", "nvmlDeviceGetTemperature", (0,), 0),
    ("temperature.shutdown_celsius", "nvmlDeviceGetTemperatureThreshold", (0,), 0),
    ("temperature.slowdown_celsius", "nvmlDeviceGetTemperatureThreshold", (1,), 0),
    ("temperature.memory_max_celsius", "nvmlDeviceGetTemperatureThreshold", (2,), 0),
    ("temperature.gpu_max_celsius", "nvmlDeviceGetTemperatureThreshold", (3,), 0),
    ("temperature.margin_celsius", "nvmlDeviceGetMarginTemperature", (), 0),
    ("power.usage_watts", "nvmlDeviceGetPowerUsage", (), 1000),
    ("power.limit_watts", "nvmlDeviceGetPowerManagementLimit", (), 1000),
    ("power.enforced_limit_watts", "nvmlDeviceGetEnforcedPowerLimit", (), 1000),
    ("power.default_limit_watts", "nvmlDeviceGetPowerManagementDefaultLimit", (), 1000),
    ("power.energy_joules", "nvmlDeviceGetTotalEnergyConsumption", (), 1000),
    ("ecc.mode", "nvmlDeviceGetEccMode", (), 0),
    ("ecc.volatile_corrected", "nvmlDeviceGetTotalEccErrors", (0, 0), 0),
    ("ecc.volatile_uncorrected", "nvmlDeviceGetTotalEccErrors", (1, 0), 0),
    ("ecc.aggregate_corrected", "nvmlDeviceGetTotalEccErrors", (0, 1), 0),
    ("ecc.aggregate_uncorrected", "nvmlDeviceGetTotalEccErrors", (1, 1), 0),
    ("row_remap.rows", "nvmlDeviceGetRemappedRows", (), 0),
    ("retired_pages.pending", "nvmlDeviceGetRetiredPagesPendingStatus", (), 0),
    ("repair.pending", "nvmlDeviceGetRepairStatus", (), 0),
    ("repair.unrepairable_memory", "nvmlDeviceGetUnrepairableMemoryFlag_v1", (), 0),
)
# Fields, read in one call: (key, number, divisor). The cumulative times are nanoseconds; the probe adds three more.
FIELDS: tuple[tuple[str, int, int], ...] = (
    ("recovery_action", 230, 0),
    ("temperature.memory_celsius", 82, 0),
    ("nvlink_count", 91, 0),
    ("clock_event_seconds.sw_power_cap", 74, 10**9),
    ("clock_event_seconds.sync_boost", 76, 10**9),
)

ARCHITECTURES = {
    2: "kepler",
    3: "maxwell",
    4: "pascal",
    5: "volta",
    6: "turing",
    7: "ampere",
    8: "ada",
    9: "hopper",
    10: "blackwell",
    13: "rubin",
}
COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
# Bit by bit. The two highest are names of drivers before 535 for memory and average power limits; nobody needs them.
CLOCK_EVENT_REASONS = (
    "gpu_idle",
    "applications_clocks",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "hw_power_brake",
    "display_clocks",
)
NVLINK_GENERATIONS = {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 5, 8: 6}
FABRIC_STATES = {0: "not_supported", 1: "not_started", 2: "in_progress", 3: "completed"}
FABRIC_SUMMARIES = {1: "healthy", 2: "unhealthy", 3: "limited_capacity"}
ANCESTORS = {0: "internal", 10: "single", 20: "multiple", 30: "hostbridge", 40: "node", 50: "system"}
PEER_STATES = {0: "ok", 1: "not_supported", 2: "not_supported", 3: "not_supported", 4: "disabled", 5: "not_supported"}
UNKNOWN_PERFORMANCE_STATE = 32

STATUS_OF_CODE = {9: "not_loaded", 12: "missing_library", 18: "mismatch"}
PACKAGE_FIX = (
    "The role local_llm.ops.host installs nvidia-ml-py into /opt/local_llm/tools; "
    "or name an interpreter that has the package in nvml_python."
)
FIXES = {
    4: "Run the module as root (become: true).",
    9: "Load the module (modprobe nvidia). When there is none for the running kernel, build it (dkms autoinstall).",
    12: "Install the driver's library (Debian: libnvidia-ml1), or name its directory in nvml_library_directory.",
    15: "A GPU fell off the bus. Drain the host and reboot it.",
    18: "The driver was updated under a loaded module. Drain the host, then reload the modules or reboot.",
}


def gpu_record(index: int, values: Mapping[str, Any], errors: Mapping[str, Any]) -> dict[str, Any]:
    """Return a GPU with all its keys from what the probe read; null for what it could not read."""
    get = values.get
    pci = get("pci") or {}
    ecc_mode = get("ecc.mode") or (None, None)
    mig = get("mig") or (None, None)
    rows = get("row_remap.rows") or (None, None, None, None)
    repair = get("repair.pending") or (None, None)
    capability = get("compute_capability")
    state = get("performance_state")
    memory_celsius = get("temperature.memory_celsius")
    return {
        "index": index,
        "name": get("name"),
        "uuid": get("uuid"),
        "serial": get("serial") or None,
        "architecture": ARCHITECTURES.get(get("architecture")),  # type: ignore[arg-type]
        "compute_capability": f"{capability[0]}.{capability[1]}" if capability else None,
        "vbios_version": get("vbios_version"),
        "inforom_version": get("inforom_version"),
        "inforom_valid": get("inforom_valid"),
        "gsp_firmware_version": get("gsp_firmware_version"),
        "pci": {
            "address": pci_address(pci.get("address")),
            "bus": pci.get("bus"),
            "device_id": f"{pci['device'] >> 16:04x}" if pci else None,
            "vendor_id": f"{pci['device'] & 0xFFFF:04x}" if pci else None,
            "subsystem_id": f"{pci['subsystem']:08x}" if pci.get("subsystem") else None,
            "numa_node": None,
            **_group(values, "pci", "generation_current generation_max width_current width_max replay_count"),
        },
        "performance_state": None if state == UNKNOWN_PERFORMANCE_STATE else state,
        "persistence_mode": _bool(get("persistence_mode")),
        "compute_mode": COMPUTE_MODES.get(get("compute_mode")),  # type: ignore[arg-type]
        "mig": {"current": _bool(mig[0]), "pending": _bool(mig[1])},
        "memory": _group(values, "memory", "total_bytes used_bytes free_bytes reserved_bytes bus_width_bits"),
        "bar1": _group(values, "bar1", "total_bytes used_bytes"),
        "utilization": _group(values, "utilization", "gpu_percent memory_percent"),
        "clocks": _group(values, "clocks", "sm_mhz memory_mhz graphics_mhz sm_max_mhz memory_max_mhz graphics_max_mhz"),
        "clock_event_reasons": reasons(get("clock_event_reasons")),
        "clock_event_seconds": _group(
            values, "clock_event_seconds", "sw_power_cap sync_boost sw_thermal hw_thermal hw_power_brake"
        ),
        "temperature": {
            "gpu_celsius": get("temperature.gpu_celsius"),
            "memory_celsius": memory_celsius or None,  # cards without the sensor say 0
            **_group(
                values,
                "temperature",
                "slowdown_celsius shutdown_celsius gpu_max_celsius memory_max_celsius margin_celsius",
            ),
        },
        "power": _group(
            values,
            "power",
            "usage_watts limit_watts enforced_limit_watts default_limit_watts min_limit_watts max_limit_watts "
            "energy_joules",
        ),
        "ecc": {
            "mode_current": _bool(ecc_mode[0]),
            "mode_pending": _bool(ecc_mode[1]),
            **_group(
                values, "ecc", "volatile_corrected volatile_uncorrected aggregate_corrected aggregate_uncorrected"
            ),
            "sram_aggregate_uncorrected": get("ecc.sram_aggregate_uncorrected"),
            "sram_threshold_exceeded": _bool(get("ecc.sram_threshold_exceeded")),
        },
        "row_remap": {
            "corrected": rows[0],
            "uncorrected": rows[1],
            "pending": _bool(rows[2]),
            "failed": _bool(rows[3]),
            "histogram": get("row_remap.histogram"),
        },
        "retired_pages": {
            **_group(values, "retired_pages", "single_bit double_bit"),
            "pending": _bool(get("retired_pages.pending")),
        },
        "repair": {
            "channel_pending": _bool(repair[0]),
            "tpc_pending": _bool(repair[1]),
            "unrepairable_memory": _bool(get("repair.unrepairable_memory")),
        },
        "recovery_action": get("recovery_action"),
        "nvlink": [_link(link) for link in get("nvlink") or ()],
        "fabric": _fabric(get("fabric")),
        "processes": list(get("processes") or ()),
        "errors": dict(errors),
    }


def pair_record(pair: Mapping[str, Any]) -> dict[str, Any]:
    """Return two GPUs of the topology in words."""
    return {
        "a": pair["a"],
        "b": pair["b"],
        "ancestor": ANCESTORS.get(pair["ancestor"]),
        "p2p_nvlink": _peer(pair["p2p_nvlink"]),
        "p2p_read": _peer(pair["p2p_read"]),
    }


def reasons(mask: int | None) -> list[str] | None:
    """Return why the clocks are not higher, one word per bit."""
    if mask is None:
        return None
    return [name for bit, name in enumerate(CLOCK_EVENT_REASONS) if mask & 1 << bit]


def pci_address(text: str | None) -> str | None:
    """Return a PCI address as Linux writes it: 0000:18:00.0."""
    domain, colon, rest = (text or "").strip().lower().partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest}" if colon else None
    except ValueError:
        return None


def cuda_version(number: int | None) -> str | None:
    """Return 12080 as 12.8."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def failure(record: Mapping[str, Any], python: str) -> dict[str, Any]:
    """Return status, code and error for a line of the probe that says why there is nothing to ask."""
    code = record["code"]
    if record["failed"] == "import":
        message = f"{python} has no package nvidia-ml-py: {record['error']}. {PACKAGE_FIX}"
        return {"status": "missing_package", "code": None, "error": message}
    message = f"{record['failed']} answered {code} {record['name']}: {str(record['error']).rstrip('.')}."
    if code in FIXES:
        message += " " + FIXES[code]
    return {"status": STATUS_OF_CODE.get(code, "error"), "code": code, "error": message}


def why_no_gpus(nvml: Mapping[str, Any], addresses: Sequence[str]) -> str:
    """Return in plain words why there is no GPU to show. addresses: the NVIDIA GPUs on the PCI bus."""
    if nvml["status"] == "ok":
        if not addresses:
            return "This host has no NVIDIA GPU: the driver is loaded, but none is on the PCI bus."
        return f"The driver is loaded but drives none of the GPUs on the PCI bus ({', '.join(addresses)}). See dmesg."
    if not addresses and nvml["status"] in ("missing_package", "missing_library", "not_loaded"):
        return f"This host has no NVIDIA GPU on its PCI bus. NVML says: {nvml['error']}"
    seen = f"NVIDIA GPUs are on the PCI bus ({', '.join(addresses)}), but NVML cannot be asked. " if addresses else ""
    return seen + str(nvml["error"])


def _group(values: Mapping[str, Any], group: str, names: str) -> dict[str, Any]:
    return {name: values.get(f"{group}.{name}") for name in names.split()}


def _bool(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _peer(state: int | None) -> str | None:
    return None if state is None else PEER_STATES.get(state, "unknown")


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "link": link["link"],
        "active": _bool(link["active"]),
        "version": NVLINK_GENERATIONS.get(link["version"]),
        "remote_pci": pci_address(link["remote_pci"]),
        "crc_errors": link["crc_errors"],
        "replay_errors": link["replay_errors"],
        "recovery_errors": link["recovery_errors"],
    }


def _fabric(fabric: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if fabric is None:
        return None
    return {
        "state": FABRIC_STATES.get(fabric["state"], "not_supported"),
        "status": fabric["status"],
        "health_summary": FABRIC_SUMMARIES.get(fabric["health_summary"]),
        "health_mask": fabric["health_mask"],
    }
