#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_alerts; the code is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_alerts
short_description: Refuse a rollout while critical alerts fire or an error budget is spent
version_added: 0.1.0
description:
  - Asks Prometheus, before anything is touched, for critical alerts that fire on the pools and hosts of a plan and on
    the gateways, and for error budgets of these pools of which nothing is left.
  - Fails when there are any, when Prometheus does not answer, and when it does not have the rules of the filter
    P(local_llm.ops.slo_rules#filter); without them nothing could fire.
  - A person can go on all the same, by name, with O(accept).
  - An alert without the labels C(host), C(pool) and C(server) counts when its name begins with C(LocalLlm).
  - Runs on the controller and asks no host.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
  - local_llm.ops.prometheus_server
options:
  plan:
    description: The plan of M(local_llm.ops.rollout_plan).
    type: dict
    required: true
  gateways:
    description: Names of the gateway hosts.
    type: list
    elements: str
    default: []
  accept:
    description: Who goes on all the same, and why, as C(name) and C(reason) with a colon between them.
    type: str
    default: ""
seealso:
  - module: local_llm.ops.rollout_plan
  - module: local_llm.ops.rollout_watch
"""

EXAMPLES = r"""
---
- name: Refuse while something burns
  local_llm.ops.rollout_alerts:
    url: http://mon1:9090
    plan: "{{ planned.plan }}"
    gateways: "{{ groups.gateway }}"
"""

RETURN = r"""
findings:
  description: What speaks against a rollout now, or one finding with status C(ok).
  returned: always
  type: list
  elements: dict
accepted:
  description: Who goes on in spite of findings, and why. Empty when nothing spoke against it.
  returned: success
  type: str
msg:
  description: What was accepted, as text.
  returned: success
  type: str
"""
