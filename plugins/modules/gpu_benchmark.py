#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_benchmark
short_description: Measure what the GPUs of a host can do
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Measures memory bandwidth, matrix products by number type, copies between host and GPU and between GPUs, and
    all-reduce over the GPUs of the host. Each figure is a median of samples with its spread, and tells clocks, reasons
    for lower clocks, power, heat and the PCIe link while it was taken.
  - For cards out of service. It refuses when a card is in use, and when another benchmark runs on the host.
  - It uses a torch with CUDA that the host already has. It installs nothing and sets no clocks.
  - It judges nothing. M(local_llm.ops.gpu_benchmark_verdict) holds the figures of the fleet against what they should
    be.
  - Everything runs in a process of its own with a deadline. The module comes back even when a card hangs.
requirements:
  - torch with CUDA, for the interpreter in O(python).
  - C(nvidia-ml-py), for the interpreter in O(nvml_python). The role P(local_llm.ops.host#role) installs it.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: It measures nothing and says in RV(plan) what it would run. It takes no lock.
  diff_mode:
    support: none
    details: It changes nothing.
  idempotent:
    support: full
    details: It always reports C(changed=false). Each run measures anew.
notes:
  - On each GPU it takes O(max_memory_bytes) at most, and what CUDA, its maths libraries and NCCL need besides, which is
    about 1 GiB. On the host it takes 256 MiB of pinned memory.
  - One card is measured at a time, apart from the copies between two and the all-reduce over all.
options:
  profile:
    description: V(quick) takes about 2 seconds per GPU and measure, V(standard) about 10.
    type: str
    choices: [quick, standard]
    default: quick
  measures:
    description:
      - What to measure. V(memory_bandwidth) is a copy within the card, read and written bytes together; V(gemm) are
        matrix products; V(host_to_device) and V(device_to_host) are copies with pinned memory; V(peer) are copies from
        each GPU to each other one; V(all_reduce) is the sum over all GPUs, as bus bandwidth.
      - The last two need more than one GPU.
    type: list
    elements: str
    choices: [memory_bandwidth, gemm, host_to_device, device_to_host, peer, all_reduce]
    default: [memory_bandwidth, gemm, host_to_device, device_to_host, peer, all_reduce]
  dtypes:
    description: Number types of the matrix products. A type that a card does not have is skipped, and said so.
    type: list
    elements: str
    choices: [bf16, fp16, tf32, fp8]
    default: [bf16, fp16, tf32, fp8]
  gpus:
    description: GPUs to measure, by number, UUID or PCI address. Default is all.
    type: list
    elements: str
    default: []
  python:
    description:
      - Interpreter that has torch with CUDA, by its whole path.
      - Default is the newest of C(/opt/local_llm/engines/vllm/*/bin/python) that can import it.
    type: path
  force:
    description: Measure cards that are in use, too. This slows down what uses them, and the figures are too low.
    type: bool
    default: false
  max_memory_bytes:
    description: Memory that buffers and matrices may take on each GPU, 64 MiB to 64 GiB.
    type: int
    default: 1073741824
  matrix_size:
    description:
      - Rows and columns of the square matrices, 1024 to 32768 in steps of 128. Three of 8192 take 384 MiB with bf16 and
        768 MiB with tf32.
      - Only figures of the same size are compared.
    type: int
    default: 8192
  deadline_seconds:
    description: Time after which the measuring process is killed, 10 to 7200. Default is far more than it should take.
    type: float
  nvml_python:
    description:
      - Python interpreter that has the package C(nvidia-ml-py).
      - Default is C(/opt/local_llm/tools/bin/python) where that is there, else the interpreter of the module.
    type: path
  nvml_library_directory:
    description: Directory that holds C(libnvidia-ml.so.1). Default is where the loader of the host finds it.
    type: path
  sysfs_root:
    description: Where sysfs is.
    type: path
    default: /sys
  procfs_root:
    description: Where procfs is.
    type: path
    default: /proc
seealso:
  - module: local_llm.ops.gpu_benchmark_verdict
  - module: local_llm.ops.gpu_health
"""

EXAMPLES = r"""
---
- name: Measure all GPUs
  local_llm.ops.gpu_benchmark:
  register: gpu_benchmark

- name: Show the figures
  ansible.builtin.debug:
    msg: "{{ item.measure }} {{ item.dtype or '' }}: {{ item.median }} {{ item.unit }}"
  loop: "{{ gpu_benchmark.report.results }}"

- name: Measure one card well, with a torch of your own
  local_llm.ops.gpu_benchmark:
    profile: standard
    gpus: ["0000:18:00.0"]
    measures: [memory_bandwidth, gemm]
    dtypes: [bf16, fp8]
    python: /srv/torch/bin/python
"""

RETURN = r"""
report:
  description: The figures. Null in check mode and on a host without a GPU.
  returned: success, and failure while measuring
  type: dict
  contains:
    schema:
      description: Version of this shape.
      type: int
    kind:
      description: V(gpu_benchmark).
      type: str
    taken_at:
      description: When it began, in UTC.
      type: str
    profile:
      description: The profile.
      type: str
    complete:
      description: Whether each figure was taken that should be.
      type: bool
    stopped:
      description: Why measuring ended too early, or null.
      type: str
    torch:
      description: Versions of C(torch), C(cuda) and C(nccl), and the C(python) that was used.
      type: dict
    driver_version:
      description: Version of the driver.
      type: str
    gpus:
      description: The cards with C(index), C(uuid), C(name), C(pci_address), C(device_id) and so on, and in C(peaks)
        what they can do at most, worked out from what the driver says of them.
      type: list
      elements: dict
    results:
      description: One entry per figure. C(measure), C(dtype), C(gpus) (numbers), C(unit), C(median), C(p5), C(p95),
        C(spread_percent), C(samples), C(peak), C(bytes) (of a buffer), C(matrix_size), C(path) between two GPUs (V(p2p)
        or V(staged) through the host), C(between) (what lies between them), C(notes), and C(conditions) with what was
        seen during the measurement.
      type: list
      elements: dict
    skipped:
      description: What does not apply here, with C(why).
      type: list
      elements: dict
    failed:
      description: What could not be measured, with C(error).
      type: list
      elements: dict
  sample:
    schema: 1
    kind: gpu_benchmark
    profile: quick
    complete: true
    results:
      - measure: memory_bandwidth
        dtype: null
        gpus: [0]
        unit: GB/s
        median: 1000.0
        spread_percent: 0.4
plan:
  description: What is measured. C(python), C(expected_seconds), C(deadline_seconds), and C(jobs) with C(measure),
    C(dtype) and C(gpus).
  returned: when the host has a GPU
  type: dict
  sample:
    python: /opt/local_llm/engines/vllm/0.33.0/bin/python
    expected_seconds: 14.0
    deadline_seconds: 197.0
    jobs:
      - measure: memory_bandwidth
        dtype: null
        gpus: [0]
why:
  description: Why there is nothing to measure. Empty when there is.
  returned: success
  type: str
  sample: ""
seconds:
  description: Time that all of it took.
  returned: success, and failure while measuring
  type: float
  sample: 19.2
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _benchmark_run as bench
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._benchmark_gpu import (
    DTYPES,
    GIB,
    MEASURES,
    PROFILES,
    OptionError,
    Options,
    child_request,
    choose_gpus,
    deadline_seconds,
    expected_seconds,
    plan_jobs,
    refusals,
    report,
    strangers,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Answer, Ask, nvidia_addresses, probe
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_words import why_no_gpus

ARGUMENTS: dict[str, dict[str, Any]] = {
    "profile": {"type": "str", "choices": list(PROFILES), "default": "quick"},
    "measures": {"type": "list", "elements": "str", "choices": list(MEASURES), "default": list(MEASURES)},
    "dtypes": {"type": "list", "elements": "str", "choices": list(DTYPES), "default": list(DTYPES)},
    "gpus": {"type": "list", "elements": "str", "default": []},
    "python": {"type": "path"},
    "force": {"type": "bool", "default": False},
    "max_memory_bytes": {"type": "int", "default": GIB},
    "matrix_size": {"type": "int", "default": 8192},
    "deadline_seconds": {"type": "float"},
    "nvml_python": {"type": "path"},
    "nvml_library_directory": {"type": "path"},
    "sysfs_root": {"type": "path", "default": "/sys"},
    "procfs_root": {"type": "path", "default": "/proc"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    started = time.monotonic()
    params = module.params
    options = Options(
        profile=params["profile"],
        measures=tuple(params["measures"]),
        dtypes=tuple(params["dtypes"]),
        gpus=tuple(params["gpus"]),
        force=params["force"],
        max_memory_bytes=params["max_memory_bytes"],
        matrix_size=params["matrix_size"],
        deadline_seconds=params["deadline_seconds"],
    )
    ask = Ask(
        python=params["nvml_python"],
        library_directory=params["nvml_library_directory"],
        procfs_root=params["procfs_root"],
        sysfs_root=params["sysfs_root"],
    )
    problems = [*options.problems(), *ask.problems()]
    if problems:
        module.fail_json(msg=" ".join(problems))
    try:
        with contextlib.nullcontext() if module.check_mode else bench.lock(bench.LOCK_PATH):
            result = benchmark(options, ask, params["python"], module.check_mode)
    except (bench.RefusedError, OptionError) as error:
        module.fail_json(msg=str(error))
    result["seconds"] = round(time.monotonic() - started, 2)
    failed = (result["report"] or {}).get("failed")
    if failed:
        first = failed[0]
        words = " ".join(word for word in (first["measure"], first["dtype"]) if word)
        cards = ", ".join(str(index) for index in first["gpus"])
        more = f" {len(failed) - 1} more could not be measured either." if len(failed) > 1 else ""
        module.fail_json(msg=f"{words} on GPU {cards}: {first['error']}{more}", **result)
    module.exit_json(**result)


def benchmark(options: Options, ask: Ask, python: str | None, check_mode: bool) -> dict[str, Any]:
    """Return the result of the module. Raises RefusedError and OptionError."""
    answer = probe(ask)
    result: dict[str, Any] = {"changed": False, "report": None, "why": ""}
    if not answer["gpus"] or answer["nvml"]["status"] != "ok":
        addresses = nvidia_addresses(ask.sysfs_root)
        why = why_no_gpus(answer["nvml"], addresses)
        # No GPU is a fact. A GPU that cannot be asked is a fault.
        if addresses or answer["nvml"]["status"] not in ("ok", "missing_package", "missing_library", "not_loaded"):
            raise bench.RefusedError(why)
        return {**result, "why": why}
    gpus = choose_gpus(answer["gpus"], options.gpus)
    refused = refusals(gpus, options.force)
    if refused:
        raise bench.RefusedError(" ".join(refused))
    pythons = bench.candidates(python, bench.ENGINE_PYTHONS)
    jobs = plan_jobs(len(gpus), options)
    if not jobs:
        return {**result, "why": f"{', '.join(options.measures)}: they need more than one GPU, and there is one."}
    deadline = deadline_seconds(jobs, options)
    result["plan"] = {
        "python": pythons[0],
        "expected_seconds": expected_seconds(jobs),
        "deadline_seconds": round(deadline, 1),
        "jobs": [
            {"measure": job["measure"], "dtype": job["dtype"], "gpus": [gpus[place]["index"] for place in job["gpus"]]}
            for job in jobs
        ],
    }
    if check_mode:
        return result
    cpus = {gpu["index"]: bench.near_cpus(gpu["pci"]["numa_node"], ask.sysfs_root) or [] for gpu in gpus}
    request = child_request(gpus, jobs, options, cpus, bench.pynvml_file())
    variables = bench.environment([gpu["uuid"] for gpu in gpus], ask.library_directory, os.environ)
    taken_at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    used, records, stopped = first_that_measures(pythons, request, variables, deadline)
    wrong = strangers(gpus, records.records)
    if wrong:
        raise bench.RefusedError(f"{'; '.join(wrong)}. Measure one card at a time with the option gpus.")
    figures = report(gpus, answer["topology"], jobs, options, records.records, stopped)
    figures["torch"]["python"] = used
    figures.update(taken_at=taken_at, driver_version=answer["nvml"]["driver_version"])
    result["plan"]["python"] = used
    return {**result, "report": figures}


def first_that_measures(
    pythons: Sequence[str], request: Mapping[str, Any], variables: Mapping[str, str], deadline: float
) -> tuple[str, Answer, str | None]:
    """Return (interpreter, answer, why it stopped) of the first interpreter that has torch with CUDA."""
    looked = []
    for python in pythons:
        answer = bench.run_bench(python, request, variables, deadline)
        try:
            return python, answer, bench.stopped(answer, python, deadline)
        except bench.NoTorchError as error:
            looked.append(str(error))
    raise bench.RefusedError(
        f"No torch can measure here. Tried: {'; '.join(looked)}. "
        "Name an interpreter that has torch with CUDA, no newer than the driver, in the option python."
    )


if __name__ == "__main__":
    main()
