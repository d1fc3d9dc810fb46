#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of host_reboot; the code is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_reboot
short_description: Reboot a host, and say every minute what is awaited
version_added: 0.1.0
description:
  - Reboots a host with M(ansible.builtin.reboot), which waits until it answers with another boot id. A server with much
    memory takes ten minutes for that, so this one says how long it has waited and how long it will still do so.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: A reboot has no diff.
  idempotent:
    support: none
    details: Every call reboots.
options:
  timeout_seconds:
    description: Longest wait for the host to come back.
    type: int
    default: 1200
  reason:
    description: What users of the host are told. It goes into a shell of root, so give a text of your own.
    type: str
    default: Reboot by local_llm.ops
  tell_seconds:
    description: How often to say what is awaited.
    type: float
    default: 60.0
seealso:
  - module: ansible.builtin.reboot
"""

EXAMPLES = r"""
---
- name: Reboot
  local_llm.ops.host_reboot:
    timeout_seconds: 1200
    reason: GPU recovery by local_llm.ops
"""

RETURN = r"""
rebooted:
  description: Whether the host was rebooted and came back.
  returned: always
  type: bool
elapsed:
  description: Seconds that it took.
  returned: always
  type: int
  sample: 214
"""
