#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module script_library: what a script of this collection imports, on the host, without Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
module: script_library
short_description: Install what a script of this collection imports
version_added: 0.1.0
description:
  - Roles install scripts that run on hosts without Ansible, from systemd units. They import files of this collection.
  - This finds these files on the controller and brings them to O(dest) in one go, below C(ansible_collections). A
    script puts O(dest) in front of C(sys.path).
  - A Python file in O(dest) that no script needs is removed. What Python has compiled is left alone.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Names the files, without their content.
  idempotent:
    support: full
options:
  dest:
    description: Directory on the host. It belongs to these scripts alone. It is made, with those above it.
    type: path
    required: true
  scripts:
    description: Scripts on the controller.
    type: list
    elements: path
    required: true
  modules:
    description: >-
      Files below C(plugins/module_utils) that a script imports in a program of its own, where nothing finds them, such
      as V(_gpu/_exporter_worker.py).
    type: list
    elements: str
    default: []
  files:
    description: What they need, text by path. Left out - it is found from the other two.
    type: dict
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Install the library of the scripts
  local_llm.ops.script_library:
    dest: /usr/local/libexec/local_llm/remediation_lib
    scripts:
      - "{{ role_path }}/files/remediate.py"
      - "{{ role_path }}/files/remediation_agent.py"
"""

RETURN = r"""
written:
  description: Files that were written, or would be, below O(dest).
  returned: success
  type: list
  elements: str
removed:
  description: Files that were removed, or would be, below O(dest).
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._script_library import apply, differences


def main() -> None:
    """Run the module. The action plugin of the same name turns scripts and modules into files."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "scripts": {"type": "list", "elements": "path", "required": True},
            "modules": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    dest, files = module.params["dest"], module.params["files"] or {}
    if not files:
        module.fail_json(
            msg="script_library: files is empty: nothing was found for scripts. Call it by its full name in a task."
        )
    try:
        write, remove = differences(dest, files)
        if not module.check_mode:
            apply(dest, files, write, remove)
    except OSError as error:
        module.fail_json(
            msg=f"script_library: {error.filename or dest} cannot be written: {error.strerror}. Free the disk, or "
            "correct who owns the directory, and run it again."
        )
    diff = {
        "before_header": dest,
        "after_header": dest,
        "before": "".join(f"{path}\n" for path in remove),
        "after": "".join(f"{path}\n" for path in write),
    }
    module.exit_json(changed=bool(write or remove), written=write, removed=remove, diff=diff)


if __name__ == "__main__":
    main()
