# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots for the tests of checks: a healthy host, and ways to make one thing different."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

GIB = 1024**3


def gpu(index: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a healthy H100 SXM; changes are dotted paths with a double underscore: ecc__volatile_uncorrected=1."""
    address = f"0000:{0x18 + index:02x}:00.0"
    record: dict[str, Any] = {
        "index": index,
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": f"GPU-00000000-0000-0000-0000-{index:012d}",
        "serial": f"16512230{index:05d}",
        "architecture": "hopper",
        "compute_capability": "9.0",
        "vbios_version": "96.00.61.00.01",
        "inforom_version": "G520.0200.00.05",
        "inforom_valid": True,
        "gsp_firmware_version": "570.133.20",
        "pci": {
            "address": address,
            "bus": 0x18 + index,
            "device_id": "2330",
            "vendor_id": "10de",
            "subsystem_id": "16c110de",
            "numa_node": 0,
            "generation_current": 5,
            "generation_max": 5,
            "width_current": 16,
            "width_max": 16,
            "replay_count": 0,
        },
        "performance_state": 0,
        "persistence_mode": True,
        "compute_mode": "default",
        "mig": {"current": False, "pending": False},
        "memory": {
            "total_bytes": 80 * GIB,
            "used_bytes": 0,
            "free_bytes": 79 * GIB,
            "reserved_bytes": 1 * GIB,
            "bus_width_bits": 5120,
        },
        "bar1": {"total_bytes": 128 * GIB, "used_bytes": 0},
        "utilization": {"gpu_percent": 0, "memory_percent": 0},
        "clocks": {
            "sm_mhz": 1980,
            "memory_mhz": 2619,
            "graphics_mhz": 1980,
            "sm_max_mhz": 1980,
            "memory_max_mhz": 2619,
            "graphics_max_mhz": 1980,
        },
        "clock_event_reasons": [],
        "clock_event_seconds": {
            "sw_power_cap": 0.0,
            "sync_boost": 0.0,
            "sw_thermal": 0.0,
            "hw_thermal": 0.0,
            "hw_power_brake": 0.0,
        },
        "temperature": {
            "gpu_celsius": 40,
            "memory_celsius": 45,
            "slowdown_celsius": 87,
            "shutdown_celsius": 92,
            "gpu_max_celsius": 87,
            "memory_max_celsius": 95,
            "margin_celsius": 47,
        },
        "power": {
            "usage_watts": 120.0,
            "limit_watts": 700.0,
            "enforced_limit_watts": 700.0,
            "default_limit_watts": 700.0,
            "min_limit_watts": 200.0,
            "max_limit_watts": 700.0,
            "energy_joules": 1000.0,
        },
        "ecc": {
            "mode_current": True,
            "mode_pending": True,
            "volatile_corrected": 0,
            "volatile_uncorrected": 0,
            "aggregate_corrected": 0,
            "aggregate_uncorrected": 0,
            "sram_aggregate_uncorrected": 0,
            "sram_threshold_exceeded": False,
        },
        "row_remap": {
            "corrected": 0,
            "uncorrected": 0,
            "pending": False,
            "failed": False,
            "histogram": {"max": 640, "high": 0, "partial": 0, "low": 0, "none": 0},
        },
        "retired_pages": {"single_bit": None, "double_bit": None, "pending": None},
        "repair": {"channel_pending": None, "tpc_pending": None, "unrepairable_memory": None},
        "recovery_action": 0,
        "nvlink": [
            {
                "link": link,
                "active": True,
                "version": 4,
                "remote_pci": "0000:07:00.0",
                "crc_errors": 0,
                "replay_errors": 0,
                "recovery_errors": 0,
            }
            for link in range(18)
        ],
        "fabric": {"state": "completed", "status": 0, "health_summary": None, "health_mask": 0},
        "processes": [],
        "errors": {},
    }
    change(record, changes)
    return record


def snapshot(gpus: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a healthy host with these GPUs (eight H100 when none are given); changes as in gpu()."""
    cards = [gpu(index) for index in range(8)] if gpus is None else gpus
    record: dict[str, Any] = {
        "schema": 1,
        "taken_at": "2026-11-01T12:00:00Z",
        "taken_at_seconds": 1793534400.0,
        "boot_id": "11111111-2222-3333-4444-555555555555",
        "uptime_seconds": 86400.0,
        "nvml": {
            "status": "ok",
            "code": 0,
            "error": None,
            "seconds": 0.05,
            "hung_call": None,
            "driver_version": "570.133.20",
            "nvml_version": "12.570.133.20",
            "cuda_version": "12.8",
        },
        "gpus": cards,
        "topology": [
            {"a": a, "b": b, "ancestor": "node", "p2p_nvlink": "ok", "p2p_read": "ok"}
            for a in range(len(cards))
            for b in range(a + 1, len(cards))
        ],
        "driver": {
            "loaded_version": "570.133.20",
            "disk_version": "570.133.20",
            "module_licence": "Dual MIT/GPL",
            "library_versions": ["570.133.20"],
            "nouveau_loaded": False,
            "loaded_modules": ["nvidia", "nvidia_uvm"],
            "packages": {},
        },
        "pci": [
            {
                "address": card["pci"]["address"],
                "vendor": "10de",
                "device_id": card["pci"]["device_id"],
                "class": "0302",
                "kind": "gpu",
                "numa_node": 0,
                "width_current": 16,
                "width_max": 16,
                "speed_current_gts": 32.0,
                "speed_max_gts": 32.0,
                "readable": True,
                "aer_fatal": 0,
                "aer_nonfatal": 0,
                "aer_correctable": 0,
            }
            for card in cards
        ],
        "kernel": {
            "running": "6.12.48-amd64",
            "newest": "6.12.48-amd64",
            "newest_has_module": True,
            "newest_module_signed": True,
            "secure_boot": False,
        },
        "units": {
            name: {"load_state": "loaded", "active_state": "active", "sub_state": "running", "result": "success"}
            for name in ("nvidia-fabricmanager.service", "nvidia-persistenced.service")
        },
        "fabric_manager_version": "570.133.20",
        "host": {
            "cpu_governors": ["performance"],
            "clocksource": "tsc",
            "edac_corrected": 0,
            "edac_uncorrected": 0,
            "time_synchronised": True,
            "disks": [{"path": "/", "total_bytes": 1000 * GIB, "free_bytes": 500 * GIB, "read_only": False}],
            "blocked_processes": [],
            "zombie_processes": [],
            "virtual_machine": False,
        },
        "log": {"source": "journal", "readable": True, "error": None, "lost_messages": 0, "events": []},
        "previous": None,
        "recovery": "",
    }
    change(record, changes)
    return record


def bare_host() -> dict[str, Any]:
    """Return a host without NVIDIA hardware: no library, no driver, no device."""
    record = snapshot([])
    record["nvml"].update(status="missing_library", code=12, error="NVML Shared Library Not Found", driver_version=None)
    record["nvml"].update(nvml_version=None, cuda_version=None)
    record["driver"].update(loaded_version=None, disk_version=None, module_licence=None, library_versions=[])
    record["driver"].update(loaded_modules=[])
    record["units"] = {
        name: {"load_state": "not-found", "active_state": "inactive", "sub_state": "dead", "result": "success"}
        for name in record["units"]
    }
    record["fabric_manager_version"] = None
    record["kernel"].update(newest_has_module=False, newest_module_signed=None)
    return record


def each(record: dict[str, Any], alter: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return a copy of a snapshot with every GPU altered."""
    result = copy.deepcopy(record)
    for card in result["gpus"]:
        alter(card)
    return result


def change(record: dict[str, Any], changes: dict[str, Any]) -> None:
    """Set values by path, where a double underscore goes one level down. KeyError for a path that is not there."""
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = record
        for parent in parents:
            place = place[parent]
        if last not in place:
            raise KeyError(f"{path}: a snapshot has no such key")
        place[last] = value
