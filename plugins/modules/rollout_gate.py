#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin rollout_gate; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_gate
short_description: Let a batch start only on positive evidence of every earlier batch
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Says go only when every instance of every earlier batch of the plan is in the journal as healthy with its target
    release, and its host confirms it, with the target release current, the dead-man disarmed, the state healthy and the
    unit active. An instance that the plan leaves alone may be in any state that serves.
  - Says no when the journal is broken or names no state of the rollout, when the rollout waits or stops, when any
    instance went back or is unknown, when the hosts are not a batch of the plan or one of them is lost, and when the
    strategy of the play is not linear.
  - What is missing or cannot be reached counts as no.
  - Runs on the controller, reads and changes nothing.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  directory:
    description: Directory of the rollout on the controller.
    type: path
    required: true
  plan:
    description: The plan as M(local_llm.ops.rollout_plan) returned it.
    type: dict
    required: true
  batch_hosts:
    description: Hosts of the batch that wants to start. Default is C(ansible_play_batch).
    type: list
    elements: str
  release_infos:
    description:
      - Fresh evidence of the hosts of earlier batches. Either host to result of M(local_llm.ops.llm_release_info),
        or the registered result of that module in a loop over the hosts.
    type: dict
  release_infos_from:
    description: Name of the variable in which each host registered its result. Instead of O(release_infos).
    type: str
  fail:
    description: Fail instead of saying no.
    type: bool
    default: false
"""

EXAMPLES = r"""
---
- name: Ask the hosts of earlier batches
  local_llm.ops.llm_release_info:
  delegate_to: "{{ earlier_host }}"
  loop: "{{ ansible_play_hosts_all[: ansible_play_hosts_all.index(ansible_play_batch[0])] }}"
  loop_control:
    loop_var: earlier_host
  ignore_unreachable: true
  run_once: true
  register: earlier

- name: Evidence gate
  local_llm.ops.rollout_gate:
    directory: "{{ rollout_directory }}"
    plan: "{{ plan }}"
    release_infos: "{{ earlier }}"
    fail: true
"""

RETURN = r"""
go:
  description: Whether the batch may start.
  returned: success
  type: bool
batch_number:
  description: Number of the batch from 1, null when the hosts are no batch of the plan.
  returned: success
  type: int
batches_total:
  description: How many batches the plan has.
  returned: success
  type: int
fault:
  description: >-
    Whether a host itself speaks against an instance that the journal calls healthy, with another current release or
    with a unit that is not active. False where evidence is only missing.
  returned: success
  type: bool
reasons:
  description: Why not, each with host, instance, expected, observed and fault. Empty when go.
  returned: success
  type: list
  elements: dict
reasons_text:
  description: The same as one line of text, for the line C(gate_refused) of the journal.
  returned: success
  type: str
checked:
  description: Each C(host/instance) of an earlier batch that gave full evidence.
  returned: success
  type: list
  elements: str
torn:
  description: Whether the journal ends in the rest of a line whose writer was killed.
  returned: success
  type: bool
"""
