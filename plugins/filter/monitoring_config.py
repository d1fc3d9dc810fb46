# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter monitoring_config: settings of the role monitoring in, configurations out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_config import (
    ConfigError,
    access_files,
    alertmanager_config,
    prometheus_config,
    scrape_configs,
    whole_access,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: monitoring_config
short_description: Configurations of Prometheus and Alertmanager
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Makes the configurations from the settings of the role P(local_llm.ops.monitoring#role). Secrets of scrapes do not
    stand in them, but in files of their own.
options:
  _input:
    description: The settings by their names without the role's prefix. C(alertmanager) is where alerts are sent,
      C(own_access) how Prometheus and Alertmanager themselves are reached, in the words of C(access).
    type: dict
    required: true
  directory:
    description: The directory in which targets, rules and secrets lie. Empty for paths relative to the configuration.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show the scrape configuration
  ansible.builtin.debug:
    msg: "{{ (settings | local_llm.ops.monitoring_config('/etc/prometheus/local_llm')).prometheus.scrape_configs }}"
"""

RETURN = r"""
_value:
  description: The configurations.
  type: dict
  contains:
    prometheus:
      description: The configuration of Prometheus.
      type: dict
    alertmanager:
      description: The configuration of Alertmanager. It may hold secrets of receivers.
      type: dict
    scrape_configs:
      description: The part of Prometheus' configuration that says what is scraped, for a configuration of your own.
      type: list
      elements: dict
    secrets:
      description: What passwords, tokens and certificates of scrapes are to lie in the directory C(secrets), by file.
      type: dict
"""


def monitoring_config(settings: Mapping[str, Any], directory: str = "") -> dict[str, Any]:
    """Return the configurations."""
    given, place = plain(settings), str(directory).rstrip("/")
    try:
        access = whole_access(given)
        return {
            "prometheus": prometheus_config(given, place or "."),
            "alertmanager": alertmanager_config(given),
            "scrape_configs": scrape_configs(access, place, given.get("extra_scrape_configs") or ()),
            "secrets": access_files(access),
        }
    except ConfigError as error:
        raise AnsibleFilterError(f"monitoring_config: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"monitoring_config": monitoring_config}
