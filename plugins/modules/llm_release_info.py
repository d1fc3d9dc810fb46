#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_release_info
short_description: Read which releases the instances of a host have and run
version_added: 0.1.0
description:
  - Reads the links, the staged releases, an armed change, the state and the service of each instance. Changes nothing.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  instance:
    description: Name of one instance. Without it, all instances of the host.
    type: str
seealso:
  - module: local_llm.ops.llm_release
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Read all instances
  local_llm.ops.llm_release_info:
  register: found

- name: Show the ones with an armed change
  ansible.builtin.debug:
    msg: "{{ found.instances | selectattr('armed') | map(attribute='instance') }}"
"""

RETURN = r"""
instances:
  description: The instances, sorted by name. Empty when the named one, or any, does not exist.
  type: list
  elements: dict
  returned: always
  contains:
    instance:
      description: Name of the instance.
      type: str
    current:
      description: Id of the release that the instance runs, or null.
      type: str
    previous:
      description: Id of the release before it, or null.
      type: str
    releases:
      description: Ids of the releases on the host, newest first.
      type: list
      elements: str
    armed:
      description: The armed change, or null.
      type: dict
    instance_state:
      description: Content of C(state.json), or null.
      type: dict
    active_state:
      description: State of the service, such as C(active) or C(failed).
      type: str
    sub_state:
      description: State of the service in more detail, such as C(running) or C(auto-restart).
      type: str
    restarts:
      description: How often the service manager started the service again by itself, since somebody last started it.
      type: int
    invocation:
      description: Id that the service manager gave to this run of the service; every start has another one. Empty
        before the first start.
      type: str
    enabled:
      description: Whether the service starts at boot.
      type: bool
    current_description:
      description: Description of the current release, or null.
      type: dict
    evidence:
      description: What a rollout keeps of the current release - its C(rollout_id), the word of its C(verdict), who
        C(accepted) it without one, and C(at). Null when none is kept, as of a release that no rollout brought.
      type: dict
    problem:
      description: What is damaged on the disk, or null.
      type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError, instance_name_problem
from ansible_collections.local_llm.ops.plugins.module_utils._release_evidence import parse_evidence, verdict_word
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore, Paths, list_instances
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Systemd, engine_unit

PATHS = Paths()


def kept_evidence(store: InstanceStore, current: str | None) -> dict[str, Any] | None:
    """Return the evidence of the current release in short; None when there is none that can be read."""
    evidence = parse_evidence(store.evidence(current), current)[0] if current else None
    if evidence is None:
        return None
    return {"verdict": verdict_word(evidence), **{key: evidence.get(key) for key in ("rollout_id", "accepted", "at")}}


def describe(store: InstanceStore, unit: dict[str, str]) -> dict[str, Any]:
    """Return what there is to know of one instance; damage is told, it does not hide the rest."""
    found: dict[str, Any] = {
        "current": None,
        "previous": None,
        "releases": [],
        "armed": None,
        "instance_state": None,
        "current_description": None,
        "evidence": None,
        "problem": None,
    }
    problems = []
    readers: dict[str, Any] = {
        "current": lambda: store.link("current"),
        "previous": lambda: store.link("previous"),
        "releases": lambda: [identity for identity, _time in store.releases()],
        "armed": store.armed,
        "instance_state": store.state,
        "current_description": lambda: store.description(found["current"]),
        "evidence": lambda: kept_evidence(store, found["current"]),
    }
    for key, read in readers.items():
        try:
            found[key] = read()
        except ReleaseError as error:
            problems.append(str(error))
    return {
        **found,
        "instance": store.instance,
        "problem": " ".join(problems) or None,
        "active_state": unit.get("ActiveState", "unknown"),
        "sub_state": unit.get("SubState", "unknown"),
        "restarts": int(unit.get("NRestarts") or 0),
        "invocation": unit.get("InvocationID", ""),
        "enabled": unit.get("UnitFileState") == "enabled",
    }


def main() -> None:
    module = AnsibleModule(argument_spec={"instance": {"type": "str"}}, supports_check_mode=True)
    wanted = module.params["instance"]
    problem = None if wanted is None else instance_name_problem(wanted)
    if problem:
        module.fail_json(msg=problem)
    names = [name for name in list_instances(PATHS) if wanted in (None, name)]
    systemd = Systemd(lambda command: module.run_command(command, environ_update={"LC_ALL": "C"}))
    try:
        units = systemd.show_many([engine_unit(name) for name in names])
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        instances=[describe(InstanceStore(PATHS, name), unit) for name, unit in zip(names, units)],
    )


if __name__ == "__main__":
    main()
