# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From the raw records of a run to the benchmark report. Sends nothing, so an old run can be reported anew.

What the words mean is in _measures.py and in docs/benchmarks.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import CONFIDENCE
from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import (
    RequestLimits,
    attainment,
    counted,
    figures,
    intervals,
    rejections,
    request_rows,
    samples_of,
    span,
    token_source,
    tokens_per_event,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import Run, lateness_of
from ansible_collections.local_llm.ops.plugins.module_utils._bench._sweep import curve
from ansible_collections.local_llm.ops.plugins.module_utils._bench._validity import checks_of, invalid_reasons, public
from ansible_collections.local_llm.ops.plugins.module_utils._bench._windows import stage_reports, timeline

TOOL_VERSION = "builtin/1"
# The report holds at most so many samples of a kind, evenly taken; all of them are in the raw samples.
MAX_SAMPLES = 5000
SAMPLES = ("ttft_seconds", "e2el_seconds", "tpot_seconds")


@dataclass(frozen=True)
class Beside:
    """What was seen beside the records; every part may be missing."""

    load: Mapping[str, Any] | None = None
    warmup: Mapping[str, Any] | None = None
    server: Mapping[str, Any] | None = None
    gpu: Sequence[Mapping[str, Any]] | None = None
    memory: Mapping[str, Any] | None = None
    cold_start: Mapping[str, Any] | None = None
    search: Mapping[str, Any] | None = None
    generators: Sequence[Mapping[str, Any]] | None = None
    overlap_share: float | None = None
    shares_prefix: bool = False
    limits: RequestLimits = field(default_factory=RequestLimits)


def build_report(
    workload: Mapping[str, Any],
    plan: Mapping[str, Any],
    run: Run,
    beside: Beside | None = None,
    tool_version: str = TOOL_VERSION,
) -> dict[str, Any]:
    """Return the benchmark report, schema 1. `workload` is what _bodies.describe() gives, `plan` the load plan."""
    other = beside or Beside()
    records = counted(run.records)
    seconds = span(records)
    found = figures(records, seconds)
    good = [record for record in records if record.error is None]
    reached = attainment(records, seconds, other.limits)
    stages = stage_reports(records, dict(plan), other.limits)
    judged, judged_stages = _judged(run, stages, other.search)
    checks = checks_of(judged, judged_stages, other.server, other.shares_prefix, other.overlap_share)
    reasons = invalid_reasons(checks)
    samples = samples_of(records)
    every = max(1, -(-len(records) // MAX_SAMPLES))
    return {
        "schema": 1,
        "kind": "benchmark",
        "engine_version_tool": tool_version,
        "workload": dict(workload),
        "load": {**plan, **(other.load or {})},
        "started_at": run.started_at,
        "duration_seconds": round(seconds, 6),
        **found,
        "token_source": token_source(good),
        "tokens_per_event": tokens_per_event(good),
        "intervals": {"confidence": CONFIDENCE, **intervals(records)},
        "rejections": rejections(records),
        "goodput_requests_per_second": reached["goodput_requests_per_second"] if reached else None,
        "attainment": reached,
        "steady_state": stages[0]["steady_state"] if len(stages) == 1 else None,
        "stages": stages,
        "knee": curve(stages),
        "search": dict(other.search) if other.search else None,
        "timeline": timeline(records),
        "warmup": dict(other.warmup) if other.warmup else None,
        "cold_start": dict(other.cold_start) if other.cold_start else None,
        "server": dict(other.server) if other.server else None,
        "gpu": list(other.gpu) if other.gpu else None,
        "memory_slope": dict(other.memory) if other.memory else None,
        "generators": list(other.generators) if other.generators else None,
        "client": {
            "cpu_seconds": round(run.cpu_seconds, 3),
            "cpu_share_of_one_core": round(run.cpu_seconds / run.seconds, 3) if run.seconds > 0 else 0.0,
        },
        "clock_offset": run.clock_offset,
        "out_of_time": run.out_of_time,
        "validity": {"checks": public(checks)},
        "valid": not reasons,
        "invalid_reasons": reasons,
        "samples": {
            **{name: [round(value, 6) for value in samples[name][::every]] for name in SAMPLES},
            "requests": request_rows(records[::every]),
        },
        "samples_every": every,
    }


def _judged(
    run: Run, stages: list[dict[str, Any]], search: Mapping[str, Any] | None
) -> tuple[Run, list[dict[str, Any]]]:
    """Return what the checks are made on: of a search the probes up to the rate it found, since those above it are
    meant to break."""
    if not search or not search["rate_per_second"]:
        return run, stages
    kept = {entry["stage"] for entry in stages if entry["rate_per_second"] <= 1.001 * search["rate_per_second"]}
    records = tuple(record for record in run.records if record.stage in kept)
    part = dataclasses.replace(run, records=records, lateness_seconds=lateness_of(records))
    return part, [entry for entry in stages if entry["stage"] in kept]
