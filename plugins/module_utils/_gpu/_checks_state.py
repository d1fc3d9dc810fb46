# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of what the host remembers: could it remember what was seen, and is a repair unfinished?"""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Check, Context, Findings, Snapshot


def _health_state(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    state = snapshot.get("state")
    if state is None:
        return check.skip("state file", "this snapshot was taken without one")
    if state["problem"] is None:
        return check.ok("state file", state["path"])
    action = (
        "Mend the cause: a full disk, a directory of another user, a run that hangs. Until then events may count "
        "twice or not at all. A state that begins anew knows no counters, no actions and nothing that was cleared."
    )
    return [check.warn("state file", state["problem"], "the state is read and written", action, "configure")]


def _recovery(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    line = snapshot.get("recovery")
    if line is None:
        return check.skip("host", "this snapshot was taken without a state")
    if not line:
        return check.ok("host", "no repair is under way")
    action = (
        "Finish it: ansible-playbook local_llm.ops.health -e remediate=true. It lets in what is proven to be well, and "
        "waits for what a person has to do."
    )
    return [check.warn("host", line, "nothing is drained for a repair", action)]


CHECKS: tuple[Check, ...] = (
    Check(
        name="health_state",
        looks_at="what earlier runs saw is remembered on the host",
        source="state_path of gpu_health",
        reference="ours: without it the kernel log is counted twice or not at all",
        group="gpu_health",
        run=_health_state,
    ),
    Check(
        name="recovery",
        looks_at="no server is left drained for a repair that has not ended",
        source="recovery.json beside the state_path of gpu_health",
        reference="ours: a controller that died in a repair must leave nobody drained in silence",
        group="gpu_recovery",
        run=_recovery,
    ),
)
