#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: llm_preflight
short_description: Check a host before a rollout touches it
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Checks what a rollout needs on a host and returns findings. It changes nothing.
  - The port of each instance is free or its own; otherwise the process that took it is named. Models and engines that
    must still come fit on the disk. Models fit into memory. The role P(local_llm.ops.host#role) has prepared the host,
    and its unit gives an engine the time to finish requests. No instance has a key that the gateway would have to send.
    The service manager is systemd, Python is new enough, and the clock is right.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  instances:
    description: The instances of this host, as M(local_llm.ops.rollout_plan) returns them under C(preflight).
    type: list
    elements: dict
    default: []
    suboptions:
      instance:
        description: Name of the instance.
        type: str
        required: true
      description:
        description: Description of the release that it shall run.
        type: dict
        required: true
      release_id:
        description: Id of that release.
        type: str
      model_bytes:
        description: Size of the model.
        type: int
        default: 0
      engine_bytes:
        description: Size of the engine once it is installed.
        type: int
        default: 0
  reserve_bytes:
    description: What must stay free on the disk.
    type: int
    default: 268435456
  controller_time_seconds:
    description: The time of the controller in seconds since 1970. Without it the clocks are not compared.
    type: float
  max_clock_skew_seconds:
    description: How far the clocks may be apart.
    type: float
    default: 30
  prepared:
    description: Whether the role P(local_llm.ops.host#role) must have prepared this host. V(false) on a bare host.
    type: bool
    default: true
  models:
    description:
      - Models whose facts shall be read here when they are published already, as M(local_llm.ops.rollout_plan) returns
        them under C(compat). Each name goes with C(model), C(model_revision) and C(model_entry).
    type: dict
    default: {}
  fail:
    description: Fail when a finding has the status C(fail).
    type: bool
    default: false
"""

EXAMPLES = r"""
---
- name: Check every host against the plan
  local_llm.ops.llm_preflight:
    instances: "{{ planned.preflight[inventory_hostname] }}"
    fail: true
"""

RETURN = r"""
findings:
  description: What was checked, seen and expected, and what to do.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: V(port), V(disk), V(memory), V(prepared), V(stop_time), V(instance_key), V(systemd), V(python),
        V(clock) or V(model_facts).
      type: str
    status:
      description: V(ok), V(warn), V(fail) or V(skip).
      type: str
    severity:
      description: V(info), V(warning) or V(critical).
      type: str
    subject:
      description: What was looked at.
      type: str
    observed:
      description: What was seen.
      type: raw
    expected:
      description: What is needed.
      type: raw
    action:
      description: What to do.
      type: str
    source:
      description: Where the check looked.
      type: str
memory_total_bytes:
  description: Memory of the host, 0 when it cannot be told.
  returned: always
  type: int
models:
  description: The facts about those of O(models) that are published here, as M(local_llm.ops.model_facts) returns them.
  returned: always
  type: dict
ok:
  description: Whether no finding has the status C(fail).
  returned: always
  type: bool
"""

import os
import sys
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.module_utils._preflight import (
    check_clock,
    check_disks,
    check_keys,
    check_memory,
    check_ports,
    check_prepared,
    check_stop_time,
    check_system,
    disk_needs,
    engine_directory,
    model_directory,
)
from ansible_collections.local_llm.ops.plugins.module_utils._preflight_host import (
    ENGINES_PATH,
    MODELS_PATH,
    clock_synchronised,
    instance_keys,
    missing_preparation,
    read_disk,
    read_listeners,
    read_memory_total_bytes,
    read_published_models,
    read_unit,
)

_NEEDED = ("engine", "engine_version", "model", "model_revision", "port")
_MODEL_KEYS = ("model", "model_revision", "model_entry")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "instance": {"type": "str", "required": True},
                    "description": {"type": "dict", "required": True},
                    "release_id": {"type": "str"},
                    "model_bytes": {"type": "int", "default": 0},
                    "engine_bytes": {"type": "int", "default": 0},
                },
            },
            "reserve_bytes": {"type": "int", "default": 268435456},
            "controller_time_seconds": {"type": "float"},
            "max_clock_skew_seconds": {"type": "float", "default": 30},
            "prepared": {"type": "bool", "default": True},
            "models": {"type": "dict", "default": {}},
            "fail": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = module.params
    instances = options["instances"]
    for one in instances:
        missing = [key for key in _NEEDED if key not in one["description"]]
        if missing:
            module.fail_json(
                msg=f"instances: the description of {one['instance']} lacks {', '.join(missing)}. "
                "Hand over preflight of rollout_plan."
            )
    for key, model in options["models"].items():
        if not isinstance(model, dict) or any(not isinstance(model.get(part), str) for part in _MODEL_KEYS):
            module.fail_json(msg=f"models: {key} needs {', '.join(_MODEL_KEYS)}. Hand over compat of rollout_plan.")
    descriptions = [one["description"] for one in instances]
    models = {model_directory(MODELS_PATH, one) for one in descriptions}
    engines = {engine_directory(ENGINES_PATH, one) for one in descriptions}
    present = {path for path in models if os.path.isfile(os.path.join(path, "manifest.json"))}
    present |= {path for path in engines if os.path.isdir(path)}
    needs = disk_needs(instances, present, MODELS_PATH, ENGINES_PATH)
    timedatectl = module.get_bin_path("timedatectl")
    memory_total_bytes = read_memory_total_bytes()
    facts, unreadable = read_published_models(options["models"])
    findings = [
        *check_system(os.path.isdir("/run/systemd/system"), sys.version_info[:3]),
        *(check_prepared(missing_preparation()) if options["prepared"] else []),
        # On a host that is not prepared yet, the role host is still to write the unit.
        *(check_stop_time(instances, read_unit()) if options["prepared"] else []),
        *check_keys(instance_keys(one["instance"] for one in instances)),
        *check_ports(instances, read_listeners([int(one["port"]) for one in descriptions])),
        *check_disks(needs, [read_disk(MODELS_PATH), read_disk(ENGINES_PATH)], options["reserve_bytes"]),
        *check_memory(instances, memory_total_bytes, os.path.exists("/dev/nvidiactl")),
        *check_clock(
            time.time(),
            clock_synchronised(module.run_command, timedatectl),
            options["controller_time_seconds"],
            options["max_clock_skew_seconds"],
        ),
        *unreadable,
    ]
    result = {"findings": findings, "memory_total_bytes": memory_total_bytes, "models": facts}
    bad = failures(findings)
    if bad and options["fail"]:
        module.fail_json(msg="\n".join(finding_line(item) for item in bad), ok=False, **result)
    module.exit_json(changed=False, ok=not bad, **result)


if __name__ == "__main__":
    main()
