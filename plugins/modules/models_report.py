#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin models_report; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_report
short_description: Tell which model lies where, in which state, and what the policy would do
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Reads what every host registered from M(local_llm.ops.model_store) with state V(listed), and tells it in one table
    per host. Per revision, its state, its bytes, when it was last used or published, what needs it, what would be done
    and why.
  - Writes C(models.json) on the controller, with mode C(0640). It tells the newest run only.
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
    description: Name of the variable in which each host registered the result of M(local_llm.ops.model_store).
    type: str
    default: _model_store
  directory:
    description: Directory on the controller that gets the file. It is made when it is not there.
    type: path
    required: true
  applied:
    description: Whether the plan is carried out in this run. Decides which next step is told.
    type: bool
    default: false
  delete:
    description: Whether deletion is allowed in this run. Decides which next step is told.
    type: bool
    default: false
  show:
    description: Print the table.
    type: bool
    default: true
seealso:
  - module: local_llm.ops.model_store
"""

EXAMPLES = r"""
---
- name: Tell which model lies where
  local_llm.ops.models_report:
    hosts: "{{ groups['gpu_hosts'] }}"
    directory: ~/.local/state/local_llm/models
"""

RETURN = r"""
to_do:
  description: How often the plan says C(bring), C(restore), C(archive), C(delete) and C(tidy).
  returned: success
  type: dict
silent:
  description: Hosts that could not be listed.
  returned: success
  type: list
  elements: str
json_path:
  description: Path of the document.
  returned: success
  type: str
"""
