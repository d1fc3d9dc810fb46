#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide the next step of a GPU recovery, and remember on the host what was done."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_recovery
short_description: Decide the next step of a GPU recovery, and remember on the host what was done
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - The ladder has four rungs, C(restart_app), C(reset_gpu), C(reboot) and C(hardware). This module decides which one
    is next and writes down how it ended. It drains, restarts and resets nothing; the playbook
    C(local_llm.ops.health) does that.
  - It begins at the strongest remedy among the failing findings. A rung that was tried for the same cause within
    24 hours and did not help is passed over, and so is one that held for less than O(cooldown_seconds).
  - Two reboots for the same cause, or five actions on a host, within seven days end at C(hardware).
  - C(state.json) on the host keeps the actions. C(recovery.json) beside it keeps what was drained, which GPUs wait for
    hardware service, and what people cleared. A person uses V(cleared); the other states are for the playbook.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: Says what would be remembered; O(state=bundle) names the files that it would write.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: V(planned) changes nothing. The others write down an event, each time they are called.
options:
  state:
    description:
      - V(planned) returns the next step.
      - V(begun) remembers the servers that will be drained.
      - V(acting) records right before the act, on the drained host, that the action of O(plan) has started. After a
        reboot it is called once more, and events count from the boot on.
      - V(verified) ends the action well; the events of its GPUs from before it count no longer. It fails when
        O(health) still has a fault of these GPUs.
      - V(failed) ends the action badly. With O(plan) also one that could not even be started; without both it changes
        nothing.
      - V(waiting) notes that the host waits, see O(waits_for).
      - V(let_in) forgets drained servers, once the gateway sends to them again.
      - V(bundle) writes the evidence for the vendor.
      - V(cleared) is a person's word that O(gpu) is mended.
    type: str
    choices: [planned, begun, acting, verified, failed, waiting, let_in, bundle, cleared]
    required: true
  health:
    description: What M(local_llm.ops.gpu_health) returned. For V(planned), V(verified) and V(bundle).
    type: dict
    default: {}
  instances:
    description:
      - The instances of the host, with the keys C(name), C(pool) and C(gpus). V(planned) and V(begun) need them all.
      - V(let_in) takes those that the gateway sends to again, and needs only C(name).
    type: list
    elements: dict
    default: []
  releases:
    description:
      - For V(planned). C(instances) of M(local_llm.ops.llm_release_info).
      - An instance that is not there, or stopped and disabled, was not meant to run and is left alone.
    type: list
    elements: dict
  gateways:
    description: For V(planned) and V(begun). C(servers) of M(local_llm.ops.gateway_info), by name of the gateway host.
    type: dict
    default: {}
  host_name:
    description: Name of the host in the inventory; servers at the gateway are called by it.
    type: str
    default: ''
  consent:
    description: Whether the host may be rebooted, V(yes), V(no) or V(ask). V(true) and V(false) count as yes and no.
    type: str
    default: 'no'
  allow_pool_outage:
    description: Whether the last ready server of a pool may be taken out.
    type: bool
    default: false
  cooldown_seconds:
    description: A fault that comes back sooner than this after a verified step leads to the next rung.
    type: float
    default: 600
  gpu_reset:
    description: Whether GPUs of this host may be reset. V(false) goes from C(restart_app) to C(reboot).
    type: bool
    default: true
  plan:
    description: RV(plan) of V(planned). For V(begun), V(acting), V(verified), V(failed) and V(waiting).
    type: dict
    default: {}
  services:
    description: For V(begun). Services that will be stopped and must run again.
    type: list
    elements: str
    default: []
  by:
    description: Who does it, and from where.
    type: str
    default: ''
  reason:
    description: Why an action failed, or why a person clears a GPU. V(cleared) needs it.
    type: str
    default: ''
  waits_for:
    description: For V(waiting). Consent to a reboot, or a person and hardware service.
    type: str
    choices: [consent, person]
  advice:
    description: For V(waiting). What to do, for whoever finds the host.
    type: str
    default: ''
  gpu:
    description: For V(cleared). V(all), or the PCI address of a GPU such as V(0000:18:00.0).
    type: str
  snapshot:
    description: For V(bundle). What M(local_llm.ops.gpu_info) returned.
    type: dict
    default: {}
  bundle_name:
    description: For V(bundle). Name of the bundle, a time stamp in UTC such as V(20261121T070623Z).
    type: str
  directory:
    description: Where the host keeps its health.
    type: path
    default: /var/lib/local_llm/health
  sysfs_root:
    description: Where sysfs is.
    type: path
    default: /sys
  procfs_root:
    description: Where procfs is.
    type: path
    default: /proc
"""

EXAMPLES = r"""
- name: What would the ladder do
  local_llm.ops.gpu_recovery:
    state: planned
    health: "{{ gpu_health }}"
    instances: "{{ local_llm_instances }}"

- name: The card in this slot was replaced
  local_llm.ops.gpu_recovery:
    state: cleared
    gpu: 0000:18:00.0
    reason: card replaced, ticket 4711
"""

RETURN = r"""
plan:
  description: The next step.
  returned: O(state=planned)
  type: dict
  contains:
    rung: {description: "V(none), V(restart_app), V(reset_gpu), V(reboot) or V(hardware).", type: str}
    act: {description: "V(false) when the step is only verified, waits, or is refused.", type: bool}
    refused: {description: "Why nothing is done, or null.", type: str}
    reason: {description: What failed., type: str}
    notes: {description: Why milder rungs were passed over., type: list, elements: str}
    consent: {description: "V(yes), V(no), V(ask) or V(not_needed).", type: str}
    waits_for: {description: "V(consent), V(person) or null.", type: str}
    causes: {description: The failing findings that this step is for., type: list, elements: dict}
    by_hand: {description: Failing findings that no rung mends., type: list, elements: str}
    gpus: {description: The GPUs of the step., type: list, elements: dict}
    host_wide: {description: Whether it concerns the whole host., type: bool}
    reset: {description: PCI addresses to reset in one go., type: list, elements: str}
    instances: {description: Instances that leave service for it., type: list, elements: str}
    readmit: {description: Drained instances that may come back once they answer., type: list, elements: str}
    since_seconds: {description: "Unix time of a reboot that is only verified, else null.", type: float}
servers:
  description:
    - What to drain, with C(gateway), C(pool), C(server), C(instance), and C(state) and C(share_percent) from before.
  returned: O(state=begun)
  type: list
  elements: dict
lines:
  description: The plan in words.
  returned: O(state=planned)
  type: list
  elements: str
recovery:
  description: Content of C(recovery.json), with the keys C(mark), C(parked) and C(cleared).
  returned: success
  type: dict
drained:
  description: What is drained for a recovery and since when, in words. Empty when nothing is.
  returned: success
  type: str
since_seconds:
  description: Only events after this Unix time count against the action.
  returned: O(state=acting)
  type: float
bundle:
  description: With C(directory), C(archive), C(bytes), C(sha256) and C(files).
  returned: O(state=bundle)
  type: dict
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _evidence_bundle as evidence
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _recovery_mark as mark_of
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _recovery_record as record
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import changed_state, read_state
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery import (
    Memory,
    Rules,
    consent_word,
    decide,
    plan_lines,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_host import read_ladder_host, with_activity
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_steps import step

STATES = ("planned", "begun", "acting", "verified", "failed", "waiting", "let_in", "bundle", "cleared")


def plan(module: AnsibleModule, state: dict[str, Any], document: dict[str, Any], now: float) -> dict[str, Any]:
    """Return the answer of state=planned."""
    options = module.params
    host = read_ladder_host(options, state["actions"], module.run_command, now)
    rules = Rules(consent_word(options["consent"]), options["allow_pool_outage"], options["cooldown_seconds"])
    memory = Memory(state["actions"], document["mark"], document["parked"], document["cleared"])
    findings = options["health"].get("findings") or []
    instances = with_activity(options["instances"], options["releases"])
    made = decide(findings, memory, instances, options["gateways"], host, rules)
    return {"changed": False, "plan": made, "lines": plan_lines(made, host.name)}


def write_bundle(module: AnsibleModule, state: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of state=bundle."""
    options = module.params
    evidence.check_name(options["bundle_name"])
    files = evidence.documents(
        health=options["health"],
        state=state,
        recovery=document,
        snapshot=options["snapshot"],
        host=evidence.read_host(
            options["sysfs_root"], options["procfs_root"], options["host_name"] or os.uname().nodename
        ),
        slots=evidence.read_slots(options["sysfs_root"]),
    )
    root = os.path.join(options["directory"], "bundles")
    if module.check_mode:
        path = os.path.join(root, options["bundle_name"])
        made: dict[str, Any] = {"directory": path, "archive": f"{path}.tar.gz", "files": sorted(files)}
    else:
        made = evidence.write_bundle(root, options["bundle_name"], files)
        evidence.remove_old(root)
    return {"changed": True, "bundle": made, "diff": {"before": "", "after": f"{made['archive']}\n"}}


def change(module: AnsibleModule, path: str, now: float) -> dict[str, Any]:
    """Carry out one of the states that write, and return its answer. recovery.json is written under the same lock."""
    directory = module.params["directory"]
    if module.check_mode:
        state, problem = read_state(path)
        document = mark_of.read_document(directory)
        after, new = step(module.params, state, document, now)
    else:
        with changed_state(path) as held:
            state, problem = held.state, held.problem
            document = mark_of.read_document(directory)
            after, new = step(module.params, state, document, now)
            if new != document:
                mark_of.write_document(directory, new)
            held.state = after
    warn_of(module, problem)
    keys = ("actions", "cleared_at_seconds")
    result = {
        "changed": new != document or any(after[key] != state[key] for key in keys),
        "recovery": new,
        "drained": mark_of.mark_line(new),
        "diff": {
            "before": {"recovery": document, **{key: state[key] for key in keys}},
            "after": {"recovery": new, **{key: after[key] for key in keys}},
        },
    }
    if module.params["state"] == "begun":
        made = module.params["plan"]
        result["servers"] = [one for one in new["mark"]["servers"] if one["instance"] in made["instances"]]
    if module.params["state"] == "acting":
        result["since_seconds"] = new["mark"]["count_from_seconds"]
    return result


def warn_of(module: AnsibleModule, problem: str | None) -> None:
    """Warn when state.json could not be read."""
    if problem:
        module.warn(f"{problem}. Earlier actions are not counted.")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "required": True,
                "choices": list(STATES),
            },
            "health": {"type": "dict", "default": {}},
            "instances": {"type": "list", "elements": "dict", "default": []},
            "releases": {"type": "list", "elements": "dict"},
            "gateways": {"type": "dict", "default": {}},
            "host_name": {"type": "str", "default": ""},
            "consent": {"type": "str", "default": "no"},
            "allow_pool_outage": {"type": "bool", "default": False},
            "cooldown_seconds": {"type": "float", "default": 600},
            "gpu_reset": {"type": "bool", "default": True},
            "plan": {"type": "dict", "default": {}},
            "services": {"type": "list", "elements": "str", "default": []},
            "by": {"type": "str", "default": ""},
            "reason": {"type": "str", "default": ""},
            "waits_for": {"type": "str", "choices": ["consent", "person"]},
            "advice": {"type": "str", "default": ""},
            "gpu": {"type": "str"},
            "snapshot": {"type": "dict", "default": {}},
            "bundle_name": {"type": "str"},
            "directory": {"type": "path", "default": "/var/lib/local_llm/health"},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "procfs_root": {"type": "path", "default": "/proc"},
        },
        required_if=[
            ("state", "waiting", ("waits_for",)),
            ("state", "bundle", ("bundle_name",)),
            ("state", "cleared", ("gpu", "reason")),
        ],
        supports_check_mode=True,
    )
    directory, now = module.params["directory"], round(time.time(), 3)
    path = os.path.join(directory, "state.json")
    try:
        if module.params["state"] in ("planned", "bundle"):
            state, problem = read_state(path)
            document = mark_of.read_document(directory)
            warn_of(module, problem)
            planned = module.params["state"] == "planned"
            result = plan(module, state, document, now) if planned else write_bundle(module, state, document)
            result.update(recovery=document, drained=mark_of.mark_line(document))
        else:
            result = change(module, path, now)
    except (record.StepError, mark_of.MarkError, evidence.BundleError, ValueError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or directory}: {error.strerror or error}. The host keeps its recovery in "
            f"{directory}: run as root, and make room on the disk."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
