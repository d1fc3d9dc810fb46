#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin gpu_driver_plan; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_driver_plan
short_description: Decide what a host needs to come to a version of the NVIDIA driver
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Holds what M(local_llm.ops.gpu_driver_info) read against what the site wants, and answers which packages to install,
    remove and hold, in which exact versions, with which kind of kernel modules and why, whether the host must reboot,
    and how long it is out of service.
  - What forbids the change is refused before anything is touched, each with the fix. Mixed archives, unfinished work of
    dpkg, missing headers, Secure Boot without a key, a fabric manager of another version, a GPU that the driver does
    not serve, and more.
  - Runs on the controller, reads nothing from the host and changes nothing. M(local_llm.ops.gpu_driver) carries a plan
    out.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  driver_facts:
    description: C(driver_facts) of a result of M(local_llm.ops.gpu_driver_info).
    type: dict
    required: true
  wanted:
    description: What the site wants.
    type: dict
    required: true
    suboptions:
      version:
        description: A whole version, such as V(580.95.05), or a branch, such as V("580"), for the newest of it.
        type: str
      source:
        description: The archive, V(distribution) or V(nvidia); V(none) only holds what is there.
        type: str
        choices: [distribution, nvidia, none]
        required: true
      modules:
        description: Kind of kernel modules; V(auto) decides by the generation of the GPUs.
        type: str
        choices: [auto, open, proprietary]
        default: auto
      extras:
        description:
          - C(fabric_manager) and C(persistenced), each V(auto), V(yes) or V(no), and C(container_toolkit), a boolean.
        type: dict
      reboot:
        description: Whether the host may reboot. With V(no), a plan that needs a reboot is refused.
        type: str
        choices: ["yes", "no", ask]
        default: ask
  fail:
    description: Fail when the plan is refused.
    type: bool
    default: false
seealso:
  - module: local_llm.ops.gpu_driver_info
"""

EXAMPLES = r"""
---
- name: Read what is there
  local_llm.ops.gpu_driver_info:
  register: driver

- name: Show what would be done
  local_llm.ops.gpu_driver_plan:
    driver_facts: "{{ driver.driver_facts }}"
    wanted:
      version: "580"
      source: nvidia
    fail: true
  register: plan
"""

RETURN = r"""
driver_plan:
  description: The plan; every key is always there. The reference is in C(docs/reference_contracts.md).
  returned: success
  type: dict
  sample:
    schema: 1
    changes: true
    from: 535.247.01
    to: 535.261.03
    modules: proprietary
    install: {nvidia-kernel-dkms: 535.261.03-1}
    reboot: maybe
    refusals: []
only_holds:
  description: Whether the wanted driver runs already and packages of it only are to be held. Nothing stops for that.
  returned: success
  type: bool
refused:
  description: Whether something forbids to carry the plan out.
  returned: success
  type: bool
msg:
  description: The plan in one line, or why it is refused.
  returned: success
  type: str
"""
