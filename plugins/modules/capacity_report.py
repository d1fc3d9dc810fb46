#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin capacity_report; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: capacity_report
short_description: Tell the capacity of every pool from inventory and stored benchmarks
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Tells for every pool how many replicas it needs, until when they last, what to do now, and how many hosts a rollout
    may take at the same time.
  - The goodput of a replica is what C(local_llm_pools) says under C(capacity), or the smallest one of the stored
    benchmark reports of the pool's instances. The peak rate is that of C(capacity).
  - A pool of which something is missing is told with what to set; the others are planned all the same.
  - Writes C(capacity.json) on the controller. It tells the newest run only.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.report
options:
  hosts:
    description: The hosts that serve.
    type: list
    elements: str
    required: true
  gateway_hosts:
    description: The gateway hosts; what they see of C(local_llm_pools) goes before what the others see.
    type: list
    elements: str
    default: []
  directory:
    description: Directory on the controller with the reports of the playbook C(benchmark), as
      C(<host>-<instance>.json).
    type: path
    required: true
  show:
    description: Print the page.
    type: bool
    default: true
seealso:
  - module: local_llm.ops.llm_benchmark
  - plugin: local_llm.ops.capacity_plan
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Tell how long the fleet lasts
  local_llm.ops.capacity_report:
    hosts: "{{ groups['gpu_hosts'] }}"
    gateway_hosts: "{{ groups['gateway'] }}"
    directory: ~/.local/state/local_llm/benchmarks
"""

RETURN = r"""
report:
  description: The document, schema 1. Its C(pools) have C(pool), C(servers), C(plan) and C(problem).
  returned: success
  type: dict
text:
  description: The page.
  returned: success
  type: str
json_path:
  description: Where the document lies.
  returned: success
  type: str
"""
