#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the NVIDIA driver of a host step by step, and back again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_driver
short_description: Change the NVIDIA driver of a host step by step, and back again
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Carries out a plan for the driver of one host as a transaction. Its state lies on the host, in O(directory), so a
    reboot, a power cut or a controller that dies ends nothing. The same step is called again and goes on from there.
  - The packages of the old and of the new driver are on the host, with their SHA-256, before anything changes. The
    change of packages and the way back need no network.
  - This module reboots nothing and drains nothing. The playbook C(local_llm.ops.driver) does that.
  - Hosts with apt only. On others the module refuses.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Says which packages would change and whether a reboot is planned. Whether the kernel module will build and load
        shows only when it does.
  diff_mode:
    support: full
    details: Shows the packages with their versions and holds.
  idempotent:
    support: full
options:
  state:
    description:
      - V(downloaded) begins the transaction. It takes a snapshot and brings the packages of both versions into the
        cache. When a package of the installed driver is to be had nowhere, it refuses, and nothing has changed.
      - V(stopped) stops the units of the plan and proves that no process holds a device of the driver. Where the
        plan only holds packages and its driver is loaded, nothing is stopped.
      - V(installed) changes the packages in one transaction, from the cache alone, holds the new ones, and checks that
        the module is there for the running and the newest kernel. The host's own updates are kept away meanwhile.
      - V(loaded) takes the old driver out of the kernel and puts the new one in, or returns RV(reboot_needed). After
        the reboot it is called again. Then it starts the units of the plan, but no instances; the playbook does that.
      - V(held) records that the new driver was found good, and proves the holds.
      - V(committed) ends the transaction. It also closes one that was V(rolled_back), when the host was proven and let
        in.
      - V(rolled_back) brings back the packages, holds and units of the snapshot, from any state before V(committed). It
        may return RV(reboot_needed) as well.
      - V(absent) removes the driver with its settings, holds, pins and this module's files.
    type: str
    choices: [downloaded, stopped, installed, loaded, held, committed, rolled_back, absent]
    required: true
  plan:
    description:
      - The plan of M(local_llm.ops.gpu_driver_plan). V(downloaded) needs it. V(absent) takes the names in C(remove) and
        C(hold).
    type: dict
  transaction_id:
    description:
      - Name of the transaction. V(downloaded) needs it. The others refuse when the host is in the midst of another.
    type: str
  was_drained:
    description: Whether the host was drained before. It is kept in the transaction, for whoever lets the host in again.
    type: bool
    default: false
  window_seconds:
    description: After this time the host's own updates run again, also when the transaction was left alone.
    type: int
    default: 7200
  directory:
    description: Where the transaction lies on the host.
    type: path
    default: /var/lib/local_llm/driver
  sysfs_root:
    description: Where sysfs is.
    type: path
    default: /sys
  procfs_root:
    description: Where procfs is.
    type: path
    default: /proc
seealso:
  - module: local_llm.ops.gpu_driver_info
  - module: local_llm.ops.gpu_driver_plan
"""

EXAMPLES = r"""
- name: Bring the packages of both versions to the host
  local_llm.ops.gpu_driver:
    state: downloaded
    plan: "{{ driver_plan }}"
    transaction_id: 20261121T070623Z

- name: Go back to the driver of before
  local_llm.ops.gpu_driver:
    state: rolled_back
"""

RETURN = r"""
transaction:
  description: Content of C(transaction.json), null after V(absent).
  returned: success
  type: dict
  contains:
    id: {description: Its name., type: str}
    state:
      description:
        - V(planned), V(downloaded), V(stopped), V(installed), V(reboot_needed), V(loaded), V(verified), V(committed),
          V(rolling_back), V(rolled_back) or V(failed).
      type: str
    from: {description: Version of the driver before., type: str}
    to: {description: Version of the driver wanted., type: str}
    plan: {description: The plan., type: dict}
    snapshot_sha256: {description: Digest of C(snapshot.json)., type: str}
    boot_id: {description: "The boot in which the packages changed, or a reboot was asked for.", type: str}
    was_drained: {description: Whether the host was drained before., type: bool}
    closed: {description: Whether nothing is left to do. Also a way back is closed with V(committed)., type: bool}
    updated_at: {description: When it came to this state., type: str}
    detail: {description: The state in words., type: str}
packages_before:
  description: Versions of the packages before this step.
  returned: success
  type: dict
packages_after:
  description: Versions of the packages after this step.
  returned: success
  type: dict
reboot_needed:
  description: Whether the host must be rebooted before the step is called again.
  returned: success
  type: bool
findings:
  description: What was seen on the way that is no failure.
  returned: success
  type: list
  elements: dict
seconds:
  description: How long the parts of the step took.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import (
    ENVIRONMENT,
    DriverError,
    Host,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._run import STATES, run
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import find_program


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": list(STATES)},
            "plan": {"type": "dict"},
            "transaction_id": {"type": "str"},
            "was_drained": {"type": "bool", "default": False},
            "window_seconds": {"type": "int", "default": 7200},
            "directory": {"type": "path", "default": "/var/lib/local_llm/driver"},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "procfs_root": {"type": "path", "default": "/proc"},
        },
        required_if=[("state", "downloaded", ("plan", "transaction_id"))],
        supports_check_mode=True,
    )
    if find_program("apt-get") is None:
        module.fail_json(msg="This host has no apt-get. Only hosts with apt are supported: change its driver by hand.")
    module.run_command_environ_update = ENVIRONMENT
    options = module.params
    host = Host(module.run_command, options["directory"], options["sysfs_root"], options["procfs_root"])
    try:
        result = run(options, host, module.check_mode)
    except DriverError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or options['directory']}: {error.strerror or error}. Run as root, and make room on "
            "the disk; then run the same step again."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
