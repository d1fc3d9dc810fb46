#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module gpu_driver_info: what a host has of the NVIDIA driver, and what it could get."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_driver_info
short_description: Read what a host has of the NVIDIA driver, and what it could get
version_added: 0.1.0
description:
  - Reads packages, sources, kernels, headers, DKMS, Secure Boot, GPUs and the processes that hold them. A plan is made
    from it by M(local_llm.ops.gpu_driver_plan). It changes nothing and refreshes no package lists; do that before.
  - The packages are the closure of the driver, every installed package that has the driver's version, or whose name
    belongs to one of its families.
  - A host without a GPU or without a driver is a result, not a failure. What cannot be told is null.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
notes:
  - Run it as root. Another user may not see which processes hold a GPU; C(holders) is then null.
  - The part for Enterprise Linux is tested with recorded texts only, not on such a host.
options:
  mirrors:
    description:
      - Where the packages of a mirror come from. For Debian and Ubuntu the keys are beginnings of the addresses in the
        apt sources, for Enterprise Linux ids of repositories. The values are V(debian), V(ubuntu) or V(nvidia).
      - A mirror that keeps the name of the original in its Release file (C(Origin)) needs no entry.
    type: dict
    default: {}
  running_kernel:
    description: Kernel that counts as the running one, for a container, whose kernel is not its own.
    type: str
  procfs_root:
    description: Where kernel and processes are read from.
    type: path
    default: /proc
  sysfs_root:
    description: Where devices, modules and EFI variables are read from.
    type: path
    default: /sys
  system_root:
    description: Where C(/boot), C(/lib/modules), C(/etc) and C(/var) are read from. Programs always tell of the host.
    type: path
    default: /
seealso:
  - module: local_llm.ops.gpu_driver_plan
  - module: local_llm.ops.gpu_info
"""

EXAMPLES = r"""
---
- name: Read what is there
  local_llm.ops.gpu_driver_info:
  register: driver

- name: Read a host that installs from a mirror which has lost its name
  local_llm.ops.gpu_driver_info:
    mirrors:
      https://mirror.example.org/cuda/: nvidia
  register: driver
"""

RETURN = r"""
driver_facts:
  description: The facts; every key is always there. The reference is in C(docs/reference_contracts.md).
  returned: success
  type: dict
  sample:
    schema: 1
    distribution: debian
    distribution_version: "12"
    package_manager: apt
    kernel_running: 6.1.0-35-amd64
    loaded_version: 535.247.01
    loaded_flavour: proprietary
    secure_boot: "off"
    nvswitch_count: 0
    holders: []
seconds:
  description: Time that the module took.
  returned: success
  type: float
  sample: 0.8
"""

import time
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._driver._facts import Sources, gather_driver_facts
from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import ORIGINS


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "mirrors": {"type": "dict", "default": {}},
            "running_kernel": {"type": "str"},
            "procfs_root": {"type": "path", "default": "/proc"},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "system_root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    params = module.params
    strange = sorted(f"{key}: {value}" for key, value in params["mirrors"].items() if value not in ORIGINS)
    if strange:
        module.fail_json(msg=f"mirrors: {strange[0]} is no origin. Write debian, ubuntu or nvidia.")
    started = time.monotonic()
    sources = Sources(
        sysfs_root=params["sysfs_root"],
        procfs_root=params["procfs_root"],
        system_root=params["system_root"],
        running_kernel=params["running_kernel"],
        mirrors=params["mirrors"],
    )

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        # What programs say is read: it must not be in the language of the site.
        plain = {"LC_ALL": "C", "LANGUAGE": "C"}
        answer: tuple[int, str, str] = module.run_command(list(command), environ_update=plain)
        return answer

    facts = gather_driver_facts(sources, run)
    module.exit_json(changed=False, driver_facts=facts, seconds=round(time.monotonic() - started, 3))


if __name__ == "__main__":
    main()
