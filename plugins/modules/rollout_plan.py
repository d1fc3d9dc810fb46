#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin rollout_plan; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_plan
short_description: Check the desired state of the fleet and plan the rollout to it
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Reads C(local_llm_instances), C(local_llm_models), C(local_llm_pools), C(local_llm_slo_tiers) and the artefacts
    of the engines of every host, and refuses what is wrong, before anything is touched. Each fault names the key,
    the value, the hosts and the fix.
  - Refuses a variable whose name begins with C(local_llm_) and that nothing reads, and warns of a name that is almost
    the default of a role.
  - Looks at the files on the controller that the inventory names, and at their SHA-256. A file is hashed once; the
    digest is remembered in C(~/.cache/local_llm/sha256.json) until its size or its time of change differs.
  - With O(release_infos) it plans who moves from which release to which, and in which batches. A play over
    C(plan.order) with the same O(serial) makes exactly these batches.
  - Without O(release_infos) it only checks, for playbooks that need no plan.
  - Runs on the controller and needs no connection. Run it once, not for each host.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: The plan is the same; the files of O(write) are not written.
  diff_mode:
    support: none
    details: The plan itself is shown.
  idempotent:
    support: full
    details: Except for O(write), which writes the files of a new rollout each time.
options:
  hosts:
    description: Hosts of the rollout in their order. Default is all hosts of the play.
    type: list
    elements: str
  gateway_hosts:
    description: Hosts that serve the pools. Default is the group C(gateway).
    type: list
    elements: str
  release_infos:
    description:
      - What runs now. Either host to result of M(local_llm.ops.llm_release_info), or the registered result of that
        module in a loop over the hosts.
    type: dict
  release_infos_from:
    description: Name of the variable in which each host registered its result. Instead of O(release_infos).
    type: str
  gateway_infos:
    description:
      - Gateway host to result of M(local_llm.ops.gateway_info), or the registered result of that module in a loop
        over the gateway hosts. Then each instance of the plan also says under C(gateway_before) whether it was in
        service.
    type: dict
  rollout_id:
    description: Id of the rollout. Default is made from the time and four random digits.
    type: str
  check_only:
    description: Only check, and make no plan, also when O(release_infos) are given.
    type: bool
    default: false
  keep_serving:
    description:
      - Refuse when an instance serves that C(local_llm_instances) no longer names. Needs O(release_infos) or
        O(release_infos_from). A host that is in none of O(hosts), or that gave no answer, is not looked at.
    type: bool
    default: false
  direction:
    description:
      - V(forward) plans the way to the inventory.
      - V(back) plans the way to the release before, or to O(release_id), one host at a time. In that plan C(to) is the
        release that serves and shall go, and C(from) the one to go back to. The texts read the other way
        round, from what serves to what it goes back to.
    type: str
    choices: [forward, back]
    default: forward
  release_id:
    description:
      - With O(direction=back), the release to go back to. An instance that does not have it stays as it is, with a
        warning; it is a fault when no instance has it.
      - Without it the releases that the last rollout brought go, wherever they serve, and a rollback that was
        interrupted goes on.
    type: str
  canary_host:
    description: The host that goes first. Default is the first host with a change.
    type: str
  serial:
    description: Batch sizes as C(serial) of a play takes them.
    type: raw
    default: [1, "10%", "50%", "100%"]
  freeze_windows:
    description:
      - Times in which no rollout may start; a rollback always may.
      - A list of windows with C(name), C(from) and C(until) as ISO 8601 times, or with C(weekdays) (C(mon) to C(sun))
        and times of day. C(timezone) is a name such as C(Europe/Berlin), by default C(UTC).
    type: raw
  ignore_freeze:
    description: Name of one freeze window to go on in spite of.
    type: str
  allow_pool_outage:
    description: Only warn when a batch would take every host of a pool with several hosts.
    type: bool
    default: false
  short_pools:
    description:
      - Pools that may lack a host during the rollout although the others cannot answer their peak rate.
      - For the other pools with a C(capacity) in C(local_llm_pools), a batch takes no more hosts than the others can
        stand in for by measured goodput, and the plan is refused when that is not even one.
    type: list
    elements: str
  root:
    description:
      - Directory of all rollouts. The rollout gets a directory of its own in it, named by its id.
      - The journals in it also tell which earlier rollouts have completed.
    type: path
  write:
    description: Write C(plan.json), C(deployment-plan.md) and C(rollback-plan.md) into the directory of the rollout.
    type: bool
    default: false
  show:
    description: Show the plan on the screen.
    type: bool
    default: true
  fail:
    description: Fail when a finding has the status C(fail).
    type: bool
    default: true
"""

EXAMPLES = r"""
---
- name: Read the releases on every host
  local_llm.ops.llm_release_info:
  register: release_info

- name: Plan
  local_llm.ops.rollout_plan:
    release_infos_from: release_info
    canary_host: gpu1
    root: /var/log/local_llm/rollouts
    write: true
  run_once: true
  register: planned

- name: Only check the inventory
  local_llm.ops.rollout_plan:
  run_once: true

- name: Check the inventory, and refuse to forget an instance that serves
  local_llm.ops.rollout_plan:
    check_only: true
    keep_serving: true
    release_infos_from: release_info
  run_once: true
"""

RETURN = r"""
rollout_id:
  description: Id of the rollout.
  returned: when the inventory is sound
  type: str
directory:
  description: Directory of the rollout.
  returned: when O(root) is given
  type: str
findings:
  description: What was found, as M(local_llm.ops.llm_preflight) describes it. Empty when all is well.
  returned: always
  type: list
  elements: dict
desired:
  description: Host to instance to the release it shall run, with description, release_id, pool, slo_tier and sizes.
  returned: when the inventory is sound
  type: dict
preflight:
  description: Host to what M(local_llm.ops.llm_preflight) takes as C(instances).
  returned: when the inventory is sound
  type: dict
compat:
  description:
    - What the compatibility gate needs. C(hosts) is host to C(instances) and C(judge), as M(local_llm.ops.llm_compat)
      takes them, and C(models), as M(local_llm.ops.llm_preflight) takes them. Only hosts with an instance that moves,
      or with O(check_only) one that does not serve yet, are in it.
    - C(models) are the facts about the models that lie on the controller; each was read once.
  returned: when O(release_infos) is given, and O(direction) is V(forward)
  type: dict
plan:
  description: The plan, null when the inventory is not sound.
  returned: when O(release_infos) is given
  type: dict
  contains:
    schema:
      description: Version of this shape.
      type: int
    rollout_id:
      description: Id of the rollout.
      type: str
    direction:
      description: V(forward), or V(back) for a rollback.
      type: str
    canary:
      description: The host that goes first.
      type: str
    serial:
      description: The batch sizes.
      type: list
      elements: raw
    order:
      description: Hosts with a change, the canary first. Empty when nothing changes.
      type: list
      elements: str
    batches:
      description: The same hosts in batches.
      type: list
      elements: list
    hosts:
      description:
        - Host to instance to C(from), C(to), C(action) (install, upgrade, resume or none), C(reason), C(pool),
          C(slo_tier), C(description), C(previous_description), C(changes), C(bytes_needed) and C(gateway_before).
        - C(carried) is true where an earlier rollout that did not complete has brought the release to which others of
          the pool still move. There C(action) is V(none), and C(from) is the release before.
        - C(share_limit_percent) is the largest share at which the instance may be let in, so that the hosts of its
          pool in one batch stay within 100 percent.
      type: dict
    carried:
      description: Hosts with a carried instance, sorted. They are in C(order) only when they have something else to do.
      type: list
      elements: str
    findings:
      description: The findings.
      type: list
      elements: dict
roll:
  description: Host to the list of its instances with something to do, each with its name and what the plan says.
  returned: when O(release_infos) is given
  type: dict
settle:
  description: >-
    Host to the list of its instances that may have to go back, as in C(roll) and the carried ones too, for each host
    that has any.
  returned: when O(release_infos) is given
  type: dict
has_changes:
  description: Whether any host has something to do.
  returned: when O(release_infos) is given
  type: bool
text:
  description: The plan as a table for the screen.
  returned: when O(release_infos) is given
  type: str
markdown:
  description: The deployment plan.
  returned: when O(release_infos) is given
  type: str
rollback_markdown:
  description: The rollback plan.
  returned: when O(release_infos) is given
  type: str
files:
  description: Paths of the written files by name.
  returned: when they were written
  type: dict
"""
