#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module rollout_mark: begin and end of the last rollout as metrics."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_mark
short_description: Write begin and end of a rollout where node_exporter shows them
version_added: 0.1.0
description:
  - Writes C(local_llm_rollout.prom) with C(local_llm_rollout_started_timestamp_seconds) and, once there is one,
    C(local_llm_rollout_ended_timestamp_seconds), so that dashboards can draw rollouts.
  - The file holds the last rollout only.
  - Where the directory does not exist nothing is written, and where it cannot be written that is a warning. A rollout
    does not fail for a mark on a dashboard.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  rollout_id:
    description: Id of the rollout.
    type: str
    required: true
  playbook:
    description: What ran.
    type: str
    choices: [upgrade, rollback, driver]
    default: upgrade
  started_seconds:
    description: When it began, Unix time.
    type: float
    required: true
  ended_seconds:
    description: When it ended, Unix time. Left out while it runs.
    type: float
  outcome:
    description: How it ended, such as V(completed). Needed with O(ended_seconds).
    type: str
  pools:
    description: Pools that the rollout changes. Each gets series with its name as the label C(pool).
    type: list
    elements: str
    default: []
  directory:
    description: Textfile directory of node_exporter.
    type: path
    default: /var/lib/prometheus/node-exporter
"""

EXAMPLES = r"""
---
- name: Mark the begin
  local_llm.ops.rollout_mark:
    rollout_id: 20261121T070623Z-54db
    pools: [chat]
    started_seconds: "{{ now().timestamp() }}"
"""

RETURN = r"""
path:
  description: The file, or null where nothing was written.
  returned: success
  type: str
  sample: /var/lib/prometheus/node-exporter/local_llm_rollout.prom
detail:
  description: Why nothing was written. Empty when all is well.
  returned: success
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._rollout_mark import FILE_NAME, mark_text, write_mark
from ansible_collections.local_llm.ops.plugins.module_utils._textfile import DIRECTORY


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "rollout_id": {"type": "str", "required": True},
            "playbook": {"type": "str", "choices": ["upgrade", "rollback", "driver"], "default": "upgrade"},
            "started_seconds": {"type": "float", "required": True},
            "ended_seconds": {"type": "float"},
            "outcome": {"type": "str"},
            "directory": {"type": "path", "default": DIRECTORY},
            "pools": {"type": "list", "elements": "str", "default": []},
        },
        required_by={"ended_seconds": ["outcome"]},
        supports_check_mode=True,
    )
    params = module.params
    directory = params["directory"]
    if not os.path.isdir(directory):
        module.exit_json(changed=False, path=None, detail=f"{directory} does not exist: no node_exporter here")
    text = mark_text(
        params["rollout_id"],
        params["playbook"],
        params["started_seconds"],
        params["ended_seconds"],
        params["outcome"] or "",
        params["pools"],
    )
    path = os.path.join(directory, FILE_NAME)
    try:
        changed = write_mark(directory, text, dry=module.check_mode)
    except OSError as error:
        detail = f"{path} cannot be written: {error.strerror}; dashboards do not show this rollout"
        module.warn(f"rollout_mark: {detail}")
        module.exit_json(changed=False, path=None, detail=detail)
    module.exit_json(changed=changed, path=path, detail="")


if __name__ == "__main__":
    main()
