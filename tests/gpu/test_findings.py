# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault yields exactly the findings that it should, and no others, on hosts through Ansible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from gpu_fleet import GpuFleet, Scenario, healthy, with_faults
from rollouts import HOSTS

# (check, status, index of the GPU; None: of the host)
Found = set[tuple[str, str, int | None]]


@dataclass(frozen=True)
class Case:
    """Hardware, and what must be found on it."""

    name: str
    scenario: Scenario
    found: Found = field(default_factory=set)
    status: str = "healthy"


def one(fault: str, *found: tuple[str, str, int | None], status: str = "out_of_service", **options: Any) -> Case:
    """Return the case of a single fault."""
    return Case(fault, with_faults(fault, **options), set(found), status)


DEGRADED = {"status": "degraded"}
CASES = [
    *(Case(f"healthy_{name}", healthy(name)) for name in ("hgx_h100_8", "rtx_4090_4", "l4_1", "t4_1")),
    one("driver_not_loaded", ("nvml_loadable", "fail", None)),
    one("version_mismatch", ("nvml_loadable", "fail", None)),
    one("init_error", ("nvml_loadable", "fail", None)),
    one("pending_update", ("driver_lib_match", "warn", None), **DEGRADED),
    one("next_kernel", ("next_kernel_module", "warn", None), **DEGRADED),
    one("hang", ("nvml_hang", "fail", None)),
    one("gpu_lost", ("gpu_lost", "fail", 3), ("xid", "fail", 3)),
    one("recovery_action", ("reset_required", "fail", 3), ("xid", "fail", 3)),
    one("zombie_memory", ("vram_zombie", "warn", 3), **DEGRADED),
    one("dead_process", ("vram_zombie", "fail", 3)),
    one("busy", status="healthy"),
    one("ecc_volatile", ("ecc_uncorrected", "fail", 3), ("xid", "fail", 3)),
    one("ecc_corrected", ("ecc_corrected", "warn", 3), **DEGRADED),
    one("ecc_sram_threshold", ("ecc_sram", "fail", 3)),
    one("ecc_pending", ("ecc_mode", "warn", 3), **DEGRADED),
    one("remap_pending", ("row_remap_pending", "warn", 3), **DEGRADED),
    one("remap_failed", ("row_remap_failed", "fail", 3), ("xid", "fail", 3)),
    one("unrepairable_memory", ("memory_repair", "fail", 3)),
    one("throttle_hw_thermal", ("throttle_hardware", "fail", 3)),
    one("throttle_power_brake", ("throttle_hardware", "fail", 3)),
    one("throttle_sw_thermal", ("throttle_hardware", "warn", 3), **DEGRADED),
    one("hot_gpu", ("temperature_gpu", "fail", 3)),
    one("hot_memory", ("temperature_memory", "fail", 3)),
    one("power_capped", ("power_cap", "warn", 3), **DEGRADED),
    one("power_unreadable", ("power_read", "fail", 3)),
    one("nvlink_dead", ("nvlink_links", "fail", 3), ("xid", "fail", 3)),
    one("fabric_not_ready", *(("fabric_state", "fail", gpu) for gpu in range(8))),
    one("fabric_manager_down", ("fabric_manager", "fail", None)),
    one("pcie_generation_dropped", ("pcie_generation", "warn", 3), **DEGRADED),
    one("pcie_width_dropped", ("pcie_width", "fail", 3)),
    one("p2p_broken", ("p2p", "fail", 0)),
    one("persistence_off", *(("persistence", "warn", gpu) for gpu in range(8)), **DEGRADED),
    one("mig_pending", ("mig_mode", "warn", 3), **DEGRADED),
    one("inforom_corrupt", ("inforom", "fail", 3)),
    one("vbios_differs", ("uniform_firmware", "warn", 3), **DEGRADED),
    one("bar1_small", ("bar1", "warn", 3), **DEGRADED),
]


@pytest.fixture(scope="module")
def answers(fleet: GpuFleet) -> Iterator[dict[str, dict[str, Any]]]:
    """What the playbook health wrote about each case; one run asks as many hosts as there are."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(CASES), len(HOSTS)):
        batch = dict(zip(HOSTS, CASES[start : start + len(HOSTS)], strict=False))
        fleet.give(**{host: case.scenario for host, case in batch.items()})
        _done, hosts = fleet.health()
        found |= {case.name: hosts[host] for host, case in batch.items()}
    yield found
    fleet.give(**dict.fromkeys(HOSTS, healthy()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fault_yields_exactly_its_findings(answers: dict[str, dict[str, Any]], case: Case) -> None:
    answer = answers[case.name]
    found = {
        (item["check"], item["status"], item["gpu"] and item["gpu"]["index"])
        for item in answer["findings"]
        if item["status"] in ("warn", "fail")
    }
    assert found == case.found, answer["error"]
    assert answer["status"] == case.status
