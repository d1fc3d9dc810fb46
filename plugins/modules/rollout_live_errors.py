#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_live_errors; the code is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_live_errors
short_description: Judge live requests of a server by what the gateways counted
version_added: 0.1.0
description:
  - Adds up what M(local_llm.ops.gateway_info) counted while watching, and tells whether more requests of a server
    failed than chance explains. Failed are answers with 5xx, failed connections, broken answers, and tries that the
    gateway had to send again.
  - V(fail) takes two failed requests or more, and a number of them that would be rare under what is allowed. Allowed is
    the error limit of the tier, and, where the other servers of the pool fail too, a share like theirs.
  - V(fail) is also a server that a gateway does not find up at the end of a turn, and a service that has been started
    again since the watch began. A gateway sends nothing to a server that is down, so a crash shows in few requests.
  - V(inconclusive) when the last turn is over - chance does not explain the failed requests, and the server failed more
    often than the others, but too few requests were seen to tell it from them.
  - It may be asked after every turn. The looks of one watch share a chance of 5 in 1000 to blame a server that keeps
    the limit; half of what is left goes to each look.
  - Runs on the controller and asks no host. The verdict is a result, not a failure.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  turns:
    description: One entry per turn so far, each the list of results of M(local_llm.ops.gateway_info) with
      C(watch_seconds), one per gateway.
    type: list
    elements: raw
    required: true
  server:
    description: Name of the server at the gateways.
    type: str
    required: true
  pool:
    description: Its pool.
    type: str
    required: true
  slo_tier:
    description: Name of its tier. Its C(error_rate_max_percent) may fail; without one, none may.
    type: str
    default: standard
  pools:
    description: C(local_llm_pools), for limits that a pool sets for itself.
    type: dict
    default: {}
  slo_tiers:
    description: C(local_llm_slo_tiers), the tiers of the site.
    type: dict
    default: {}
  min_requests:
    description: With fewer live requests than this, RV(watch_on) asks for another turn, where the pool has traffic.
    type: int
    default: 10
  turns_max:
    description: How many turns there may be.
    type: int
    default: 1
  plan:
    description:
      - The plan of the rollout, as M(local_llm.ops.rollout_plan) returns it. Servers that the rollout has changed
        already, or changes at the same time, are no measure then - a release would excuse itself.
      - Without it all other servers at the full share are a measure.
    type: dict
  service_before:
    description: What M(local_llm.ops.llm_release_info) said of the instance before the watch. Needs O(service_now).
    type: dict
  service_now:
    description: What it says now. Needs O(service_before).
    type: dict
seealso:
  - module: local_llm.ops.gateway_info
  - module: local_llm.ops.llm_release_info
  - module: local_llm.ops.rollout_watch
"""

EXAMPLES = r"""
---
- name: Watch the pool for a minute
  local_llm.ops.gateway_info:
    pool: chat
    watch_seconds: 60
    stop_on_errors: false
  delegate_to: gw1
  register: watched

- name: Did too many requests fail
  local_llm.ops.rollout_live_errors:
    turns: "{{ [[watched]] }}"
    server: gpu1-chat
    pool: chat
    slo_tier: enhanced
  register: judged
"""

RETURN = r"""
verdict:
  description: V(pass), V(fail) or V(inconclusive), in the shape of M(local_llm.ops.rollout_verdict).
  returned: success
  type: dict
figures:
  description:
    - The counts. C(others_requests), C(others_failed) and C(others_retries) are of the servers at the full share that
      are a measure.
    - C(failed) has the C(retries) in it, C(others_failed) the C(others_retries).
    - C(chance) of so many failed requests by chance, null where that was not asked; below C(rare) it is no chance.
  returned: success
  type: dict
  sample: {requests: 41, failed: 1, retries: 0, pool_requests: 402, others_requests: 361, others_failed: 0,
    others_retries: 0, look: 1, looks_max: 5, chance: 0.34, rare: 0.0025}
watch_on:
  description: Whether one more turn is worth it. Too few requests were seen, or too few failed to tell a fault from
    chance.
  returned: success
  type: bool
told:
  description: What a person should know of it.
  returned: success
  type: str
  sample: "41 live requests were seen; 1 of 41 failed, 1 % is allowed: too few to tell it from chance; watching on."
"""
