#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin gpu_benchmark_verdict; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_benchmark_verdict
short_description: Say whether the GPUs of the fleet do what they should
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Holds every figure of M(local_llm.ops.gpu_benchmark) against three expectations, as far as there are any. What the
    card can do in theory, worked out from what its driver tells. A table of measured figures with their sources. The
    median of equal cards in the fleet.
  - The worst of the three counts. Under 0.90 of the table it warns, under 0.75 it fails; with equal cards under 0.95
    and 0.90. The peak fails only what the table has no figure for. The other limits are in
    C(plugins/plugin_utils/gpu_reference.yml), with their reasons.
  - Equal cards have the same name and PCI device id; at least three are needed, and a card counts among its own.
    Copies between host and GPU are compared among cards with the same PCIe generation and width, copies between GPUs
    among pairs that are connected alike.
  - During copies between host and GPU the PCIe link must run at its highest generation and width. Heat or power brake
    during the run is a finding of its own.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.report
options:
  hosts:
    description: The hosts to judge. One that was not asked, for instance because of C(--limit), is left out.
    type: list
    elements: str
  results:
    description: Results of M(local_llm.ops.gpu_benchmark) by host. Give this or O(results_from).
    type: dict
  results_from:
    description: Name of the variable in which each of O(hosts) registered the result.
    type: str
  reference:
    description:
      - Figures of your own, over those of the table. C({"2335"&#58; {memory_bandwidth&#58; {value&#58; 4000}}}), by PCI
        device id and measure; with C(gemm) by type, too. C(floor) in the place of C(value) is itself the limit.
    type: dict
    default: {}
  directory:
    description: Directory on the controller that gets C(gpu_benchmark.json), and C(<host>-gpu.json) for each host that
      was measured. It is made when it is not there. Without it nothing is written.
    type: path
  fail:
    description: Fail when a card is below the fail line, or a host was not measured.
    type: bool
    default: true
  show:
    description: Print the table.
    type: bool
    default: true
seealso:
  - module: local_llm.ops.gpu_benchmark
  - module: local_llm.ops.health_report
"""

EXAMPLES = r"""
---
- name: Judge the fleet
  local_llm.ops.gpu_benchmark_verdict:
    hosts: "{{ groups['gpu_hosts'] }}"
    results_from: gpu_benchmark
    directory: ~/.local/state/local_llm/benchmarks

- name: Judge one host against figures of your own
  local_llm.ops.gpu_benchmark_verdict:
    results: {gpu1: "{{ gpu_benchmark }}"}
    reference: {"2684": {memory_bandwidth: {value: 930}, gemm: {bf16: {value: 150}}}}
"""

RETURN = r"""
status:
  description: The worst of all hosts, which is V(no_gpu), V(planned) (check mode), V(healthy), V(degraded), V(unknown)
    (not measured) or V(out_of_service).
  returned: success, and failure by O(fail)
  type: str
  sample: healthy
findings:
  description: The findings of each host that are not fine, in the shape that M(local_llm.ops.gpu_health) gives them.
  returned: success, and failure by O(fail)
  type: dict
must_leave:
  description: The hosts with a card below the fail line, and those that were not measured.
  returned: success, and failure by O(fail)
  type: list
  elements: str
document:
  description: All of it, as it is in the file. Schema 1, kind C(gpu_benchmark_verdict), with every figure and what it
    was held against in C(hosts[].judgements).
  returned: when no file was written
  type: dict
table:
  description: The table, as it is shown, line by line.
  returned: success, and failure by O(fail)
  type: list
  elements: str
json_path:
  description: Path of the document; null when none was written.
  returned: success, and failure by O(fail)
  type: str
"""
