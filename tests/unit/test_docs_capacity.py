# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worked example of docs/capacity.md comes out as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.filter.capacity_plan import DOCUMENTATION, plan_filter
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_report import (
    build_capacity_report,
    capacity_text,
    instance_problem,
    read_reports,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_settings import (
    CAPACITY_FIELDS,
    capacity_setting_findings,
    pool_capacities,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.capacities import a_capacity_benchmark

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "capacity.md").read_text(encoding="utf-8")


def block(kind: str, number: int = 0) -> str:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[number]


def fleet() -> tuple[dict[str, Any], dict[str, Any]]:
    inventory = yaml.safe_load(block("yaml"))
    assert capacity_setting_findings({"gpu1": inventory["local_llm_pools"]}) == []
    instances = {f"gpu{number}": inventory["local_llm_instances"] for number in range(1, 13)}
    return instances, pool_capacities({"gpu1": inventory["local_llm_pools"]})


def test_the_worked_example_comes_out_as_documented() -> None:
    instances, capacities = fleet()
    document = build_capacity_report(instances, capacities, {}, "2026-11-21T12:00:00Z")
    assert capacity_text(document) + "\n" == block("text")


def test_the_filter_of_the_page_gives_what_its_comment_says() -> None:
    (promised,) = re.findall(r"capacity_plan\(peak_requests_per_second=50\)\)\.replicas\.needed }}\" +# (\d+)", PAGE)
    assert plan_filter(8, peak_requests_per_second=50)["replicas"]["needed"] == int(promised)


def test_stored_benchmarks_give_goodput_latency_and_slots(tmp_path: Path) -> None:
    instances, capacities = fleet()
    del capacities["chat"]["goodput_requests_per_second"]
    (entry,) = build_capacity_report(instances, capacities, {}, "t")["pools"]
    assert entry["plan"] is None and "no benchmark report" in entry["problem"]
    reports = {"gpu1-chat": a_capacity_benchmark(8.0), "gpu2-chat": a_capacity_benchmark(8.5)}
    (entry,) = build_capacity_report(instances, capacities, reports, "t")["pools"]
    assert entry["plan"]["inputs"]["goodput_source"] == "benchmark gpu1-chat, the smallest of 2"
    assert entry["plan"]["concurrency"] == {"per_replica": 6.25, "limit": 51.2, "fits": True}
    assert "Erlang C" in capacity_text({"pools": [entry]})
    (tmp_path / "gpu1-chat.json").write_text("{")
    assert "cannot be read" in read_reports(tmp_path, ["gpu1-chat", "gpu2-chat"])["gpu1-chat"]
    damaged = read_reports(tmp_path, ["gpu1-chat"])
    (entry,) = build_capacity_report(instances, capacities, damaged, "t")["pools"]
    assert entry["problem"].startswith("benchmark gpu1-chat: it is a str")


def test_a_pool_without_a_rate_is_told_what_to_set() -> None:
    instances, _capacities = fleet()
    (entry,) = build_capacity_report(instances, {}, {}, "t")["pools"]
    assert "local_llm_pools.chat.capacity.peak_requests_per_second" in capacity_text({"pools": [entry]})


def test_every_key_of_the_inventory_is_an_option_of_the_filter() -> None:
    options = yaml.safe_load(DOCUMENTATION)["options"]
    assert set(CAPACITY_FIELDS) - {"goodput_requests_per_second"} <= set(options)


@pytest.mark.parametrize(
    ("goodput", "options", "word"),
    [
        (8, {}, "peak_requests_per_second is missing"),
        (8, {"peak_requests_per_second": 50, "headrom_percent": 20}, "did you mean headroom_percent"),
        ("8", {"peak_requests_per_second": 50}, "neither a number nor a benchmark report"),
        (0, {"peak_requests_per_second": 50}, "goodput_requests_per_second: 0.0 cannot be"),
        (a_capacity_benchmark(None), {"peak_requests_per_second": 50}, "measured no goodput"),
        (8, {"peak_requests_per_second": 50, "weekly_peaks": "50"}, "weekly_peaks: '50' is no list"),
    ],
)
def test_the_filter_names_what_is_wrong(goodput: Any, options: dict[str, Any], word: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(word)):
        plan_filter(goodput, **options)


def prometheus(*values: str, series: int = 1) -> dict[str, Any]:
    """What Prometheus answers to a query for one value, or for a range of them."""
    points = [[1795000000 + 604800 * week, value] for week, value in enumerate(values)]
    one = {"metric": {}, "value": points[0]} if len(points) == 1 else {"metric": {}, "values": points}
    return {"status": "success", "data": {"resultType": "vector", "result": [one] * series}}


@pytest.mark.parametrize("peak", [50, prometheus("50"), prometheus("47.5", "50", "12"), {"kind": "benchmark"}])
def test_the_peak_may_be_what_measured_it(peak: Any) -> None:
    if isinstance(peak, dict) and peak.get("kind"):
        peak = {**a_capacity_benchmark(8.0), "requests_per_second": 50.0}
    assert plan_filter(8, peak_requests_per_second=peak)["replicas"]["needed"] == 10


def test_weekly_peaks_may_be_an_answer_of_prometheus() -> None:
    peaks = ["45.2", "44.8", "46.9", "46.1", "47.8"]
    asked, listed = (
        plan_filter(8, peak_requests_per_second=50, weekly_peaks=given)["growth"]
        for given in (prometheus(*peaks), [float(peak) for peak in peaks])
    )
    assert asked == listed


@pytest.mark.parametrize(
    ("peak", "word"),
    [
        (prometheus("1", series=2), "2 series; ask for one"),
        (prometheus("1", series=0), "0 series"),
        (prometheus("NaN"), "has no requests in that time"),
        ({"status": "error", "error": "parse error", "data": None}, "parse error"),
        ("50", "is no number"),
        ({**a_capacity_benchmark(8.0), "valid": False}, "it is not valid"),
    ],
)
def test_a_peak_that_is_none_is_named(peak: Any, word: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"peak_requests_per_second: .*{re.escape(word)}"):
        plan_filter(8, peak_requests_per_second=peak)


@pytest.mark.parametrize(
    ("listed", "word"),
    [
        ([{"name": "chat"}], r"local_llm_instances\[0\] of gpu1 has no pool"),
        ([{"pool": "chat"}], r"local_llm_instances\[0\] of gpu1 has no name"),
        (["chat"], "has no name"),
        ("chat", "is a str; write a list"),
    ],
)
def test_an_instance_that_cannot_be_counted_is_named(listed: Any, word: str) -> None:
    assert re.search(word, instance_problem("gpu1", listed) or "")


def test_a_wrong_configuration_is_a_problem_of_its_pool_only() -> None:
    wrong = {"name": "chat", "pool": "chat", "engine": "vllm", "config": {"max_num_seqs": "x"}}
    right = {"name": "code", "pool": "code", "engine": "vllm"}
    rates = {"goodput_requests_per_second": 8, "peak_requests_per_second": 8}
    document = build_capacity_report({"gpu1": [wrong, right]}, {"chat": rates, "code": rates}, {}, "t")
    chat, code = document["pools"]
    assert chat["plan"] is None and "instance chat: config.max_num_seqs = 'x'" in chat["problem"]
    assert code["problem"] is None
