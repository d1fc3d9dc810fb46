# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reset of a fake GPU and a reboot of its host leave of a scenario. Pure functions."""

from __future__ import annotations

from .scenario_file import Scenario, changed, gpu_change, gpu_count, gpu_value, processes


def reset(scenario: Scenario, gpu: int) -> Scenario:
    """Return what is left after a reset of the GPU. A lost GPU and a GPU that says reset=no_effect stay as they are."""
    if gpu_value(scenario, gpu, "reset") == "no_effect" or gpu_value(scenario, gpu, "error.*"):
        return scenario
    cleared: dict[str, object] = {"ecc.volatile_uncorrected": None, "ecc.volatile_corrected": None}
    cleared.update({"row_remap.pending": None, "retired.pending": None, "repair.channel_pending": None})
    cleared.update({"memory.used": None, "utilization.gpu": None, "inforom.validate_code": None})
    cleared.update({f"process.{number}": None for number in range(len(processes(scenario, gpu)))})
    cleared.update({f"nvlink.{link}.active": None for link in range(18)})
    if gpu_value(scenario, gpu, "recovery_action") in ("1", "4"):
        cleared["recovery_action"] = 0
    for mode in ("mig", "ecc.mode"):
        separator = "_" if mode == "ecc.mode" else "."
        pending = gpu_value(scenario, gpu, f"{mode}{separator}pending")
        if pending is not None:
            cleared[f"{mode}{separator}current"] = pending
    return gpu_change(scenario, gpu, cleared)


def reboot(scenario: Scenario) -> Scenario:
    """Return what is left after a reboot: as after a reset of every GPU, and what runs is what lies on the disk."""
    result = {key: value for key, value in scenario.items() if not key.startswith(("hang.", "host.log."))}
    if scenario.get("host.reboot_heals") != "1":
        return {key: value for key, value in scenario.items() if not key.startswith("host.log.")}
    for index in range(gpu_count(result)):
        gone = [key.split(".", 2)[2] for key in result if key.startswith((f"gpu.{index}.hang.", f"gpu.{index}.error."))]
        healed = {"host.readable": None, "recovery_action": None, **dict.fromkeys(gone)}
        result = reset(gpu_change(result, index, healed), index)
    if result.get("host.fabric_manager") == "failed":
        result["host.fabric_manager"] = "active"
    disk = scenario.get("host.disk_version")
    if disk:
        result = changed(result, host__module_version=disk, host__library_version=disk, driver_version=disk)
        result = changed(result, nvml_version=f"13.{disk}", init_code=None)
        result.setdefault("host.modules", "nvidia nvidia_uvm nvidia_modeset")
    return result
