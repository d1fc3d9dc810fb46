# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Raw samples: one line of JSON per request, compressed, without any text; and several load generators as one run."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import RequestRecord, Run, lateness_of
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex

KIND = "benchmark_samples"
_FIELDS = tuple(field.name for field in dataclasses.fields(RequestRecord))
_RUN_FIELDS = tuple(
    field.name for field in dataclasses.fields(Run) if field.name not in ("records", "lateness_seconds")
)


class SamplesError(ValueError):
    """The file holds no raw samples of ours; the text names it and the fix."""


def samples_path(result_path: str) -> str:
    """Return where the raw samples of a report lie: beside it."""
    stem = result_path[: -len(".json")] if result_path.endswith(".json") else result_path
    return f"{stem}.samples.jsonl.gz"


def lines_of(report: Mapping[str, Any], run: Run) -> Iterable[str]:
    """Return the head, which says what was measured, and one line per request."""
    head = {
        "schema": 1,
        "kind": KIND,
        **{key: report[key] for key in ("engine_version_tool", "workload", "load", "started_at")},
        "run": {name: _short(getattr(run, name)) for name in _RUN_FIELDS},
    }
    yield json.dumps(head, sort_keys=True)
    for record in run.records:
        values = {name: _short(getattr(record, name)) for name in _FIELDS}
        yield json.dumps({name: value for name, value in values.items() if value is not None})


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, tuple):
        return [round(item, 6) for item in value]
    return value


def write_samples(path: str, report: Mapping[str, Any], run: Run, mode: int = 0o640) -> None:
    """Write the file whole or not at all. Raises OSError."""
    part = f"{path}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with (
            os.fdopen(handle, "wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8") as stream,
        ):
            for line in lines_of(report, run):
                stream.write(line + "\n")
        os.replace(part, path)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise


def read_samples(path: str) -> tuple[dict[str, Any], Run]:
    """Return the head and the run of a file. Raises OSError, and SamplesError when it is none of ours."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            return parse_samples(stream)
    except (ValueError, KeyError, TypeError, EOFError) as exc:
        raise SamplesError(f"{path}: it holds no raw samples of llm_benchmark ({exc}); measure again") from exc


def parse_samples(lines: Iterable[str]) -> tuple[dict[str, Any], Run]:
    """Return the head and the run of the lines of a file."""
    rows = iter(lines)
    head = json.loads(next(rows, "{}"))
    if head.get("kind") != KIND or head.get("schema") != 1:
        raise ValueError("its first line is no head of schema 1")
    records = []
    for line in rows:
        values = json.loads(line)
        values["gaps_seconds"] = tuple(values.get("gaps_seconds", ()))
        records.append(RequestRecord(**{name: values.get(name) for name in _FIELDS if name in values or _needs(name)}))
    run = {**head["run"], "stage_starts": tuple(head["run"].get("stage_starts", ()))}
    return head, Run(records=tuple(records), lateness_seconds=lateness_of(records), **run)


def _needs(name: str) -> bool:
    """Tell whether a field has no default, so that it must be given even when the file left its null out."""
    field = next(field for field in dataclasses.fields(RequestRecord) if field.name == name)
    return field.default is dataclasses.MISSING


def join_runs(runs: Sequence[Run], offsets: Sequence[float] | None = None) -> tuple[Run, float]:
    """Return runs of several load generators as one on one clock, and the share of the time in which all of them ran.

    offsets: seconds by which the clock of each generator is ahead; 0 when left out. Latencies do not depend on it,
    since each is measured on one clock; which requests ran at the same time does.
    """
    ahead = list(offsets) if offsets is not None else [0.0] * len(runs)
    starts = [run.clock_offset - off for run, off in zip(runs, ahead)]
    base = min(starts)
    records: list[RequestRecord] = []
    users = 0
    for run, start in zip(runs, starts):
        shift = start - base
        own = [record.user for record in run.records if record.user is not None]
        for record in run.records:
            records.append(
                dataclasses.replace(
                    record,
                    user=None if record.user is None else record.user + users,
                    scheduled=None if record.scheduled is None else record.scheduled + shift,
                    started=record.started + shift,
                    ended=record.ended + shift,
                )
            )
        users += max(own, default=-1) + 1
    records.sort(key=lambda record: record.started)
    first = min(runs, key=lambda run: run.clock_offset)
    seconds = max(start - base + run.seconds for run, start in zip(runs, starts))
    busiest = max((run.cpu_seconds / run.seconds if run.seconds > 0 else 0.0) for run in runs)
    joined = Run(
        records=tuple(dataclasses.replace(record, index=number) for number, record in enumerate(records)),
        seconds=seconds,
        # the busiest generator decides whether a client was the limit
        cpu_seconds=busiest * seconds,
        lateness_seconds=tuple(value for run in runs for value in run.lateness_seconds),
        interrupted=any(run.interrupted for run in runs),
        gave_up=all(run.gave_up for run in runs),
        out_of_time=any(run.out_of_time for run in runs),
        started_at=first.started_at,
        clock_offset=base,
        stage_starts=first.stage_starts,
    )
    return joined, overlap_share(records_of=[run.records for run in runs], shifts=[start - base for start in starts])


def overlap_share(records_of: Sequence[Sequence[RequestRecord]], shifts: Sequence[float]) -> float:
    """Return how much of the time between the first and the last send all generators sent."""
    windows = [
        (min(record.started for record in records) + shift, max(record.started for record in records) + shift)
        for records, shift in zip(records_of, shifts)
        if records
    ]
    if len(windows) < len(records_of):
        return 0.0
    whole = max(end for _begin, end in windows) - min(begin for begin, _end in windows)
    shared = min(end for _begin, end in windows) - max(begin for begin, _end in windows)
    return round(max(0.0, shared) / whole, 4) if whole > 0 else 1.0


def join_heads(heads: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (workload, load plan) of runs that belong together: users and rates added, hashes hashed."""
    first = heads[0]
    workload, load = dict(first["workload"]), dict(first["load"])
    for name in ("users", "requests", "warmup_requests"):
        values = [head["workload"].get(name) for head in heads]
        workload[name] = sum(values) if all(value is not None for value in values) else None
    workload["hash"] = sha256_hex(canonical_json(sorted(head["workload"]["hash"] for head in heads)))
    stages = []
    for number, stage in enumerate(load["stages"]):
        others = [head["load"]["stages"][number] for head in heads]
        sums = {
            name: sum(other[name] for other in others) if all(other.get(name) for other in others) else stage.get(name)
            for name in ("users", "rate_per_second", "requests")
        }
        stages.append({**stage, **sums})
    load["stages"] = stages
    return workload, load


def heads_problem(heads: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why these runs cannot be one, or None."""
    first = heads[0]
    for head in heads[1:]:
        if head["engine_version_tool"] != first["engine_version_tool"]:
            return f"{head['engine_version_tool']} and {first['engine_version_tool']} measure differently; use one tool"
        if len(head["load"]["stages"]) != len(first["load"]["stages"]) or head["load"]["mode"] != first["load"]["mode"]:
            return "the load generators had different loads; give all of them the same one"
        for name in ("api", "prompt_tokens", "output_tokens", "shape"):
            if head["workload"].get(name) != first["workload"].get(name):
                return f"{name} differs between the load generators; give all of them the same work"
    return None
