# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware of the fake hosts as plain data: what an idle, healthy machine of each kind answers. All of it is fake."""

from __future__ import annotations

from collections.abc import Iterable

from .scenario_file import Scenario

MIB = 1024**2
GIB = 1024**3
DRIVER_VERSION = "580.95.05"
IDLE = "0x1"

# Host and driver, the same for all profiles with a GPU.
HOST: dict[str, object] = {
    "driver_version": DRIVER_VERSION,
    "nvml_version": f"13.{DRIVER_VERSION}",
    "cuda_version": 13000,
    "host.module_version": DRIVER_VERSION,
    "host.disk_version": DRIVER_VERSION,
    "host.library_version": DRIVER_VERSION,
    "host.module_licence": "Dual MIT/GPL",
    "host.modules": "nvidia nvidia_uvm nvidia_modeset",
    "host.persistenced": "active",
    "host.reboot_heals": 1,
}

# What every healthy GPU answers. Keys that a card does not have are not there: it then says "not supported".
EVERY_GPU: dict[str, object] = {
    "gsp_firmware_version": DRIVER_VERSION,
    "gsp.enabled": 1,
    "gsp.default": 1,
    "inforom.validate_code": 0,
    "bus_type": 2,
    "persistence_mode": 1,
    "compute_mode": 0,
    "display_mode": 0,
    "display_active": 0,
    "utilization.gpu": 0,
    "utilization.memory": 0,
    "clock_event_reasons": IDLE,
    "clock_event_reasons_supported": "0x1ff",
    "event_ns.sw_power_cap": 0,
    "event_ns.sync_boost": 0,
    "event_ns.sw_thermal": 0,
    "event_ns.hw_thermal": 0,
    "event_ns.hw_power_brake": 0,
    "pcie.replay_count": 0,
    "pcie.width_current": 16,
    "pcie.width_max": 16,
    "bar1.used": 1 * MIB,
    "recovery_action": 0,
    "power.energy_mj": 7_250_000_000,
}
ECC_ON: dict[str, object] = {
    "ecc.mode_current": 1,
    "ecc.mode_pending": 1,
    "ecc.volatile_corrected": 0,
    "ecc.volatile_uncorrected": 0,
    "ecc.aggregate_corrected": 0,
    "ecc.aggregate_uncorrected": 0,
}
ROW_REMAP: dict[str, object] = {
    "row_remap.corrected": 0,
    "row_remap.uncorrected": 0,
    "row_remap.pending": 0,
    "row_remap.failed": 0,
    "row_remap.histogram.max": 2560,
    "row_remap.histogram.high": 0,
    "row_remap.histogram.partial": 0,
    "row_remap.histogram.low": 0,
    "row_remap.histogram.none": 0,
}
SRAM: dict[str, object] = {"sram.threshold_exceeded": 0, "sram.aggregate_parity": 0, "sram.aggregate_secded": 0}

H100: dict[str, object] = {
    "name": "NVIDIA H100 80GB HBM3",
    "brand": 14,
    "architecture": 9,
    "cores": 16896,
    "compute_capability.major": 9,
    "compute_capability.minor": 0,
    "vbios_version": "96.00.99.00.01",
    "inforom_version": "G520.0200.00.05",
    "pci.device": "0x233010de",
    "pci.subsystem": "0x16c110de",
    "pcie.generation_current": 5,
    "pcie.generation_max": 5,
    "pcie.generation_gpu_max": 5,
    "memory.total": 81559 * MIB,
    "memory.reserved": 551 * MIB,
    "memory.used": 4 * MIB,
    "memory.bus_width_bits": 5120,
    "bar1.total": 128 * GIB,
    "performance_state": 0,
    "clock.graphics_mhz": 345,
    "clock.sm_mhz": 345,
    "clock.memory_mhz": 2619,
    "clock.video_mhz": 765,
    "clock.graphics_max_mhz": 1980,
    "clock.sm_max_mhz": 1980,
    "clock.memory_max_mhz": 2619,
    "clock.video_max_mhz": 1545,
    "temperature.gpu": 31,
    "temperature.memory": 42,
    "temperature.shutdown": 92,
    "temperature.slowdown": 89,
    "temperature.memory_max": 95,
    "temperature.gpu_max": 87,
    "temperature.margin": 56,
    "temperature.shutdown_tlimit": -8,
    "temperature.slowdown_tlimit": -2,
    "temperature.memory_max_tlimit": 0,
    "temperature.gpu_max_tlimit": 0,
    "power.usage_mw": 71_400,
    "power.limit_mw": 700_000,
    "power.enforced_limit_mw": 700_000,
    "power.default_limit_mw": 700_000,
    "power.min_limit_mw": 200_000,
    "power.max_limit_mw": 700_000,
    "mig.current": 0,
    "mig.pending": 0,
    "mig.max_devices": 7,
    "nvlink.count": 18,
    "nvlink.*.active": 1,
    "nvlink.*.version": 6,  # the interface numbers NVLink 4.0 so
    "nvlink.*.remote_type": 2,  # a switch
    "nvlink.*.crc_errors": 0,
    "nvlink.*.replay_errors": 0,
    "nvlink.*.recovery_errors": 0,
    "fabric.state": 3,
    "fabric.status": 0,
    "fabric.health_mask": 0xAA,  # degraded bandwidth, route recovery, route unhealthy, access timeout: all "no"
    "fabric.health_summary": 1,
    **ECC_ON,
    **ROW_REMAP,
    **SRAM,
}
RTX_4090: dict[str, object] = {
    "name": "NVIDIA GeForce RTX 4090",
    "brand": 5,
    "architecture": 8,
    "cores": 16384,
    "compute_capability.major": 8,
    "compute_capability.minor": 9,
    "vbios_version": "95.02.3c.00.8c",
    "inforom_version": "G002.0000.00.03",
    "pci.device": "0x268410de",
    "pci.subsystem": "0x167c10de",
    "pcie.generation_current": 1,  # an idle GeForce lets its link fall asleep
    "pcie.generation_max": 4,
    "pcie.generation_gpu_max": 4,
    "memory.total": 24564 * MIB,
    "memory.reserved": 358 * MIB,
    "memory.used": 2 * MIB,
    "memory.bus_width_bits": 384,
    "bar1.total": 32 * GIB,
    "performance_state": 8,
    "clock.graphics_mhz": 210,
    "clock.sm_mhz": 210,
    "clock.memory_mhz": 405,
    "clock.video_mhz": 1185,
    "clock.graphics_max_mhz": 3120,
    "clock.sm_max_mhz": 3120,
    "clock.memory_max_mhz": 10501,
    "clock.video_max_mhz": 2415,
    "temperature.gpu": 36,
    "temperature.shutdown": 97,
    "temperature.slowdown": 92,
    "temperature.gpu_max": 90,
    "temperature.margin": 48,
    "temperature.shutdown_tlimit": -7,
    "temperature.slowdown_tlimit": -2,
    "temperature.gpu_max_tlimit": 0,
    "fan_percent": 30,
    "power.usage_mw": 18_200,
    "power.limit_mw": 450_000,
    "power.enforced_limit_mw": 450_000,
    "power.default_limit_mw": 450_000,
    "power.min_limit_mw": 150_000,
    "power.max_limit_mw": 600_000,
    "ecc.mode_current": 0,  # it has ECC, switched off by default: no counters then
    "ecc.mode_pending": 0,
    "fabric.state": 0,
}
L4: dict[str, object] = {
    "name": "NVIDIA L4",
    "brand": 14,
    "architecture": 8,
    "cores": 7424,
    "compute_capability.major": 8,
    "compute_capability.minor": 9,
    "vbios_version": "95.04.29.00.06",
    "inforom_version": "G193.0200.00.02",
    "pci.device": "0x27b810de",
    "pci.subsystem": "0x16ca10de",
    "pcie.generation_current": 1,
    "pcie.generation_max": 4,
    "pcie.generation_gpu_max": 4,
    "memory.total": 23034 * MIB,
    "memory.reserved": 565 * MIB,
    "memory.used": 1 * MIB,
    "memory.bus_width_bits": 192,
    "bar1.total": 32 * GIB,
    "performance_state": 8,
    "clock.graphics_mhz": 210,
    "clock.sm_mhz": 210,
    "clock.memory_mhz": 405,
    "clock.video_mhz": 795,
    "clock.graphics_max_mhz": 2040,
    "clock.sm_max_mhz": 2040,
    "clock.memory_max_mhz": 6251,
    "clock.video_max_mhz": 1770,
    "temperature.gpu": 38,
    "temperature.shutdown": 98,
    "temperature.slowdown": 95,
    "temperature.gpu_max": 92,
    "temperature.margin": 46,
    "temperature.shutdown_tlimit": -5,
    "temperature.slowdown_tlimit": -2,
    "temperature.gpu_max_tlimit": 0,
    "power.usage_mw": 16_700,
    "power.limit_mw": 72_000,
    "power.enforced_limit_mw": 72_000,
    "power.default_limit_mw": 72_000,
    "power.min_limit_mw": 40_000,
    "power.max_limit_mw": 72_000,
    "fabric.state": 0,
    **ECC_ON,
    **ROW_REMAP,
    **SRAM,
    "row_remap.histogram.max": 96,
}
T4: dict[str, object] = {  # a card from before row remapping: it retires pages
    "name": "Tesla T4",
    "brand": 14,
    "architecture": 6,
    "cores": 2560,
    "compute_capability.major": 7,
    "compute_capability.minor": 5,
    "vbios_version": "90.04.96.00.02",
    "inforom_version": "G183.0200.00.02",
    "pci.device": "0x1eb810de",
    "pci.subsystem": "0x12a210de",
    "pcie.generation_current": 1,
    "pcie.generation_max": 3,
    "pcie.generation_gpu_max": 3,
    "memory.total": 15360 * MIB,
    "memory.reserved": 423 * MIB,
    "memory.used": 1 * MIB,
    "memory.bus_width_bits": 256,
    "bar1.total": 256 * MIB,
    "performance_state": 8,
    "clock.graphics_mhz": 300,
    "clock.sm_mhz": 300,
    "clock.memory_mhz": 405,
    "clock.graphics_max_mhz": 1590,
    "clock.sm_max_mhz": 1590,
    "clock.memory_max_mhz": 5001,
    "temperature.gpu": 33,
    "temperature.shutdown": 96,
    "temperature.slowdown": 93,
    "temperature.gpu_max": 85,
    "power.usage_mw": 9_300,
    "power.limit_mw": 70_000,
    "power.enforced_limit_mw": 70_000,
    "power.default_limit_mw": 70_000,
    "power.min_limit_mw": 60_000,
    "power.max_limit_mw": 70_000,
    "retired.single_bit": 0,
    "retired.double_bit": 0,
    "retired.pending": 0,
    **ECC_ON,
}


def machine(
    profile: str, card: dict[str, object], places: Iterable[tuple[str, int]], serial: str | None, **more: object
) -> Scenario:
    """Return a scenario with one such card in each place (PCI address, NUMA node); serial: first digits, or none."""
    scenario: Scenario = {"profile": profile}
    values: dict[str, object] = {**HOST}
    values.update({f"gpu.*.{key}": value for key, value in {**EVERY_GPU, **card}.items()})
    kind = str(card["pci.device"])[2:6]
    numa = []
    for index, (address, node) in enumerate(places):
        values[f"gpu.{index}.uuid"] = f"GPU-{kind}0000-fa4e-4000-8000-{index:012x}"
        values[f"gpu.{index}.minor_number"] = index
        values[f"gpu.{index}.pci.address"] = address
        values[f"gpu.{index}.host.numa_node"] = node
        if serial:
            values[f"gpu.{index}.serial"] = f"{serial}{index:05d}"
        numa.append(node)
    values["count"] = len(numa)
    values.update(more)
    for a in range(len(numa)):
        for b in range(a + 1, len(numa)):
            values[f"topology.{a}.{b}"] = 40 if numa[a] == numa[b] else 50
    scenario.update({key: str(value) for key, value in values.items()})
    return scenario


def hgx_h100_8() -> Scenario:
    """Return an HGX board: eight H100 SXM, all joined by four NVSwitches."""
    buses = ("18", "2a", "3a", "5d", "9a", "ab", "ba", "db")
    switches = [f"0000:{bus}:00.0" for bus in ("07", "08", "09", "0a")]
    scenario = machine(
        "hgx_h100_8", H100, [(f"0000:{bus}:00.0", index // 4) for index, bus in enumerate(buses)], "16512230"
    )
    for index, address in enumerate(switches):
        scenario[f"host.nvswitch.{index}"] = address
    for link in range(18):  # 5, 4, 4 and 5 links to the four switches
        scenario[f"gpu.*.nvlink.{link}.remote_pci"] = switches[(link >= 5) + (link >= 9) + (link >= 13)]
    scenario.update({"p2p.*.nvlink": "0", "p2p.*.read": "0", "p2p.*.write": "0"})
    scenario.update({"host.fabric_manager": "active", "host.fabric_manager_version": DRIVER_VERSION})
    return scenario


def rtx_4090_4() -> Scenario:
    """Return a workstation: four GeForce RTX 4090, no NVLink, no peer-to-peer."""
    places = [("0000:01:00.0", 0), ("0000:25:00.0", 0), ("0000:81:00.0", 1), ("0000:c1:00.0", 1)]
    return machine("rtx_4090_4", RTX_4090, places, None, **{"p2p.*.nvlink": 5, "p2p.*.read": 1, "p2p.*.write": 1})


def l4_1() -> Scenario:
    """Return an inference server: one L4."""
    return machine("l4_1", L4, [("0000:3b:00.0", 0)], "13216230")


def t4_1() -> Scenario:
    """Return an old inference server: one T4, which retires memory pages."""
    return machine("t4_1", T4, [("0000:af:00.0", 1)], "13252190")


def none() -> Scenario:
    """Return a host without an NVIDIA GPU: should a library be there at all, it finds no driver."""
    return {"profile": "none", "count": "0", "init_code": "9"}


PROFILES = {"hgx_h100_8": hgx_h100_8, "rtx_4090_4": rtx_4090_4, "l4_1": l4_1, "t4_1": t4_1, "none": none}
