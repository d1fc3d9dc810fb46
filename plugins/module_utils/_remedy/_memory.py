# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a host remembers of an instance between two looks, and how one look changes it. Plain data in and out.

SEEN, one look at an instance:
 {"wanted": bool (enabled, with a release), "held": why nothing may be done to it, or "",
  "active_state", "restarts" (systemd's count of automatic restarts), "invocation",
  "oom_kills": since the look before, "answers": bool, "loading": bool,
  "running": requests under way | null, "tokens": tokens of prompts and answers so far | null}

MEMORY of an instance, in state.json:
 {"restarts", "invocation", "answered_invocation": the run of the service that has answered once, "tokens",
  "crashes": [Unix times], "oom_kills": [Unix times],
  "failed_since", "unresponsive_since", "stuck_since", "well_since": Unix time | null,
  "out": {"since", "rule", "reason"} | null, "rules": {rule: {"acted": [Unix times], "gave_up_at": Unix time | null}},
  "observed_rules": the same for the mode observe: what would have been done is no attempt, and ends no limit}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Memory = dict[str, Any]
Seen = Mapping[str, Any]
MAX_EVENTS = 200
# Requests under way without a token for so long are no longer a pause between two tokens.
SETTLED_SECONDS = 60


def blank() -> Memory:
    """Return the memory of an instance that was never looked at."""
    return {
        "restarts": None,
        "invocation": "",
        "answered_invocation": "",
        "tokens": None,
        "crashes": [],
        "oom_kills": [],
        "failed_since": None,
        "unresponsive_since": None,
        "stuck_since": None,
        "well_since": None,
        "out": None,
        "rules": {},
        "observed_rules": {},
    }


def other_mode(memory: Memory) -> Memory:
    """Return the memory with the limits of the other mode in front. A change of the mode resets neither."""
    return {**memory, "rules": memory.get("observed_rules", {}), "observed_rules": memory["rules"]}


def follow(before: Memory | None, seen: Seen, now: float, gap: bool) -> Memory:
    """Return the memory after one look.

    gap: nobody looked for longer than usual (a power cut, a clock that jumped), so nothing is known to have lasted.
    """
    memory = {**blank(), **(before or {})}
    if not seen["wanted"] or seen["held"]:
        # What happens during a change or a stop is somebody's doing: it does not count afterwards.
        limits = {"rules": memory["rules"], "observed_rules": memory["observed_rules"]}
        kept = {**limits, "restarts": seen["restarts"], "invocation": seen["invocation"]}
        return {**blank(), **kept}
    new_run = memory["invocation"] != seen["invocation"]
    memory["crashes"] = _added(memory["crashes"], crashes_since(memory["restarts"], seen["restarts"]), now)
    memory["oom_kills"] = _added(memory["oom_kills"], seen["oom_kills"], now)
    crashed = crashes_since(memory["restarts"], seen["restarts"]) > 0
    if seen["answers"]:
        memory["answered_invocation"] = seen["invocation"]
    active = seen["active_state"] == "active"
    fresh = gap or new_run
    memory["failed_since"] = _since(memory["failed_since"], seen["active_state"] == "failed", now, gap)
    # Before its first answer an engine loads its model, for which some need many minutes.
    mute = active and not seen["answers"] and not seen["loading"]
    mute = mute and memory["answered_invocation"] == seen["invocation"]
    memory["unresponsive_since"] = _since(memory["unresponsive_since"], mute, now, fresh)
    busy = seen["answers"] and bool(seen["running"]) and seen["tokens"] is not None
    moved = memory["tokens"] != seen["tokens"]
    memory["stuck_since"] = _since(memory["stuck_since"], busy, now, fresh or moved)
    quiet = memory["stuck_since"] is None or now - memory["stuck_since"] < SETTLED_SECONDS
    well = active and seen["answers"] and quiet and not crashed
    memory["well_since"] = _since(memory["well_since"], well, now, fresh)
    memory.update(restarts=seen["restarts"], invocation=seen["invocation"], tokens=seen["tokens"])
    return memory


def crashes_since(before: int | None, now: int) -> int:
    """Return how often the service manager had to start it again; its count begins anew when somebody restarts it."""
    if before is None:
        return 0
    return now - before if now >= before else now


def _added(times: list[float], count: int, now: float) -> list[float]:
    return [*times, *([now] * min(count, MAX_EVENTS))][-MAX_EVENTS:]


def _since(before: float | None, true: bool, now: float, fresh: bool) -> float | None:
    if not true:
        return None
    return now if before is None or fresh else min(before, now)
