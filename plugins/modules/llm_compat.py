#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin llm_compat; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_compat
short_description: Tell whether instances work on a host before anything on it changes
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Holds the facts about models, engines and the host against each other - the format of the model, code that it
    brings, the driver, the compute capability of the GPUs, the number formats of weights, cache and computation, and
    the memory for weights, cache and overhead.
  - For each instance it answers C(fits), C(does_not_fit) with the nearest settings that fit, or C(unknown) with the
    reasons. A fact that is missing is never guessed.
  - Instances that share a GPU are each checked with what the others take of it.
  - Runs on the controller, reads nothing from the host and changes nothing.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  instances:
    description:
      - The instances of one host. Each has C(name), C(engine), C(model), C(config) with every default filled in, and
        C(gpus) as in the inventory (default V(all)). With C(engine_version), what the collection knows about that
        version counts too - the driver, the compute capability and the number formats. C(allow) names files of the
        model that may be there although they can run code, C(files) those of a directory that belong to the model.
    type: list
    elements: dict
    required: true
  judge:
    description:
      - Names of the instances to judge. The others only take their share of the memory; what speaks against them is in
        RV(instances), but not in RV(findings).
      - Default is all of them.
    type: list
    elements: str
  gpus:
    description:
      - The GPUs of the host. Each has C(total_bytes), and if known C(name), C(index), C(uuid) and
        C(compute_capability). Empty for a host without a GPU.
    type: list
    elements: dict
    default: []
  gpu_info:
    description:
      - What M(local_llm.ops.gpu_info) answered; instead of O(gpus) and O(driver_version). When it could not read the
        GPUs, the answer for an instance that wants any is C(unknown). The result of a task that was skipped counts as
        not given.
    type: dict
  driver_version:
    description: Version of the GPU driver.
    type: str
  ram_total_bytes:
    description: RAM of the host. It counts for instances without a GPU. 0 stands for not known.
    type: int
  models:
    description: Name of a model to C(facts) of M(local_llm.ops.model_facts).
    type: dict
    required: true
  later:
    description: Names of models whose facts come later. Nothing is said about their instances now.
    type: list
    elements: str
    default: []
  engine_facts:
    description: Name of an instance, or else of an engine, to the facts about the version of that engine.
    type: dict
    default: {}
  fail:
    description: Fail when an instance does not work.
    type: bool
    default: false
  fail_on:
    description:
      - Checks that fail also without O(fail), for instance V(unsafe_files) and V(remote_code), which are about code
        that a model brings and not about whether it fits.
    type: list
    elements: str
    default: []
  warn:
    description: Show what speaks against an instance, and what cannot be told, as warnings.
    type: bool
    default: false
seealso:
  - module: local_llm.ops.model_facts
"""

EXAMPLES = r"""
---
- name: Refuse what would not work
  local_llm.ops.llm_compat:
    instances:
      - name: chat
        engine: llamacpp
        model: tiny
        config: {context_tokens: 4096, parallel_requests: 4}
    ram_total_bytes: "{{ ansible_facts['memtotal_mb'] * 1048576 }}"
    models:
      tiny: "{{ model.facts }}"
    fail: true
"""

RETURN = r"""
ok:
  description: Whether nothing speaks against the instances.
  returned: success
  type: bool
instances:
  description: For each instance C(instance), C(status), C(fit) with all sizes in bytes, and C(findings).
  returned: success
  type: list
  elements: dict
findings:
  description: The findings of the instances that were judged.
  returned: success
  type: list
  elements: dict
msg:
  description: What speaks against the instances, as text.
  returned: success
  type: str
"""
