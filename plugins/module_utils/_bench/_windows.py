# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A run over time: its stages, the window in which the load stood, and a timeline in buckets. Pure."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import (
    RequestLimits,
    attainment,
    figures,
    span,
    tokens_of,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import RequestRecord

# The load stands while this part of the users has a request under way.
FULL_SHARE = 0.95
# An open loop needs a moment until as many requests end as begin.
OPEN_RAMP_SHARE = 0.1
# A window shorter than this says no more than the whole run.
MIN_WINDOW_SECONDS = 1.0
MAX_BUCKETS = 240
_STAGE_SUMMARIES = ("ttft_seconds", "tpot_seconds", "e2el_seconds", "scheduled_latency_seconds")


def in_flight_changes(records: Sequence[RequestRecord]) -> list[tuple[float, int]]:
    """Return (time, requests under way from then on), in the order of time."""
    # at the same moment an end comes before a start: a user's next request is no second one
    steps = sorted([(record.started, 1) for record in records] + [(record.ended, -1) for record in records])
    changes, level = [], 0
    for at, change in steps:
        level += change
        changes.append((at, level))
    return changes


def steady_window(records: Sequence[RequestRecord], stage: dict[str, Any]) -> tuple[float, float] | None:
    """Return from when to when the load of a stage stood; None when it never did for long enough."""
    if not records:
        return None
    if stage.get("rate_per_second"):
        begin, end = min(record.started for record in records), max(record.started for record in records)
        begin += OPEN_RAMP_SHARE * (end - begin)
    else:
        wanted = FULL_SHARE * (stage.get("users") or 1)
        changes = in_flight_changes(records)
        full = [place for place, (_at, level) in enumerate(changes) if level >= wanted]
        if not full or full[-1] + 1 >= len(changes):
            return None
        begin, end = changes[full[0]][0], changes[full[-1] + 1][0]
    return (begin, end) if end - begin >= MIN_WINDOW_SECONDS else None


def steady_state(
    records: Sequence[RequestRecord], stage: dict[str, Any], limits: RequestLimits
) -> dict[str, Any] | None:
    """Return the figures of the window in which the load stood. Latencies are of requests that began inside it,
    rates are of what ended and of the tokens that came inside it."""
    window = steady_window(records, stage)
    if window is None:
        return None
    begin, end = window
    seconds = end - begin
    inside = [record for record in records if begin <= record.started < end]
    found = figures(inside, seconds)
    good = [record for record in records if record.error is None]
    tokens = math.fsum(_tokens_inside(record, begin, end) for record in good)
    ended = sum(begin <= record.ended < end for record in good)
    reached = attainment(inside, seconds, limits)
    return {
        "from_seconds": round(begin, 3),
        "to_seconds": round(end, 3),
        "seconds": round(seconds, 3),
        "requests": found["requests"],
        **{name: found[name] for name in _STAGE_SUMMARIES},
        "output_tokens_per_second": round(tokens / seconds, 3),
        "requests_per_second": round(ended / seconds, 3),
        "attainment": reached["share"] if reached else None,
    }


def _tokens_inside(record: RequestRecord, begin: float, end: float) -> float:
    """Return how many tokens of an answer came inside a window, taken as evenly spread from the first to the last."""
    if record.ttft_seconds is None or record.e2el_seconds is None:
        return 0.0
    first, last = record.started + record.ttft_seconds, record.started + record.e2el_seconds
    if last <= first:
        return float(tokens_of(record)) if begin <= first < end else 0.0
    return tokens_of(record) * max(0.0, min(last, end) - max(first, begin)) / (last - first)


def stage_reports(
    records: Sequence[RequestRecord], plan: dict[str, Any], limits: RequestLimits
) -> list[dict[str, Any]]:
    """Return one report per stage of the load, in order; a stage that was never reached has no requests."""
    reports = []
    for number, stage in enumerate(plan["stages"]):
        own = [record for record in records if record.stage == number]
        seconds = span(own)
        found = figures(own, seconds)
        reached = attainment(own, seconds, limits)
        reports.append(
            {
                "stage": number,
                "users": stage.get("users"),
                "rate_per_second": stage.get("rate_per_second"),
                "from_seconds": round(min(record.started for record in own), 3) if own else None,
                "seconds": round(seconds, 3),
                "requests": found["requests"],
                **{name: found[name] for name in _STAGE_SUMMARIES},
                "output_tokens_per_second": found["output_tokens_per_second"],
                "requests_per_second": found["requests_per_second"],
                "achieved_rate_share": achieved_rate_share(own),
                "attainment": reached["share"] if reached else None,
                "attainment_interval": reached["interval"] if reached else None,
                "goodput_requests_per_second": reached["goodput_requests_per_second"] if reached else None,
                "steady_state": steady_state(own, stage, limits),
            }
        )
    return reports


def achieved_rate_share(records: Sequence[RequestRecord]) -> float | None:
    """Return achieved / requested rate of an open loop: how long the schedule was, by how long the sends took."""
    due = [record for record in records if record.scheduled is not None]
    if len(due) < 2:
        return None
    planned = max(record.scheduled or 0.0 for record in due) - min(record.scheduled or 0.0 for record in due)
    taken = max(record.started for record in due) - min(record.started for record in due)
    return round(planned / taken, 4) if taken > 0 else None


def timeline(records: Sequence[RequestRecord]) -> dict[str, Any] | None:
    """Return the run in buckets of equal length, as lists; latencies are plain medians of what began in a bucket."""
    if not records:
        return None
    begin, whole = min(record.started for record in records), span(records)
    length = bucket_seconds(whole)
    number = max(1, math.ceil(whole / length + 1e-9))
    started: list[list[RequestRecord]] = [[] for _unused in range(number)]
    ended = [[0, 0] for _unused in range(number)]
    for record in records:
        started[min(int((record.started - begin) / length), number - 1)].append(record)
        ended[min(int((record.ended - begin) / length), number - 1)][record.error is not None] += 1
    changes = in_flight_changes(records)
    times = [at for at, _level in changes]
    return {
        "bucket_seconds": length,
        "from_seconds": round(begin, 3),
        "started": [len(some) for some in started],
        "succeeded": [good for good, _bad in ended],
        "failed": [bad for _good, bad in ended],
        "in_flight": [
            changes[place - 1][1] if (place := bisect.bisect_right(times, begin + (index + 0.5) * length)) else 0
            for index in range(number)
        ],
        "ttft_median_seconds": [_median(record.ttft_seconds for record in some) for some in started],
        "e2el_median_seconds": [_median(record.e2el_seconds for record in some) for some in started],
    }


def _median(values: Any) -> float | None:
    kept = [value for value in values if value is not None]
    return round(median(kept), 6) if kept else None


def bucket_seconds(whole: float) -> float:
    """Return a round length so that a run has at most MAX_BUCKETS buckets, and never less than a tenth of a second."""
    rough = max(whole / MAX_BUCKETS, 0.1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999999)
