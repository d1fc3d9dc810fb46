# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter monitoring_rules: rules in, the same rules for a rehearsal out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_scale import scaled_rules
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules import as_yaml

DOCUMENTATION = r"""
name: monitoring_rules
short_description: Rules for a rehearsal, with every time divided
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Divides the times in rules, so that an alert that waits for 15 minutes comes after some seconds in a rehearsal. What
    is divided - C(for), C(keep_firing_for), intervals of groups, ranges and offsets in expressions. What is not -
    limits that are themselves times. The file says on top that it is for a rehearsal.
  - With V(1) the rules stay as they are.
options:
  _input:
    description: Rules, as C(rules) of the filter P(local_llm.ops.slo_rules#filter).
    type: dict
    required: true
  time_scale:
    description: What times are divided by.
    type: float
    default: 1
  least_range_seconds:
    description: No range gets shorter than this; it should hold four scrapes.
    type: float
    default: 60
"""

EXAMPLES = r"""
rehearsed: "{{ made.rules | local_llm.ops.monitoring_rules(60, least_range_seconds=8) }}"
"""

RETURN = r"""
_value:
  description: The rules.
  type: dict
  contains:
    rules:
      description: The content of the rule file.
      type: dict
    rules_yaml:
      description: The same as text.
      type: str
"""

WARNING = (
    "# FOR A REHEARSAL ONLY. Every time in these rules is divided by {scale:g}: alerts come too early for real use.\n"
    "# Set monitoring_time_scale back to 1 and run the playbook monitoring again.\n"
)


def monitoring_rules(rules: Mapping[str, Any], time_scale: Any = 1, least_range_seconds: Any = 60) -> dict[str, Any]:
    """Return the rules and their text."""
    try:
        scale = float(time_scale)
        made = scaled_rules(plain(rules), scale, float(least_range_seconds))
    except ValueError as error:
        raise AnsibleFilterError(f"monitoring_rules: {error}") from error
    warning = WARNING.format(scale=scale) if scale != 1 else ""
    return {"rules": made, "rules_yaml": warning + as_yaml(made)}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"monitoring_rules": monitoring_rules}
