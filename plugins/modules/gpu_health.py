#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_health
short_description: Say of every GPU of a host what is fine, what is not, and what to do
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Reads NVML, sysfs, procfs, the NVIDIA services, the driver packages and the kernel log, and runs a list of checks
    over them. Every finding says what was seen, what was expected, how it is known, what to do and where to read more.
  - It never hangs. NVML runs in a process of its own with a deadline; a driver that is stuck is a finding.
  - A host without an NVIDIA GPU is no failure. It gets the status V(no_gpu), unless O(expected) asks for GPUs.
  - It changes nothing on the host that serves. It keeps a file, O(state_path), that says how far the kernel log was
    read, which GPU events came in the last seven days, and the counters of the run before.
  - An XID counts until the recovery ladder has verified an action on its GPU, or until a person clears it.
  - The policy for XID, SXid and NVLink 5 codes is a data file of the collection. An action plugin of this name reads it
    on the controller, puts O(xid_overrides) over it and hands it to the module.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: The same findings. The file under O(state_path) is then read and not written.
  diff_mode:
    support: none
    details: It changes nothing but its own notes in O(state_path).
  idempotent:
    support: full
    details: It always reports C(changed=false). The file under O(state_path) is bookkeeping of what was seen.
options:
  checks:
    description: Names of the checks to run. Without it all of them.
    type: list
    elements: str
  skip_checks:
    description: Names of checks to leave out.
    type: list
    elements: str
    default: []
  thresholds:
    description:
      - "Other thresholds than those of the collection: C({check: {threshold: number}})."
      - A name that does not exist, or a number out of range, is refused with the names or the range that exist.
    type: dict
    default: {}
  expected:
    description: The state that this host should have. What is not given is not compared.
    type: dict
    default: {}
    suboptions:
      gpu_count:
        description: How many GPUs there are.
        type: int
      minimum_gpus:
        description: How many GPUs there are at least.
        type: int
      gpu_name:
        description: A part of the name of every GPU, for example V(H100).
        type: str
      driver_version:
        description: Version of the driver, or its branch, for example V(570).
        type: str
      ecc:
        description: Whether ECC is on.
        type: bool
      mig:
        description: Whether MIG is on.
        type: bool
      persistence:
        description: Whether the driver stays loaded when nothing uses a GPU.
        type: bool
        default: true
      compute_mode:
        description: How many programs may use a GPU at once.
        type: str
        choices: [default, exclusive_thread, prohibited, exclusive_process]
      power_limit_watts:
        description: The power limit of every GPU.
        type: float
      nvlink_links_per_gpu:
        description: How many NVLinks of every GPU are up.
        type: int
  since_seconds:
    description:
      - Only events of the kernel log after this time count, in seconds since 1970. Use it to watch for what is new.
      - Without it those count that nothing has cleared.
    type: float
  xid_overrides:
    description:
      - "The site's own decision for single XID codes: C({79: {severity: critical, action: reboot}})."
      - Taken on the controller; the rest of the entry stays as the collection has it.
    type: dict
    default: {}
  xid_policy:
    description: Policy for XID codes. The action plugin fills it in.
    type: dict
  sxid_policy:
    description: Policy for SXid codes. The action plugin fills it in.
    type: dict
  nvlink5_policy:
    description: Policy for the XID codes of NVLink 5. The action plugin fills it in.
    type: dict
  nvml_python:
    description:
      - Python interpreter that has the package C(nvidia-ml-py).
      - Without it C(/opt/local_llm/tools/bin/python) when that is there, else the interpreter of the module.
    type: path
  nvml_library_directory:
    description: Directory that holds C(libnvidia-ml.so.1). Without it the loader of the system looks for it.
    type: path
  deadline_seconds:
    description: How long NVML may take. After that the driver counts as stuck.
    type: float
    default: 30
  sysfs_root:
    description: Where sysfs is.
    type: path
    default: /sys
  procfs_root:
    description: Where procfs is.
    type: path
    default: /proc
  kernel_log:
    description:
      - V(auto) takes the journal where it holds messages of the kernel, else C(/dev/kmsg).
      - V(none) reads nothing; the checks of the kernel log are then skipped.
      - The path of a file in the format of C(/dev/kmsg), C(dmesg) or syslog. It is followed across its rotation, by
        renaming or by truncating, also to files ending in C(.gz).
    type: str
    default: auto
  state_path:
    description: File with what earlier runs saw. Its directory is made when it is missing.
    type: path
    default: /var/lib/local_llm/health/state.json
  fail:
    description: Fail when a finding has the status C(fail), or when the GPUs cannot be looked at.
    type: bool
    default: false
notes:
  - Run it as root. Without root the kernel log and a part of NVML cannot be read; findings then say what to grant.
  - A first run reads the kernel log of this boot, at most seven days back. Later runs read on from there, also across
    reboots where the journal is kept.
seealso:
  - module: local_llm.ops.gpu_info
  - module: local_llm.ops.gpu_recovery
"""

EXAMPLES = r"""
---
- name: Look at all GPUs
  local_llm.ops.gpu_health:
    expected:
      gpu_count: 8
      gpu_name: H100
      ecc: true
  register: health

- name: Stop when something must leave service
  ansible.builtin.fail:
    msg: "{{ health.findings | selectattr('status', 'eq', 'fail') | map(attribute='action') | join(' ') }}"
  when: health.status == 'out_of_service'

- name: Has anything fatal happened since the release was switched?
  local_llm.ops.gpu_health:
    checks: [xid, sxid, gpu_lost]
    since_seconds: "{{ switched_at_seconds }}"
    fail: true

- name: Decide otherwise than the collection for two codes
  local_llm.ops.gpu_health:
    xid_overrides:
      63: {severity: info, action: none}
      109: {severity: critical, action: reset_gpu}
"""

RETURN = r"""
findings:
  description: What was checked, what was seen and what to do; what must be acted on comes first.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: Name of the check.
      type: str
    status:
      description: V(ok), V(warn), V(fail) or V(skip). V(fail) means that the host, or this GPU, must leave service.
      type: str
    severity:
      description: V(info), V(warning) or V(critical).
      type: str
    subject:
      description: What was looked at.
      type: str
    observed:
      description: What was seen; for V(skip) why the check does not apply.
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
    remedy:
      description: V(none), V(configure), V(restart_app), V(reset_gpu), V(reboot) or V(hardware).
      type: str
    runbook:
      description: The page and section that tell more.
      type: str
    gpu:
      description: The GPU with C(index), C(uuid) and C(pci_address), or null for the whole host.
      type: dict
summary:
  description: How many findings have the status C(ok), C(warn), C(fail) and C(skip).
  returned: always
  type: dict
  sample: {ok: 41, warn: 1, fail: 0, skip: 3}
status:
  description:
    - V(healthy) without a finding to act on, V(degraded) with a V(warn), V(out_of_service) with a V(fail).
    - V(unknown) when the GPUs cannot be looked at since the Python package is missing; nothing says that they are sick.
    - V(no_gpu) on a host that has no NVIDIA GPU and should have none, unless something else of it must leave service.
  returned: always
  type: str
  sample: healthy
remedy:
  description: The strongest remedy among the findings with the status V(fail); V(none) when there is none.
  returned: always
  type: str
  sample: none
gpus:
  description: The GPUs, each with C(index), C(uuid), C(name), C(pci_address) and C(serial).
  returned: always
  type: list
  elements: dict
events:
  description:
    - The events of the kernel log that count, newest last, with C(at), C(kind), C(code), C(pci) and C(message).
  returned: always
  type: list
  elements: dict
repairs:
  description:
    - The recovery actions of the last days, oldest first, each with C(at_seconds), C(rung), C(pci_address),
      C(gpu_uuid), C(reason), C(xid) and C(result), which is V(started), V(verified) or V(failed).
  returned: always
  type: list
  elements: dict
log:
  description:
    - From where the kernel log was read (C(source)), whether it could be (C(readable), C(error)), and C(lost_messages).
  returned: always
  type: dict
message:
  description: What must be mended, one line per finding with the status C(fail), or why the GPUs cannot be looked at.
    Empty when nothing must.
  returned: always
  type: str
boot_id:
  description: Id of this boot.
  returned: always
  type: str
taken_at_seconds:
  description: When the host was looked at, in seconds since 1970.
  returned: always
  type: float
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 0.21
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import OptionError, worst_remedy
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_options import read_options
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import STATE_PATH, counting_events
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import (
    names_to_run,
    one_to_follow,
    overall_status,
    run_checks,
    summarise,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._snapshot import take_snapshot

POLICY_OPTIONS = ("xid_policy", "sxid_policy", "nvlink5_policy")


def argument_spec() -> dict[str, dict[str, Any]]:
    """Return the options; anew each time, as ansible-core writes into their defaults."""
    expected = {
        "gpu_count": {"type": "int"},
        "minimum_gpus": {"type": "int"},
        "gpu_name": {"type": "str"},
        "driver_version": {"type": "str"},
        "ecc": {"type": "bool"},
        "mig": {"type": "bool"},
        "persistence": {"type": "bool", "default": True},
        "compute_mode": {"type": "str", "choices": ["default", "exclusive_thread", "prohibited", "exclusive_process"]},
        "power_limit_watts": {"type": "float"},
        "nvlink_links_per_gpu": {"type": "int"},
    }
    return {
        "checks": {"type": "list", "elements": "str"},
        "skip_checks": {"type": "list", "elements": "str", "default": []},
        "thresholds": {"type": "dict", "default": {}},
        "expected": {"type": "dict", "default": {}, "options": expected},
        "since_seconds": {"type": "float"},
        "xid_overrides": {"type": "dict", "default": {}},
        "xid_policy": {"type": "dict"},
        "sxid_policy": {"type": "dict"},
        "nvlink5_policy": {"type": "dict"},
        "nvml_python": {"type": "path"},
        "nvml_library_directory": {"type": "path"},
        "deadline_seconds": {"type": "float", "default": 30},
        "sysfs_root": {"type": "path", "default": "/sys"},
        "procfs_root": {"type": "path", "default": "/proc"},
        "kernel_log": {"type": "str", "default": "auto"},
        "state_path": {"type": "path", "default": STATE_PATH},
        "fail": {"type": "bool", "default": False},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    # Every program that is run prints in plain English, and sorts and counts in the same way everywhere.
    module.run_command_environ_update = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    started = time.monotonic()
    try:
        options = read_options(module.params)
    except OptionError as error:
        module.fail_json(msg=str(error))
    # A result repeats the arguments of its task; the policy is data of the collection and would be most of it.
    module.params.update(dict.fromkeys(POLICY_OPTIONS))
    snapshot = take_snapshot(
        options.sources,
        module.run_command,
        write_state=not module.check_mode,
        ran=names_to_run(options.checks, options.skip_checks),
        skipped=options.skip_checks,
    )
    context = options.context(snapshot["state"]["cleared_at_seconds"])
    findings = one_to_follow(run_checks(snapshot, context, options.checks, options.skip_checks))
    status = overall_status(snapshot, context, findings)
    message = "\n".join(finding_line(item) for item in failures(findings))
    if status == "unknown":
        blind = [finding_line(item) for item in findings if item["check"] == "nvml_loadable"]
        message = "\n".join(blind) or f"The GPUs cannot be looked at: {snapshot['nvml']['error']}"
    result = {
        "changed": False,
        "findings": findings,
        "summary": summarise(findings),
        "status": status,
        "remedy": worst_remedy(findings),
        "gpus": [
            {**{key: gpu[key] for key in ("index", "uuid", "name", "serial")}, "pci_address": gpu["pci"]["address"]}
            for gpu in snapshot["gpus"]
        ],
        "events": counting_events(snapshot["log"]["events"], context.cleared_at_seconds, context.since_seconds),
        "log": {key: value for key, value in snapshot["log"].items() if key != "events"},
        "boot_id": snapshot["boot_id"],
        "taken_at_seconds": snapshot["taken_at_seconds"],
        "repairs": snapshot["state"]["actions"],
        "message": message,
        "seconds": round(time.monotonic() - started, 3),
    }
    if result["message"] and module.params["fail"]:
        module.fail_json(msg=result["message"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
