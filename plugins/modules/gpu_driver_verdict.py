#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin gpu_driver_verdict; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_driver_verdict
short_description: Say whether a host runs the driver that it shall run
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - The module that is loaded, the modules on disk for the running and the newest kernel, and the library must all have
    the wanted version. No package may be unfinished, and no GPU may have left the bus.
  - With O(baseline), each figure of O(benchmark) must reach 90 % of the same figure of the baseline; under 95 % it
    warns. Where there is no baseline file, nothing is held against it.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  facts:
    description: Driver facts of M(local_llm.ops.gpu_driver_info), read just now.
    type: dict
    required: true
  version:
    description: Version that the host shall run. Left out, it shall have none.
    type: str
  gpu_count:
    description: GPUs that the host had before.
    type: int
  before:
    description:
      - On the way back from a change, C(loaded_version), C(library_version) and C(module_on_disk_version) of the driver
        facts from before it. What the host did not have then, such as a module for the newest kernel, only warns.
    type: dict
  baseline:
    description:
      - File on the controller that M(local_llm.ops.gpu_benchmark_verdict) wrote of this host. Without O(version) it is
        not looked at.
    type: path
  benchmark:
    description: Report of M(local_llm.ops.gpu_benchmark), taken just now.
    type: dict
  fail:
    description: Fail when something is wrong.
    type: bool
    default: true
"""

EXAMPLES = r"""
---
- name: Is it the driver that was wanted
  local_llm.ops.gpu_driver_verdict:
    facts: "{{ driver.driver_facts }}"
    version: 550.163.01
    gpu_count: 8
"""

RETURN = r"""
ok:
  description: Whether nothing is wrong.
  returned: always
  type: bool
findings:
  description: All findings, also those that are fine.
  returned: always
  type: list
  elements: dict
msg:
  description: What is wrong, as text.
  returned: always
  type: str
"""
