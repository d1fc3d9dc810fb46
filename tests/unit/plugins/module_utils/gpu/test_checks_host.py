# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the host around the GPUs: each at its thresholds, and where it makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_driver import CHECKS as DRIVER_CHECKS
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_host import CHECKS
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import bare_host, snapshot

RUNBOOKS = Path(__file__).resolve().parents[5] / "docs" / "runbooks"
BY_NAME = {check.name: check for check in CHECKS}
GB = 1_000_000_000


def run(name: str, record: dict[str, Any], thresholds: dict[str, float] | None = None) -> list[dict[str, Any]]:
    """Run one check of this file."""
    check = BY_NAME[name]
    return check.run(check, record, Context(thresholds={name: thresholds or {}}))


def one(name: str, thresholds: dict[str, float] | None = None, **host: Any) -> dict[str, Any]:
    """Run one check that must give one finding, on a host with these values."""
    record = snapshot(**{f"host__{key}": value for key, value in host.items()})
    [item] = run(name, record, thresholds)
    return item


def file_system(free: int | None = 500 * GB, total: int = 1000 * GB, path: str = "/", read_only: bool = False) -> dict:
    """Return a file system as a snapshot has it."""
    return {"path": path, "total_bytes": total, "free_bytes": free, "read_only": read_only}


def test_every_check_has_its_section_in_the_runbook() -> None:
    for check in CHECKS:
        assert check.group == "gpu_host"
        assert f"\n## {check.name}\n" in (RUNBOOKS / f"{check.group}.md").read_text(encoding="utf-8")


def test_the_runbook_says_what_is_left_out() -> None:
    assert "InfiniBand" in (RUNBOOKS / "gpu_host.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_healthy_host_is_fine_with_and_without_gpus(name: str) -> None:
    assert [item["status"] for item in run(name, snapshot())] == ["ok"]
    assert [item["status"] for item in run(name, bare_host())] == ["ok"]


@pytest.mark.parametrize(
    ("governors", "virtual", "status"),
    [
        (["performance"], False, "ok"),
        (["performance", "performance"], None, "ok"),
        (["powersave"], False, "warn"),
        (["performance", "schedutil"], False, "warn"),
        ([], False, "skip"),
        (["powersave"], True, "skip"),
    ],
)
def test_governors(governors: list[str], virtual: bool | None, status: str) -> None:
    item = one("cpu_governor", cpu_governors=governors, virtual_machine=virtual)
    assert item["status"] == status
    assert status != "warn" or (item["remedy"], "cpupower" in item["action"]) == ("configure", True)


@pytest.mark.parametrize(
    ("source", "virtual", "status"),
    [
        ("tsc", False, "ok"),
        ("arch_sys_counter", None, "ok"),
        ("hpet", False, "warn"),
        ("acpi_pm", None, "warn"),
        ("kvm-clock", True, "skip"),
        (None, False, "skip"),
    ],
)
def test_clock_sources(source: str | None, virtual: bool | None, status: str) -> None:
    assert one("clocksource", clocksource=source, virtual_machine=virtual)["status"] == status


@pytest.mark.parametrize(
    ("corrected", "uncorrected", "thresholds", "status"),
    [
        (0, 0, {}, "ok"),
        (999, 0, {}, "ok"),
        (1000, 0, {}, "warn"),
        (0, 1, {}, "fail"),
        (5000, 1, {}, "fail"),
        (0, 1, {"uncorrected": 2}, "ok"),
        (1, None, {"corrected": 1}, "warn"),
        (None, None, {}, "skip"),
        (None, 1, {}, "fail"),
    ],
)
def test_memory_errors(
    corrected: int | None, uncorrected: int | None, thresholds: dict[str, float], status: str
) -> None:
    item = one("edac", thresholds, edac_corrected=corrected, edac_uncorrected=uncorrected)
    assert item["status"] == status
    assert item["remedy"] == ("hardware" if status in ("warn", "fail") else "none")


@pytest.mark.parametrize(("synchronised", "status"), [(True, "ok"), (False, "warn"), (None, "skip")])
def test_time(synchronised: bool | None, status: str) -> None:
    assert one("time_sync", time_synchronised=synchronised)["status"] == status


@pytest.mark.parametrize(
    ("disk", "thresholds", "status"),
    [
        (file_system(), {}, "ok"),
        (file_system(free=100 * GB), {}, "ok"),
        (file_system(free=100 * GB - 1), {}, "warn"),
        (file_system(free=500_000_000, total=4 * GB), {}, "ok"),
        (file_system(free=499_999_999, total=4 * GB), {}, "fail"),
        (file_system(free=0), {}, "fail"),
        (file_system(free=100 * GB), {"warn_free_percent": 20}, "warn"),
        (file_system(free=100 * GB), {"fail_free_bytes": 200 * GB}, "fail"),
        (file_system(free=1, total=1000), {"fail_free_bytes": 0, "warn_free_percent": 0}, "ok"),
        (file_system(read_only=True), {}, "fail"),
        (file_system(free=0, total=0, read_only=True), {}, "fail"),
        (file_system(free=0, total=0), {}, "skip"),
        (file_system(free=None), {}, "ok"),
    ],
)
def test_file_systems(disk: dict[str, Any], thresholds: dict[str, float], status: str) -> None:
    assert one("disk", thresholds, disks=[disk])["status"] == status


def test_a_full_read_only_file_system_is_one_finding_and_each_file_system_has_its_own() -> None:
    disks = [file_system(free=0, read_only=True), file_system(path="/var/log"), file_system(free=1, path="/srv")]
    found = run("disk", snapshot(host__disks=disks))
    assert [(item["subject"], item["status"]) for item in found] == [("/", "fail"), ("/srv", "fail")]
    assert found[0]["observed"] == "read-only"


def test_no_readable_file_system_is_a_skip() -> None:
    assert one("disk", disks=[])["status"] == "skip"


@pytest.mark.parametrize(
    ("ages", "thresholds", "status"),
    [
        ([], {}, "ok"),
        ([299.9], {}, "ok"),
        ([300.0], {}, "warn"),
        ([10.0, 900.0], {}, "warn"),
        ([900.0], {"age_seconds": 901}, "ok"),
        ([None], {}, "skip"),
        ([None, 5.0], {}, "ok"),
    ],
)
def test_zombies(ages: list[float | None], thresholds: dict[str, float], status: str) -> None:
    zombies = [{"pid": 100 + index, "name": "worker", "age_seconds": age} for index, age in enumerate(ages)]
    assert one("zombie_processes", thresholds, zombie_processes=zombies)["status"] == status


def test_many_zombies_are_one_finding_of_readable_length() -> None:
    zombies = [{"pid": 100 + index, "name": "worker", "age_seconds": 400.0} for index in range(50)]
    item = one("zombie_processes", zombie_processes=zombies)
    assert "and 45 more" in item["observed"]
    assert "worker (104" in item["observed"]
    assert "worker (105" not in item["observed"]


@pytest.mark.parametrize(
    ("name", "status"), [("nvidia-smi", "warn"), ("nvidia-modprobe", "warn"), ("vllm", "ok"), ("python3", "ok")]
)
def test_a_blocked_process_of_the_driver_is_a_warning_and_a_loading_engine_is_none(name: str, status: str) -> None:
    assert one("blocked_processes", blocked_processes=[{"pid": 7, "name": name}])["status"] == status


@pytest.mark.parametrize(
    ("status", "reporter"), [("ok", "blocked_processes"), ("hung", "nvml_hang"), ("error", "nvml_hang")]
)
def test_blocked_processes_are_reported_by_exactly_one_check(status: str, reporter: str) -> None:
    record = snapshot(nvml__status=status, host__blocked_processes=[{"pid": 7, "name": "nvidia-smi"}])
    found = [item for check in (*DRIVER_CHECKS, *CHECKS) for item in check.run(check, record, Context())]
    assert [item["check"] for item in found if item["status"] in ("warn", "fail")] == [reporter]


def test_thresholds_lie_in_their_own_range_and_have_a_reason() -> None:
    for check in CHECKS:
        for threshold in check.thresholds.values():
            assert threshold.minimum <= threshold.default <= threshold.maximum
            assert threshold.reason
