#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_release
short_description: Stage, switch, commit and revert the release of a model server instance
version_added: 0.1.0
description:
  - A release is the immutable description and files of what an instance runs. Its id is the first 12 hex digits of the
    SHA-256 of the canonical JSON of the description, so that the same content has the same id on every host.
  - Switching is one atomic change of the link C(current) and one restart. Before it, a dead-man is armed on the host.
    Unless the switch is committed in time, the host goes back by itself. That needs no controller, no network and
    no Python, and it also happens after a restart of the host.
  - Every step writes C(state.json) and appends a line to the hash-chained C(journal.jsonl) of the instance.
  - Needs the units that the role P(local_llm.ops.host#role) installs.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode a missing engine, model or release is a warning. An earlier task may only have predicted it.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - O(state=switched) while the same change is armed moves the deadline and reports a change, without a restart.
options:
  instance:
    description: Name of the instance.
    type: str
    required: true
  state:
    description:
      - V(staged) writes the release in O(release) beside the others. The service is not touched.
      - V(switched) makes the release O(release_id) the one that serves, and waits until it is ready. When it does not
        become ready the module fails and leaves the dead-man armed.
      - V(committed) confirms the release that serves, disarms the dead-man and removes old releases.
        It needs no armed change. A first release that was started with O(commit_timeout_seconds=0) is confirmed the
        same way, once it was proven. The state of the instance becomes C(healthy), and a second call changes nothing.
        It is refused when the service does not run.
      - V(reverted) goes back to what the dead-man would go back to; without an armed change, to C(previous) or to
        O(release_id).
        When the instance has gone back already, by itself or by an earlier call, nothing changes and nothing is
        restarted. The module still waits until the service is ready.
        After a revert from an armed first release, the instance is stopped and has no current release.
      - V(absent) stops the instance and removes its directory. Engines and models stay.
    type: str
    choices: [staged, switched, committed, reverted, absent]
    required: true
  release:
    description:
      - The description of the release. Needed with O(state=staged).
      - Keys are C(schema), C(engine), C(engine_version), C(model), C(model_revision), C(model_manifest_sha256),
        C(model_entry), C(served_name), C(port), C(gpus) and C(config).
    type: dict
  release_id:
    description: Id of a release. Needed with O(state=switched).
    type: str
  listen_address:
    description:
      - Address that the engine listens on. Used with O(state=staged). It belongs to the host, not to the release, and
        takes effect with the next start.
    type: str
    default: 127.0.0.1
  commit_timeout_seconds:
    description: Time from O(state=switched) until the dead-man goes back. With V(0) there is no dead-man.
    type: int
    default: 600
  ready_timeout_seconds:
    description: How long the service may take until its health request is answered.
    type: int
    default: 300
  lock_timeout_seconds:
    description: How long to wait for another change of the same instance on this host.
    type: int
    default: 30
  rollout_id:
    description: Id of the rollout, for state, journal and armed change.
    type: str
  keep_releases:
    description: How many releases stay on the host after O(state=committed). Those in use always stay.
    type: int
    default: 3
  require_evidence:
    description:
      - With O(state=committed), refuse a release of which no evidence of this rollout (O(rollout_id)) is kept on the
        host, in C(evidence/release-<id>.json). Its verdict must be pass, or a person must have accepted it by name.
    type: bool
    default: false
  verified:
    description:
      - With O(state=reverted), only write down that the finished revert was verified. Call it without this first.
    type: bool
    default: false
seealso:
  - module: local_llm.ops.llm_release_info
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Stage a release
  local_llm.ops.llm_release:
    instance: chat
    state: staged
    listen_address: 10.0.0.11
    release:
      schema: 1
      engine: llamacpp
      engine_version: 0.7.0
      model: tiny
      model_revision: r1
      model_manifest_sha256: 7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730
      model_entry: model.gguf
      served_name: chat
      port: 8001
      gpus: all
      config: {}
  register: staged

- name: Let it serve, and go back after ten minutes unless committed
  local_llm.ops.llm_release:
    instance: chat
    state: switched
    release_id: "{{ staged.release_id }}"
    commit_timeout_seconds: 600
    rollout_id: r-2026-11-21

- name: Start a first release, which has nothing to go back to
  local_llm.ops.llm_release:
    instance: chat
    state: switched
    release_id: "{{ staged.release_id }}"
    commit_timeout_seconds: 0

- name: Confirm it
  local_llm.ops.llm_release:
    instance: chat
    state: committed

- name: Go back
  local_llm.ops.llm_release:
    instance: chat
    state: reverted

- name: Write down that the way back was verified
  local_llm.ops.llm_release:
    instance: chat
    state: reverted
    verified: true
"""

RETURN = r"""
instance:
  description: Name of the instance.
  type: str
  returned: always
release_id:
  description: Id of the release that the call was about.
  type: str
  returned: always
current:
  description: Id of the release that the instance runs, read back from the link.
  type: str
  returned: always
previous:
  description: Id of the release before it.
  type: str
  returned: always
releases:
  description: Ids of the releases on the host, newest first.
  type: list
  elements: str
  returned: always
armed:
  description: The armed change with boot id, deadline and where it goes back to; null when nothing is armed.
  type: dict
  returned: always
instance_state:
  description: Content of C(state.json).
  type: dict
  returned: always
seconds:
  description:
    - Seconds that C(stop) and C(start) of the process took, and from the restart until C(port_open) and C(ready).
    - Empty when nothing was restarted.
  type: dict
  returned: always
  sample: {stop: 0.051, start: 0.004, port_open: 0.312, ready: 0.911}
reason:
  description: Why the instance did not become ready.
  type: str
  returned: when it did not become ready
log_lines:
  description: The last lines of the log of the service.
  type: list
  elements: str
  returned: when it did not become ready
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.module_utils._health_ask import Ask
from ansible_collections.local_llm.ops.plugins.module_utils._release import (
    ReleaseError,
    instance_name_problem,
    release_id_problem,
    rollout_id_problem,
)
from ansible_collections.local_llm.ops.plugins.module_utils._release_context import Context, HostClock, Outcome
from ansible_collections.local_llm.ops.plugins.module_utils._release_stage import commit, remove_instance, stage
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore, Paths
from ansible_collections.local_llm.ops.plugins.module_utils._release_switch import revert, switch
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Systemd

PATHS = Paths()
ARGUMENTS: dict[str, dict[str, Any]] = {
    "instance": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["staged", "switched", "committed", "reverted", "absent"], "required": True},
    "release": {"type": "dict"},
    "release_id": {"type": "str"},
    "listen_address": {"type": "str", "default": "127.0.0.1"},
    "commit_timeout_seconds": {"type": "int", "default": 600},
    "ready_timeout_seconds": {"type": "int", "default": 300},
    "lock_timeout_seconds": {"type": "int", "default": 30},
    "rollout_id": {"type": "str"},
    "keep_releases": {"type": "int", "default": 3},
    "require_evidence": {"type": "bool", "default": False},
    "verified": {"type": "bool", "default": False},
}


def option_problems(parameters: dict[str, Any]) -> list[str]:
    """Return what is wrong with the options, beyond their types."""
    identity = parameters["release_id"]
    problems = [
        instance_name_problem(parameters["instance"]),
        rollout_id_problem(parameters["rollout_id"]),
        None if identity is None else release_id_problem(identity),
    ]
    for name, least in (
        ("commit_timeout_seconds", 0),
        ("ready_timeout_seconds", 1),
        ("lock_timeout_seconds", 0),
        ("keep_releases", 1),
    ):
        if parameters[name] < least:
            problems.append(f"{name} {parameters[name]} must be at least {least}")
    return [problem for problem in problems if problem]


def carry_out(context: Context, parameters: dict[str, Any]) -> Outcome:
    """Do the step that state names."""
    if parameters["state"] == "staged":
        return stage(
            context,
            parameters["release"],
            parameters["listen_address"],
            lambda description, paths: get_engine(description["engine"]).render(description, paths),
        )
    if parameters["state"] == "switched":
        return switch(context, parameters["release_id"], parameters["commit_timeout_seconds"])
    if parameters["state"] == "committed":
        return commit(context, parameters["release_id"], parameters["keep_releases"], parameters["require_evidence"])
    if parameters["state"] == "reverted":
        return revert(context, parameters["release_id"], parameters["verified"])
    return remove_instance(context)


def failure_cause(engine: str, lines: list[str]) -> str:
    """Return what the log of an instance says about a start that failed, where its engine can tell."""
    own = getattr(get_engine(engine), "failure_cause", None)
    return own(lines) if own else ""


def ready_status(description: dict[str, Any], ask: Ask) -> int | None:
    """Ask the instance whether it is ready, in the way of its engine."""
    engine = get_engine(description["engine"])
    own = getattr(engine, "ready_status", None)
    return own(description, ask) if own else ask("GET", engine.health_path, None)[0]


def readable_snapshot(store: InstanceStore) -> dict[str, Any]:
    """Return what is on the disk, as far as it can be read: a failure must still say where the instance stands."""
    try:
        return store.snapshot()
    except (ReleaseError, OSError):
        return {}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "staged", ["release"]), ("state", "switched", ["release_id"])],
        supports_check_mode=True,
    )
    parameters = module.params
    problems = option_problems(parameters)
    if problems:
        module.fail_json(msg="; ".join(problems))
    context = Context(
        store=InstanceStore(PATHS, parameters["instance"]),
        systemd=Systemd(lambda command: module.run_command(command, environ_update={"LC_ALL": "C"})),
        check_mode=module.check_mode,
        rollout_id=parameters["rollout_id"],
        lock_timeout_seconds=parameters["lock_timeout_seconds"],
        ready_timeout_seconds=parameters["ready_timeout_seconds"],
        clock=HostClock(PATHS.proc),
        health_path=lambda engine: get_engine(engine).health_path,
        ready_status=ready_status,
        failure_cause=failure_cause,
    )
    try:
        before = context.store.snapshot()
        outcome = carry_out(context, parameters)
        after = outcome.predicted if module.check_mode and outcome.changed else context.store.snapshot()
        differences = [{"before_header": "instance", "after_header": "instance", "before": before, "after": after}]
        if parameters["state"] == "staged":
            differences.append(
                {
                    "before_header": f"release {before['current']} (current)",
                    "after_header": f"release {outcome.release_id} (staged)",
                    "before": context.store.description(before["current"]) or {},
                    "after": parameters["release"],
                }
            )
    except (ReleaseError, ValueError) as error:
        facts = {
            "instance": parameters["instance"],
            **readable_snapshot(context.store),
            **getattr(error, "details", {}),
        }
        module.fail_json(msg=str(error), **facts)
    except OSError as error:
        module.fail_json(
            msg=f"instance {parameters['instance']}: {error}. Look at the disk (df, dmesg), run the role host.",
            instance=parameters["instance"],
        )
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=outcome.changed,
        instance=parameters["instance"],
        release_id=outcome.release_id,
        seconds=outcome.seconds,
        diff=differences if outcome.changed else [],
        **after,
    )


if __name__ == "__main__":
    main()
