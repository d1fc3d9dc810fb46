# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fake nvidia-smi does: -L, -q, --query-gpu, --gpu-reset and -pm, all on the scenario file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from . import fake_host, scenarios
from .scenarios import Scenario, gpu_address, gpu_value

# Where a reset shows beside the scenario; both are there on a lab host only, and tests name their own.
SYSFS = Path(os.environ.get("FAKE_NVML_SYSFS", "/srv/fake-sys"))
MIB = 1024**2
NOT_AVAILABLE = "[N/A]"
# Field of --query-gpu: (key of the scenario, what divides it, unit).
QUERY: dict[str, tuple[str, float, str]] = {
    "name": ("name", 0, ""),
    "gpu_name": ("name", 0, ""),
    "uuid": ("uuid", 0, ""),
    "gpu_uuid": ("uuid", 0, ""),
    "serial": ("serial", 0, ""),
    "gpu_serial": ("serial", 0, ""),
    "vbios_version": ("vbios_version", 0, ""),
    "memory.total": ("memory.total", MIB, " MiB"),
    "memory.used": ("memory.used", MIB, " MiB"),
    "memory.reserved": ("memory.reserved", MIB, " MiB"),
    "temperature.gpu": ("temperature.gpu", 1, ""),
    "temperature.memory": ("temperature.memory", 1, ""),
    "power.draw": ("power.usage_mw", 1000.0, " W"),
    "power.limit": ("power.limit_mw", 1000.0, " W"),
    "utilization.gpu": ("utilization.gpu", 1, " %"),
    "clocks.sm": ("clock.sm_mhz", 1, " MHz"),
    "clocks.mem": ("clock.memory_mhz", 1, " MHz"),
    "pcie.link.gen.current": ("pcie.generation_current", 1, ""),
    "pcie.link.gen.max": ("pcie.generation_max", 1, ""),
    "pcie.link.width.current": ("pcie.width_current", 1, ""),
    "pcie.link.width.max": ("pcie.width_max", 1, ""),
    "ecc.errors.uncorrected.volatile.total": ("ecc.volatile_uncorrected", 1, ""),
    "ecc.errors.uncorrected.aggregate.total": ("ecc.aggregate_uncorrected", 1, ""),
}


def bus_id(scenario: Scenario, gpu: int) -> str:
    """Return the PCI address as nvidia-smi writes it."""
    return f"0000{gpu_address(scenario, gpu)}".upper()


def chosen(scenario: Scenario, wanted: str | None) -> list[int]:
    """Return the GPUs that -i names by index, UUID, serial or PCI address; all without it."""
    every = range(scenarios.gpu_count(scenario))
    if wanted is None:
        return list(every)
    found = []
    for word in wanted.split(","):
        address = word.lower().rjust(16, "0")
        for gpu in every:
            names = {str(gpu), gpu_value(scenario, gpu, "uuid"), gpu_value(scenario, gpu, "serial")}
            if word in names or address == bus_id(scenario, gpu).lower():
                found.append(gpu)
                break
        else:
            raise LookupError("No devices were found")
    return found


def value_of(scenario: Scenario, gpu: int, field: str, units: bool) -> str:
    """Return one field of --query-gpu."""
    fixed = {"index": str(gpu), "count": str(scenarios.gpu_count(scenario)), "pci.bus_id": bus_id(scenario, gpu)}
    fixed.update({"gpu_bus_id": fixed["pci.bus_id"], "driver_version": scenario["driver_version"]})
    if field in fixed:
        return fixed[field]
    if field in ("persistence_mode", "mig.mode.current", "ecc.mode.current"):
        key = {"mig.mode.current": "mig.current", "ecc.mode.current": "ecc.mode_current"}.get(field, field)
        return {"0": "Disabled", "1": "Enabled"}.get(gpu_value(scenario, gpu, key) or "", NOT_AVAILABLE)
    if field == "pstate":
        return f"P{gpu_value(scenario, gpu, 'performance_state')}"
    if field not in QUERY:
        raise ValueError(f'Field "{field}" is not a valid field to query.')
    key, divisor, unit = QUERY[field]
    value = gpu_value(scenario, gpu, key)
    if value is None or not divisor:
        return value or NOT_AVAILABLE
    number = f"{int(value) / divisor:.2f}" if isinstance(divisor, float) else str(int(value) // int(divisor))
    return number + (unit if units else "")


def query(scenario: Scenario, gpus: list[int], fields: list[str], form: str) -> None:
    """Print a table of fields as CSV."""
    options = form.split(",")
    if "noheader" not in options:
        print(", ".join(fields))
    for gpu in gpus:
        print(", ".join(value_of(scenario, gpu, field, "nounits" not in options) for field in fields))


def report(scenario: Scenario, gpus: list[int]) -> None:
    """Print a short form of what -q prints."""
    print("\n==============NVSMI LOG==============\n")
    print(f"Driver Version                            : {scenario['driver_version']}")
    print(f"Attached GPUs                             : {scenarios.gpu_count(scenario)}")
    for gpu in gpus:
        print(f"GPU {bus_id(scenario, gpu)}")
        for title, field in (("Product Name", "name"), ("Serial Number", "serial"), ("GPU UUID", "uuid")):
            print(f"    {title:<38}: {value_of(scenario, gpu, field, True)}")
        for title, key in (("Pending", "row_remap.pending"), ("Remapping Failure Occurred", "row_remap.failed")):
            answer = {"0": "No", "1": "Yes"}.get(gpu_value(scenario, gpu, key) or "", "N/A")
            print(f"    {title:<38}: {answer}")


def reset(scenario: Scenario, gpus: list[int]) -> tuple[int, Scenario]:
    """Reset GPUs, print what the real program prints, and return its exit code and what is left."""
    in_use = [gpu for gpu in gpus if scenarios.processes(scenario, gpu)]
    if in_use:
        print("The following GPUs could not be reset:")
        for gpu in in_use:
            print(f"  GPU {bus_id(scenario, gpu)}: In use by another client")
        many = f"{len(in_use)} device is" if len(in_use) == 1 else f"{len(in_use)} devices are"
        print(
            f"\n{many} currently being used by one or more other processes (e.g., Fabric Manager, CUDA application, "
            "graphics application such as an X server, or a monitoring application such as another instance of "
            "nvidia-smi). Please first kill all processes using this device and all compute applications running in "
            "the system."
        )
        return 255, scenario
    for gpu in gpus:
        if gpu_value(scenario, gpu, "error.*") == str(scenarios.LOST):
            address = bus_id(scenario, gpu)
            print(f"Unable to determine the device handle for GPU{address}: GPU is lost.  Reboot the system to recover "
                  "this GPU")  # fmt: skip
            return scenarios.LOST, scenario
        if gpu_value(scenario, gpu, "reset") == "fails":
            print(
                f"GPU Reset couldn't run because GPU {bus_id(scenario, gpu)} is the primary GPU or does not support it."
            )
            return 3, scenario
        scenario = scenarios.reset(scenario, gpu)
        print(f"GPU {bus_id(scenario, gpu)} was successfully reset.")
    print("All done.")
    return 0, scenario


def refused(scenario: Scenario) -> int:
    """Print why the program cannot start, and return its exit code; 0 when it can."""
    code = int(scenario.get("init_code", "0"))
    texts = {
        9: "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
        "NVIDIA driver is installed and running.",
        18: "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: "
        + ".".join(scenario.get("host.library_version", "").split(".")[:2]),
    }
    if code:
        print(texts.get(code, "Failed to initialize NVML: Unknown Error"))
    return code if code < 256 else 255


def main() -> int:
    """Read the command line as nvidia-smi does and carry it out."""
    parser = argparse.ArgumentParser(prog="nvidia-smi", description="fake nvidia-smi")
    parser.add_argument("-i", "--id")
    parser.add_argument("-r", "--gpu-reset", action="store_true")
    parser.add_argument("-L", "--list-gpus", action="store_true")
    parser.add_argument("-q", "--query", action="store_true")
    parser.add_argument("-d", "--display")
    parser.add_argument("-pm", "--persistence-mode", choices=["0", "1"])
    parser.add_argument("--query-gpu")
    parser.add_argument("--format", default="csv")
    options = parser.parse_args()
    path = Path(os.environ.get("FAKE_NVML_SCENARIO", scenarios.DEFAULT_PATH))
    scenario = scenarios.read(path)
    if any(key.startswith("hang.") for key in scenario):  # the real one would wait for the driver like all others
        while True:
            time.sleep(3600)
    code = refused(scenario)
    if code:
        return code
    try:
        gpus = chosen(scenario, options.id)
        if options.query_gpu:
            query(scenario, gpus, options.query_gpu.split(","), options.format)
        elif options.list_gpus:
            for gpu in gpus:
                print(f"GPU {gpu}: {gpu_value(scenario, gpu, 'name')} (UUID: {gpu_value(scenario, gpu, 'uuid')})")
        elif options.gpu_reset or options.persistence_mode:
            code, after = reset(scenario, gpus) if options.gpu_reset else (0, scenario)
            for gpu in gpus if options.persistence_mode else ():
                after = scenarios.gpu_change(after, gpu, {"persistence_mode": options.persistence_mode})
            if after != scenario:
                scenarios.write(after, path)
                if SYSFS.exists():
                    fake_host.build_sysfs(after, SYSFS)
        else:
            report(scenario, gpus)
    except (LookupError, ValueError) as error:
        print(error)
        return 6 if isinstance(error, LookupError) else 2
    sys.stdout.flush()
    return code
