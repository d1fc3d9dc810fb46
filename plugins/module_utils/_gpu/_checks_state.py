# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The check of the check: could it remember what it saw?"""

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


CHECKS: tuple[Check, ...] = (
    Check(
        name="health_state",
        looks_at="what earlier runs saw is remembered on the host",
        source="state_path of gpu_health",
        reference="ours: without it the kernel log is counted twice or not at all",
        group="gpu_health",
        run=_health_state,
    ),
)
