# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From records to the report: the definitions, and what makes a report invalid."""

from __future__ import annotations

import json

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._benchmark_report import build_report, error_sentence
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem
from ansible_collections.local_llm.ops.plugins.module_utils._http_stream import RequestRecord
from ansible_collections.local_llm.ops.plugins.module_utils._load import Run
from ansible_collections.local_llm.ops.plugins.module_utils._workload import Workload

WORK = Workload("openai_chat", "chat", 4, 20, 32, 11, 4, 1)
KEYS = {
    "schema", "kind", "engine_version_tool", "workload", "started_at", "duration_seconds", "requests", "ttft_seconds",
    "itl_seconds", "tpot_seconds", "e2el_seconds", "output_tokens_total", "output_tokens_per_second",
    "requests_per_second", "output_tokens_per_second_per_request", "token_source", "coalesced_share", "valid",
    "invalid_reasons", "samples",
}  # fmt: skip


def good(index: int, ttft: float = 0.1, tpot: float = 0.01, tokens: int = 11, usage: bool = True) -> RequestRecord:
    e2el = ttft + tpot * (tokens - 1)
    return RequestRecord(
        index, index * 0.5, e2el, None, ttft, e2el, (tpot,) * (tokens - 1), 0, tokens, 7, tokens if usage else None
    )


def bad(index: int, error: str) -> RequestRecord:
    return RequestRecord(index, index * 0.5, 0.1, error)


def run(records: list[RequestRecord], **more: object) -> Run:
    return Run(**{"records": tuple(records), "seconds": 10.0, "cpu_seconds": 0.5, **more})  # type: ignore[arg-type]


def test_the_report_has_every_key_of_the_contract_and_survives_json() -> None:
    report = build_report(WORK, run([good(number) for number in range(20)]), "2026-01-01T00:00:00+00:00")
    assert set(report) >= KEYS
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert benchmark_problem(report) is None
    assert set(report["samples"]) == {"ttft_seconds", "e2el_seconds", "tpot_seconds"}


def test_the_definitions_hold() -> None:
    report = build_report(WORK, run([good(number) for number in range(20)]), "")
    assert report["ttft_seconds"]["p50"] == pytest.approx(0.1)
    assert report["tpot_seconds"]["p50"] == pytest.approx(0.01)
    assert report["e2el_seconds"]["p50"] == pytest.approx(0.2)
    assert report["itl_seconds"]["count"] == 200
    assert report["duration_seconds"] == pytest.approx(9.7)
    assert report["output_tokens_total"] == 220
    assert report["output_tokens_per_second"] == pytest.approx(220 / 9.7, rel=1e-3)
    assert report["output_tokens_per_second_per_request"]["p50"] == pytest.approx(55)
    assert report["valid"] and report["invalid_reasons"] == []


def test_failures_are_counted_by_kind_and_touch_no_latency() -> None:
    records = [good(number) for number in range(15)] + [bad(15, "timeout"), bad(16, "timeout"), bad(17, "http_503")]
    report = build_report(WORK, run(records), "")
    assert report["requests"] == {
        "issued": 18, "succeeded": 15, "failed": 3, "timeouts": 2, "errors": {"http_503": 1, "timeout": 2},
    }  # fmt: skip
    assert report["ttft_seconds"]["count"] == 15


def test_a_run_where_everything_failed_is_not_valid_and_says_what_to_look_at() -> None:
    report = build_report(WORK, run([bad(number, "http_404") for number in range(4)], gave_up=True), "")
    assert not report["valid"] and report["token_source"] == "none"
    assert "4 x http_404" in report["invalid_reasons"][0] and "check url, api and model" in report["invalid_reasons"][0]
    assert benchmark_problem(report) is None


@pytest.mark.parametrize(
    ("records", "more", "word"),
    [
        ([good(1)] * 5, {}, "too_few_samples"),
        ([], {}, "too_few_samples"),
        ([good(1)] * 20, {"cpu_seconds": 9.0}, "client_limited"),
        ([good(1)] * 20, {"interrupted": True}, "interrupted"),
    ],
)
def test_what_must_not_be_judged_is_marked_invalid(
    records: list[RequestRecord], more: dict[str, object], word: str
) -> None:
    report = build_report(WORK, run(records, **more), "")
    assert not report["valid"] and any(reason.startswith(word) for reason in report["invalid_reasons"])


def test_tokens_come_from_usage_and_from_events_only_without_it() -> None:
    assert build_report(WORK, run([good(1)]), "")["token_source"] == "usage"
    mixed = build_report(WORK, run([good(1), good(2, usage=False)]), "")
    assert mixed["token_source"] == "events" and mixed["output_tokens_total"] == 22


def test_the_share_of_coalesced_gaps_is_shown() -> None:
    record = RequestRecord(0, 0.0, 1.0, None, 0.1, 1.0, (0.0, 0.0, 0.3, 0.6), 2, 5, 7, 5)
    assert build_report(WORK, run([record]), "")["coalesced_share"] == 0.5


def test_the_most_frequent_error_gives_the_hint() -> None:
    assert error_sentence({"timeout": 1, "connection": 3}).startswith("3 x connection, 1 x timeout; nothing answers")
    assert "log" in error_sentence({"http_500": 2})
    assert error_sentence({}) == "no errors"
