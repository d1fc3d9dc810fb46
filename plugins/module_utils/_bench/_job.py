# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One benchmark from end to end: warm up, measure with eyes on the host, report. Everything outside is handed in."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench import _options as options
from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import WARMUP, Workload, describe
from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import count_requests, counted, is_good
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import (
    INTERRUPTED,
    Limits,
    RequestRecord,
    Run,
    closed_plan,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._report import Beside, build_report
from ansible_collections.local_llm.ops.plugins.module_utils._bench._run import run_load
from ansible_collections.local_llm.ops.plugins.module_utils._bench._search import search_rate
from ansible_collections.local_llm.ops.plugins.module_utils._bench._server_counters import (
    compare_counts,
    mean_ttft,
    read_settled,
    rise,
    went_back,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._telemetry import (
    Read,
    Sampler,
    gpu_summary,
    memory_slope,
)
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint

# A probe of a search gets this much longer than its schedule before it is cut: a queue that grows shows long before.
PROBE_GRACE_SECONDS = 60.0
Tell = Callable[[str, "dict[str, Any]", "float | None", "int | None"], None]


@dataclass(frozen=True)
class Job:
    """What to measure, all of it checked."""

    params: Mapping[str, Any]
    workload: Workload
    plan: dict[str, Any]
    warmup_requests: int

    @property
    def max_seconds(self) -> float:
        return options.max_seconds_of(self.params, self.plan)


@dataclass(frozen=True)
class Surroundings:
    """Eyes on the server and on its host; what is missing is not measured.

    read_metrics   the server's metrics now
    readers        what is sampled beside the run: name -> (seconds between, reader)
    restart_mark   something that changes when the service is restarted
    """

    read_metrics: Read | None = None
    readers: Mapping[str, tuple[float, Read]] = field(default_factory=dict)
    restart_mark: Callable[[], str] | None = None


@dataclass(frozen=True)
class Outcome:
    """The report, and the run behind it."""

    report: dict[str, Any]
    run: Run


def measure(
    job: Job,
    endpoint: Endpoint,
    stop: threading.Event,
    around: Surroundings,
    tell: Tell,
    cold_start: Mapping[str, Any] | None = None,
    peer: Callable[[], Run] | None = None,
) -> Outcome:
    """Warm up, measure, and return the report. Never raises for what the server does.

    peer is another load tool that measures in the place of our client; what it raises is handed on.
    """
    warmup, hopeless = _warm_up(job, endpoint, stop, tell)
    _wait_for_start(job.params.get("start_at_unix_seconds"), stop)
    before = read_settled(around.read_metrics) if around.read_metrics else None
    mark = around.restart_mark() if around.restart_mark else ""
    with Sampler(around.readers) as sampler:
        run, plan, found = (peer(), job.plan, None) if peer else _load(job, endpoint, stop, tell, hopeless)
    after = read_settled(around.read_metrics) if around.read_metrics else None
    restarted = bool(around.restart_mark) and around.restart_mark is not None and around.restart_mark() != mark
    records = counted(run.records)
    tokens = sum(record.output_tokens or 0 for record in records if record.error is None)
    report = build_report(
        # A search goes its own way every time; equal searches are told by what they were asked.
        describe(job.workload, {**job.plan, "search": job.params["search"]} if found else plan, job.warmup_requests),
        plan,
        run,
        Beside(
            load={"scenario": job.params.get("scenario"), "time_scale": job.params.get("time_scale")},
            warmup=warmup,
            server=_server(job.params.get("engine"), before, after, records, restarted, sampler),
            gpu=gpu_summary(sampler.samples.get("gpu", []), tokens),
            memory=memory_slope(sampler.samples.get("memory", [])),
            cold_start=cold_start,
            search=found,
            shares_prefix=job.workload.shape in ("shared_prefix", "multi_turn", "file"),
            limits=options.limits_of(job.params),
        ),
    )
    return Outcome(report, run)


def _warm_up(job: Job, endpoint: Endpoint, stop: threading.Event, tell: Tell) -> tuple[dict[str, Any] | None, bool]:
    """Send the warm-up, which is in no figure. Returns what became of it, and whether nothing of it succeeded."""
    if not job.warmup_requests or stop.is_set():
        return None, False
    users = min(options.most_users(job.plan), job.warmup_requests)
    if job.plan["mode"] == "open":
        users = min(4, job.warmup_requests)
    plan = closed_plan(users, job.warmup_requests)
    limits = Limits(
        options.PLAIN_MAX_SECONDS, job.params["request_timeout_seconds"], give_up_after=min(users, job.warmup_requests)
    )
    run = run_load(plan, job.workload, endpoint, limits, stop, _teller(tell, "warm-up", None, None), phase=WARMUP)
    counts = count_requests(counted(run.records))
    told = {**counts, "seconds": round(run.seconds, 3), "measured": False}
    return told, bool(counts["issued"]) and not counts["succeeded"]


def _wait_for_start(at: float | None, stop: threading.Event) -> None:
    if at is not None:
        stop.wait(max(0.0, at - time.time()))


def _load(
    job: Job, endpoint: Endpoint, stop: threading.Event, tell: Tell, hopeless: bool
) -> tuple[Run, dict[str, Any], dict[str, Any] | None]:
    """Return the run, the plan it followed, and what a search found."""
    users = options.most_users(job.plan)
    patience = users if hopeless else max(20, 2 * users)
    if job.params.get("search"):
        return _search(job, endpoint, stop, tell, patience)
    requests = [stage.get("requests") for stage in job.plan["stages"]]
    total = sum(requests) if all(requests) else None
    if total:
        patience = min(patience, total)
    limits = Limits(job.max_seconds, job.params["request_timeout_seconds"], give_up_after=patience)
    said = _teller(tell, "benchmark", options.expected_seconds(job.plan), total)
    return run_load(job.plan, job.workload, endpoint, limits, stop, said), job.plan, None


def _search(
    job: Job, endpoint: Endpoint, stop: threading.Event, tell: Tell, patience: int
) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    """Look for the highest rate within the limits; every probe becomes one stage of one run."""
    settings = options.search_of(job.params)
    limits_of_request = options.limits_of(job.params)
    runs: list[Run] = []
    stages: list[dict[str, Any]] = []
    end = time.monotonic() + (job.params.get("max_seconds") or options.MAX_SECONDS)

    def probe(rate: float, number: int) -> tuple[int, int] | None:
        plan = options.probe_plan(job.params, rate, job.plan["seed"] + number)
        expected = options.expected_seconds(plan) or 0.0
        if stop.is_set() or time.monotonic() + expected > end:
            return None
        limits = Limits(expected + PROBE_GRACE_SECONDS, job.params["request_timeout_seconds"], give_up_after=patience)
        # Other prompts for every probe, so that the server's cache knows none of them.
        work = dataclasses.replace(job.workload, seed=job.workload.seed + 1_000_003 * number)
        said = _teller(tell, f"search, {rate:.3g} requests/s", expected, plan["stages"][0]["requests"])
        run = run_load(plan, work, endpoint, limits, stop, said)
        runs.append(run)
        stages.extend(plan["stages"])
        if run.interrupted:
            return None
        records = counted(run.records)
        return sum(is_good(record, limits_of_request) for record in records), len(records)

    if settings is None:
        raise ValueError("search: its options are missing")
    found = search_rate(probe, settings)
    return chain_runs(runs), {"mode": "open", "stages": stages or job.plan["stages"], "seed": job.plan["seed"]}, found


def chain_runs(runs: list[Run]) -> Run:
    """Return runs of one client that came one after the other as one, each as a stage of its own."""
    if not runs:
        return Run((), 0.0, 0.0, interrupted=True)
    records: list[RequestRecord] = []
    for number, run in enumerate(runs):
        shift = run.clock_offset - runs[0].clock_offset
        for record in run.records:
            due = None if record.scheduled is None else record.scheduled + shift
            records.append(
                dataclasses.replace(
                    record,
                    index=len(records),
                    stage=number,
                    scheduled=due,
                    started=record.started + shift,
                    ended=record.ended + shift,
                )
            )
    last = runs[-1]
    return dataclasses.replace(
        last,
        records=tuple(records),
        seconds=last.clock_offset - runs[0].clock_offset + last.seconds,
        cpu_seconds=sum(run.cpu_seconds for run in runs),
        lateness_seconds=tuple(value for run in runs for value in run.lateness_seconds),
        interrupted=any(run.interrupted for run in runs),
        gave_up=all(run.gave_up for run in runs),
        started_at=runs[0].started_at,
        clock_offset=runs[0].clock_offset,
        stage_starts=tuple(run.clock_offset - runs[0].clock_offset for run in runs),
    )


def _server(
    engine: str | None,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    records: list[RequestRecord],
    restarted: bool,
    sampler: Sampler,
) -> dict[str, Any] | None:
    """Return the report's part about the server; None when nobody asked for it."""
    if engine is None:
        return None
    delta = rise(before, after)
    running = None if before is None else (before["requests_running"] or 0) + (before["requests_waiting"] or 0)
    samples = sampler.samples.get("server", [])
    waiting = [sample["requests_waiting"] for sample in samples if sample.get("requests_waiting") is not None]
    cache = [sample["kv_cache_used_share"] for sample in samples if sample.get("kv_cache_used_share") is not None]
    return {
        "engine": engine,
        "version": before["version"] if before else None,
        "restarted": restarted or went_back(delta),
        "in_flight_before": running,
        "delta": delta,
        "counts": compare_counts(delta, records),
        "ttft_mean_seconds": mean_ttft(delta),
        "queue_max": max(waiting, default=None),
        "kv_cache_used_max_share": max(cache, default=None),
        "samples": len(samples),
    }


def _teller(tell: Tell, label: str, expected: float | None, requests: int | None) -> Callable[[dict[str, Any]], None]:
    return lambda state: tell(label, state, expected, requests)


def one_request(job: Job, endpoint: Endpoint, stop: threading.Event, number: int) -> RequestRecord:
    """Send one request with a prompt that nothing else uses, and return its record."""
    limits = Limits(max_seconds=60.0, request_timeout_seconds=max(60.0, job.params["request_timeout_seconds"]))
    run = run_load(closed_plan(1, 1), job.workload, endpoint, limits, stop, phase=f"cold{number}")
    if not run.records:
        return RequestRecord(0, 0, None, None, 0.0, 0.0, INTERRUPTED)
    return run.records[0]
