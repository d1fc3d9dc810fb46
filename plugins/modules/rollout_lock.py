#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_lock
short_description: Hold, release or look at the lock of a rollout on a gateway host
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Keeps two rollouts from running at once. The lock is one file on each gateway host, C(rollout.lock).
  - It names who holds it, from which controller, with which process and since when. A second rollout is refused and
    told so.
  - A lock is taken over when its process ran on this same controller and is gone, when its controller is this one and
    was restarted, when it gave no sign of life within its time, or when O(take_over) names its rollout.
  - With several gateway hosts, take the locks one after the other in the same order and stop at the first refusal.
    The example shows how. Two rollouts that start in the same moment then never hold half of the locks each.
  - The action of the same name adds the holder and decides about a take-over; the module works on the gateway host.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: Holding a lock that is held already renews its time stamp; this is not reported as a change.
options:
  state:
    description:
      - V(held) takes the lock, or renews it when this process holds it. It fails when another rollout holds it.
      - V(released) gives the lock of this rollout back. The lock of another rollout stays, without a failure.
      - V(query) only looks.
    type: str
    choices: [held, released, query]
    required: true
  rollout_id:
    description: The rollout that holds the lock. Needed unless O(state=query).
    type: str
  directory:
    description: Directory of the lock on the gateway host.
    type: path
    default: /var/lib/local_llm/gateway
  ttl_seconds:
    description:
      - After this time without a renewal another rollout may take over.
      - Renew the lock before each batch, and make this longer than a batch takes.
    type: int
    default: 14400
  renew_only:
    description: Fail when this process does not hold the lock already, so that a lock that was lost stops the rollout.
    type: bool
    default: false
  take_over:
    description:
      - Take the lock over from the rollout of this id, whatever its holder does.
      - Only for a holder that is certainly dead.
    type: str
  halted:
    description: A text that is kept in the lock and shown to whoever is refused, for example why the rollout waits.
    type: str
  holder:
    description: Set by the action. Who takes the lock.
    type: dict
  replace_sha256:
    description: Set by the action. The digest of the lock that is taken over.
    type: str
"""

EXAMPLES = r"""
---
- name: Take the lock on every gateway host, in order, and stop at the first refusal
  local_llm.ops.rollout_lock:
    state: held
    rollout_id: "{{ rollout_id }}"
    take_over: "{{ local_llm_rollout_take_over | default(omit) }}"
  delegate_to: "{{ gateway_host }}"
  run_once: true
  loop: "{{ groups['gateway'] | sort }}"
  loop_control:
    loop_var: gateway_host
    break_when: lock is failed
  register: lock

- name: Show that the rollout is alive, and stop when the lock was lost
  local_llm.ops.rollout_lock:
    state: held
    rollout_id: "{{ rollout_id }}"
    renew_only: true
  delegate_to: "{{ gateway_host }}"
  run_once: true
  loop: "{{ groups['gateway'] | sort }}"
  loop_control:
    loop_var: gateway_host
"""

RETURN = r"""
outcome:
  description:
    - V(acquired), V(renewed) or V(took_over) when it is held now.
    - V(released), V(free) or V(other_holder) after a release.
    - V(query) after a look.
    - V(refused) or V(lost) in a failure.
  returned: always
  type: str
holder:
  description: What the lock says now, null when nobody holds it.
  returned: always
  type: dict
told:
  description: Who holds it, and which playbook ends what a dead holder has left; empty when nobody holds it.
  returned: always
  type: str
before:
  description: What the lock said before, null when nobody held it.
  returned: always
  type: dict
took_over:
  description: The lock that was taken over, else null.
  returned: success
  type: dict
take_over_reason:
  description: Why it was taken over, else null.
  returned: success
  type: str
age_seconds:
  description: Seconds since the holder from before last showed itself, by the clock of the gateway host.
  returned: always
  type: float
expired:
  description: Whether that is longer than its time.
  returned: always
  type: bool
sha256:
  description: Digest of the lock from before.
  returned: always
  type: str
lock_path:
  description: The lock file.
  returned: always
  type: str
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._rollout_lock import (
    LockError,
    age_seconds,
    hold,
    is_expired,
    lock_digest,
    lock_path,
    read_lock,
    release,
)


def _act(module: AnsibleModule, now: datetime) -> dict[str, Any]:
    options = module.params
    if options["state"] == "query":
        lock = read_lock(options["directory"])
        return {"outcome": "query", "lock": lock, "before": lock}
    if options["state"] == "released":
        return release(
            options["directory"],
            options["rollout_id"],
            replace_sha256=options["replace_sha256"],
            check_mode=module.check_mode,
        )
    return hold(
        options["directory"],
        {**(options["holder"] or {}), "rollout_id": options["rollout_id"]},
        options["ttl_seconds"],
        now=now,
        replace_sha256=options["replace_sha256"],
        renew_only=options["renew_only"],
        halted=options["halted"],
        check_mode=module.check_mode,
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["held", "released", "query"], "required": True},
            "rollout_id": {"type": "str"},
            "directory": {"type": "path", "default": "/var/lib/local_llm/gateway"},
            "ttl_seconds": {"type": "int", "default": 14400},
            "renew_only": {"type": "bool", "default": False},
            "take_over": {"type": "str"},
            "halted": {"type": "str"},
            "holder": {"type": "dict"},
            "replace_sha256": {"type": "str"},
        },
        required_if=[("state", "held", ("rollout_id",)), ("state", "released", ("rollout_id",))],
        supports_check_mode=True,
    )
    now = datetime.now(timezone.utc)
    try:
        done = _act(module, now)
    except LockError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or module.params['directory']}: {error.strerror}. "
            "The lock needs a directory on the gateway host that this user may write; run as root."
        )
    before, lock = done["before"], done["lock"]
    age = age_seconds(before, now) if before else 0.0
    result = {
        "changed": done["outcome"] in ("acquired", "took_over", "released"),
        "outcome": done["outcome"],
        "holder": lock,
        "before": before,
        "age_seconds": age if age != float("inf") else -1.0,
        "expired": is_expired(before, now) if before else False,
        "sha256": lock_digest(before) if before else "",
        "lock_path": lock_path(module.params["directory"]),
    }
    if result["changed"]:
        result["diff"] = {"before": before or {}, "after": lock or {}}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
