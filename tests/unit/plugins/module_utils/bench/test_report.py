# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From records to the report: the definitions, the windows, goodput, and what makes a run invalid."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import request_rows
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import RequestRecord, open_plan
from ansible_collections.local_llm.ops.plugins.module_utils._bench._validity import error_sentence
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import (
    bad,
    good,
    limits,
    report_of,
)


def test_the_report_survives_json_and_is_the_evidence_it_claims_to_be() -> None:
    report = report_of([good(number) for number in range(20)])
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert benchmark_problem(report) is None


def test_the_definitions_hold() -> None:
    report = report_of([good(number) for number in range(20)])
    assert report["ttft_seconds"]["p50"] == pytest.approx(0.1)
    assert report["tpot_seconds"]["p50"] == pytest.approx(0.01)
    assert report["e2el_seconds"]["p50"] == pytest.approx(0.2)
    assert report["normalised_latency_seconds"]["p50"] == pytest.approx(0.2 / 11, abs=1e-6)
    assert report["itl_seconds"]["count"] == 200
    assert report["duration_seconds"] == pytest.approx(9.7)
    assert report["output_tokens_total"] == 220
    assert report["output_tokens_per_second"] == pytest.approx(220 / 9.7, rel=1e-3)
    assert report["output_tokens_per_second_per_request"]["p50"] == pytest.approx(55)
    assert report["scheduled_latency_seconds"]["count"] == 0
    assert report["valid"] and report["invalid_reasons"] == []


def test_failures_are_counted_by_kind_and_touch_no_latency() -> None:
    records = [good(number) for number in range(15)] + [bad(15, "timeout"), bad(16, "timeout"), bad(17, "http_503")]
    report = report_of(records)
    assert report["requests"] == {
        "issued": 18, "succeeded": 15, "failed": 3, "timeouts": 2, "errors": {"http_503": 1, "timeout": 2},
    }  # fmt: skip
    assert report["ttft_seconds"]["count"] == 15


def test_rejections_are_told_with_what_retry_after_asked_for() -> None:
    turned = [bad(11, "http_429", retry_after_seconds=2.0), bad(12, "http_503", retry_after_seconds=5.0)]
    report = report_of([*[good(number) for number in range(11)], *turned, bad(13, "http_429")])
    assert report["rejections"] == {
        "count": 3, "with_retry_after": 2, "retry_after_seconds": {"min": 2.0, "max": 5.0},
    }  # fmt: skip


def test_what_a_stop_cut_counts_neither_as_issued_nor_as_failed() -> None:
    report = report_of([good(number) for number in range(12)] + [bad(12, "interrupted")], run={"interrupted": True})
    assert report["requests"]["issued"] == 12 and report["requests"]["failed"] == 0
    assert report["invalid_reasons"][0].startswith("interrupted")


def test_in_an_open_loop_latency_counts_from_when_a_request_was_due() -> None:
    late = [good(number, scheduled=number * 0.5, started=number * 0.5 + 0.3) for number in range(20)]
    report = report_of(late, plan=open_plan(2.0, 20))
    assert report["e2el_seconds"]["p50"] == pytest.approx(0.2)
    assert report["scheduled_latency_seconds"]["p50"] == pytest.approx(0.5)
    assert report["scheduled_ttft_seconds"]["p50"] == pytest.approx(0.4)


def test_attainment_is_over_all_issued_requests_and_counts_the_wait_for_the_send() -> None:
    records = [good(number) for number in range(12)] + [bad(12, "timeout"), good(13, ttft=3.0), good(14, ttft=0.2)]
    late = dataclasses.replace(good(15), scheduled=1.0, started=8.0)
    report = report_of([*records, late], limits=limits(ttft_seconds=1.0))
    told = report["attainment"]
    assert (told["good"], told["issued"]) == (13, 16) and told["share"] == pytest.approx(13 / 16)
    assert told["share_of_successes"] == pytest.approx(13 / 15, abs=1e-6)
    assert report["goodput_requests_per_second"] == pytest.approx(13 / report["duration_seconds"], rel=1e-3)


def test_without_limits_there_is_no_goodput() -> None:
    assert report_of([good(number) for number in range(12)])["attainment"] is None


def test_the_steady_window_leaves_ramp_and_drain_out() -> None:
    overlapping = [
        good(20 + user * 10 + turn, ttft=0.5, tpot=0.05, started=user * 0.5 + turn * 1.0, user=user)
        for user in range(4)
        for turn in range(10)
    ]
    report = report_of(overlapping, plan={"mode": "closed", "stages": [{"users": 4, "requests": 40}], "seed": 1})
    steady = report["steady_state"]
    assert steady is not None and steady["from_seconds"] == pytest.approx(1.5)
    assert steady["to_seconds"] < report["duration_seconds"] - 0.9
    assert steady["output_tokens_per_second"] > report["output_tokens_per_second"]


def test_every_stage_has_its_own_figures_and_one_that_was_not_reached_has_none() -> None:
    records = [good(number, stage=0) for number in range(15)] + [good(15 + number, stage=1) for number in range(12)]
    stages = [{"users": 1, "requests": 15}, {"users": 2, "requests": 12}, {"users": 4, "requests": 9}]
    report = report_of(records, plan={"mode": "closed", "stages": stages, "seed": 1})
    assert [entry["requests"]["issued"] for entry in report["stages"]] == [15, 12, 0]
    assert [entry["users"] for entry in report["stages"]] == [1, 2, 4]


def test_the_timeline_accounts_for_every_request_once() -> None:
    line = report_of([good(number) for number in range(40)] + [bad(40, "timeout")])["timeline"]
    assert sum(line["started"]) == 41 and sum(line["succeeded"]) == 40 and sum(line["failed"]) == 1
    assert len(line["started"]) <= 240


@pytest.mark.parametrize(
    ("records", "more", "word"),
    [
        ([good(1)] * 5, {}, "too_few_samples"),
        ([], {}, "too_few_samples"),
        ([good(1)] * 20, {"cpu_seconds": 9.0}, "client_limited"),
        ([good(1)] * 20, {"interrupted": True}, "interrupted"),
        ([bad(number, "http_404") for number in range(4)], {"gave_up": True}, "all_failed"),
        (
            [good(number, scheduled=number * 0.1, started=number * 0.2) for number in range(20)],
            {"lateness_seconds": tuple(number * 0.1 for number in range(20))},
            "client_limited",
        ),
        (
            [good(number, scheduled=0.0) for number in range(20)] + [bad(20, "client_limit", scheduled=9.0)],
            {},
            "client",
        ),
        ([good(number) for number in range(20)] + [bad(20, "client_limit")], {}, "client_limited"),
        ([good(number) for number in range(20)], {"lateness_seconds": (0.0, 0.02, 0.02)}, "client_limited"),
        ([good(number, tpot=0.0, ttft=2.0) for number in range(20)], {}, "one_piece"),
    ],
)
def test_what_must_not_be_judged_is_marked_invalid(
    records: list[RequestRecord], more: dict[str, object], word: str
) -> None:
    report = report_of(records, run=more)
    assert not report["valid"] and any(reason.startswith(word) for reason in report["invalid_reasons"])


def test_a_slow_or_failing_server_makes_no_run_invalid() -> None:
    slow = [good(number, ttft=9.0) for number in range(20)] + [bad(20, "http_500")]
    assert report_of(slow)["valid"]


def counts(**more: Any) -> dict[str, Any]:
    """Return the report's part about a server that did exactly what we asked for."""
    own = {
        "requests": 20, "requests_ours": 20, "requests_foreign": 0, "generated_tokens": 220,
        "generated_tokens_ours": 220, "generated_tokens_foreign": 0, "generated_tokens_missing": 0,
        "prefix_cache_hit_share": 0.0,
    }  # fmt: skip
    return {"restarted": False, "in_flight_before": 0, "counts": {**own, **more}}


@pytest.mark.parametrize(
    ("server", "word"),
    [
        (counts(), None),
        (counts(generated_tokens_foreign=50), "foreign_traffic"),
        (counts(requests_foreign=3), "foreign_traffic"),
        ({**counts(), "in_flight_before": 2}, "foreign_traffic"),
        (counts(generated_tokens_missing=100), "counts_differ"),
        (counts(prefix_cache_hit_share=0.98), "prefix_cache"),
        ({**counts(), "restarted": True}, "server_restarted"),
    ],
)
def test_the_servers_own_counters_decide_whether_others_were_there(server: dict[str, Any], word: str | None) -> None:
    report = report_of([good(number) for number in range(20)], server=server)
    assert report["valid"] is (word is None)
    assert word is None or report["invalid_reasons"][0].startswith(word)


def test_prompts_that_are_alike_on_purpose_may_come_from_the_cache() -> None:
    report = report_of([good(1)] * 20, server=counts(prefix_cache_hit_share=0.98), shares_prefix=True)
    assert report["valid"]


def test_tokens_come_from_usage_and_from_events_only_without_it() -> None:
    assert report_of([good(1)])["token_source"] == "usage"
    mixed = report_of([good(1), good(2, output_tokens=None)])
    assert mixed["token_source"] == "events" and mixed["output_tokens_total"] == 22
    several = report_of([good(1, token_events=4)] * 12)
    assert several["tokens_per_event"] == 2.75
    assert (
        next(item for item in several["validity"]["checks"] if item["check"] == "tokens_per_event")["status"] == "warn"
    )


def test_the_rows_that_pairs_are_made_of_hold_every_request_in_its_order() -> None:
    rows = request_rows([bad(1, "timeout"), good(0)])
    assert rows == [[0, None, 0.1, 0.01, 0.2, 11], [1, "timeout", None, None, None, None]]


def test_a_long_run_keeps_evenly_taken_samples() -> None:
    report = report_of([good(number) for number in range(5_001)])
    assert report["samples_every"] == 2 and len(report["samples"]["ttft_seconds"]) == 2501


def test_the_most_frequent_error_gives_the_hint() -> None:
    assert error_sentence({"timeout": 1, "connection": 3}).startswith("3 x connection, 1 x timeout; nothing answers")
    assert "log" in error_sentence({"http_500": 2})
    assert error_sentence({}) == "no errors"
