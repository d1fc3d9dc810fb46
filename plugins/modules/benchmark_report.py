#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin benchmark_report; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_report
short_description: Tell what the fleet measured as a table, as JSON and as an HTML page
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Holds every result of M(local_llm.ops.llm_benchmark) against the tier of its instance, objective by objective, and
    against the first valid result of the same hardware, release and load, which it keeps as the baseline.
  - Writes C(benchmark.json), C(benchmark.html) and one report per instance on the controller, with mode C(0640). They
    tell the newest run only; baselines stay.
  - In check mode it tells what would be measured, and fails only for what cannot be.
  - Fails at the end when an instance is over its tier or was not measured. This is no verdict about a release; that is
    what M(local_llm.ops.rollout_verdict) is for.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.report
options:
  hosts:
    description: The hosts to look at. One that has no result, for instance because of C(--limit), is left out.
    type: list
    elements: str
  results:
    description:
      - What was measured, by host and instance. Give this or O(results_from).
      - Of each, C(report), C(msg) (why there is none), C(slo_tier), C(pool), C(release) and C(hardware); in check mode
        C(would_measure) instead of a report.
    type: dict
  results_from:
    description: Name of the variable in which each of O(hosts) holds its instances.
    type: str
  slo_tiers:
    description: Tiers of your own, as in C(local_llm_slo_tiers).
    type: dict
    default: {}
  pools:
    description: The pools, as in C(local_llm_pools). What a pool has under C(slo) goes over the tier.
    type: dict
    default: {}
  directory:
    description: Directory on the controller that gets the files. It is made when it is not there. Without it nothing is
      written, and nothing is held against a baseline.
    type: path
  rebaseline:
    description: Let this result replace the baseline.
    type: bool
    default: false
  fail:
    description: Fail when an instance is over its tier or was not measured.
    type: bool
    default: true
  show:
    description: Print the table.
    type: bool
    default: true
seealso:
  - module: local_llm.ops.llm_benchmark
  - module: local_llm.ops.benchmark_compare
"""

EXAMPLES = r"""
---
- name: Which instance is over its tier
  local_llm.ops.benchmark_report:
    hosts: "{{ groups['gpu_hosts'] }}"
    results_from: _release_measured
    directory: ~/.local/state/local_llm/benchmarks
"""

RETURN = r"""
status:
  description: The worst of all instances, which is V(missed), V(not_measured) or V(met).
  returned: success, and failure by O(fail)
  type: str
  sample: met
instances:
  description: Of each, by host and instance, C(status), C(summary), C(slo) (every objective with its margin, and the
    error budget of the run), C(scenario) and C(comparison) (with the baseline).
  returned: success, and failure by O(fail)
  type: dict
table:
  description: The table, as it is shown, line by line.
  returned: success, and failure by O(fail)
  type: list
  elements: str
new_baselines:
  description: How many results were kept as a baseline.
  returned: success, and failure by O(fail)
  type: int
json_path:
  description: Path of C(benchmark.json); null when none was written.
  returned: success, and failure by O(fail)
  type: str
html_path:
  description: Path of the page; null when none was written.
  returned: success, and failure by O(fail)
  type: str
"""
