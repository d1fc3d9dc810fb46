#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin benchmark_compare; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_compare
short_description: Hold one benchmark result against another
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Says whether the second result is better, the same or worse, and fails when it is worse.
  - A measure counts as changed when the whole 95 % interval of its ratio lies beyond O(tolerance). With one report on
    each side the interval comes from the percentiles' own; with three or more runs on each side from the runs.
  - Results of different tools or loads, and results that are not valid, are not compared.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.report
options:
  before:
    description: The first result. A report of M(local_llm.ops.llm_benchmark), its path on the controller, or a list of
      either for repeated runs.
    type: raw
    required: true
  after:
    description: The second result, in the same form.
    type: raw
    required: true
  tolerance:
    description: Difference that does not count, as a share. V(0.05) means 5 %.
    type: float
    default: 0.05
  directory:
    description: Directory on the controller that gets C(comparison.json) and C(comparison.html).
    type: path
  fail_on:
    description: Verdicts with which the task fails.
    type: list
    elements: str
    choices: [worse, not_comparable, same]
    default: [worse, not_comparable]
  show:
    description: Print the table.
    type: bool
    default: true
seealso:
  - module: local_llm.ops.llm_benchmark
  - module: local_llm.ops.benchmark_report
"""

EXAMPLES = r"""
---
- name: Is the new engine slower
  local_llm.ops.benchmark_compare:
    before: results/old.json
    after: results/new.json
    directory: results
"""

RETURN = r"""
verdict:
  description: The verdict, which is V(better), V(same), V(worse) or V(not_comparable).
  returned: success, and failure by O(fail_on)
  type: str
  sample: same
comparison:
  description: All of it. Schema 1, kind C(benchmark_comparison), with one row per measure in C(rows).
  returned: success, and failure by O(fail_on)
  type: dict
table:
  description: The table, as it is shown, line by line.
  returned: success, and failure by O(fail_on)
  type: list
  elements: str
html_path:
  description: Path of the page; null when none was written.
  returned: success, and failure by O(fail_on)
  type: str
"""
