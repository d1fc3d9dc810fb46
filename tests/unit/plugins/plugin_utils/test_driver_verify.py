# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a driver: every part of it in one version, every GPU there, as fast as before."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_verify import benchmark_findings, driver_findings

NEW = "535.261.03"


def facts(**values: Any) -> dict[str, Any]:
    good = {
        "loaded_version": NEW,
        "library_version": NEW,
        "kernel_running": "6.1.0-35",
        "kernel_newest": "6.1.0-37",
        "module_on_disk_version": {"6.1.0-35": NEW, "6.1.0-37": NEW},
        "broken_packages": [],
        "gpus": [{}, {}],
    }
    return {**good, **values}


def faults(findings: list[dict[str, Any]]) -> list[str]:
    return [item["check"] for item in findings if item["status"] == "fail"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"loaded_version": "535.247.01"}, ["driver_version"]),
        ({"loaded_version": None}, ["driver_version"]),
        ({"library_version": "535.247.01"}, ["driver_version"]),
        ({"module_on_disk_version": {"6.1.0-35": NEW}}, ["driver_version"]),
        ({"module_on_disk_version": {"6.1.0-35": NEW, "6.1.0-37": "535.247.01"}}, ["driver_version"]),
        ({"kernel_newest": "6.1.0-35", "module_on_disk_version": {"6.1.0-35": NEW}}, []),
        ({"broken_packages": ["nvidia-kernel-dkms"]}, ["driver_packages"]),
        ({"gpus": [{}]}, ["driver_gpu_count"]),
    ],
)
def test_one_part_that_differs_is_a_fault(values: dict[str, Any], expected: list[str]) -> None:
    assert faults(driver_findings(facts(**values), NEW, 2)) == expected


def test_a_host_that_shall_have_no_driver_has_none() -> None:
    gone = facts(loaded_version=None, library_version=None, module_on_disk_version={})
    assert faults(driver_findings(gone, None, 2)) == []
    assert "driver_version" in faults(driver_findings(facts(), None, 2))


BEFORE = {"loaded_version": NEW, "library_version": NEW, "module_on_disk_version": {"6.1.0-35": NEW, "6.1.0-37": None}}


@pytest.mark.parametrize(
    ("before", "values", "expected"),
    [
        # The newest kernel had no module before: the way back cannot bring one.
        (BEFORE, {"module_on_disk_version": {"6.1.0-35": NEW, "6.1.0-37": None}}, []),
        (BEFORE, {"module_on_disk_version": {"6.1.0-35": None, "6.1.0-37": None}}, ["driver_version"]),
        (BEFORE, {"loaded_version": None}, ["driver_version"]),
        (BEFORE, {"library_version": "535.247.01"}, ["driver_version"]),
        ({}, {"module_on_disk_version": {"6.1.0-35": NEW}}, ["driver_version"]),
    ],
)
def test_on_the_way_back_no_more_is_demanded_than_there_was_before(
    before: dict[str, Any], values: dict[str, Any], expected: list[str]
) -> None:
    assert faults(driver_findings(facts(**values), NEW, 2, before)) == expected


def test_a_driver_that_was_installed_and_not_loaded_before_is_well_without_a_module_in_the_kernel() -> None:
    before = {**BEFORE, "loaded_version": None}
    now = facts(loaded_version=None, module_on_disk_version=BEFORE["module_on_disk_version"])
    assert faults(driver_findings(now, None, 2, before)) == []
    assert faults(driver_findings(now, None, 2)) == ["driver_version", "driver_version"]


def report(**medians: float) -> dict[str, Any]:
    results = [{"measure": name, "dtype": None, "gpus": [0], "median": value} for name, value in medians.items()]
    return {"taken_at": "2026-11-01T00:00:00Z", "gpus": [{"index": 0, "uuid": "GPU-1"}], "results": results}


@pytest.mark.parametrize(("now", "status"), [(1000.0, "ok"), (951.0, "ok"), (930.0, "warn"), (899.0, "fail")])
def test_a_card_may_not_become_slower(now: float, status: str) -> None:
    (item,) = benchmark_findings(report(memory_bandwidth=1000.0), report(memory_bandwidth=now))
    assert item["status"] == status


def test_no_baseline_is_told_and_holds_nobody_up() -> None:
    (item,) = benchmark_findings(None, report(memory_bandwidth=1.0))
    assert item["status"] == "skip"


def test_a_baseline_that_nothing_answers_is_a_fault() -> None:
    assert faults(benchmark_findings(report(memory_bandwidth=1.0), None)) == ["driver_benchmark"]
    other = {**report(memory_bandwidth=1.0), "gpus": [{"index": 0, "uuid": "GPU-2"}]}
    assert faults(benchmark_findings(report(memory_bandwidth=1.0), other)) == ["driver_benchmark"]
