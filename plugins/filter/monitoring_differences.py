# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter monitoring_differences: what was written and what a server runs in, the differences out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_compare import (
    config_differences,
    rule_differences,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: monitoring_differences
short_description: Hold what Prometheus or Alertmanager runs against what was written
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Tells where a running server differs from its files. A server adds its defaults to what was written and hides
    secrets; neither is a difference.
options:
  _input:
    description: What was written - a configuration, or rules.
    type: dict
    required: true
  running:
    description: What the server says - the text of its configuration, or C(data) of C(/api/v1/rules).
    type: raw
    required: true
  kind:
    description: V(config) or V(rules).
    type: str
    choices: [config, rules]
    default: config
"""

EXAMPLES = r"""
different: "{{ written | local_llm.ops.monitoring_differences(answer.json.data.yaml) }}"
"""

RETURN = r"""
_value:
  description: One line per difference; empty when the server runs what was written.
  type: list
  elements: str
"""


def monitoring_differences(wanted: Any, running: Any, kind: str = "config") -> list[str]:
    """Return the differences."""
    if kind == "rules":
        return rule_differences(plain(wanted), plain(running))
    try:
        told = yaml.safe_load(str(running)) or {}
    except yaml.YAMLError as error:
        raise AnsibleFilterError(f"monitoring_differences: the server's configuration is no YAML: {error}") from error
    return config_differences(plain(wanted), told)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"monitoring_differences": monitoring_differences}
