#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_silence; the code is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_silence
short_description: Silence the alerts of a server while a rollout restarts it
version_added: 0.1.0
description:
  - Sets, prolongs or ends a silence of Alertmanager for all alerts with the label C(server) of one server. Alerts about
    the host itself and its GPUs do not carry that label, and are still heard.
  - A silence always has an end, so that a controller that dies leaves nothing silent for long.
  - An Alertmanager that does not do it is a warning, never a failure. A rollout does not stop for it.
  - Runs on the controller.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.prometheus_server
attributes:
  check_mode:
    support: partial
    details: Sends nothing, and says that it would change something.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each call sets the end anew.
options:
  state:
    description: V(present) sets or prolongs, V(absent) ends.
    type: str
    choices: [present, absent]
    default: present
  server:
    description: The server's name at the gateway, C(<host>-<instance>).
    type: str
    required: true
  seconds:
    description: How long from now.
    type: float
    default: 3600.0
  comment:
    description: What people read in Alertmanager.
    type: str
    default: restarted by a rollout
  silence_id:
    description: RV(silence_id) of an earlier call, to prolong or to end that one. With V(absent) and without it nothing
      happens.
    type: str
    default: ""
"""

EXAMPLES = r"""
---
- name: Be quiet for half an hour
  local_llm.ops.rollout_silence:
    url: http://mon1:9093
    server: gpu1-chat
    seconds: 1800
  register: silence

- name: Be heard again
  local_llm.ops.rollout_silence:
    url: http://mon1:9093
    server: gpu1-chat
    silence_id: "{{ silence.silence_id }}"
    state: absent
"""

RETURN = r"""
silence_id:
  description: Id of the silence, null when there is none.
  returned: success
  type: str
msg:
  description: What went wrong. Empty when nothing did.
  returned: success
  type: str
"""
