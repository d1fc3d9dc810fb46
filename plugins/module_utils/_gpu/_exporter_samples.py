# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the GPU exporter shows: the names of slo_metrics.yml, filled from readings of NVML and the kernel log. Pure.

A value that a card, a driver or a mode does not have gives no sample: never 0, which would be a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_owners import memory_by_owner

GAUGE, COUNTER = "gauge", "counter"
# (type, what): as in plugins/plugin_utils/slo_metrics.yml; a test holds both together.
METRICS: dict[str, tuple[str, str]] = {
    "local_llm_gpu_utilization_ratio": (GAUGE, "share of the time in which a kernel ran, 0 to 1"),
    "local_llm_gpu_memory_utilization_ratio": (GAUGE, "share of the time in which memory was read or written, 0 to 1"),
    "local_llm_gpu_memory_used_bytes": (GAUGE, "memory in use"),
    "local_llm_gpu_memory_free_bytes": (GAUGE, "memory that is free"),
    "local_llm_gpu_memory_reserved_bytes": (GAUGE, "memory that the driver keeps"),
    "local_llm_gpu_process_memory_bytes": (GAUGE, "memory by the kind of its owner"),
    "local_llm_gpu_temperature_celsius": (GAUGE, "temperature of the GPU"),
    "local_llm_gpu_memory_temperature_celsius": (GAUGE, "temperature of its memory"),
    "local_llm_gpu_power_watts": (GAUGE, "power"),
    "local_llm_gpu_power_limit_watts": (GAUGE, "power that the driver allows"),
    "local_llm_gpu_energy_joules_total": (COUNTER, "energy since the driver was loaded"),
    "local_llm_gpu_sm_clock_hertz": (GAUGE, "clock of the processors"),
    "local_llm_gpu_memory_clock_hertz": (GAUGE, "clock of the memory"),
    "local_llm_gpu_throttle_seconds_total": (COUNTER, "time in which the clocks were lowered, by reason"),
    "local_llm_gpu_pcie_generation": (GAUGE, "generation that the PCIe link uses now; an idle card may lower it"),
    "local_llm_gpu_pcie_generation_max": (GAUGE, "highest generation that card and slot can do"),
    "local_llm_gpu_pcie_width": (GAUGE, "lanes that the PCIe link uses now"),
    "local_llm_gpu_pcie_width_max": (GAUGE, "most lanes that card and slot can do"),
    "local_llm_gpu_pcie_transmitted_bytes_total": (COUNTER, "bytes that the GPU sent over PCIe"),
    "local_llm_gpu_pcie_received_bytes_total": (COUNTER, "bytes that the GPU received over PCIe"),
    "local_llm_gpu_pcie_replay_total": (COUNTER, "PCIe packets sent again"),
    "local_llm_gpu_nvlink_active_links": (GAUGE, "NVLinks that are up"),
    "local_llm_gpu_nvlink_errors_total": (COUNTER, "errors of all NVLinks of the GPU, by type"),
    "local_llm_gpu_nvlink_transmitted_bytes_total": (COUNTER, "data that the GPU sent over NVLink"),
    "local_llm_gpu_nvlink_received_bytes_total": (COUNTER, "data that the GPU received over NVLink"),
    "local_llm_gpu_ecc_corrected_total": (COUNTER, "corrected ECC errors since the driver was loaded"),
    "local_llm_gpu_ecc_uncorrected_total": (COUNTER, "uncorrected ECC errors since the driver was loaded"),
    "local_llm_gpu_row_remap_corrected_total": (COUNTER, "rows of memory replaced after corrected errors"),
    "local_llm_gpu_row_remap_uncorrected_total": (COUNTER, "rows of memory replaced after uncorrected errors"),
    "local_llm_gpu_row_remap_pending": (GAUGE, "1 when a replaced row waits for a reset"),
    "local_llm_gpu_row_remap_failed": (GAUGE, "1 when a bad row of memory could not be replaced"),
    "local_llm_gpu_retired_pages_pending": (
        GAUGE,
        "1 when a bad page of memory waits for a reset (cards up to Turing)",
    ),
    "local_llm_gpu_xid_errors_total": (COUNTER, "XIDs in the kernel log since the boot, by code"),
    "local_llm_gpu_lost": (GAUGE, "1 when the driver no longer reaches a GPU that it had"),
    "local_llm_gpu_info": (GAUGE, "1, with name and PCI address of the GPU"),
    "local_llm_gpu_driver_info": (GAUGE, "1, with the versions of driver, NVML and CUDA"),
    "local_llm_gpu_driver_problem": (GAUGE, "1 for what keeps the driver from answering; nothing while it answers"),
    "local_llm_gpu_read_seconds": (GAUGE, "how long the last reading of all GPUs took"),
    "local_llm_gpu_kernel_log_readable": (GAUGE, "1 when the kernel log, which tells of XIDs, can be read"),
    "local_llm_gpu_scrape_success_timestamp_seconds": (
        GAUGE,
        "when the driver last answered; 0: not yet since the exporter was started",
    ),
}
REASONS = ("hw_thermal", "sw_thermal", "hw_power_brake", "sw_power_cap")
LINK_ERRORS = ("crc", "replay", "recovery")
MEGAHERTZ = 1e6

# {label: value}, value
Sample = tuple[Mapping[str, str], float]
Samples = dict[str, list[Sample]]
Values = Mapping[str, Any]
# (PCI address, code) or (PCI address, "other"): how often
XidCounts = Mapping[tuple[Optional[str], str], int]


@dataclass(frozen=True)
class Seen:
    """What the exporter knows at one moment. Times are Unix times; 0: never.

    gpus: {index, lost, values} of the newest reading. known: {PCI address: (gpu, uuid)} of every GPU since the start.
    """

    read_at_seconds: float = 0.0
    read_seconds: float | None = None
    problem: str | None = None
    driver: Mapping[str, str | None] = field(default_factory=dict)
    gpus: tuple[Mapping[str, Any], ...] = ()
    known: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    xids: XidCounts = field(default_factory=dict)
    log_readable: bool | None = None


def samples(seen: Seen, now_seconds: float, max_age_seconds: float) -> Samples:
    """Return everything to show. What NVML said is left out when it is older than max_age_seconds."""
    result: Samples = {}
    put = _putter(result)
    put("scrape_success_timestamp_seconds", {}, seen.read_at_seconds)
    if seen.problem is not None:
        put("driver_problem", {"problem": seen.problem}, 1)
    put("kernel_log_readable", {}, seen.log_readable)
    _put_xids(put, seen)
    if now_seconds - seen.read_at_seconds > max_age_seconds:
        return result
    put("read_seconds", {}, seen.read_seconds)
    put("driver_info", {name: seen.driver.get(f"{name}_version") or "" for name in ("driver", "nvml", "cuda")}, 1)
    answering = set()
    for gpu in seen.gpus:
        uuid = gpu["values"].get("uuid")
        if uuid is None:
            continue
        labels = {"gpu": str(gpu["index"]), "uuid": str(uuid)}
        answering.add(str(uuid))
        put("lost", labels, bool(gpu["lost"]))
        put("info", {**labels, "name": gpu["values"].get("name") or "", "pci": gpu["values"].get("pci") or ""}, 1)
        if not gpu["lost"]:
            _put_gpu(put, labels, gpu["values"])
    for index, uuid in sorted(seen.known.values()):
        if uuid not in answering:
            put("lost", {"gpu": index, "uuid": uuid}, 1)
    return result


Put = Callable[[str, Mapping[str, str], Any], None]


def _putter(result: Samples) -> Put:
    def put(name: str, labels: Mapping[str, str], value: Any) -> None:
        if value is not None:
            result.setdefault(f"local_llm_gpu_{name}", []).append((labels, float(value)))

    return put


def _put_gpu(put: Put, labels: Mapping[str, str], values: Values) -> None:
    get = values.get
    put("utilization_ratio", labels, _times(get("utilization.gpu_percent"), 0.01))
    put("memory_utilization_ratio", labels, _times(get("utilization.memory_percent"), 0.01))
    for name in ("used", "free", "reserved"):
        put(f"memory_{name}_bytes", labels, get(f"memory.{name}_bytes"))
    mig = (get("mig") or (0, 0))[0]
    owners = memory_by_owner(get("processes") or (), get("memory.used_bytes"), bool(mig))
    for owner, memory in sorted(owners.items()):
        put("process_memory_bytes", {**labels, "owner": owner}, memory)
    put("temperature_celsius", labels, get("temperature.gpu_celsius"))
    put(
        "memory_temperature_celsius", labels, get("temperature.memory_celsius") or None
    )  # cards without the sensor say 0
    put("power_watts", labels, get("power.usage_watts"))
    put("power_limit_watts", labels, get("power.enforced_limit_watts"))
    put("energy_joules_total", labels, get("power.energy_joules"))
    put("sm_clock_hertz", labels, _times(get("clocks.sm_mhz"), MEGAHERTZ))
    put("memory_clock_hertz", labels, _times(get("clocks.memory_mhz"), MEGAHERTZ))
    for reason in REASONS:
        put("throttle_seconds_total", {**labels, "reason": reason}, get(f"clock_event_seconds.{reason}"))
    _put_links(put, labels, values)
    put("ecc_corrected_total", labels, get("ecc.volatile_corrected"))
    put("ecc_uncorrected_total", labels, get("ecc.volatile_uncorrected"))
    rows = get("row_remap.rows") or (None, None, None, None)
    for name, value in zip(("corrected_total", "uncorrected_total", "pending", "failed"), rows):
        put(f"row_remap_{name}", labels, value)
    put("retired_pages_pending", labels, get("retired_pages.pending"))


def _put_links(put: Put, labels: Mapping[str, str], values: Values) -> None:
    get = values.get
    for name in ("generation", "width"):
        put(f"pcie_{name}", labels, get(f"pci.{name}_current"))
        put(f"pcie_{name}_max", labels, get(f"pci.{name}_max"))
    put("pcie_replay_total", labels, get("pci.replay_count"))
    put("nvlink_active_links", labels, get("nvlink.active"))
    for kind in LINK_ERRORS:
        put("nvlink_errors_total", {**labels, "type": kind}, get(f"nvlink.{kind}_errors"))
    for direction in ("transmitted", "received"):
        put(f"pcie_{direction}_bytes_total", labels, get(f"pcie.{direction}_bytes"))
        put(f"nvlink_{direction}_bytes_total", labels, get(f"nvlink.{direction}_bytes"))


def _put_xids(put: Put, seen: Seen) -> None:
    """Name the GPU of an XID by index and UUID; by its PCI address as long as NVML has not told them."""
    for (pci, code), count in sorted(seen.xids.items(), key=str):
        index, uuid = seen.known.get(pci or "", (pci or "unknown", ""))
        put("xid_errors_total", {"gpu": index, "uuid": uuid, "xid": code}, count)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def families(found: Samples) -> Iterable[tuple[str, str, str, list[str], list[Sample]]]:
    """Yield (name, type, what, names of labels, samples) in the order of METRICS."""
    for name, (kind, what) in METRICS.items():
        if name in found:
            yield name, kind, what, list(found[name][0][0]), found[name]
