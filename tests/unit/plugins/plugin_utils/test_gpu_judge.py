# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging the benchmarks of a fleet: which cards are found, what is said of them, and the table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import FINDING_KEYS
from ansible_collections.local_llm.ops.plugins.plugin_utils._gpu_benchmark_report import (
    build_document,
    document_text,
    must_leave,
    rows,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._gpu_judge import CHECKS, findings_of, judge_fleet
from ansible_collections.local_llm.ops.plugins.plugin_utils._gpu_reference import load_reference
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.benchmarks import CONDITIONS, report, result

CHECKOUT = Path(__file__).resolve().parents[4]
TABLE = load_reference()


def judged(**reports: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return {host: findings that are neither ok nor skip}."""
    judgements = judge_fleet(reports, TABLE)
    return {
        host: [item for item in findings_of(one, judgements[host]) if item["status"] in ("warn", "fail")]
        for host, one in reports.items()
    }


def document(**answers: dict[str, Any] | None) -> dict[str, Any]:
    return build_document(answers, TABLE, made_at="2026-11-01T12:00:00Z")


def test_healthy_cards_have_one_ok_finding_per_check() -> None:
    one = report(8)
    found = findings_of(one, judge_fleet({"a": one}, TABLE)["a"])
    assert {item["check"]: item["status"] for item in found} == {check.name: "ok" for check in CHECKS.values()}
    assert len(found) == len(CHECKS)
    assert {item["subject"] for item in found} == {"8 GPUs"}
    assert next(item["observed"] for item in found if item["check"] == "benchmark_gemm").startswith("bf16 720 TFLOP/s")


def test_findings_have_the_shape_of_a_gpu_finding() -> None:
    one = report(1)
    result(one, "memory_bandwidth")["median"] = 1500.0
    (found,) = judged(a=one)["a"]
    assert set(found) == {*FINDING_KEYS, "remedy", "runbook", "gpu"}
    assert found["gpu"] == {"index": 0, "uuid": one["gpus"][0]["uuid"], "pci_address": "0000:18:00.0"}
    assert found["runbook"] == "docs/runbooks/gpu_benchmark.md#benchmark_memory_bandwidth"
    assert (found["check"], found["status"], found["severity"]) == ("benchmark_memory_bandwidth", "fail", "critical")
    assert found["subject"] == "GPU 0 (0000:18:00.0, NVIDIA H100 80GB HBM3)"
    assert "1500 GB/s (spread 0.5 %, SM 1755 MHz, up to 64 °C, sw_power_cap 90 % of the time)" in found["observed"]
    assert found["expected"] == (
        "at least 1905 GB/s; it has 0.59 of the reference (2540), 0.45 of the theoretical peak (3352.3)"
    )


@pytest.mark.parametrize(
    ("measure", "dtype", "value", "status"),
    [
        ("memory_bandwidth", None, 2520.0, "ok"),
        ("memory_bandwidth", None, 2280.0, "warn"),
        ("memory_bandwidth", None, 1900.0, "fail"),
        ("memory_bandwidth", None, 3600.0, "warn"),
        ("gemm", "bf16", 590.0, "warn"),
        ("gemm", "bf16", 420.0, "fail"),
        ("gemm", "tf32", 280.0, "warn"),
        ("gemm", "fp8", 800.0, "fail"),
        ("host_to_device", None, 49.0, "warn"),
        ("device_to_host", None, 26.0, "fail"),
        ("memory_bandwidth", None, None, "fail"),
    ],
)
def test_one_slow_figure_is_found_and_nothing_else(
    measure: str, dtype: str | None, value: float | None, status: str
) -> None:
    one = report(1)
    result(one, measure, dtype)["median"] = value
    found = judged(a=one)["a"]
    assert [(item["check"], item["status"]) for item in found] == (
        [(f"benchmark_{measure}", status)] if status != "ok" else []
    )
    assert all(dtype in item["subject"] for item in found if dtype)


def test_a_card_that_is_good_by_the_table_but_below_its_equals_is_found() -> None:
    """2540 is the reference. A fleet at 3000 with one card at 2650 has one bad card."""
    fleet = {f"h{number}": report(1) for number in range(4)}
    for one in fleet.values():
        result(one, "memory_bandwidth")["median"] = 3000.0
    result(fleet["h2"], "memory_bandwidth")["median"] = 2650.0
    found = judged(**fleet)
    assert [host for host, items in found.items() if items] == ["h2"]
    (item,) = found["h2"]
    assert item["status"] == "fail" and "it has 0.88 of equal cards (3000)" in item["expected"]
    assert item["source"] == "gpu_benchmark; peers: median of 4"


def test_two_cards_are_not_enough_to_say_which_is_bad() -> None:
    one, two = report(1), report(1)
    result(one, "memory_bandwidth")["median"], result(two, "memory_bandwidth")["median"] = 3200.0, 2600.0
    assert judged(a=one, b=two) == {"a": [], "b": []}


@pytest.mark.parametrize(
    "changes",
    [{"name": "NVIDIA H200"}, {"pci__device_id": "2335"}, {"matrix_size": 4096}],
    ids=["other name", "other device", "other size"],
)
def test_only_equal_cards_and_equal_work_are_compared(changes: dict[str, Any]) -> None:
    size = changes.pop("matrix_size", None)
    fast = [report(1, **changes) for _number in range(3)]
    for one in fast:
        result(one, "gemm", "fp16")["median"] = 900.0
        result(one, "gemm", "fp16")["matrix_size"] = size or 8192
    assert judged(a=report(1), **{f"h{number}": one for number, one in enumerate(fast)})["a"] == []


def test_a_card_in_a_narrow_slot_is_not_compared_with_those_in_wide_ones() -> None:
    narrow = report(1, pci__width_max=8, pci__device_id="2684", pci__generation_max=4)
    for measure in ("host_to_device", "device_to_host"):
        result(narrow, measure)["median"] = 13.0
        width = {"min": 8, "median": 8, "max": 8}
        result(narrow, measure)["conditions"] = {**CONDITIONS, "pcie_width": width, "pcie_generation": None}
    wide = {f"h{number}": report(1, pci__device_id="2684", pci__generation_max=4) for number in range(3)}
    for one in wide.values():
        for measure in ("host_to_device", "device_to_host"):
            result(one, measure)["median"] = 26.0
    found = judged(narrow=narrow, **wide)
    assert not [item for item in found["narrow"] if item["check"] != "benchmark_memory_bandwidth"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pcie_generation", {"min": 2, "median": 2, "max": 2}, "generation 2 during a copy (host to GPU)"),
        ("pcie_width", {"min": 8, "median": 8, "max": 8}, "width 8 during a copy"),
        ("pcie_generation", {"min": 1, "median": 5, "max": 5}, ""),
    ],
)
def test_the_pcie_link_must_be_at_its_best_under_load(key: str, value: dict[str, int], words: str) -> None:
    one = report(1)
    for measure in ("host_to_device", "device_to_host"):
        result(one, measure)["conditions"] = {**CONDITIONS, key: value}
    found = judged(a=one)["a"]
    if not words:
        assert found == []
        return
    (item,) = found
    assert (item["check"], item["status"], item["remedy"]) == ("benchmark_pcie_link", "fail", "hardware")
    assert words in item["observed"]
    assert item["expected"].startswith({"pcie_generation": "generation 5,", "pcie_width": "width 16,"}[key])


@pytest.mark.parametrize(
    ("reasons", "status"),
    [
        ({"sw_power_cap": 1.0}, None),
        ({"hw_thermal": 0.02}, None),
        ({"hw_thermal": 0.5, "hw_slowdown": 0.5}, "fail"),
        ({"hw_power_brake": 0.06}, "fail"),
        ({"sw_thermal": 0.5}, "warn"),
    ],
)
def test_heat_and_power_brake_under_load_are_found(reasons: dict[str, float], status: str | None) -> None:
    one = report(2)
    result(one, "gemm", "bf16", 1)["conditions"] = {**CONDITIONS, "clock_event_reasons": reasons}
    found = judged(a=one)["a"]
    assert [(item["check"], item["status"], item["gpu"]["index"]) for item in found] == (
        [("benchmark_throttling", status, 1)] if status else []
    )


def test_a_slow_pair_is_named_from_and_to() -> None:
    one = report(4)
    result(one, "peer", None, 2, 3)["median"] = 100.0
    (item,) = judged(a=one)["a"]
    assert (item["check"], item["subject"], item["gpu"]) == ("benchmark_peer_bandwidth", "GPU 2 to 3", None)


def test_a_slow_all_reduce_is_found_on_its_host() -> None:
    one = report(8)
    result(one, "all_reduce")["median"] = 300.0
    (item,) = judged(a=one)["a"]
    assert (item["check"], item["status"]) == ("benchmark_all_reduce", "fail")


def test_what_could_not_be_measured_is_a_failure_once_per_error() -> None:
    one = report(1)
    one["failed"] = [
        {"measure": "gemm", "dtype": dtype, "gpus": [0], "error": "CUDA error"} for dtype in ("bf16", "fp16")
    ]
    one["results"] = [item for item in one["results"] if item["measure"] != "gemm"]
    (item,) = judged(a=one)["a"]
    assert (item["check"], item["status"]) == ("benchmark_run", "fail")
    assert item["observed"] == "matrix products bf16, matrix products fp16: CUDA error"


def test_what_does_not_apply_is_skipped_with_the_reason() -> None:
    one = report(1)
    one["results"] = [item for item in one["results"] if item["measure"] != "gemm"]
    one["skipped"] = [{"measure": "gemm", "dtype": "fp8", "gpus": [0], "why": "no fp8"}]
    for item in one["results"]:
        item["conditions"] = {
            **CONDITIONS,
            "clock_event_reasons": None,
            "pcie_generation": None,
            "missing": "no pynvml",
        }
    found = {item["check"]: item for item in findings_of(one, judge_fleet({"a": one}, TABLE)["a"])}
    assert found["benchmark_gemm"]["observed"] == "no fp8"
    assert found["benchmark_peer_bandwidth"]["observed"] == "not measured"
    assert found["benchmark_pcie_link"]["status"] == "skip"
    assert found["benchmark_throttling"]["observed"] == "nobody looked at the clocks: no pynvml"


def test_a_figure_without_any_expectation_says_so() -> None:
    one = report(1, pci__device_id="ffff", memory__bus_width_bits=None)
    found = findings_of(one, judge_fleet({"a": one}, TABLE)["a"])
    item = next(item for item in found if item["check"] == "benchmark_memory_bandwidth")
    assert item["status"] == "skip" and item["observed"].startswith("2700 GB/s. Nothing to hold it against")


def test_a_lower_power_limit_is_said_where_it_explains() -> None:
    one = report(1, power__enforced_limit_watts=400.0)
    result(one, "gemm", "bf16")["median"] = 500.0
    (item,) = judged(a=one)["a"]
    assert "power limit 400 of 700 W" in item["observed"]


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ({"unreachable": True, "msg": "no route"}, "unknown", "It cannot be reached: no route"),
        ({"failed": True, "msg": "GPU 0 is in use"}, "unknown", "It was not measured: GPU 0 is in use"),
        ({"report": None, "why": "This host has no NVIDIA GPU."}, "no_gpu", "This host has no NVIDIA GPU."),
        (
            {"report": None, "plan": {"jobs": [1, 2], "expected_seconds": 4.0, "python": "/x/python"}, "why": ""},
            "planned",
            "It would take 2 figures in about 4 s with /x/python.",
        ),
        ({"report": report(1)}, "healthy", None),
        ({"failed": True, "msg": "x", "report": report(1)}, "healthy", None),
    ],
)
def test_a_host_without_figures_is_told_with_the_reason(answer: dict[str, Any], status: str, words: str | None) -> None:
    one = document(a=answer)
    assert (one["status"], one["hosts"][0]["error"]) == (status, words)
    assert must_leave(one) == (["a"] if status == "unknown" else [])


def test_the_document_tells_the_worst_host_first_and_the_reason_in_one_sentence() -> None:
    slow = report(8)
    result(slow, "memory_bandwidth", None, 5)["median"] = 1500.0
    one = document(a={"report": report(8)}, b={"report": slow}, c={"unreachable": True, "msg": "x"})
    assert one["status"] == "out_of_service" and [host["host"] for host in one["hosts"]] == ["b", "c", "a"]
    assert one["summary"] == ("Below the fail line, or could not be measured to the end: b. 3 hosts, 16 GPUs measured.")
    assert must_leave(one) == ["b", "c"]
    assert set(one["sources"]) >= {"dcgm", "mamf", "azhc"}


def test_the_table_has_one_row_per_host_measure_and_type_with_the_lowest_card() -> None:
    slow = report(8)
    result(slow, "memory_bandwidth", None, 5)["median"] = 1500.0
    one = document(a={"report": slow})
    assert len(rows(one)) == 9
    first = rows(one)[0]
    assert (first["lowest"], first["lowest_gpus"], first["median"], first["status"]) == (1500.0, [5], 2700.0, "fail")
    text = document_text(one)
    line = next(line for line in text.splitlines() if "memory bandwidth" in line)
    assert re.split(r"  +", line) == [
        "a",
        "memory bandwidth",
        "8",
        "1500 (GPU 5)",
        "2700",
        "GB/s",
        "0.45",
        "0.59",
        "0.56",
        "FAIL",
    ]
    assert "docs/runbooks/gpu_benchmark.md, section benchmark_memory_bandwidth" in text


def test_every_check_has_a_section_in_the_runbook() -> None:
    text = (CHECKOUT / "docs" / "runbooks" / "gpu_benchmark.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\S+)$", text, re.MULTILINE))
    assert sections == {check.name for check in CHECKS.values()}
