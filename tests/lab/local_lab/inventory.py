# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible inventory and the SSH configuration of a lab."""

from __future__ import annotations

import json

from .state import Lab


def write(lab: Lab) -> None:
    """Write inventory.yml and ssh_config into the lab's directory."""
    key = lab.directory / "key"
    groups: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for host in lab.hosts.values():
        groups.setdefault(host.group, {"hosts": {}})["hosts"][host.name] = {"ansible_host": host.address}
    # The keepalive ends a connection to a host that was cut off; without it a task waits for its answer for ever.
    options = (
        "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5"
        " -o ServerAliveInterval=5 -o ServerAliveCountMax=3"
    )
    inventory = {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(key),
                "ansible_ssh_common_args": options,
                "ansible_python_interpreter": "/usr/bin/python3",
            },
            "children": groups,
        }
    }
    # JSON is YAML; so the lab needs no package beyond Python itself.
    (lab.directory / "inventory.yml").write_text(json.dumps(inventory, indent=2) + "\n", encoding="utf-8")
    config = "".join(
        f"Host {host.name}\n  HostName {host.address}\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        for host in lab.hosts.values()
    )
    (lab.directory / "ssh_config").write_text(config, encoding="utf-8")
