# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus saw of live traffic: faults fail, missing data is never a pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._live_errors import Counts
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_queries import Watched, queries, watched
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_watch import (
    error_verdict,
    gaps,
    growth,
    joined,
    judge_live,
    presence_verdict,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import Series
from ansible_collections.local_llm.ops.plugins.plugin_utils._rollout_alerts import QUERIES
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.slo_fleets import an_instance, promtool

RELEASE = "a1b2c3d4e5f6"
STARTED, ENDED = 1000.0, 1060.0
TIMES = (985.0, 1001.0, 1016.0, 1031.0, 1046.0, 1061.0)
Answers = dict[str, list[Series]]


def counter(grows: float, labels: dict[str, str] | None = None, times: tuple[float, ...] = TIMES) -> Series:
    """Return a counter that grows by so much from scrape to scrape."""
    return Series(labels or {}, tuple((at, 100 + grows * place) for place, at in enumerate(times)))


def gateway(code: str, grows: float, host: str = "gw1", times: tuple[float, ...] = TIMES) -> Series:
    return counter(grows, {"host": host, "code": code, "proxy": "canary_chat"}, times)


def what(engine: str = "vllm", gateways: tuple[str, ...] = ("gw1",), **values: Any) -> Watched:
    return watched("gpu1", an_instance(engine, **values), RELEASE, gateways, {}, {})


def good(engine: str = "vllm", release: str = "old") -> Answers:
    """Return the answers of a quiet and healthy watch: 50 requests."""
    found = {"answers": [gateway("2xx", 10), gateway("5xx", 0), gateway("4xx", 1)], "broken_off": [gateway("", 0)]}
    if engine == "ollama":
        return found
    found["up"] = [Series({"release": release}, tuple((at, 1.0) for at in TIMES))]
    found["waiting"] = [Series({}, tuple((at, 0.0) for at in TIMES))]
    if engine == "vllm":
        found["ended"] = [counter(12, {"finished_reason": "stop"}), counter(0, {"finished_reason": "error"})]
        found["failed"] = [counter(0, {"finished_reason": "error"})]
        found["first_tokens"], found["in_time"] = [counter(12)], [counter(12)]
    return found


def judged(answers: Answers, engine: str = "vllm", seen: int = 45, watch: Watched | None = None) -> dict[str, Any]:
    return judge_live(watch or what(engine), answers, STARTED, ENDED, seen)


def wrong(result: dict[str, Any]) -> list[str]:
    return [reason["measure"] for reason in result["verdict"]["reasons"] if reason["status"] != "pass"]


@pytest.mark.parametrize("engine", ["vllm", "llamacpp", "ollama"])
def test_healthy_traffic_passes_and_every_query_has_its_answer(engine: str) -> None:
    assert set(queries(what(engine), 60)) == set(good(engine))
    result = judged(good(engine), engine)
    assert result["verdict"]["verdict"] == "pass", result
    assert result["figures"]["requests"] == 50 and result["figures"]["failed"] == 0


def test_queries_name_server_and_both_backends_and_the_bucket_of_the_limit() -> None:
    asked = queries(what("vllm"), 90)
    assert asked["answers"] == (
        'haproxy_server_http_responses_total{job="local_llm_gateway",proxy=~"(pool|canary)_chat"'
        ',server=~"(fallback[.])?gpu1-chat"}[90s]'
    )
    assert asked["in_time"].endswith('_bucket{job="local_llm_engine",server="gpu1-chat",le="1.0"}[90s]')
    assert 'finished_reason="error"' in asked["failed"]


def test_a_limit_between_two_buckets_counts_at_the_next_one() -> None:
    assert what("vllm", slo_tier="standard").ttft_bound == 2.5
    assert what("llamacpp").ttft_bound is None


@pytest.mark.parametrize("engine", ["vllm", "llamacpp", "ollama"])
def test_no_query_may_be_without_an_answer(engine: str) -> None:
    for name in queries(what(engine), 60):
        lefts: list[Answers] = [{}, {name: []}]
        for left in lefts:
            answers: Answers = {key: listed for key, listed in good(engine).items() if key != name}
            answers.update(left)
            result = judged(answers, engine)
            assert result["verdict"]["verdict"] == "inconclusive", name
            assert "no series" in result["verdict"]["summary"]


OLLAMA = {"engine": "ollama", "engine_version": "0.32.15"}


def after(previous: dict[str, Any]) -> Watched:
    return watched("gpu1", an_instance("vllm"), RELEASE, ("gw1",), {}, {}, previous)


def test_after_an_engine_without_metrics_the_gateways_decide_and_the_journal_says_so() -> None:
    at_gateways = {name: listed for name, listed in good().items() if name in ("answers", "broken_off")}
    assert presence_verdict(after(OLLAMA), at_gateways)["verdict"] == "pass"
    result = judged(at_gateways, watch=after(OLLAMA))
    assert result["verdict"]["verdict"] == "pass", result
    assert any("no target of it before the rollout has ended, since ollama" in note for note in result["notes"])
    bad = judged({**at_gateways, "answers": [gateway("2xx", 10), gateway("5xx", 1)]}, watch=after(OLLAMA))
    assert bad["verdict"]["verdict"] == "fail"
    for name in at_gateways:
        assert judged({**at_gateways, name: []}, watch=after(OLLAMA))["verdict"]["verdict"] == "inconclusive", name


@pytest.mark.parametrize(
    "previous", [{}, {"engine": "llamacpp", "engine_version": "0.7.0"}, {"engine": "vllm", "engine_version": "0.99.0"}]
)
def test_only_an_engine_without_metrics_excuses_a_missing_target(previous: dict[str, Any]) -> None:
    at_gateways = {name: listed for name, listed in good().items() if name in ("answers", "broken_off")}
    assert presence_verdict(after(previous), at_gateways)["verdict"] == "inconclusive"
    assert judged(at_gateways, watch=after(previous))["verdict"]["verdict"] == "inconclusive"


def test_a_target_that_is_there_all_the_same_must_tell_everything() -> None:
    assert judged(good(), watch=after(OLLAMA))["verdict"]["verdict"] == "pass"
    partly = {**good(), "waiting": []}
    assert judged(partly, watch=after(OLLAMA))["verdict"]["verdict"] == "inconclusive"


@pytest.mark.parametrize("engine", ["vllm", "llamacpp", "ollama"])
def test_old_samples_are_no_data(engine: str) -> None:
    for name in queries(what(engine), 60):
        answers = good(engine)
        answers[name] = [Series(one.labels, one.samples[:-1]) for one in answers[name]]
        result = judged(answers, engine)
        assert result["verdict"]["verdict"] == "inconclusive", name
        assert "14 s older" in result["verdict"]["summary"]


def test_a_counter_with_a_single_sample_since_the_begin_is_no_data() -> None:
    answers = good()
    answers["first_tokens"] = [counter(3, times=(985.0, 1061.0))]
    result = judged(answers)
    assert result["verdict"]["verdict"] == "inconclusive" and "too few samples" in result["verdict"]["summary"]


def test_every_gateway_must_be_seen() -> None:
    watch = what(gateways=("gw1", "gw2"))
    result = judged(good(), watch=watch)
    assert result["verdict"]["verdict"] == "inconclusive" and "at gw2" in result["verdict"]["summary"]
    both = good()
    for name in ("answers", "broken_off"):
        both[name] = [*both[name], *[Series({**one.labels, "host": "gw2"}, one.samples) for one in both[name]]]
    result = judged(both, watch=watch)
    assert result["verdict"]["verdict"] == "pass" and result["figures"]["requests"] == 100


def test_prometheus_must_have_seen_what_the_gateways_counted() -> None:
    answers = good()
    answers["answers"] = [gateway("2xx", 0)]
    result = judged(answers, seen=45)
    assert result["verdict"]["verdict"] == "inconclusive"
    assert "live requests in Prometheus" in wrong(result)


def test_a_pool_without_traffic_passes_when_all_series_are_there() -> None:
    answers = good()
    answers["answers"] = [gateway("2xx", 0), gateway("5xx", 0)]
    for name in ("ended", "first_tokens", "in_time"):
        answers[name] = [counter(0)]
    result = judged(answers, seen=0)
    assert result["verdict"]["verdict"] == "pass"
    assert any("no request came" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("name", "series", "measure"),
    [
        ("answers", [gateway("2xx", 10), gateway("5xx", 1)], "failed share of live requests at the gateway"),
        ("broken_off", [gateway("", 1)], "failed share of live requests at the gateway"),
        ("failed", [counter(2)], "failed share inside the engine"),
        ("in_time", [counter(10)], "late share of first tokens"),
        ("waiting", [Series({}, tuple((at, 11.0) for at in TIMES))], "requests that wait in the engine"),
    ],
)
def test_a_fault_that_only_prometheus_saw_fails(name: str, series: list[Series], measure: str) -> None:
    result = judged({**good(), name: series})
    assert result["verdict"]["verdict"] == "fail" and measure in wrong(result)
    assert measure in result["verdict"]["summary"]


def test_a_proven_fault_counts_more_than_missing_data() -> None:
    answers = {**good(), "failed": [counter(2)], "waiting": []}
    assert judged(answers)["verdict"]["verdict"] == "fail"


def test_few_late_requests_are_chance_and_many_are_not() -> None:
    assert judged({**good(), "in_time": [counter(11.5)]})["verdict"]["verdict"] == "pass"
    many = {**good(), "first_tokens": [counter(400)], "in_time": [counter(200)]}
    assert judged(many)["verdict"]["verdict"] == "fail", "a busy pool is judged too"


def test_errors_within_the_tier_are_allowed() -> None:
    answers = {**good(), "answers": [gateway("2xx", 1000), gateway("5xx", 5)]}
    result = judged(answers)
    assert result["verdict"]["verdict"] == "pass" and result["figures"]["failed"] == 25


def test_one_error_is_told_and_no_fault() -> None:
    once = Series({"host": "gw1", "code": "5xx"}, tuple((at, float(at > 1040)) for at in TIMES))
    result = judged({**good(), "answers": [gateway("2xx", 10), once]})
    assert result["verdict"]["verdict"] == "pass" and result["figures"]["failed"] == 1
    assert any("1 of 51 failed" in note and "too few to tell" in note for note in result["notes"])


def test_errors_that_the_others_have_too_are_not_blamed_on_the_release() -> None:
    answers = {**good(), "answers": [gateway("2xx", 10), gateway("5xx", 1)]}
    assert judge_live(what(), answers, STARTED, ENDED, 45, Counts(400, 40))["verdict"]["verdict"] == "pass"
    assert judge_live(what(), answers, STARTED, ENDED, 45, Counts(400, 1))["verdict"]["verdict"] == "fail"


def test_errors_that_the_others_might_explain_or_not_are_no_pass() -> None:
    answers = {**good(), "answers": [gateway("2xx", 10), gateway("5xx", 1)]}
    result = judge_live(what(), answers, STARTED, ENDED, 45, Counts(400, 28))
    assert result["verdict"]["verdict"] == "inconclusive", result
    assert any("too few to tell it from the others" in note for note in result["notes"])


def test_an_engine_whose_newest_scrape_failed_is_no_data() -> None:
    up = Series({}, (*((at, 1.0) for at in TIMES[:-1]), (TIMES[-1], 0.0)))
    result = judged({**good(), "up": [up]})
    assert result["verdict"]["verdict"] == "inconclusive" and "scrape of the engine" in wrong(result)


def test_what_an_engine_does_not_measure_is_told() -> None:
    assert any("llamacpp has no histogram" in note for note in judged(good("llamacpp"), "llamacpp")["notes"])
    assert any("not measured by metrics" in note for note in judged(good("ollama"), "ollama")["notes"])


@pytest.mark.parametrize(("label", "told"), [("old", "stale"), (RELEASE, "current")])
def test_the_label_of_the_release_is_told_and_decides_nothing(label: str, told: str) -> None:
    result = judged(good(release=label))
    assert result["figures"]["release_label"] == told and result["verdict"]["verdict"] == "pass"


def test_series_are_joined_when_the_targets_get_the_new_release_meanwhile() -> None:
    old = Series({"release": "old", "code": "5xx"}, ((1001.0, 5.0), (1016.0, 5.0)))
    new = Series({"release": RELEASE, "code": "5xx"}, ((1031.0, 6.0), (1061.0, 6.0)))
    (one,) = joined([new, old])
    assert one.labels["release"] == RELEASE and len(one.samples) == 4
    assert growth(one.samples, STARTED, False) == 1


@pytest.mark.parametrize(
    ("values", "from_before", "grown"),
    [
        ([(990, 4), (1010, 7), (1020, 9)], True, 5),
        ([(990, 4), (1010, 7), (1020, 9)], False, 2),
        ([(1010, 7), (1020, 2), (1030, 3)], False, 3),
        ([(990, 4), (1020, 9)], True, 5),
        ([(990, 4), (1020, 9)], False, None),
        ([(990, 4)], True, None),
        ([], True, None),
    ],
)
def test_growth_knows_restarts_and_its_limits(values: Any, from_before: bool, grown: float | None) -> None:
    assert growth(values, STARTED, from_before) == grown


def test_engine_counters_do_not_count_the_benchmark_before_the_watch() -> None:
    burst = Series({}, ((985.0, 0.0), (1001.0, 500.0), (1016.0, 500.0), (1061.0, 510.0)))
    result = judged({**good(), "ended": [burst]})
    assert result["figures"]["engine_requests"] == 10


def test_gaps_are_empty_as_soon_as_samples_are_newer_than_the_watch() -> None:
    assert gaps(what(), good(), STARTED, ENDED) == []
    assert gaps(what(), good(), STARTED, 1062.0)


def test_before_the_watch_prometheus_must_know_every_series() -> None:
    assert presence_verdict(what(), good())["verdict"] == "pass"
    lone = {name: [Series(one.labels, one.samples[:1]) for one in listed] for name, listed in good().items()}
    assert presence_verdict(what(), lone)["verdict"] == "pass", "one scrape is enough to know a series"
    without = presence_verdict(what(), {**good(), "up": []})
    assert without["verdict"] == "inconclusive" and "up{" in without["summary"]
    assert presence_verdict(what(gateways=("gw1", "gw9")), good())["verdict"] == "inconclusive"


def test_no_answer_is_an_error_and_no_pass() -> None:
    verdict = error_verdict("Prometheus at http://mon1:9090 does not answer: refused")
    assert verdict["verdict"] == "error" and "refused" in verdict["summary"]


@pytest.mark.parametrize("engine", ["vllm", "llamacpp", "ollama"])
def test_prometheus_can_read_every_query(engine: str, tmp_path: Path) -> None:
    asked = [*queries(what(engine), 60).values()]
    rules = [{"record": f"try:{place}", "expr": f"count_over_time({one})"} for place, one in enumerate(asked)]
    rules += [{"record": f"try:{name}", "expr": one} for name, one in QUERIES.items()]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "try", "rules": rules}]}), encoding="utf-8")
    done = promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
