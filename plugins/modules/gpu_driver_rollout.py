#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin gpu_driver_rollout; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_driver_rollout
short_description: Plan a driver rollout over the fleet
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Puts the driver plans of all hosts together. Who moves from which driver to which, in which batches, with a reboot
    or without, and how long each host is away. Prints that as a table.
  - Refuses what a host's plan refuses, a reboot that nobody has allowed, a batch that would take a pool as a whole,
    and a time in which changes are frozen, all before anything is touched.
  - A host in the middle of an earlier change goes on there, forward, or back when O(known) wants the version that it
    came from.
  - The plan has the shape of the one of M(local_llm.ops.rollout_plan), with C(kind) V(driver). In the place of
    instances every host has one entry, C(nvidia_driver), whose releases are versions of the driver.
  - Runs on the controller and needs no connection. Run it once, not for each host.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: It changes nothing, so check mode does the same.
  diff_mode:
    support: none
    details: The plan itself is shown.
  idempotent:
    support: full
options:
  hosts:
    description: Hosts in their order. Default is all hosts of the play.
    type: list
    elements: str
  known:
    description:
      - What is known of each host, by host. C(facts) of M(local_llm.ops.gpu_driver_info), C(plan) of
        M(local_llm.ops.gpu_driver_plan), and C(wanted), what that plan was made for.
    type: dict
  known_from:
    description: Name of the variable in which each host has it. Instead of O(known).
    type: str
  release_infos:
    description: Host to result of M(local_llm.ops.llm_release_info). Only instances that serve are started again.
    type: dict
  release_infos_from:
    description: Name of the variable in which each host registered its result. Instead of O(release_infos).
    type: str
  gateway_infos:
    description: Gateway host to result of M(local_llm.ops.gateway_info).
    type: dict
  canary_host:
    description: Host that goes first. Default is the first one with something to do.
    type: str
  serial:
    description: Sizes of the batches, as in a play.
    type: raw
    default: [1, 10%, 50%, 100%]
  allow_pool_outage:
    description: Let a batch take every host of a pool.
    type: bool
    default: false
  short_pools:
    description: Pools that may lack a host meanwhile.
    type: list
    elements: str
  freeze_windows:
    description: Times in which nothing is changed, as C(local_llm_freeze_windows).
    type: raw
  ignore_freeze:
    description: Name of the window that does not count, and why.
    type: str
  root:
    description: Directory of rollouts on the controller. Nothing is written.
    type: path
    required: true
  show:
    description: Print the plan.
    type: bool
    default: true
  fail:
    description: Fail when something must be mended first.
    type: bool
    default: true
seealso:
  - module: local_llm.ops.gpu_driver_plan
  - module: local_llm.ops.rollout_plan
"""

EXAMPLES = r"""
---
- name: Plan the driver rollout
  local_llm.ops.gpu_driver_rollout:
    known_from: driver_known
    release_infos_from: releases
    gateway_infos: "{{ {'gw1': gateway} }}"
    root: ~/.local/state/local_llm/rollouts
  run_once: true
"""

RETURN = r"""
rollout_id:
  description: Id of the rollout; begins with C(driver-).
  returned: always
  type: str
  sample: driver-20261121T205800Z-54db
plan:
  description: The plan, with C(kind), C(order), C(batches), C(hosts), C(services) and C(findings).
  returned: always
  type: dict
has_changes:
  description: Whether any host has something to do.
  returned: always
  type: bool
work:
  description: What each host carries out, to be handed to M(local_llm.ops.gpu_driver).
  returned: always
  type: dict
was_drained:
  description: Whether no client reached the host before, by host.
  returned: always
  type: dict
roll:
  description: The entry of each host with something to do, as a list to loop over.
  returned: always
  type: dict
findings:
  description: What must be mended first, and what should be known.
  returned: always
  type: list
  elements: dict
directory:
  description: Directory of this rollout on the controller.
  returned: always
  type: str
text:
  description: The plan as text for the screen.
  returned: always
  type: str
markdown:
  description: The plan as Markdown.
  returned: always
  type: str
rollback_markdown:
  description: What each host goes back to, as Markdown.
  returned: always
  type: str
"""
