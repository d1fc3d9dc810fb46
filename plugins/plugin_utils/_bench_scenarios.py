# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Scenarios: loads with a purpose, from benchmark_scenarios.yml, and whether a run passed one. Controller only."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._bench._validity import HINTS

DATA_FILE = Path(__file__).with_name("benchmark_scenarios.yml")
REJECTIONS = ("http_429", "http_503")
# Latency counts as back when the median of a bucket is at most this much above the one before the spike.
RECOVERED_RATIO = 1.25
SMOOTH_BUCKETS = 5
# Every service grows in its first minutes. And samples that follow each other are alike, so an interval is too sure of
# itself: growth counts from a share of the memory on.
LEAK_MIN_SECONDS = 1800.0
LEAK_MIN_SHARE = 0.01
# A stage that was scaled shorter than this sends hardly a request.
LEAST_STAGE_SECONDS = 1.0


class ScenarioError(ValueError):
    """The scenario is not known, or cannot be made that short."""


def scenarios() -> dict[str, dict[str, Any]]:
    """Return all scenarios by name."""
    data: dict[str, dict[str, Any]] = yaml.safe_load(DATA_FILE.read_text(encoding="utf-8"))["scenarios"]
    return data


def scenario_load(name: str, time_scale: float) -> dict[str, Any]:
    """Return the load of a scenario, with every stage's length multiplied."""
    known = scenarios()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise ScenarioError(f"scenario: {name!r} is not known; use one of: {', '.join(known)}{guess}")
    stages = [{**stage, "seconds": stage["seconds"] * time_scale} for stage in known[name]["stages"]]
    shortest = min(stage["seconds"] for stage in stages)
    if shortest < LEAST_STAGE_SECONDS:
        least = LEAST_STAGE_SECONDS / min(stage["seconds"] for stage in known[name]["stages"])
        raise ScenarioError(
            f"time_scale: {time_scale:g} makes a stage of {name} {shortest:.2g} s long; use {least:.2g} or more"
        )
    return {"mode": "closed", "stages": stages}


def scenario_result(report: Mapping[str, Any], tier: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return each criterion of the report's scenario with what was seen; None when it ran none."""
    load = report.get("load") or {}
    name = load.get("scenario")
    wanted = scenarios().get(str(name), {}).get("success")
    if not wanted:
        return None
    scale = float(load.get("time_scale") or 1.0)
    judges = {
        "slo_p95": lambda _limit: _slo_p95(report, tier),
        "error_rate_max_percent": lambda limit: _errors(report, limit),
        "no_memory_growth": lambda _limit: _memory(report),
        "graceful_degradation": lambda _limit: _graceful(report),
        "recovery_max_seconds": lambda limit: _recovery(report, limit * scale),
    }
    criteria = [{"criterion": key, **judges[key](limit)} for key, limit in wanted.items()]
    states = {item["status"] for item in criteria}
    status = "failed" if "missed" in states else "not_measured" if "not_measured" in states else "passed"
    return {"scenario": name, "time_scale": scale, "status": status, "criteria": criteria}


def _told(status: str, observed: Any, limit: Any, detail: str = "") -> dict[str, Any]:
    return {"status": status, "observed": observed, "limit": limit, "detail": detail}


def _slo_p95(report: Mapping[str, Any], tier: Mapping[str, Any] | None) -> dict[str, Any]:
    pairs = (("ttft_seconds", "ttft_p95_max_seconds"), ("e2el_seconds", "latency_p95_max_seconds"))
    limits = {name: (tier or {}).get(key) for name, key in pairs}
    if all(limit is None for limit in limits.values()):
        return _told("not_measured", None, None, "no tier was given")
    seen = {name: report[name]["p95"] for name, limit in limits.items() if limit is not None}
    if any(value is None for value in seen.values()):
        return _told("not_measured", seen, limits, "too few answers for a p95")
    kept = all(value <= limits[name] for name, value in seen.items())
    return _told("met" if kept else "missed", seen, limits)


def _errors(report: Mapping[str, Any], limit: float) -> dict[str, Any]:
    requests = report["requests"]
    if not requests["issued"]:
        return _told("not_measured", None, limit, "no request was sent")
    share = round(100 * requests["failed"] / requests["issued"], 3)
    return _told("met" if share < limit else "missed", share, limit)


def _memory(report: Mapping[str, Any]) -> dict[str, Any]:
    slope = report.get("memory_slope")
    if not slope or slope.get("bytes_per_hour") is None:
        return _told("not_measured", None, 0, "the module did not run on the instance's host, or not for long enough")
    detail = f"{slope['samples']} samples in {slope['seconds']:.0f} s; 95 % interval {slope['interval']}"
    if slope["seconds"] < LEAK_MIN_SECONDS:
        why = "too short to tell a leak from a service that warms up"
        return _told("not_measured", slope["bytes_per_hour"], 0, f"{detail}; {why}")
    surely = slope["interval"][0] * slope["seconds"] / 3600
    grown = slope["grows"] and surely > LEAK_MIN_SHARE * slope["first_bytes"]
    return _told("missed" if grown else "met", slope["bytes_per_hour"], 0, detail)


def _graceful(report: Mapping[str, Any]) -> dict[str, Any]:
    errors = report["requests"]["errors"]
    rude = {kind: count for kind, count in errors.items() if kind not in REJECTIONS}
    turned = report["rejections"]
    if rude:
        kind = max(rude, key=lambda name: rude[name])
        return _told("missed", rude, {}, HINTS.get(kind, ""))
    if turned["count"] > turned["with_retry_after"]:
        silent = turned["count"] - turned["with_retry_after"]
        return _told(
            "missed",
            {"rejections_without_retry_after": silent},
            {},
            "requests were turned away without Retry-After",
        )
    return _told("met", errors, {})


def _recovery(report: Mapping[str, Any], limit: float) -> dict[str, Any]:
    """Judge how long after the last step down the latency was back, by the medians of the timeline."""
    stages, line = report.get("stages") or [], report.get("timeline")
    if len(stages) < 3 or not line or stages[-1]["from_seconds"] is None:
        return _told("not_measured", None, limit, "the spike was not run to its end")
    length, begin = line["bucket_seconds"], line["from_seconds"]
    points = [
        (begin + index * length, value) for index, value in enumerate(line["e2el_median_seconds"]) if value is not None
    ]
    spike_from, spike_to = stages[-2]["from_seconds"], stages[-1]["from_seconds"]
    calm = [value for at, value in points if at + length <= spike_from]
    after = [(at, value) for at, value in points if at >= spike_to]
    if not calm or not after:
        return _told("not_measured", None, limit, "no answers before or after the spike")
    usual = RECOVERED_RATIO * median(calm)
    values = [value for _at, value in after]
    for place, (at, _value) in enumerate(after):
        # One bucket says little on a busy machine: a few in a row must be back, and most of the rest of the run, too.
        near, rest = values[place : place + SMOOTH_BUCKETS], values[place:]
        if median(near) <= usual and median(rest) <= usual:
            seconds = round(max(0.0, at - spike_to), 3)
            return _told("met" if seconds <= limit else "missed", seconds, limit)
    return _told("missed", None, limit, "the latency was not back when the run ended")
