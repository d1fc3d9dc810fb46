#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: script_library
short_description: Keep the Python files that a script on a host imports
version_added: 0.1.0
description:
  - Keeps a directory with these Python files, and no others. All of them come in one step, so that it takes no longer
    for forty files than for one.
  - Each file is replaced in one rename. Byte code that Python leaves beside the files stays.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the SHA-256 of each file that differs, not its text.
  idempotent:
    support: full
options:
  directory:
    description: The directory. It and those above it are made with mode 0755 where they are missing.
    type: path
    required: true
  files:
    description: Path below the directory to text. A path ends with C(.py) and does not leave the directory.
    type: dict
    required: true
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Bring two files of the collection to a host
  local_llm.ops.script_library:
    directory: /usr/local/libexec/local_llm/example_lib
    files:
      _one.py: "{{ lookup('ansible.builtin.file', 'plugins/module_utils/_one.py', rstrip=false) }}"
      part/__init__.py: ""
"""

RETURN = r"""
written:
  description: Files that were written, or would be, in the order of their paths.
  returned: always
  type: list
  elements: str
removed:
  description: Files that were removed, or would be, because nobody listed them.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._script_library import LibraryError, differences, put


def run(module: AnsibleModule) -> dict[str, Any]:
    """Compare, and put in place what differs."""
    directory, files = module.params["directory"], module.params["files"]
    found = differences(directory, files)
    if not module.check_mode:
        put(directory, files, found)
    return {
        "changed": bool(found.written or found.removed),
        "written": found.written,
        "removed": found.removed,
        "diff": {"before": found.before, "after": found.after, "before_header": directory, "after_header": directory},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except LibraryError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or module.params['directory']}: {error.strerror or error}. Nothing else was written; "
            "mend the file system or the rights, then run again."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
