#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module gpu_info: what the NVIDIA GPUs of a host say of themselves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_info
short_description: Read everything that the NVIDIA GPUs of a host say of themselves
version_added: 0.1.0
description:
  - Asks the driver's library (NVML) through the package C(nvidia-ml-py). It changes nothing.
  - A value that a card, its driver or the package does not know is null. What went wrong otherwise is in C(errors) of
    the GPU. Units are in the names of the keys.
  - No GPU, no driver, no library or no package is a result, not a failure. So is a driver that hangs; NVML runs in a
    process of its own with a deadline, and the module comes back even when that process cannot be killed.
author:
  - local_llm.ops contributors (@local-llm-ops)
requirements:
  - C(nvidia-ml-py) for the interpreter in O(nvml_python). The role P(local_llm.ops.host#role) installs it.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
notes:
  - As root, the driver's library itself makes the device node C(/dev/nvidiactl) when that is missing, as it does for
    every program that loads it.
options:
  nvml_python:
    description:
      - Python interpreter that has the package C(nvidia-ml-py).
      - Default is C(/opt/local_llm/tools/bin/python) where that is there, else the interpreter of the module.
    type: path
  nvml_library_directory:
    description: Directory that holds C(libnvidia-ml.so.1). Default is where the loader of the host finds it.
    type: path
  deadline_seconds:
    description: Time after which the driver counts as hung, 1 to 600.
    type: float
    default: 30
  procfs_root:
    description: Where the names and users of processes come from.
    type: path
    default: /proc
  sysfs_root:
    description: Where NUMA nodes come from, and the addresses of GPUs that the driver lost.
    type: path
    default: /sys
  topology:
    description: Whether to ask what lies between every two GPUs.
    type: bool
    default: true
"""

EXAMPLES = r"""
---
- name: Read the GPUs
  local_llm.ops.gpu_info:
  register: gpu

- name: Show what is there
  ansible.builtin.debug:
    msg: "{{ gpu.gpus | map(attribute='name') | list or gpu.why }}"

- name: Read them with the interpreter of an engine, and give up early
  local_llm.ops.gpu_info:
    nvml_python: /opt/local_llm/engines/vllm/0.11.0/bin/python
    deadline_seconds: 10
    topology: false
"""

RETURN = r"""
nvml:
  description: Whether the library answered, and its versions.
  returned: always
  type: dict
  contains:
    status:
      description: V(ok), V(missing_package), V(missing_library), V(not_loaded) (no kernel module), V(mismatch) (library
        and kernel module are of different versions), V(hung) or V(error).
      type: str
    code:
      description: Return code of the initialisation, or null when it was not reached.
      type: int
    error:
      description: What is wrong and what to do, or null.
      type: str
    seconds:
      description: Time that the answer took.
      type: float
    hung_call:
      description: The call that did not come back, or null.
      type: str
    driver_version:
      description: Version of the driver.
      type: str
    nvml_version:
      description: Version of the library.
      type: str
    cuda_version:
      description: Newest CUDA version that the driver serves.
      type: str
  sample:
    status: ok
    code: 0
    error: null
    seconds: 0.09
    hung_call: null
    driver_version: 570.133.20
    nvml_version: 12.570.133.20
    cuda_version: "12.8"
gpus:
  description: The GPUs in the order of the driver. Empty unless C(nvml.status) is V(ok); with V(hung) those that were
    read before. A GPU that is lost has a record too.
  returned: always
  type: list
  elements: dict
  contains:
    index:
      description: Number of the GPU in the driver.
      type: int
    name:
      description: Product name.
      type: str
    uuid:
      description: Unique id.
      type: str
    serial:
      description: Serial number of the board; null on cards that have none.
      type: str
    architecture:
      description: V(turing), V(ampere), V(ada), V(hopper), V(blackwell) and so on.
      type: str
    compute_capability:
      description: CUDA compute capability.
      type: str
    vbios_version:
      description: Version of the video BIOS.
      type: str
    inforom_version:
      description: Version of the InfoROM image.
      type: str
    inforom_valid:
      description: Whether the checksums of the InfoROM are right.
      type: bool
    gsp_firmware_version:
      description: Version of the firmware of the GPU's system processor.
      type: str
    pci:
      description: C(address), C(bus), C(device_id), C(vendor_id) and C(subsystem_id) in hexadecimal, C(numa_node),
        C(generation_current) and C(generation_max) of PCIe, C(width_current) and C(width_max) in lanes, and
        C(replay_count). C(generation_max) and C(width_max) are what card and slot can do together. An idle card lowers
        its generation.
      type: dict
    performance_state:
      description: 0 (fastest) to 15.
      type: int
    persistence_mode:
      description: Whether the driver stays loaded without a user.
      type: bool
    compute_mode:
      description: V(default), V(exclusive_thread), V(prohibited) or V(exclusive_process).
      type: str
    mig:
      description: Whether the card is split into instances, C(current) and C(pending) (after a reset).
      type: dict
    memory:
      description: C(total_bytes), C(used_bytes), C(free_bytes), C(reserved_bytes) (for driver and firmware, not in
        used) and C(bus_width_bits).
      type: dict
    bar1:
      description: C(total_bytes) and C(used_bytes) of the window through which the host sees the memory.
      type: dict
    utilization:
      description: C(gpu_percent) and C(memory_percent), the share of time with work.
      type: dict
    clocks:
      description: C(sm_mhz), C(memory_mhz), C(graphics_mhz) now, and the same with C(_max_mhz).
      type: dict
    clock_event_reasons:
      description: Why the clocks are not higher now. V(gpu_idle), V(applications_clocks), V(sw_power_cap),
        V(hw_slowdown), V(sync_boost), V(sw_thermal), V(hw_thermal), V(hw_power_brake), V(display_clocks).
      type: list
      elements: str
    clock_event_seconds:
      description: How long each of C(sw_power_cap), C(sync_boost), C(sw_thermal), C(hw_thermal) and C(hw_power_brake)
        held the clocks back since the driver was loaded, in seconds. The last three need driver 575 or later.
      type: dict
    temperature:
      description: C(gpu_celsius), C(memory_celsius), the thresholds C(slowdown_celsius), C(shutdown_celsius),
        C(gpu_max_celsius), C(memory_max_celsius), and C(margin_celsius), the degrees left until the card slows down.
      type: dict
    power:
      description: C(usage_watts), C(limit_watts), C(enforced_limit_watts), C(default_limit_watts), C(min_limit_watts),
        C(max_limit_watts), and C(energy_joules) since the driver was loaded.
      type: dict
    ecc:
      description: C(mode_current), C(mode_pending); counts of errors C(volatile_corrected), C(volatile_uncorrected)
        (since the driver was loaded), C(aggregate_corrected), C(aggregate_uncorrected),
        C(sram_aggregate_uncorrected) (in the card's life); C(sram_threshold_exceeded).
      type: dict
    row_remap:
      description: Counts of memory rows that were replaced for C(corrected) and C(uncorrected) errors; whether one is
        C(pending) (needs a reset) or has C(failed); C(histogram), the number of memory banks by spare rows left,
        C(max), C(high), C(partial), C(low), C(none).
      type: dict
    retired_pages:
      description: Counts of memory pages taken out for C(single_bit) and C(double_bit) errors on cards without row
        remapping; whether one is C(pending).
      type: dict
    repair:
      description: Whether the repair of a channel (C(channel_pending)) or of a processing cluster (C(tpc_pending))
        waits for a reset, and whether the card has C(unrepairable_memory).
      type: dict
    recovery_action:
      description: What the driver asks for. 0 nothing, 1 reset the GPU, 2 reboot, 3 drain peers, 4 drain and reset,
        5 recover the IMEX domain, 6 reset the bus, 7 reboot the system.
      type: int
    nvlink:
      description: One entry per link with C(link), C(active), C(version) (generation), C(remote_pci), and counts of
        C(crc_errors), C(replay_errors), C(recovery_errors). On NVLink 5, C(crc_errors) counts packets received with
        errors and C(replay_errors) is null. Empty when the card has no NVLink.
      type: list
      elements: dict
    fabric:
      description: C(state) of the registration with the NVLink fabric, V(not_supported), V(not_started),
        V(in_progress) or V(completed); C(status), its return code; C(health_summary), V(healthy), V(unhealthy),
        V(limited_capacity) or null; C(health_mask), the bits as the driver gives them. Null when the card has none.
      type: dict
    processes:
      description: One entry per process that uses the card, with C(pid), C(kind) (V(compute), V(graphics) or V(mps)),
        C(memory_bytes), C(name), C(user), and C(alive), false when the process is gone but its memory is not free.
      type: list
      elements: dict
    errors:
      description: What calls answered instead of a value, by function, each with C(code) and C(name). That a card does
        not know a thing is no error.
      type: dict
  sample:
    - index: 0
      name: NVIDIA H100 80GB HBM3
      uuid: GPU-00000000-0000-0000-0000-000000000000
      pci:
        address: "0000:18:00.0"
        numa_node: 0
        generation_current: 5
        generation_max: 5
        width_current: 16
        width_max: 16
      memory:
        total_bytes: 85899345920
        used_bytes: 1073741824
      temperature:
        gpu_celsius: 40
      power:
        usage_watts: 120.0
      errors: {}
topology:
  description: One entry for every two GPUs.
  returned: always
  type: list
  elements: dict
  contains:
    a:
      description: Number of the one GPU.
      type: int
    b:
      description: Number of the other GPU.
      type: int
    ancestor:
      description: What they share. V(internal) a board, V(single) a PCIe switch, V(multiple) PCIe switches,
        V(hostbridge), V(node) a NUMA node, V(system) only the machine.
      type: str
    p2p_nvlink:
      description: Whether they reach each other's memory over NVLink. V(ok), V(not_supported), V(disabled), V(unknown).
      type: str
    p2p_read:
      description: Whether they can read each other's memory at all; same values.
      type: str
  sample:
    - a: 0
      b: 1
      ancestor: node
      p2p_nvlink: ok
      p2p_read: ok
why:
  description: Why C(gpus) is empty, in plain words. Empty when it is not.
  returned: always
  type: str
  sample: ""
seconds:
  description: Time that the module took to read all of it.
  returned: always
  type: float
  sample: 0.09
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Ask, nvidia_addresses, probe
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_words import why_no_gpus


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "nvml_python": {"type": "path"},
            "nvml_library_directory": {"type": "path"},
            "deadline_seconds": {"type": "float", "default": 30},
            "procfs_root": {"type": "path", "default": "/proc"},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "topology": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    started = time.monotonic()
    ask = Ask(
        python=params["nvml_python"],
        library_directory=params["nvml_library_directory"],
        deadline_seconds=params["deadline_seconds"],
        procfs_root=params["procfs_root"],
        sysfs_root=params["sysfs_root"],
        topology=params["topology"],
    )
    problems = ask.problems()
    if problems:
        module.fail_json(msg=" ".join(problems))
    result = probe(ask)
    why = "" if result["gpus"] else why_no_gpus(result["nvml"], nvidia_addresses(ask.sysfs_root))
    module.exit_json(changed=False, **result, why=why, seconds=round(time.monotonic() - started, 4))


if __name__ == "__main__":
    main()
