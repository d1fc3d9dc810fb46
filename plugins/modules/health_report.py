#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin health_report; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_report
short_description: Tell the health of the fleet as a table, as JSON and as an HTML page
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Reads what every host registered from M(local_llm.ops.gpu_health) and tells in one table, for every host and GPU,
    what is fine, what is not, how it is known, and what to do.
  - Writes C(health.json) and C(health.html) on the controller, with mode C(0640). They tell the newest run only.
  - A host that was out of reach or could not be checked is told as C(unknown), and counts as one that must leave
    service. So is one without the package that reads its GPUs, with what is missing; it may serve on.
  - Repairs are told with what was done, why, when, and what came of it.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.report
options:
  hosts:
    description: The hosts to tell about. One that was not asked, for instance because of C(--limit), is left out.
    type: list
    elements: str
    required: true
  answers_from:
    description: Name of the variable in which each host registered the result of M(local_llm.ops.gpu_health).
    type: str
    default: _health
  outcomes_from:
    description:
      - Name of the variable in which a repair of this run left what came of it, C(outcome), C(message), C(steps) and
        C(bundles). Repairs of earlier runs the hosts remember themselves.
    type: str
  directory:
    description: Directory on the controller that gets the two files. It is made when it is not there.
    type: path
    required: true
  fail:
    description: Fail when a host must leave service, or is unknown.
    type: bool
    default: true
  show:
    description: Print the table.
    type: bool
    default: true
seealso:
  - module: local_llm.ops.gpu_health
"""

EXAMPLES = r"""
---
- name: Tell the health of the fleet
  local_llm.ops.health_report:
    hosts: "{{ groups['gpu_hosts'] }}"
    directory: ~/.local/state/local_llm/health
"""

RETURN = r"""
status:
  description: The worst of all hosts, which is V(no_gpu), V(healthy), V(degraded), V(unknown) or V(out_of_service).
  returned: success, and failure by O(fail)
  type: str
must_leave:
  description: The hosts that must leave service, and those of which nothing is known.
  returned: success, and failure by O(fail)
  type: list
  elements: str
to_mend:
  description: The hosts for the recovery ladder, which must leave service or have a repair that has not ended.
  returned: success, and failure by O(fail)
  type: list
  elements: str
html_path:
  description: Path of the page.
  returned: success, and failure by O(fail)
  type: str
json_path:
  description: Path of the JSON document.
  returned: success, and failure by O(fail)
  type: str
"""
