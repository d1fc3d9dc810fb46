# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Where the time of a host went: every second of its roll belongs to exactly one category.

A host is "in the roll" from the first event of a walk (its batch's start, or the start of the first step) to the event
with a final state (healthy, rolled_back_verified, rollback_failed), or the last word of a host that fell silent. A host
that is called back later walks twice; the time between is not its own. The wall time of a step runs from the event
before. What the step itself measured ("seconds" of the line, or what its evidence says) goes to its category; the rest
is orchestration. A step that tells no seconds gives its whole wall time to its category, and is marked as assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._report_evidence import find_benchmark, number, text
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_journal import parse_time

CATEGORIES = ("engine", "measurement", "waiting", "orchestration")
PREPARATION = frozenset(
    {"planned", "locked", "lock_renewed", "gate_refused", "preflight", "staged", "stage_failed", "not_begun"}
)
FAILURES = frozenset(
    {
        "failed",
        "step_failed",
        "stage_failed",
        "unreachable",
        "lost",
        "drain_failed",
        "revert_failed",
        "rollback_failed",
    }
)
ENDS_A_WALK = frozenset({"healthy", "rolled_back_verified", "rollback_failed"})  # states
STARTS_A_BATCH = frozenset({"batch", "batch_started", "gate", "gate_passed"})
# A second "planned" in one journal is a resumption.
RESUMES = frozenset({"planned", "resumed"})
# Used when a line names no category. Draining counts as orchestration: no engine runs, nothing is measured.
DEFAULT_CATEGORY = {
    "baseline_quality": "measurement",
    "baseline": "measurement",
    "switched": "engine",
    "completion": "measurement",
    "quality": "measurement",
    "benchmark": "measurement",
    "gpu_health": "measurement",
    "gpu_watched": "measurement",
    "rollback_gpu_health": "measurement",
    "metric_contract": "measurement",
    "metrics_known": "measurement",
    "metrics_watched": "waiting",
    "watched": "waiting",
    "reverted": "engine",
    "rollback_completion": "measurement",
    "rollback_benchmark": "measurement",
    "rollback_quality": "measurement",
}


def host_times(
    lines: list[dict[str, Any]],
    rollout_lines: list[dict[str, Any]],
    files: Mapping[str, Any],
    sibling_lines: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Return {"steps": [...], "wall_seconds", "seconds": {category: seconds}, "orchestration_share"} of one instance.

    lines: its journal lines in order. rollout_lines: the lines of the rollout itself (host null), which mark the start
    of batches and resumptions. files: parsed evidence by file name. sibling_lines: lines of other instances of the
    host, which take their turns one after the other.
    """
    rollout_lines = [line for line in rollout_lines if not _other_batch(line, lines)]
    steps: list[dict[str, Any]] = []
    totals = dict.fromkeys(CATEGORIES, 0.0)
    wall_total = 0.0
    previous: datetime | None = None
    walked = False
    for line in lines:
        at = parse_time(line.get("at"))
        own = _own_seconds(line, files)
        prepared = is_preparation(line)
        if at is None or prepared:
            steps.append(_step(line, at, own, own if prepared else None, "preparation" if prepared else None))
            continue
        if previous is None:
            first_step = at - timedelta(seconds=own or 0.0)
            previous = first_step if walked else _first_walk_start(first_step, at, rollout_lines, sibling_lines)
        resumed_at = _latest(rollout_lines, RESUMES, at)
        if resumed_at is not None and resumed_at > previous:
            previous = max(resumed_at, _latest(rollout_lines, STARTS_A_BATCH, at) or resumed_at)
        wall = max((at - previous).total_seconds(), 0.0)
        category = _category(line)
        measured = wall if own is None else min(own, wall)
        if own is None and category == "orchestration":
            measured = 0.0
        totals[category] += measured
        totals["orchestration"] += wall - measured
        wall_total += wall
        steps.append(_step(line, at, measured, wall, category, assumed=own is None and category != "orchestration"))
        walked = True
        previous = None if line.get("state") in ENDS_A_WALK else at
    return {
        "steps": steps,
        "wall_seconds": round(wall_total, 3),
        "seconds": {category: round(seconds, 3) for category, seconds in totals.items()},
        "orchestration_share": round(totals["orchestration"] / wall_total, 4) if wall_total > 0 else None,
    }


def _step(
    line: dict[str, Any],
    at: datetime | None,
    measured: float | None,
    wall: float | None,
    category: str | None,
    assumed: bool = False,
) -> dict[str, Any]:
    """Return one row of the steps table.

    "overhead_seconds" is the orchestration around the measured part. "assumed": the step told no seconds of its own.
    "failed": it did not work out; a "step_failed" line is shown as the step that it names.
    """
    start = at - timedelta(seconds=wall or 0.0) if at else None
    overhead = None
    if category in CATEGORIES and wall is not None:
        overhead = wall if category == "orchestration" else wall - (measured or 0.0)
    return {
        "step": step_of(line),
        "failed": line.get("event") in FAILURES,
        "state": line.get("state") if isinstance(line.get("state"), str) else None,
        "category": category,
        "started_at": start.isoformat() if start else None,
        "ended_at": at.isoformat() if at else None,
        "wall_seconds": None if wall is None else round(wall, 3),
        "measured_seconds": None if measured is None else round(measured, 3),
        "overhead_seconds": None if overhead is None else round(overhead, 3),
        "assumed": assumed,
        "line": line.get("line"),
    }


def is_preparation(line: Mapping[str, Any]) -> bool:
    """Return whether a line tells of work that leaves the service alone, or that nobody said yes to begin."""
    evidence = line.get("evidence")
    refused = isinstance(evidence, Mapping) and evidence.get("verdict") == "no_approval"
    return line.get("event") in PREPARATION or refused


def step_of(line: Mapping[str, Any]) -> str:
    """Return the step of a line: its event, or the step that a "step_failed" line names."""
    evidence = line.get("evidence")
    named = evidence.get("step") if line.get("event") == "step_failed" and isinstance(evidence, Mapping) else None
    return str(text(named) or line.get("event"))


def _other_batch(line: Mapping[str, Any], host_lines: list[dict[str, Any]]) -> bool:
    """Return whether a line starts a batch that this host is not in."""
    evidence = line.get("evidence")
    hosts = evidence.get("hosts") if isinstance(evidence, Mapping) else None
    if line.get("event") not in STARTS_A_BATCH or not isinstance(hosts, list) or not host_lines:
        return False
    return host_lines[0].get("host") not in hosts


def _category(line: dict[str, Any]) -> str:
    evidence = line.get("evidence")
    named = line.get("category") or (evidence.get("category") if isinstance(evidence, dict) else None)
    if named in CATEGORIES:
        return str(named)
    return DEFAULT_CATEGORY.get(str(line.get("event")), "orchestration")


def _own_seconds(line: dict[str, Any], files: Mapping[str, Any]) -> float | None:
    """Return what the step itself took: its "seconds", or what its evidence says about stop, start and ready."""
    own = number(line.get("seconds"))
    if own is not None:
        return max(float(own), 0.0)
    evidence = line.get("evidence")
    if not isinstance(evidence, dict):
        return None
    inner = evidence.get("seconds")
    if isinstance(inner, dict):
        # "ready" runs from the restart on, so it holds stop and start already.
        stop, start, ready = (float(number(inner.get(name)) or 0.0) for name in ("stop", "start", "ready"))
        return max(stop + start, ready) or None
    own = number(inner)
    if own is None:
        own = number((find_benchmark(evidence, files) or {}).get("duration_seconds"))
    return None if own is None else max(float(own), 0.0)


def _first_walk_start(
    first_step: datetime, at: datetime, rollout_lines: list[dict[str, Any]], sibling_lines: Sequence[dict[str, Any]]
) -> datetime:
    """Return when a first walk began: at its batch's start, after the instance before it, or with its first step."""
    siblings = [line for line in sibling_lines if line.get("event") not in PREPARATION]
    marks = (_latest(rollout_lines, STARTS_A_BATCH, at), _latest(siblings, None, at))
    return min(max((mark for mark in marks if mark is not None), default=first_step), first_step)


def _latest(lines: Iterable[dict[str, Any]], events: frozenset[str] | None, until: datetime) -> datetime | None:
    """Return the latest moment of these events (None: of any) that is not after the given one."""
    moments = [parse_time(line.get("at")) for line in lines if events is None or line.get("event") in events]
    return max((moment for moment in moments if moment is not None and moment <= until), default=None)
