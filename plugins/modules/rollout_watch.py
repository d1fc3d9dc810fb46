#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_watch; the code is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_watch
short_description: Judge live traffic of a server by what Prometheus saw of it
version_added: 0.1.0
description:
  - Reads errors at the gateway and, where the engine tells, errors, time to first token and queue inside the engine,
    from the moment at which the server was let in again, and holds them against the tier of the instance.
  - Failed requests are judged as M(local_llm.ops.rollout_live_errors) does it, once at the gateway and once inside the
    engine; both together blame a server that keeps its limit in at most 5 of 1000 watches.
  - Missing data is never a pass. A server or a gateway that Prometheus does not know, samples that are too old and an
    unknown series give V(inconclusive); a Prometheus that does not answer gives V(error).
  - After an engine without metrics (Ollama) Prometheus has no target of the server yet, because targets are written
    when the rollout is over. Then only the gateways' series must be there, and RV(notes) says so; see O(previous).
  - Series are chosen by C(server) and time; the label C(release) of the targets is written when the rollout is over.
  - Runs on the controller and asks no host. The verdict is a result, not a failure.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
  - local_llm.ops.prometheus_server
options:
  phase:
    description:
      - V(begin) before the server is let in, tells the time of Prometheus and whether it knows every series.
      - V(judge) after the watch, waits for samples that are newer than it and judges.
    type: str
    choices: [begin, judge]
    required: true
  instance:
    description: The instance as in C(local_llm_instances).
    type: dict
    required: true
  release:
    description: Id of the new release.
    type: str
    required: true
  previous:
    description:
      - The description of the release before; read are C(engine) and C(engine_version).
      - Empty when it is not known; then Prometheus must have the target of the server.
    type: dict
    default: {}
  gateways:
    description: Names of the gateway hosts, as in the label C(host). Each must be known.
    type: list
    elements: str
    default: []
  pools:
    description: C(local_llm_pools), for limits that a pool sets for itself.
    type: dict
    default: {}
  slo_tiers:
    description: C(local_llm_slo_tiers), the tiers of the site.
    type: dict
    default: {}
  started_seconds:
    description: RV(started_seconds) of the phase V(begin). Needed to judge.
    type: float
  requests_seen:
    description: Live requests that the gateways themselves counted meanwhile. Prometheus must have seen about as many.
    type: int
    default: 0
  others_seen:
    description: What the gateways counted meanwhile of the other servers of the pool. Where these fail too, a share of
      failed requests like theirs is not blamed on the release.
    type: dict
    default: {}
    suboptions:
      requests: {description: Their requests., type: int, default: 0}
      failed: {description: Those that failed., type: int, default: 0}
  wait_seconds:
    description: Longest wait for samples that are newer than the watch. Longer than the scrape interval, twice.
    type: float
    default: 120.0
seealso:
  - module: local_llm.ops.gateway_info
  - module: local_llm.ops.rollout_live_errors
  - module: local_llm.ops.rollout_verdict
"""

EXAMPLES = r"""
---
- name: Does Prometheus know the server
  local_llm.ops.rollout_watch:
    url: http://mon1:9090
    phase: begin
    instance: "{{ local_llm_instances[0] }}"
    release: 001efada725e
    gateways: [gw1]
  register: begun

- name: Judge what Prometheus saw
  local_llm.ops.rollout_watch:
    url: http://mon1:9090
    phase: judge
    instance: "{{ local_llm_instances[0] }}"
    release: 001efada725e
    gateways: [gw1]
    started_seconds: "{{ begun.started_seconds }}"
  register: watched
"""

RETURN = r"""
verdict:
  description: The verdict, in the shape of M(local_llm.ops.rollout_verdict).
  returned: success
  type: dict
figures:
  description: What was read, such as C(requests), C(failed), C(first_tokens_late) and C(waiting); C(release_label) is
    V(current) when the targets have the new release already, else V(stale) or V(unknown).
  returned: success
  type: dict
  sample: {release_label: stale, requests: 57.0, failed: 0.0, requests_at_gateways: 51, up: 1.0, waiting: 0.0}
notes:
  description: What is not measured by metrics, and why.
  returned: success
  type: list
  elements: str
started_seconds:
  description: The time of Prometheus, when O(phase=begin).
  returned: success
  type: float
seconds:
  description: How long it took, waiting included.
  returned: success
  type: float
  sample: 11.2
"""
