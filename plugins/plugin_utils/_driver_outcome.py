# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How a driver rollout ended, read from its plan and its journal, and what to tell the operator.

What has proven itself stays: a pool may run on two drivers, and going back costs every host another downtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._outcome import UNTOUCHED_STATES, decide, instance_states

AGAIN = "run driver again"


def conclude_driver(plan: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return {"state", "message", "release_lock"} as conclude() does for a release rollout."""
    decision = decide(plan, lines, "batch")
    states = {host: state for (host, _name), state in instance_states(plan, lines).items()}
    what = " ".join(decision["failures"]) or "The rollout was stopped."
    new, old, failed = (_names(states, state) for state in ("healthy", "rolled_back_verified", "rollback_failed"))
    untouched = [host for host, state in states.items() if state in UNTOUCHED_STATES]
    kept = f" {new} keep the new driver." if new else ""
    if decision["outcome"] == "completed":
        return _end("completed", f"Completed: {new} run the wanted driver.", True)
    if failed:
        message = (
            f"{what} {failed} could not be brought back to a driver that is proven: drained, and left so.{kept} "
            f"Look at `dkms status` and the kernel log there; mend it, then {AGAIN}."
        )
        return _end("rollback_failed", message, False)
    lost = [
        host for host, state in states.items() if state not in (*UNTOUCHED_STATES, "healthy", "rolled_back_verified")
    ]
    if lost:
        message = (
            f"{what} Nothing is known of {', '.join(lost)}; the gateway sends nothing there.{kept} When it answers, "
            f"{AGAIN}: it goes on where the host stopped."
        )
        return _end("halted", message, False)
    if old:
        message = (
            f"{what} {old} went back to the old driver, verified.{kept} Mend the cause, or set nvidia_driver_version "
            f"to another version, then {AGAIN}."
        )
        return _end("rolled_back_verified", message, True)
    rest = f" {', '.join(untouched)} were not touched." if untouched else ""
    return _end("halted", f"{what}{kept}{rest} Mend it, then {AGAIN}.", True)


def _end(state: str, message: str, release_lock: bool) -> dict[str, Any]:
    return {"state": state, "message": message, "release_lock": release_lock}


def _names(states: Mapping[str, str], wanted: str) -> str:
    return ", ".join(host for host, state in states.items() if state == wanted)
