#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin fleet_variables; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_variables
short_description: Refuse variables that nothing reads, and public addresses
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Fails for a variable whose name begins with C(local_llm_) and that no role and no playbook reads, and names the one
    that was probably meant. Variables of the command line count as well.
  - Fails for an unknown key or a wrong type in C(local_llm_benchmark), C(local_llm_benchmark_run),
    C(local_llm_gpu_benchmark) and C(local_llm_tolerances).
  - Fails for a host of the group C(gpu_hosts) whose services would listen on a public address, which is that of
    C(local_llm_address) or, without it, of C(ansible_host). C(local_llm_allow_public_address) allows it. Names are not
    looked up.
  - Warns about a name that looks like a slip of the pen for the variable of a role.
  - Runs on the controller and needs no connection. Every playbook that works on a fleet begins with it.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  hosts:
    description: Hosts whose variables are looked at. Default are those of the play and the group C(gateway).
    type: list
    elements: str
seealso:
  - module: local_llm.ops.rollout_plan
"""

EXAMPLES = r"""
- name: Refuse a name that nothing reads
  local_llm.ops.fleet_variables:
  run_once: true
"""

RETURN = r"""
findings:
  description: What was found, each with C(check), C(status) (fail or warn), C(subject), C(observed), C(expected) and
    C(action).
  returned: always
  type: list
  elements: dict
  sample:
    - check: unknown_variable
      status: fail
      severity: critical
      subject: local_llm_benchmark_rnu on gpu1, gpu2
      observed: null
      expected: null
      action: Unknown variable; nothing reads it. Did you mean local_llm_benchmark_run?
      source: inventory
"""
