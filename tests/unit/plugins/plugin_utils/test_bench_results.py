# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results against tiers, scenarios, baselines and each other: every word stands on what was measured."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench import _options as options
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import closed_plan
from ansible_collections.local_llm.ops.plugins.module_utils._bench._sweep import sweep_plan
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_compare import compare, ratio_interval, table
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_document import baseline_key, document_of, entry_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_document import table as document_table
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_html import render_benchmark_html
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_options import (
    RefusedError,
    check_prompts,
    resolve,
    worth_watching,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_scenarios import (
    ScenarioError,
    scenario_load,
    scenario_result,
    scenarios,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_words import load_words
from ansible_collections.local_llm.ops.plugins.plugin_utils._progress_watch import Shown
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_compare import compare as compare_phases
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError, get_tier
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_verdict import error_budget, pool_tier, slo_verdict
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import bad, good, report_of


def given(**more: Any) -> dict[str, Any]:
    """Return options as an action gets them, defaults filled in."""
    filled = {name: spec.get("default") for name, spec in options.ARGUMENTS.items()}
    for name, value in more.items():
        inner = options.ARGUMENTS[name].get("options")
        filled[name] = {**{key: spec.get("default") for key, spec in inner.items()}, **value} if inner else value
    return {"model": "chat", **filled, "url": more.get("url", "http://h:1")}


def results(ttft: float = 0.1, count: int = 150, **more: Any) -> dict[str, Any]:
    """Return the report of some requests that differ a little among themselves."""
    records = [good(number, ttft=ttft * (1 + 0.001 * (number % 20))) for number in range(count)]
    return report_of(records + more.pop("failures", []), **more)


def test_every_scenario_of_the_data_is_complete_and_becomes_a_load_that_can_be_run() -> None:
    assert set(scenarios()) == {"baseline", "peak", "sustained", "spike", "soak"}
    for name, scenario in scenarios().items():
        assert scenario["description"] and scenario["success"]
        options.check_options(given(load=scenario_load(name, 1.0), scenario=name))


def test_a_soak_is_rehearsed_in_a_minute() -> None:
    (stage,) = scenario_load("soak", 0.002)["stages"]
    assert stage == {"users": 30, "seconds": pytest.approx(57.6)}


def test_a_scenario_that_is_not_known_or_too_short_is_refused_with_the_fix() -> None:
    with pytest.raises(ScenarioError, match="did you mean peak"):
        scenario_load("peek", 1.0)
    with pytest.raises(ScenarioError, match=r"time_scale: 0.0001 .*use 0.0033 or more"):
        scenario_load("spike", 0.0001)


def test_the_controller_turns_a_tier_into_limits_and_a_scenario_into_a_load() -> None:
    found = resolve(given(scenario="peak", time_scale=0.01, slo_tier="enhanced"))
    assert found["load"]["stages"] == [{"users": 50, "seconds": 6.0}]
    assert found["slo"]["ttft_seconds"] == 1.0 and found["slo"]["e2el_seconds"] == 10.0
    own = resolve(given(slo_tier="enhanced", slo={"ttft_seconds": 0.2}))
    assert own["slo"]["ttft_seconds"] == 0.2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"slo_tier": "gold"}, "slo_tier: 'gold' is not known"),
        ({"scenario": "x"}, "scenario: 'x' is not known"),
        ({"sweep": {"rates": [-1.0]}}, "sweep.rates[0]: -1.0 is outside"),
        ({"url": "chat.example"}, "does not start with http://"),
        ({"search": {}}, "search: it needs limits"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_sent(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError) as caught:
        resolve(given(**asked))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "p.jsonl: it holds no prompt"),
        ("\n  \n", "p.jsonl: it holds no prompt"),
        ('"good"\n{"prompt": 3}\n', "p.jsonl: line 2"),
        ('"good"\nsecret words\n', "p.jsonl: line 2 is no JSON"),
        ('{"prompt": "  "}', "p.jsonl: line 1: the prompt is empty"),
    ],
)
def test_a_bad_file_of_prompts_is_refused_with_its_name_and_line_and_none_of_its_words(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(RefusedError) as caught:
        check_prompts(path, "p.jsonl")
    assert said in str(caught.value) and "secret" not in str(caught.value)


def test_a_file_of_prompts_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        check_prompts(tmp_path / "none", "none")
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    with pytest.raises(RefusedError, match="no UTF-8"):
        check_prompts(tmp_path / "b", "b")


def test_only_long_runs_are_watched() -> None:
    assert not worth_watching(resolve(given()))
    assert worth_watching(resolve(given(scenario="peak")))
    assert not worth_watching(resolve(given(scenario="peak", time_scale=0.01)))
    assert worth_watching(resolve(given(search={}, slo={"ttft_seconds": 1.0})))


def test_lines_are_shown_now_and_then_and_only_while_something_moves() -> None:
    shown = Shown(10.0)

    def state(seconds: float, count: int) -> str:
        return json.dumps({"seconds": seconds, "count": count, "line": f"line {count}"})

    assert shown.line(state(5, 1)) is None
    assert shown.line(state(11, 2)) == "line 2"
    assert shown.line(state(30, 2)) is None
    assert shown.line(state(31, 3)) == "line 3"
    assert shown.line("{") is None and shown.line("[]") is None


def test_each_objective_is_met_missed_or_not_measured_with_its_margin() -> None:
    verdict = slo_verdict(results(count=100), "standard", get_tier("standard"))
    told = {item["objective"]: item for item in verdict["objectives"]}
    assert told["ttft_p50_max_seconds"]["status"] == "met" and told["ttft_p50_max_seconds"]["margin_percent"] > 75
    assert (
        told["ttft_p95_max_seconds"]["status"] == "not_measured" and "too few" in told["ttft_p95_max_seconds"]["reason"]
    )
    assert told["queue_depth_max"]["status"] == "not_measured"
    assert verdict["status"] == "not_measured", "a p95 that is not known is not kept"
    assert "too few answers for time to first token p95, whole answer p95" in verdict["summary"]


def test_what_only_the_server_could_tell_leaves_the_tier_kept() -> None:
    verdict = slo_verdict(results(), "standard", get_tier("standard"))
    assert verdict["status"] == "met" and verdict["summary"].endswith("Not measured: longest queue.")


@pytest.mark.parametrize(("count", "missed"), [(5, "time to first token p50"), (100, "time to first token p95")])
def test_an_objective_without_a_percentile_is_never_met(count: int, missed: str) -> None:
    verdict = slo_verdict(results(count=count), "standard", get_tier("standard"))
    objective = next(item for item in verdict["objectives"] if item["name"] == missed)
    assert (objective["observed"], objective["status"]) == (None, "not_measured")
    assert verdict["status"] == "not_measured"
    one_too_slow = slo_verdict(results(ttft=2.5, count=100), "standard", get_tier("standard"))
    assert one_too_slow["status"] == "missed", "what is known to be missed stays missed"


def test_an_instance_over_its_tier_is_told_with_the_worst_of_it() -> None:
    verdict = slo_verdict(results(ttft=2.5), "standard", get_tier("standard"))
    assert verdict["status"] == "missed"
    assert verdict["summary"].startswith("Over its tier standard: time to first token p50 is 2.5")
    assert "go back" not in verdict["summary"]


def test_an_invalid_run_proves_no_latency_but_its_failures_count() -> None:
    failures = [bad(150 + number, "http_500") for number in range(50)]
    report = results(failures=failures, run={"cpu_seconds": 9.9})
    assert not report["valid"]
    verdict = slo_verdict(report, "standard", get_tier("standard"))
    told = {item["objective"]: item["status"] for item in verdict["objectives"]}
    assert told["ttft_p50_max_seconds"] == "not_measured" and told["error_rate_max_percent"] == "missed"


def test_what_our_own_client_did_not_send_is_no_failure_of_the_server() -> None:
    report = results(failures=[bad(150 + number, "client_limit") for number in range(50)])
    verdict = slo_verdict(report, "standard", get_tier("standard"))
    told = {item["objective"]: item["observed"] for item in verdict["objectives"]}
    assert told["error_rate_max_percent"] == 0.0 and verdict["error_budget"]["failed"] == 0
    assert not report["valid"] and verdict["status"] == "not_measured"


def test_a_queue_that_others_may_have_filled_is_not_held_against_a_tier() -> None:
    report = {**results(), "server": {"queue_max": 9999}}
    busy = {**report, "valid": False, "invalid_reasons": ["foreign_traffic: others used the server"]}
    statuses = [
        {item["objective"]: item["status"] for item in slo_verdict(one, "standard", get_tier("standard"))["objectives"]}
        for one in (report, busy)
    ]
    assert [found["queue_depth_max"] for found in statuses] == ["missed", "not_measured"]


def test_a_missing_report_is_not_measured() -> None:
    assert slo_verdict(None, "standard", get_tier("standard"))["status"] == "not_measured"


def test_the_error_budget_is_that_of_the_run() -> None:
    report = results(count=999, failures=[bad(999, "timeout")])
    assert error_budget(report, 99.9) == {
        "availability_min_percent": 99.9, "issued": 1000, "failed": 1, "allowed_failures": 1.0, "spent_percent": 100.0,
        "left_percent": 0.0, "requests_for_one_failure": 1000,
    }  # fmt: skip
    assert error_budget(report, None) is None
    strict = error_budget(report, 100)
    assert strict is not None and strict["left_percent"] is None


def test_a_pool_sets_limits_of_its_own_over_the_tier() -> None:
    tier = pool_tier("standard", {}, "chat", {"ttft_p95_max_seconds": 0.7})
    assert tier["ttft_p95_max_seconds"] == 0.7 and tier["latency_p95_max_seconds"] == 15
    with pytest.raises(SloError, match=r"local_llm_pools.chat.slo.ttft_p9_max_seconds"):
        pool_tier("standard", {}, "chat", {"ttft_p9_max_seconds": 0.7})


def test_the_same_result_twice_is_the_same_and_a_slower_one_is_worse() -> None:
    assert compare([results()], [results()])["verdict"] == "same"
    slower = compare([results()], [results(ttft=0.15)])
    assert slower["verdict"] == "worse" and "time to first token p50" in slower["reason"]
    assert compare([results(ttft=0.15)], [results()])["verdict"] == "better"
    assert any("time to first token p50" in line and "worse" in line for line in table(slower))


def test_more_failures_are_worse_even_when_the_rest_is_faster() -> None:
    failing = results(ttft=0.05, failures=[bad(150 + number, "timeout") for number in range(40)])
    found = compare([results()], [failing])
    assert found["verdict"] == "worse" and "failed requests" in found["reason"] and "better:" in found["reason"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"engine_version_tool": "guidellm/0.8"}, "measure differently"),
        ({"workload": {"hash": "f" * 64, "users": 9}}, "different loads"),
        ({"valid": False, "invalid_reasons": ["client_limited: x"]}, "not valid (client_limited: x)"),
        ({"schema": 7}, "no benchmark report"),
    ],
)
def test_what_cannot_be_compared_is_not_and_says_why(change: dict[str, Any], said: str) -> None:
    found = compare([results()], [{**results(), **change}])
    assert found["verdict"] == "not_comparable" and said in found["reason"] and found["rows"] == []
    assert compare([], [results()])["verdict"] == "not_comparable"


def test_repeated_runs_give_an_interval_of_their_own() -> None:
    pair = ratio_interval([1.0, 1.1, 0.9], [2.0, 2.1, 1.9])
    assert pair is not None and pair[0] < 2.0 < pair[1]
    found = compare(
        [results(ttft=0.1 + 0.001 * n) for n in range(3)], [results(ttft=0.2 + 0.001 * n) for n in range(3)]
    )
    assert found["verdict"] == "worse" and found["runs"] == [3, 3]


def spike(back: bool = True, errors: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """Return the report of a spike at a hundredth of its length."""
    calm = [good(number, started=number * 0.05, stage=0) for number in range(60)]
    high = [good(60 + number, ttft=2.0, started=3 + number * 0.05, stage=1) for number in range(60)]
    after = [good(120 + number, ttft=0.1 if back else 2.0, started=6 + number * 0.05, stage=2) for number in range(60)]
    failures = [bad(180 + number, kind, started=4.0, stage=1, **more) for number, kind in enumerate(errors)]
    plan = {"mode": "closed", "stages": [{"users": users, "seconds": 3.0} for users in (10, 100, 10)], "seed": 1}
    return report_of([*calm, *high, *after, *failures], plan=plan, load={"scenario": "spike", "time_scale": 0.01})


def criteria(report: dict[str, Any]) -> dict[str, str]:
    found = scenario_result(report, None)
    assert found is not None
    return {item["criterion"]: item["status"] for item in found["criteria"]}


def test_a_spike_is_passed_when_it_degrades_gracefully_and_recovers() -> None:
    assert criteria(spike()) == {"graceful_degradation": "met", "recovery_max_seconds": "met"}
    assert criteria(spike(back=False))["recovery_max_seconds"] == "missed"
    assert criteria(spike(errors=("http_429",), retry_after_seconds=1.0))["graceful_degradation"] == "met"
    assert criteria(spike(errors=("http_429",)))["graceful_degradation"] == "missed"
    assert criteria(spike(errors=("timeout",)))["graceful_degradation"] == "missed"


def test_a_soak_without_a_look_at_the_memory_has_not_shown_that_nothing_grows() -> None:
    load = {"scenario": "soak", "time_scale": 0.01}
    assert criteria(results(load=load)) == {"error_rate_max_percent": "met", "no_memory_growth": "not_measured"}
    slope = {
        "bytes_per_hour": 500, "interval": [400, 600], "grows": True, "samples": 99, "seconds": 28_800.0,
        "first_bytes": 10_000,
    }  # fmt: skip
    assert criteria(results(load=load, memory=slope))["no_memory_growth"] == "missed"
    for change, word in (
        ({"grows": False}, "met"),
        ({"first_bytes": 10**9}, "met"),
        ({"seconds": 60.0}, "not_measured"),
    ):
        assert criteria(results(load=load, memory={**slope, **change}))["no_memory_growth"] == word


def test_the_peak_is_held_against_the_tier() -> None:
    report = results(load={"scenario": "peak", "time_scale": 1.0})
    found = scenario_result(report, {"ttft_p95_max_seconds": 0.01})
    assert found is not None and found["status"] == "failed"
    assert scenario_result(results(), None) is None


def test_a_baseline_belongs_to_hardware_release_and_load() -> None:
    report = results()
    key = baseline_key({"gpus": ["x"]}, "r1", report)
    assert key == baseline_key({"gpus": ["x"]}, "r1", copy.deepcopy(report))
    assert key != baseline_key({"gpus": ["y"]}, "r1", report) and key != baseline_key({"gpus": ["x"]}, "r2", report)


def entries() -> list[dict[str, Any]]:
    tier = get_tier("standard")
    fine = {"availability_min_percent": None, **dict.fromkeys(tier), "ttft_p95_max_seconds": 1.0}
    return [
        entry_of("gpu1/chat", {"report": results()}, "lab", fine, {"report": results()}),
        entry_of("gpu2/chat", {"report": results(ttft=2.5)}, "standard", tier),
        entry_of("gpu3/chat", {"report": None, "msg": "unreachable"}, "standard", tier),
    ]


def test_the_document_tells_all_instances_and_is_as_good_as_the_worst() -> None:
    document = document_of(entries(), "2026-11-21T12:00:00Z", {"ansible-core": "2.19"})
    assert document["status"] == "missed"
    assert document["summary"] == "Over its tier: gpu2/chat. Not measured: gpu3/chat. Within its tier: 1 of 3."
    assert document["entries"][0]["summary"].endswith(": same.")
    text = "\n".join(document_table(document))
    assert "gpu3/chat: Not measured: unreachable" in text


def test_the_block_of_an_instance_says_what_was_measured_and_how_its_scenario_came_out() -> None:
    peak = results(load={"scenario": "peak", "time_scale": 0.5})
    entry = entry_of("gpu1/chat", {"report": peak, "release": "0123456789ab"}, "standard", get_tier("standard"))
    text = "\n".join(document_table(document_of([entry], "2026-11-21T12:00:00Z", {})))
    assert "release 0123456789ab; scenario peak (every length x 0.5); closed loop of 1 user, 150 requests" in text
    assert "7 tokens in, 11 out; scenario peak passed: slo p95 met, error rate max percent met" in text
    slow = results(ttft=2.5, load={"scenario": "peak", "time_scale": 1.0})
    entry = entry_of("gpu1/chat", {"report": slow}, "standard", get_tier("standard"))
    assert "scenario peak failed: slo p95 missed" in "\n".join(document_table(document_of([entry], "x", {})))


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (closed_plan(4, 150, None, 1), "closed loop of 4 users, 150 requests"),
        (
            {"mode": "closed", "stages": [{"users": n, "seconds": 9.0} for n in (10, 100, 10)]},
            "10, 100, 10 users, 27 s",
        ),
        ({"mode": "open", "stages": [{"rate_per_second": 0.5, "seconds": 60}]}, "open loop of 0.5 requests/s, 60 s"),
        (sweep_plan(range(1, 9), seconds=5.0), "closed loop of 1 to 8 users in 8 steps, 40 s in all"),
        (None, "an unknown load"),
    ],
)
def test_a_load_is_told_in_words(load: Any, words: str) -> None:
    assert words in load_words(load, None, None)


def test_answers_in_one_piece_have_no_time_per_token() -> None:
    whole = report_of([good(number, ttft=0.1, tpot=0.0) for number in range(150)])
    assert whole["tpot_seconds"]["p50"] == 0.0, "the report keeps what was measured"
    entry = entry_of("gpu1/chat", {"report": whole}, "standard", get_tier("standard"))
    document = document_of([entry], "2026-11-21T12:00:00Z", {})
    text = "\n".join(document_table(document))
    assert "per token p50 -;" in text and " 0 ms" not in text
    page = render_benchmark_html(document)
    row = page.partition("Time per output token</th>")[2].partition("</tr>")[0]
    assert "\N{EN DASH}" in row and "0 ms" not in row and "e0-tpot" not in page
    assert not any("per output token" in item["measure"] for item in compare([whole], [whole])["rows"])
    rows = {row["measure"]: row["new"] for row in compare_phases({"baseline": whole, "new": whole})}
    assert rows["tpot_p50_seconds"] is None and rows["ttft_p50_seconds"] == 0.1


def test_the_page_escapes_what_it_shows_and_asks_for_nothing() -> None:
    evil = entries()
    evil[0]["name"] = "<script>alert(1)</script>"
    document = document_of(evil, "2026-11-21T12:00:00Z", {"ansible-core": "2.19"})
    page = render_benchmark_html(document)
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "default-src" in page and "http://" not in page.replace("http://www.w3.org", "")
