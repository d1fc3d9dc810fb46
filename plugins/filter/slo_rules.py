# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter slo_rules: what the fleet serves in, rules for Prometheus and their tests out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules import DEFAULT_RUNBOOKS, compile_rules
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import RulesError

DOCUMENTATION = r"""
name: slo_rules
short_description: Rules for Prometheus from pools and SLO tiers, with tests
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Makes recording rules and alerts for a fleet, on the metric names that its engine versions really have, and unit
    tests for C(promtool) in which every alert fires and stays silent.
  - Objectives get alerts on how fast their error budget of 30 days burns, each over a long and a short window, an alert
    when nobody measures them, and a series with what is left of the budget.
  - Refuses, with everything that is wrong at once, a limit that lies between two buckets of its histogram, an objective
    whose alert could never come, and a metric that an engine version does not have.
  - The page C(docs/slo_rules.md) has an example and the labels that the scrape configuration must set.
options:
  _input:
    description: C(local_llm_instances) of every host, by the host's name in the inventory.
    type: dict
    required: true
  pools:
    description: C(local_llm_pools). Limits in C(slo) go over the tier.
    type: dict
    default: {}
  tiers:
    description: C(local_llm_slo_tiers), the tiers of the site.
    type: dict
    default: {}
  settings:
    description:
      - What holds for single pools, by the name of the pool.
      - C(fixed_shape) (V(false)) adds an objective on whole answers. Their time depends on their length, so it makes
        sense only where all answers are about as long.
      - C(count_overload) (V(true) in the tier V(premium)) counts a request as failed when the gateway sends it away
        because too many wait.
    type: dict
    default: {}
  runbooks:
    description: What stands before the page in the link to a runbook, such as the address of your copy of the pages.
    type: str
    default: docs/runbooks
  min_bad_requests:
    description: So many requests must have failed in the long window before a burn alert comes, for a pool with little
      traffic fails a large share with one.
    type: int
    default: 3
  extra_groups:
    description: Rule groups of your own. They are held against the same metric names and come last.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Write the rules
  ansible.builtin.copy:
    content: "{{ made.rules_yaml }}"
    dest: /etc/prometheus/rules/local_llm_rules.yml
    mode: "0644"
    validate: promtool check rules %s
  vars:
    serving: "{{ dict(groups.gpu_hosts | zip(groups.gpu_hosts | map('extract', hostvars, 'local_llm_instances'))) }}"
    made: "{{ serving | local_llm.ops.slo_rules(pools=local_llm_pools | default({})) }}"
"""

RETURN = r"""
_value:
  description: The rules and their tests.
  type: dict
  contains:
    rules:
      description: The content of the rule file.
      type: dict
    rules_yaml:
      description: The same as text.
      type: str
    tests:
      description: The content of the test file, for rules in C(local_llm_rules.yml) beside it.
      type: dict
    tests_yaml:
      description: The same as text.
      type: str
    notes:
      description: What you should know, such as a limit of a shipped tier for which the next bucket is used.
      type: list
      elements: str
"""

_OPTIONS = ("pools", "tiers", "settings", "runbooks", "min_bad_requests", "extra_groups")


def rules_filter(instances: Any, **options: Any) -> dict[str, Any]:
    """Return the rules."""
    for name in options:
        if name not in _OPTIONS:
            near = nearest(name, _OPTIONS)
            raise AnsibleFilterError(f"slo_rules: {name} is no option{f'; did you mean {near}?' if near else ''}")
    given = {name: value for name, value in options.items() if value is not None}
    least = given.get("min_bad_requests", 0)
    if isinstance(least, bool) or not isinstance(least, int) or least < 0:
        raise AnsibleFilterError(
            f"slo_rules: min_bad_requests is {least!r}; give a whole number of requests, 0 or more"
        )
    given["runbooks"] = str(given.get("runbooks", DEFAULT_RUNBOOKS)).rstrip("/")
    try:
        return compile_rules(instances, **given)
    except RulesError as error:
        raise AnsibleFilterError(f"slo_rules: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"slo_rules": rules_filter}
