# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SLO compiler: what it makes is what Prometheus takes, and every alert fires and stays silent in promtool."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules import as_yaml, compile_rules
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_data
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import RulesError
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import gpu_metrics
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import PAGE, TICKET
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.slo_fleets import (
    VERSIONS,
    a_fleet,
    an_instance,
    promtool,
    write_made,
)

ROOT = Path(__file__).resolve().parents[4]
FIXTURES = ROOT / "tests" / "unit" / "fixtures"


def rules_of(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in made["rules"]["groups"] for rule in group["rules"]]


def alerts_of(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for rule in rules_of(made) if "alert" in rule]


def problems(**options: Any) -> str:
    instances = options.pop("instances", {"gpu1": [an_instance()]})
    with pytest.raises(RulesError) as caught:
        compile_rules(instances, **options)
    return str(caught.value)


@pytest.mark.parametrize("engine", VERSIONS)
def test_all_tiers_of_an_engine_pass_promtool_and_their_own_tests(engine: str, tmp_path: Path) -> None:
    settings = {"pool-premium": {"fixed_shape": True}} if engine == "vllm" else None
    rules, tests = write_made(compile_rules(a_fleet(engine), settings=settings), tmp_path)
    checked = promtool("check", "rules", rules)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tried = promtool("test", "rules", tests)
    assert tried.returncode == 0, (tried.stdout + tried.stderr)[:8000]


def test_a_fleet_of_several_engines_and_limits_of_its_own_passes_its_tests(tmp_path: Path) -> None:
    fleet = {
        "gpu1.example.org": [
            an_instance(),
            an_instance("ollama", name="small", pool="small", config={"parallel_requests": 1}),
        ],
        "gpu2": [an_instance("llamacpp"), an_instance(name="old", engine_version="0.22.1", config={"max_num_seqs": 1})],
    }
    pools = {
        "chat": {"slo": {"tokens_per_second_p50_min": 900, "availability_min_percent": 99.99, "queue_depth_max": 0}}
    }
    made = compile_rules(fleet, pools, min_bad_requests=2000)
    tried = promtool("test", "rules", write_made(made, tmp_path)[1])
    assert tried.returncode == 0, (tried.stdout + tried.stderr)[:8000]


def test_the_tests_find_an_alert_that_no_longer_comes_and_one_that_comes_too_early(tmp_path: Path) -> None:
    for old, new, alert in ((" > 80", " > 800", "LocalLlmGpuHot"), (" > 80", " > 8", "LocalLlmGpuHot")):
        made = compile_rules({"cpu1": [an_instance("ollama")]})
        for rule in alerts_of(made):
            if rule["alert"] == alert:
                rule["expr"] = rule["expr"].replace(old, new)
        made["rules_yaml"] = as_yaml(made["rules"])
        tried = promtool("test", "rules", write_made(made, tmp_path)[1])
        assert tried.returncode != 0 and f"alertname: {alert}" in tried.stdout + tried.stderr


def test_every_alert_says_what_happened_what_it_means_and_what_to_do_and_leads_to_a_section() -> None:
    for alert in alerts_of(compile_rules(a_fleet())):
        notes = alert["annotations"]
        assert alert["labels"]["severity"] in ("info", "warning", "critical"), alert["alert"]
        assert notes["summary"] and "\n" not in notes["summary"], alert["alert"]
        assert len(notes["description"]) > 80, alert["alert"]
        page, _hash, section = notes["runbook_url"].partition("#")
        sections = re.findall(r"^## (\w+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert section in sections, f"{alert['alert']}: {notes['runbook_url']}"


def test_every_alert_of_the_data_is_made_for_some_engine_and_states_its_source() -> None:
    made = {alert["alert"] for engine in VERSIONS for alert in alerts_of(compile_rules(a_fleet(engine)))}
    for entries in alert_data().values():
        for entry in entries:
            assert entry["alert"] in made
            assert entry["source"] in ("B", "D1", "D2"), entry["alert"]
            assert entry["test"]["fires"] or entry["test"]["quiet"], entry["alert"]


def test_every_group_has_a_name_of_its_own_and_every_pool_alert_the_labels_of_its_pool() -> None:
    made = compile_rules(a_fleet())
    names = [group["name"] for group in made["rules"]["groups"]]
    assert len(names) == len(set(names)) and all(name.startswith("local_llm_") for name in names)
    for alert in alerts_of(made):
        if "slo" in alert["labels"]:
            assert {"pool", "model", "tier", "severity"} <= set(alert["labels"])


def test_the_factors_are_those_of_two_five_and_ten_percent_of_a_budget_of_thirty_days() -> None:
    assert [window.factor for window in (*PAGE, *TICKET)] == [14.4, 6, 3, 1]


def test_names_of_haproxy_and_node_exporter_are_real_ones() -> None:
    known = {
        name
        for place in ("haproxy_2.6.12", "node_exporter_1.5.0")
        for name in (FIXTURES / place / "metric_names.txt").read_text(encoding="utf-8").split()
    }
    used = set()
    for engine in VERSIONS:
        made = compile_rules(a_fleet(engine))
        used |= set(re.findall(r"(?<![\w:])((?:haproxy|node)_\w+)", " ".join(rule["expr"] for rule in rules_of(made))))
    assert used and used <= known, sorted(used - known)


def test_gpu_names_are_those_of_the_scheme() -> None:
    made = compile_rules(a_fleet())
    used = set(re.findall(r"(?<![\w:])(local_llm_gpu_\w+)", " ".join(rule["expr"] for rule in rules_of(made))))
    assert used and used <= set(gpu_metrics())


@pytest.mark.parametrize(
    ("slo", "words"),
    [
        (
            {"ttft_p95_max_seconds": 0.6},
            ["ttft_p95_max_seconds is 0.6", "between its buckets 0.5 and 0.75", "set it to 0.5 or 0.75"],
        ),
        ({"ttft_p95_max_seconds": 3000}, ["outside its buckets, the nearest is 2560"]),
        ({"availability_min_percent": 90}, ["at most 10 times", "comes at 14.4", "set it above 93.06"]),
        ({"error_rate_max_percent": 10}, ["error_rate_max_percent is 10", "set it below 6.94"]),
        ({"availability_min_percent": 100}, ["nothing may ever fail"]),
    ],
)
def test_a_limit_that_cannot_be_watched_is_refused_with_the_mend(slo: dict[str, Any], words: list[str]) -> None:
    text = problems(pools={"chat": {"slo": slo}})
    assert all(word in text for word in ["pool chat", *words]), text


def test_a_shipped_limit_between_two_buckets_counts_at_the_next_one_and_says_so() -> None:
    made = compile_rules({"gpu1": [an_instance(slo_tier="standard")]})
    assert any("ttft_p95_max_seconds is 2" in note and "the rules count at 2.5" in note for note in made["notes"])
    assert 'le="2.5"' in made["rules_yaml"]


def test_buckets_that_the_instance_sets_for_itself_count() -> None:
    own = ["--custom-histogram-buckets", '{"time_to_first_token": [0.3, 0.6, 2, 5]}']
    made = compile_rules(
        {"gpu1": [an_instance(config={"extra_arguments": own})]}, {"chat": {"slo": {"ttft_p95_max_seconds": 0.6}}}
    )
    assert 'le="0.6"' in made["rules_yaml"] and not made["notes"]


def test_a_metric_that_an_engine_version_does_not_have_is_refused_with_its_new_name() -> None:
    group = {"name": "site", "rules": [{"alert": "Mine", "expr": "vllm:gpu_cache_usage_perc > 0.9"}]}
    text = problems(extra_groups=[group])
    assert text == "site: Mine: vllm:gpu_cache_usage_perc does not exist in vllm 0.32.0; use vllm:kv_cache_usage_perc"
    group["rules"] = [{"alert": "Mine", "expr": "vllm:num_requests_waiting_by_reason > 3"}]
    old = {"gpu1": [an_instance(engine_version="0.22.1")]}
    assert "vllm 0.22.1; use vllm:num_requests_waiting" in problems(extra_groups=[group], instances=old)
    assert compile_rules({"gpu1": [an_instance()]}, extra_groups=[group])["rules"]["groups"][-1] == group


def test_an_engine_version_that_nobody_has_looked_at_is_said() -> None:
    (note,) = compile_rules({"gpu1": [an_instance(engine_version="0.99.0")]})["notes"]
    assert "vllm 0.99.0: nothing is known about its metrics" in note


def test_an_engine_without_histograms_has_no_objective_on_them_and_says_so() -> None:
    made = compile_rules({"gpu1": [an_instance("llamacpp")]})
    assert {rule["labels"]["slo"] for rule in rules_of(made) if rule.get("labels", {}).get("slo")} == {
        "availability",
        "errors",
    }
    assert "llamacpp has no histogram of it" in made["notes"][0]


def test_a_tier_that_allows_no_error_at_all_is_left_to_the_benchmark() -> None:
    made = compile_rules({"gpu1": [an_instance()]}, {"chat": {"slo": {"error_rate_max_percent": 0}}})
    assert any("0 leaves no budget" in note for note in made["notes"])
    assert "slo: errors" not in made["rules_yaml"] and "slo: availability" in made["rules_yaml"]


def test_the_lab_of_the_checkout_has_rules() -> None:
    site = yaml.safe_load((ROOT / "inventories/lab/group_vars/all.yml").read_text(encoding="utf-8"))
    made = compile_rules(
        {"gpu1": site["local_llm_instances"]}, site.get("local_llm_pools"), site["local_llm_slo_tiers"]
    )
    assert alerts_of(made)


def test_overload_counts_as_failure_in_premium_and_where_it_is_asked_for() -> None:
    def bad(tier: str, **settings: Any) -> str:
        made = compile_rules({"gpu1": [an_instance(slo_tier=tier)]}, settings={"chat": settings})
        rates = [rule for rule in rules_of(made) if rule.get("record") == "local_llm:slo_bad:rate5m"]
        return str(next(rule["expr"] for rule in rates if rule["labels"]["slo"] == "availability"))

    assert 'code="4xx"' in bad("premium") and 'code="4xx"' not in bad("enhanced")
    assert 'code="4xx"' in bad("enhanced", count_overload=True) and 'code="4xx"' not in bad(
        "premium", count_overload=False
    )


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"instances": []}, "give {host: local_llm_instances of the host}"),
        ({"instances": {"gpu1": []}}, "no host serves anything"),
        ({"instances": {"gpu1": [{"name": "x"}]}}, "engine, engine_version, model, pool is missing"),
        ({"instances": {"gpu1": [{**an_instance(), "engine": "tgi"}]}}, "use vllm, llamacpp or ollama"),
        ({"instances": {"gpu1": [an_instance(slo_tier="gold")]}}, "slo_tier: 'gold' is not known"),
        ({"instances": {"a": [an_instance()], "b": [an_instance(slo_tier="premium")]}}, "the same slo_tier"),
        ({"settings": {"caht": {"fixed_shape": True}}}, "settings.caht"),
        ({"settings": {"chat": {"fixed": True}}}, "settings.chat: fixed True is not known"),
        ({"pools": {"chat": {"slo": {"ttft_p59_max_seconds": 1}}}}, "did you mean"),
        ({"extra_groups": [{"name": "local_llm_gpus", "rules": []}]}, "is taken"),
        ({"extra_groups": [{"rules": []}]}, "extra_groups[0]: name or rules is missing"),
    ],
)
def test_wrong_input_is_named_with_its_mend(options: dict[str, Any], word: str) -> None:
    assert word in problems(**options)


def test_the_same_fleet_gives_the_same_text_and_the_text_is_what_the_rules_say() -> None:
    first, second = compile_rules(a_fleet()), compile_rules(dict(reversed(a_fleet().items())))
    assert first["rules_yaml"] == second["rules_yaml"]
    assert yaml.safe_load(first["rules_yaml"]) == first["rules"]


def test_limits_of_tiers_are_series_with_a_pools_own_ones_and_without_those_that_are_left_out(tmp_path: Path) -> None:
    pools = {"chat": {"slo": {"queue_depth_max": 3, "availability_min_percent": 99.95}}}
    tiers = {"own": {"error_rate_max_percent": 1}}
    fleet = {"gpu1": [an_instance(), an_instance(name="x", pool="x", slo_tier="own")]}
    made = compile_rules(fleet, pools, tiers)
    found = {
        (rule["labels"]["pool"], rule["labels"]["tier"], rule["labels"]["limit"]): rule["expr"]
        for rule in rules_of(made)
        if rule.get("record") == "local_llm:tier_limit"
    }
    assert found["chat", "enhanced", "queue_depth_max"] == "vector(3)"
    assert found["chat", "enhanced", "availability_min_percent"] == "vector(99.95)"
    assert found["chat", "enhanced", "ttft_p95_max_seconds"] == "vector(1)"
    assert [key for key in found if key[0] == "x"] == [("x", "own", "error_rate_max_percent")]
    made["rules_yaml"] = made["rules_yaml"].replace("vector(99.95)", "vector(99.9)")
    tried = promtool("test", "rules", write_made(made, tmp_path)[1])
    assert tried.returncode != 0 and "local_llm:tier_limit" in tried.stdout + tried.stderr
