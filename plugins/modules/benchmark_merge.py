#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin benchmark_merge; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_merge
short_description: Make one report of what several load generators measured together
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Reads the raw samples of each load generator and makes the report over all requests, so that its percentiles are
    exact and no average of percentiles.
  - The report is not valid when the generators did not send at the same time for most of it.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: In check mode nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  samples:
    description: Raw samples on the controller (O(local_llm.ops.llm_benchmark#module:samples_path)), by the name of the
      load generator.
    type: dict
    required: true
  clock_ahead_seconds:
    description: By how much the clock of a generator is ahead of the others, by its name. Latencies do not depend on
      it; what ran at the same time does.
    type: dict
    default: {}
  slo:
    description: Limits of one request, as in O(local_llm.ops.llm_benchmark#module:slo).
    type: dict
    default: {}
  slo_tier:
    description: Name of a tier whose p95 limits become O(slo) where it leaves them out.
    type: str
  slo_tiers:
    description: Tiers of your own, as in C(local_llm_slo_tiers).
    type: dict
    default: {}
  result_path:
    description: File on the controller to write the report to.
    type: path
seealso:
  - module: local_llm.ops.llm_benchmark
"""

EXAMPLES = r"""
---
- name: Lay the samples of two generators together
  local_llm.ops.benchmark_merge:
    samples:
      load1: samples/load1.jsonl.gz
      load2: samples/load2.jsonl.gz
    result_path: results/together.json
"""

RETURN = r"""
report:
  description: The benchmark report over all requests, schema 1, with C(generators).
  returned: success
  type: dict
"""
