#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin rollout_journal; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_journal
short_description: Append a line to the journal of a rollout
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Appends one line to C(journal.jsonl) in the directory of the rollout. It is on the disk when the task ends. Each
    line carries the digest of the line before, so that a changed, missing or moved line shows.
  - With O(result) a step proves itself. When the result is failed, unreachable, skipped, empty or no task result, or
    holds a verdict other than pass, a line says what happened and the task fails with the host, the step and the
    reason.
  - Large evidence gets a file under C(evidence/), and the line its digest.
  - The rest of a line whose writer was killed is moved to C(journal.jsonl.torn).
  - Runs on the controller and needs no connection. Hosts may write at the same time.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is written. A result that proves nothing fails all the same.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each call appends a line.
options:
  directory:
    description: Directory of the rollout on the controller.
    type: path
    required: true
  rollout_id:
    description: Id of the rollout. A directory holds one rollout.
    type: str
    required: true
  event:
    description: What happened, in small letters, digits, C(-) and C(_).
    type: str
    required: true
  host:
    description: The host it happened on. Default is the host of the task. Empty for the rollout itself.
    type: str
  instance:
    description: The instance it happened to.
    type: str
  state:
    description: The state that the instance is in now, or with an empty O(host) the state of the rollout.
    type: str
  release:
    description: Id of the release it is about.
    type: str
  previous_release:
    description: Id of the release that ran before.
    type: str
  seconds:
    description: How long it took.
    type: float
  category:
    description: What the time went into. Kept with the evidence.
    type: str
    choices: [orchestration, engine, measurement, waiting]
  evidence:
    description: The measurements it rests on.
    type: dict
  detail:
    description: A sentence for people.
    type: str
  result:
    description: The registered result of the step. Without this option nothing has to be proven.
    type: raw
  result_from:
    description:
      - Name of the variable that holds the registered result. A variable that does not exist counts as a failure too.
      - Instead of O(result).
    type: str
"""

EXAMPLES = r"""
---
- name: Switch
  local_llm.ops.llm_release:
    instance: chat
    state: switched
    release_id: 0a1b2c3d4e5f
  register: switched

- name: Prove it
  local_llm.ops.rollout_journal:
    directory: /var/log/local_llm/rollouts/20260101T000000Z-0a1b
    rollout_id: 20260101T000000Z-0a1b
    event: switched
    instance: chat
    state: warming
    release: 0a1b2c3d4e5f
    result_from: switched

- name: State of the rollout
  local_llm.ops.rollout_journal:
    directory: /var/log/local_llm/rollouts/20260101T000000Z-0a1b
    rollout_id: 20260101T000000Z-0a1b
    event: rolling
    host: ""
    state: progressing
  run_once: true
"""

RETURN = r"""
line:
  description: The line as an object. In check mode it lacks C(seq), C(at) and C(previous_sha256).
  returned: success
  type: dict
problem:
  description:
    - Why the result that was handed over proves nothing. One of V(failed), V(unreachable), V(skipped), V(missing) and
      V(verdict).
    - For the rescue of the block, as C(ansible_failed_result.problem).
  returned: when the step is not proven
  type: str
  sample: unreachable
"""
