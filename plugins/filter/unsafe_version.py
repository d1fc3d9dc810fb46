# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter unsafe_version: why a version of an engine must not be installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_versions import version_refusal

DOCUMENTATION = r"""
name: unsafe_version
short_description: Tell why a version of an engine must not be installed
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Returns an empty text for a version that may be installed, else a sentence with the known holes and the fix.
  - A version below the safe floor of its engine is refused unless it is allowed by its very name. A name that does not
    begin with a number cannot be compared and is not refused.
  - M(local_llm.ops.rollout_plan) and the roles of the engines ask the same place.
positional: engine, allowed
options:
  _input:
    description: The version as the inventory names it.
    type: str
    required: true
  engine:
    description: The engine.
    type: str
    required: true
  allowed:
    description: C(local_llm_allow_unsafe_versions), which is engines with the versions that are allowed all the same.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Refuse a version with known holes
  ansible.builtin.assert:
    that: refusal | length == 0
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ '0.21.0' | local_llm.ops.unsafe_version('vllm', local_llm_allow_unsafe_versions | default({})) }}"
"""

RETURN = r"""
_value:
  description: Why the version must not be installed; empty when it may.
  type: str
"""


def unsafe_version(version: Any, engine: str, allowed: Any = None) -> str:
    """Return why a version must not be installed, or an empty text."""
    named = allowed or {}
    if not isinstance(named, dict) or not all(isinstance(item, list) for item in named.values()):
        raise AnsibleFilterError(
            f"local_llm_allow_unsafe_versions = {allowed!r}: write engines with lists of versions, such as "
            f'{{{engine}: ["{version}"]}}.'
        )
    return version_refusal(engine, str(version), named.get(engine, []))


class FilterModule:
    """The filters of this file."""

    FILTERS: ClassVar[dict[str, Callable[..., str]]] = {"unsafe_version": unsafe_version}

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters by name."""
        return self.FILTERS
