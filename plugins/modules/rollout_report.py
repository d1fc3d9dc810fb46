#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin rollout_report; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_report
short_description: Write the report of a rollout as one HTML page and as JSON
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Reads the journal and the evidence of one rollout on the controller and writes C(report.html) and C(report.json)
    into the same directory, with mode C(0640).
  - The page says in one sentence what came out and what to do next. It shows where the time of each host went, the
    verdicts with their thresholds, latencies before and after, all steps, and the journal.
  - The page is one file. It runs no script and sends no request, and its content security policy forbids both.
  - Works also on an unfinished or a damaged journal, and says so on the page.
  - Only evidence that is on a fixed list of keys gets into a report. Prompts and answers of models are not on it.
  - The wall time of a host in the roll is divided into engine (stop and start), measurement, intended waiting, and
    orchestration, which is all the rest. Times between two walks of a host do not count.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  directory:
    description:
      - Directory of the rollout on the controller. It holds C(journal.jsonl) and C(evidence/).
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Write the report of the rollout
  local_llm.ops.rollout_report:
    directory: "{{ upgrade_directory }}"
  delegate_to: localhost
  run_once: true
  register: report

- name: Say where it is
  ansible.builtin.debug:
    msg: "{{ report.summary }} See {{ report.html_path }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
html_path:
  description: Path of the page.
  returned: success
  type: str
  sample: /srv/rollouts/20260105-091500-a1b2/report.html
json_path:
  description:
    - Path of the JSON behind the page, schema 1.
    - Its keys are C(schema), C(kind), C(rollout_id), C(outcome), C(state), C(finished), C(summary), C(next_steps),
      C(started_at), C(ended_at), C(duration_seconds), C(cause), C(plan), C(hosts), C(events), C(journal),
      C(controller) and C(versions).
    - Each entry of C(hosts) has C(host), C(instance), C(batch), C(canary), C(state), C(outcome), C(release),
      C(previous_release), C(started_at), C(ended_at), C(wall_seconds), C(seconds), C(orchestration_share), C(steps),
      C(verdict), C(rollback_verdict), C(benchmarks), C(quality) and C(comparison).
  returned: success
  type: str
  sample: /srv/rollouts/20260105-091500-a1b2/report.json
rollout_id:
  description: Id of the rollout, as the journal has it. Null when no line can be read.
  returned: success
  type: str
  sample: 20260105-091500-a1b2
outcome:
  description:
    - C(completed), C(rolled_back_verified), C(rollback_failed), C(halted), or C(unfinished) when the journal ends
      without an outcome.
  returned: success
  type: str
  sample: completed
finished:
  description: Whether the journal tells an outcome.
  returned: success
  type: bool
summary:
  description: The outcome in one sentence.
  returned: success
  type: str
  sample: "Completed: all 3 instances serve release 4f1c2ab09d3e after 6 min 12 s."
next_steps:
  description: What to do next, in one or two sentences. Null when the rollout completed.
  returned: success
  type: str
journal:
  description: Whether the journal is whole.
  returned: success
  type: dict
  contains:
    ok:
      description: Whether every line carries the digest of the line before it.
      type: bool
    lines:
      description: Number of lines.
      type: int
    readable:
      description: Number of lines that could be read.
      type: int
    first_broken_line:
      description: Number of the first line that does not fit, counted from 1. Null when all fit.
      type: int
    reason:
      description: Why the journal is not whole. Null when it is.
      type: str
    head_sha256:
      description: Digest of the last line. Compare it with a copy to see whether lines at the end are missing.
      type: str
    evidence_problems:
      description: One sentence per evidence file that is missing, not readable, or was changed.
      type: list
      elements: str
hosts:
  description: Outcome and times of each instance.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: Name in the inventory.
      type: str
    instance:
      description: Name of the instance.
      type: str
    outcome:
      description: C(healthy), C(rolled_back_verified), C(rollback_failed), C(untouched) or C(unknown).
      type: str
    wall_seconds:
      description: Seconds that the host was in the roll.
      type: float
    seconds:
      description: The same seconds by category, which are engine, measurement, waiting and orchestration.
      type: dict
    orchestration_share:
      description: Part of them that is orchestration, from 0 to 1. Null when the host was never in the roll.
      type: float
"""
