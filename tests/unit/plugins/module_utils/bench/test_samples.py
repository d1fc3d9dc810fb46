# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw samples: whole in their file, without a text, and laid together from several generators."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import open_plan
from ansible_collections.local_llm.ops.plugins.module_utils._bench._samples import (
    SamplesError,
    heads_problem,
    join_heads,
    join_runs,
    read_samples,
    samples_path,
    write_samples,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import a_run, bad, good, report_of


def test_samples_survive_the_file_without_a_text_in_it(tmp_path: Path) -> None:
    run = a_run([good(0), bad(1, "http_429", retry_after_seconds=2.0), good(2, scheduled=1.0)], started_at="now")
    path = str(tmp_path / "s.jsonl.gz")
    write_samples(path, report_of(list(run.records)), run)
    head, again = read_samples(path)
    assert head["kind"] == "benchmark_samples"
    assert [dataclasses.replace(one, gaps_seconds=()) for one in again.records] == [
        dataclasses.replace(one, gaps_seconds=()) for one in run.records
    ]
    assert again.records[0].gaps_seconds == pytest.approx(run.records[0].gaps_seconds)
    lines = gzip.decompress(Path(path).read_bytes()).splitlines()
    assert all(set(json.loads(line)) & {"prompt", "text", "content"} == set() for line in lines)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"{}\n"), gzip.compress(b'{"kind": "other"}\n')],
    ids=["no_gzip", "no_kind", "another_kind"],
)
def test_a_file_that_holds_no_samples_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.gz"
    path.write_bytes(content)
    with pytest.raises((SamplesError, OSError)):
        read_samples(str(path))


def test_what_was_never_sent_is_no_request_sent_in_time(tmp_path: Path) -> None:
    run = a_run([good(0, scheduled=0.0, started=0.4), bad(1, "client_limit", scheduled=1.0, started=1.0)])
    path = str(tmp_path / "s.jsonl.gz")
    write_samples(path, report_of(list(run.records)), run)
    assert read_samples(path)[1].lateness_seconds == (0.4,)


def test_samples_lie_beside_their_report() -> None:
    assert samples_path("/e/benchmark-1.json") == "/e/benchmark-1.samples.jsonl.gz"


def test_runs_of_several_generators_become_one_on_one_clock() -> None:
    first = a_run([good(number) for number in range(20)], clock_offset=1000.0)
    second = a_run([good(number, ttft=0.3) for number in range(20)], clock_offset=1007.0, cpu_seconds=5.0)
    run, shared = join_runs([first, second], [0.0, 5.0])
    assert len(run.records) == 40 and [record.index for record in run.records] == list(range(40))
    assert run.seconds == pytest.approx(12.0) and {record.user for record in run.records} == {0, 1}
    assert shared == pytest.approx(7.5 / 11.5, abs=1e-3)
    assert run.cpu_seconds / run.seconds == pytest.approx(0.5)
    report = report_of(list(run.records), overlap_share=shared)
    assert report["ttft_seconds"]["count"] == 40 and report["invalid_reasons"][0].startswith("generators_apart")


def test_heads_of_several_generators_are_added_up_and_must_belong_together() -> None:
    work: dict[str, Any] = {"users": 2, "requests": 10, "warmup_requests": 4, "hash": "a", "api": "x"}
    head: dict[str, Any] = {"engine_version_tool": "builtin/1", "workload": work, "load": open_plan(5.0, seconds=3)}
    workload, load = join_heads([head, head])
    assert workload["users"] == 4 and load["stages"][0]["rate_per_second"] == 10 and workload["hash"] != "a"
    assert heads_problem([head, head]) is None
    assert "one tool" in str(heads_problem([head, {**head, "engine_version_tool": "other/1"}]))
    assert "different loads" in str(heads_problem([head, {**head, "load": {**head["load"], "stages": []}}]))
