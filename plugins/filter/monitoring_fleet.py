# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter monitoring_fleet: variables of the hosts in, what Prometheus scrapes and what rules are made from out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_targets import (
    JOBS,
    TargetsError,
    fleet_targets,
    hosts_of,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: monitoring_fleet
short_description: What is to be scraped, from the inventory and from what the hosts run
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Makes the targets of Prometheus with the labels that C(docs/slo_rules.md) lists, for the hosts of the groups
    C(gpu_hosts), C(gateway) and C(monitoring).
  - The labels C(engine), C(model) and C(release) are those of the release that an instance runs, as
    M(local_llm.ops.llm_release_info) tells it, and not those that the inventory asks for.
options:
  _input:
    description: C(hostvars).
    type: dict
    required: true
  groups:
    description: C(groups).
    type: dict
    required: true
  releases_from:
    description: The variable of each host under which the answer of M(local_llm.ops.llm_release_info) is registered.
    type: str
    default: _monitoring_releases
  scraper:
    description: The host that scrapes. An address that only another host can read is refused.
    type: str
    default: ""
  before:
    description: The targets that are in place, as this filter returned them. A host that gave no answer keeps the
      release from there.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what would be scraped
  ansible.builtin.debug:
    msg: "{{ (hostvars | local_llm.ops.monitoring_fleet(groups)).targets }}"
"""

RETURN = r"""
_value:
  description: What is to be scraped, and what the filter P(local_llm.ops.slo_rules#filter) wants.
  type: dict
  contains:
    targets:
      description: Target groups for file service discovery, by C(engine), C(gateway), C(node), C(gpu), C(prometheus),
        C(alertmanager).
      type: dict
    files:
      description: The name of the file of each of these jobs, which is also the name of the job.
      type: dict
    serving:
      description: C(local_llm_instances) of every host of C(gpu_hosts).
      type: dict
    pools:
      description: C(local_llm_pools).
      type: dict
    tiers:
      description: C(local_llm_slo_tiers).
      type: dict
"""


def monitoring_fleet(
    hostvars: Mapping[str, Any],
    groups: Mapping[str, Any],
    releases_from: str = "_monitoring_releases",
    scraper: str = "",
    before: Any = None,
) -> dict[str, Any]:
    """Return the targets, and what rules are made from."""
    members = {name: [str(one) for one in groups.get(name) or []] for name in ("gpu_hosts", "gateway", "monitoring")}
    if not members["gpu_hosts"]:
        raise AnsibleFilterError("monitoring_fleet: no host is in the group gpu_hosts; name your inventory with -i")
    hosts = hosts_of(hostvars, [name for names in members.values() for name in names], str(releases_from))
    try:
        targets = fleet_targets(hosts, members, str(scraper), plain(before or {}))
    except TargetsError as error:
        raise AnsibleFilterError(f"monitoring_fleet: {error}") from error
    first = hostvars[members["gpu_hosts"][0]]
    serving = {host.name: host.variables.get("local_llm_instances") or [] for host in hosts}
    return {
        "targets": targets,
        "files": dict(JOBS),
        "serving": {name: serving[name] for name in members["gpu_hosts"]},
        "pools": plain(first.get("local_llm_pools") or {}),
        "tiers": plain(first.get("local_llm_slo_tiers") or {}),
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"monitoring_fleet": monitoring_fleet}
