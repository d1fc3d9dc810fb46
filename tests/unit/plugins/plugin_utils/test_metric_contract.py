# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metric contract: exactly what the rules read must be on the page of the new release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._metric_contract import (
    contract_findings,
    contract_verdict,
    no_page_verdict,
    not_measured,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._metric_contract import (
    other_names,
    required_series,
    selectors,
    unknown_version,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_buckets import le_text
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import RulesError
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import engine_metrics
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.slo_fleets import an_instance

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def page(engine: str) -> str:
    """Return a metrics page as a running engine gave it; the fixture of vLLM lacks the lines of the buckets."""
    if engine == "llamacpp":
        return (FIXTURES / "llamacpp_b11669/metrics.txt").read_text(encoding="utf-8")
    text = (FIXTURES / "vllm_0.32.0/metrics.txt").read_text(encoding="utf-8")
    metrics = engine_metrics("vllm", "0.32.0")
    assert metrics is not None
    lines = [
        f'{name}_bucket{{engine="0",le="{le_text(bound)}",model_name="tiny"}} 3.0'
        for name, bounds in metrics.buckets.items()
        for bound in bounds
    ]
    return text + "\n".join(lines) + "\n"


def missing(required: list[dict[str, Any]], text: str) -> dict[str, str]:
    """Return {series: what was seen} of everything that the page lacks."""
    found = contract_findings(required, text)
    return {item["subject"]: item["observed"] for item in found if item["status"] == "fail"}


@pytest.mark.parametrize("engine", ["vllm", "llamacpp"])
def test_a_page_of_the_running_engine_has_all_that_the_rules_read(engine: str) -> None:
    required = required_series(an_instance(engine))
    assert missing(required, page(engine)) == {}
    verdict = contract_verdict(contract_findings(required, page(engine)))
    assert verdict["verdict"] == "pass" and len(verdict["reasons"]) == len(required) > 3


def test_the_rules_of_vllm_ask_for_names_a_label_and_a_bucket() -> None:
    required = {(item["metric"], tuple(item["labels"].items())): item for item in required_series(an_instance())}
    assert ("vllm:request_success_total", (("finished_reason", "error"),)) in required
    assert ("vllm:num_requests_waiting_by_reason", (("reason", "capacity"),)) in required
    assert required["vllm:time_to_first_token_seconds_bucket", ()]["buckets"] == ["1.0"]
    assert required["vllm:kv_cache_usage_perc", ()]["rules"] == ["local_llm:kv_cache_used"]


def test_the_contract_is_that_of_the_version() -> None:
    names = {item["metric"] for item in required_series(an_instance(), "0.15.0")}
    assert "vllm:num_requests_waiting" in names and "vllm:num_requests_waiting_by_reason" not in names


def test_the_suffix_of_a_lab_version_changes_nothing() -> None:
    assert required_series(an_instance("llamacpp"), "0.7.0-renamed") == required_series(an_instance("llamacpp"))


def test_an_engine_without_metrics_has_no_contract_and_passes() -> None:
    assert required_series(an_instance("ollama")) == []
    verdict = contract_verdict([not_measured("ollama")])
    assert verdict["verdict"] == "pass" and "not measured by metrics: ollama" in verdict["summary"]


RENAMES = [
    ("vllm", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "it is called vllm:gpu_cache_usage_perc there"),
    ("vllm", "vllm:inter_token_latency_seconds_sum", "vllm:time_per_output_token_seconds_sum", "it is called"),
    ("vllm", "vllm:num_preemptions_total", "vllm:preemptions_of_requests_total", "perhaps it is called"),
    ("llamacpp", "llamacpp:requests_deferred", "llamacpp:requests_waiting", "called llamacpp:requests_waiting now"),
    ("llamacpp", "llamacpp:requests_deferred", "other:zzz", "missing"),
]


@pytest.mark.parametrize(("engine", "name", "now", "told"), RENAMES)
def test_a_renamed_metric_fails_and_is_named(engine: str, name: str, now: str, told: str) -> None:
    text = page(engine).replace(name, now)
    found = missing(required_series(an_instance(engine)), text)
    assert set(found) == {name} and told in found[name]
    verdict = contract_verdict(contract_findings(required_series(an_instance(engine)), text))
    assert verdict["verdict"] == "fail" and name in verdict["summary"] and told in verdict["summary"]


def test_what_is_missing_in_a_version_that_nobody_knows_proves_nothing_and_is_no_pass() -> None:
    instance = an_instance("vllm", engine_version="0.99.0")
    unknown = unknown_version(instance)
    assert unknown == "vllm 0.99.0"
    required = required_series(instance)
    text = page("vllm").replace("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
    found = contract_findings(required, text, unknown)
    assert {item["status"] for item in found} == {"ok", "warn"}
    verdict = contract_verdict(found, unknown)
    assert verdict["verdict"] == "inconclusive"
    assert {reason["status"] for reason in verdict["reasons"]} == {"pass", "inconclusive"}
    for words in ("slo_metrics.yml does not know vllm 0.99.0", "vllm:gpu_cache_usage_perc", "A person decides"):
        assert words in verdict["summary"]
    assert contract_verdict(contract_findings(required, page("vllm"), unknown), unknown)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("engine", "version"), [("vllm", "0.32.0"), ("vllm", "0.15.0"), ("llamacpp", "0.7.0-renamed"), ("none", "1")]
)
def test_a_version_that_is_known_is_no_excuse(engine: str, version: str) -> None:
    assert unknown_version({"engine": engine, "engine_version": version}) == ""


def test_a_name_that_rules_read_already_is_not_offered_as_the_new_one() -> None:
    text = page("llamacpp").replace("llamacpp:requests_deferred", "x:y")
    (told,) = missing(required_series(an_instance("llamacpp")), text).values()
    assert told == "missing"


def test_a_label_value_a_label_and_a_bucket_that_are_gone_fail() -> None:
    text = page("vllm").replace('finished_reason="error"', 'finished_reason="failed"').replace('le="1.0"', 'le="1"')
    text = text.replace('reason="capacity"', 'why="capacity"').replace('reason="deferred"', 'why="deferred"')
    found = missing(required_series(an_instance()), text)
    assert found['vllm:request_success_total{finished_reason="error"}'].startswith("no series with")
    assert found['vllm:num_requests_waiting_by_reason{reason="capacity"}'] == "its label reason is missing"
    assert found["vllm:time_to_first_token_seconds_bucket"] == 'no bucket le="1.0"; the nearest are 0.75, 1'


def test_rules_of_the_site_are_part_of_the_contract() -> None:
    expr = (
        'rate(vllm:engine_sleep_state{model_name!="x",sleep_state=~"a|b",exported_engine="0",job="local_llm_engine"}[5m])'
        ' > 1 and vllm:e2e_request_latency_seconds_bucket{le="10.0"} and llamacpp:other and up{le="3"}'
    )
    extra = [{"name": "site", "rules": [{"alert": "Sleeps", "expr": expr}]}]
    by_name = {item["metric"]: item for item in required_series(an_instance(), extra_groups=extra)}
    found = by_name["vllm:engine_sleep_state"]
    assert found["rules"] == ["Sleeps"] and found["labels"] == {"engine": "0"}
    assert found["label_names"] == ["model_name", "sleep_state"]
    assert by_name["vllm:e2e_request_latency_seconds_bucket"]["buckets"] == ["10.0"]
    assert "llamacpp:other" not in by_name


def test_an_objective_that_the_filter_refuses_does_not_stop_a_rollout() -> None:
    tiers = {"own": {"ttft_p95_max_seconds": 0.6, "error_rate_max_percent": 1}}
    names = {item["metric"] for item in required_series(an_instance(slo_tier="own"), tiers=tiers)}
    assert "vllm:request_success_total" in names


def test_an_instance_that_nobody_can_read_is_an_error_with_its_reason() -> None:
    with pytest.raises(RulesError, match="tier"):
        required_series(an_instance(slo_tier="nonsense"))


def test_settings_of_other_pools_do_not_matter() -> None:
    required = required_series(an_instance(), rule_settings={"other": {}, "chat": {"fixed_shape": True}})
    assert any(item["metric"] == "vllm:e2e_request_latency_seconds_bucket" for item in required)


def test_selectors_are_read_as_promql_has_them() -> None:
    text = 'sum by (host) (vllm:a{x="}",le="+Inf"}) / local_llm:vllm or vllm:b[5m] or my_vllm:c'
    assert selectors(text) == [("vllm:a", [("x", "=", "}"), ("le", "=", "+Inf")]), ("vllm:b", [])]


def test_other_names_keep_what_a_histogram_adds() -> None:
    names = other_names("vllm", "vllm:inter_token_latency_seconds_count")
    assert "vllm:time_per_output_token_seconds_count" in names
    assert other_names("llamacpp", "vllm:kv_cache_usage_perc") == []


def test_a_page_that_is_refused_fails_and_a_silent_engine_halts() -> None:
    assert no_page_verdict("http://h:1", "status 404", True)["verdict"] == "fail"
    silent = no_page_verdict("http://h:1", "no complete answer within 10.0 s", False)
    assert silent["verdict"] == "error" and "within 10.0 s" in silent["summary"]
    moved = no_page_verdict("http://h:1", "status 404", True, "vllm 0.99.0")
    assert moved["verdict"] == "inconclusive" and "vllm 0.99.0" in moved["summary"]
