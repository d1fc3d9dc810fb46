#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_verdict; the code is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_verdict
short_description: Judge a release by its measurements
version_added: 0.1.0
description:
  - Holds a benchmark report and a quality report against an SLO tier and against the baseline of the release that
    served
    before, and gives one of four words. V(fail) means go back; V(inconclusive) and V(error) mean halt for a person.
  - Runs on the controller and asks no host. It does not fail by itself unless O(fail_unless_pass) is set.
  - Whether the release is worse than the baseline is decided by pairs of the same prompts, with a guarantee - see
    C(docs/canary_judge.md). It may be asked after every round; looking often does not raise false alarms.
  - The limits of the tier, errors and golden answers are held against the figures as they are.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  benchmark:
    description:
      - Report of M(local_llm.ops.llm_benchmark) for the release to judge, or a list of reports, one per round.
        Leaving it out gives V(error).
      - A round has another C(seed) than the others. Rounds that are not valid are left out.
    type: raw
  quality:
    description: Report of M(local_llm.ops.llm_quality) for the release to judge. Leaving it out gives V(error),
      unless O(require_quality) is V(false).
    type: dict
  baseline:
    description: Report for the release that served before, or a list of them. A round is paired with the one of the
      same load and seed.
    type: raw
  rounds_max:
    description: How many rounds of the new release there may be. With more than one, no round alone can prove that it
      is worse.
    type: int
    default: 1
  attempts:
    description: How many verdicts, each on other rounds, are asked for until one is V(pass). Each must prove so much
      more that all of them together are wrong in 5 of 100.
    type: int
    default: 1
  slo_tier:
    description: Name of the tier. V(standard), V(enhanced), V(premium), or one of O(slo_tiers).
    type: str
    default: standard
  slo_tiers:
    description:
      - The user's own tiers (C(local_llm_slo_tiers)), name to limits. C(extends) takes the rest from a tier of the
        collection.
      - The keys are those of C(plugins/plugin_utils/slo_tiers.yml). An unknown key or a value that is no number is
        refused.
    type: dict
    default: {}
  tolerances:
    description:
      - A request is slow when it takes more than C(ratio_max) (1.5) times the baseline's p95 and more than the floor
        above it. Floors are C(ttft_floor_seconds) (0.1), C(tpot_floor_seconds) (0.005) and C(e2el_floor_seconds) (0.5).
      - C(bad_share_increase_max) (0.05) is the rise of the share of bad requests that must not pass,
        C(bad_share_increase_harmless) (0.01) the one that must not fail.
      - C(error_share_increase_max) (0.01) is how much larger the share of failed requests may be. More is no V(pass);
        it is a V(fail) by itself only where no requests were paired.
      - C(baseline_required) (false) makes the verdict V(inconclusive) without a valid baseline.
    type: dict
    default: {}
  require_quality:
    description: Whether a missing quality report is an error.
    type: bool
    default: true
  fail_unless_pass:
    description: Whether the task fails when the verdict is not V(pass).
    type: bool
    default: false
seealso:
  - module: local_llm.ops.llm_benchmark
  - module: local_llm.ops.llm_quality
"""

EXAMPLES = r"""
---
- name: Judge the new release
  local_llm.ops.rollout_verdict:
    benchmark: "{{ benchmark.report }}"
    quality: "{{ quality.report }}"
    baseline: "{{ baseline.report }}"
    slo_tier: enhanced
  register: judged

- name: Say it
  ansible.builtin.debug:
    msg: "{{ judged.verdict.summary }}"
"""

RETURN = r"""
verdict:
  description: The verdict, schema 1, with the word in C(verdict), one reason per measure, and a sentence for people.
  returned: success, and failure by O(fail_unless_pass)
  type: dict
  sample:
    schema: 1
    verdict: fail
    reasons:
      - measure: time to first token p95
        observed: 3.2
        threshold: 2.0
        rule: "<= 2.0 (tier standard)"
        status: fail
    statistics: null
    summary: "Fail: time to first token p95 is 3.2, allowed is 2 (<= 2.0 (tier standard)). The release must go back."
more:
  description: Whether one more round can tell - the verdict is inconclusive, and there may be more rounds.
  returned: success
  type: bool
wait:
  description: Whether to wait before that round, because pairs got worse and it may have been a disturbance.
  returned: success
  type: bool
benchmark:
  description: All valid rounds of the new release as one report, without single samples.
  returned: success
  type: dict
baseline:
  description: The same of the release before.
  returned: success
  type: dict
slo:
  description: The limits that were used, by key.
  returned: success
  type: dict
  sample:
    ttft_p95_max_seconds: 2.0
"""
