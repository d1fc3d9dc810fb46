#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_outcome
short_description: Tell how a rollout stands, from its plan and its journal
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Reads the journal of a rollout on the controller and says whether it is completed, must be taken back or halts for
    a person.
  - A line with the event C(gate_refused) counts as a proven fault when its evidence has C(fault) true; otherwise the
    rollout halts.
  - Instances that the plan has as carried, promoted by an earlier rollout, count as promoted here too.
  - Runs on the controller and needs no connection.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  directory:
    description: Directory of the rollout on the controller, with its C(journal.jsonl).
    type: path
    required: true
  plan:
    description: The plan as M(local_llm.ops.rollout_plan) returned it.
    type: dict
    required: true
  scope:
    description:
      - V(fleet) takes hosts that were promoted earlier in the rollout back too.
      - V(batch) leaves them on the new release.
    type: str
    choices: [fleet, batch]
    default: fleet
  phase:
    description:
      - V(decide) is asked after the last batch and says what must be taken back.
      - V(conclude) is asked at the end and gives the final state with the message for the operator.
    type: str
    choices: [decide, conclude]
    required: true
"""

EXAMPLES = r"""
- name: See whether hosts must be taken back
  local_llm.ops.rollout_outcome:
    directory: "{{ rollout_directory }}"
    plan: "{{ plan }}"
    phase: decide
  register: decision
"""

RETURN = r"""
outcome:
  description: V(completed), V(rolling_back) or V(halted).
  returned: phase is V(decide)
  type: str
take_back:
  description: Instances by host that were promoted and must go back, the carried ones too.
  returned: phase is V(decide)
  type: dict
failures:
  description: One sentence for each cause with its hosts, in the order of the failures.
  returned: phase is V(decide)
  type: list
  elements: str
state:
  description: V(completed), V(halted), V(rolled_back_verified) or V(rollback_failed).
  returned: phase is V(conclude)
  type: str
message:
  description: What happened, where, and what to do.
  returned: phase is V(conclude)
  type: str
release_lock:
  description: Whether the fleet lock may be released.
  returned: phase is V(conclude)
  type: bool
"""
