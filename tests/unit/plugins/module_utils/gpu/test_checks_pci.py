# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the PCI bus: a missing, lost or slow GPU is one finding; an idle one that saves power is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_driver import CHECKS as DRIVER_CHECKS
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_pci import CHECKS
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import (
    GIB,
    bare_host,
    change,
    each,
    gpu,
    snapshot,
)

RUNBOOKS = Path(__file__).resolve().parents[5] / "docs" / "runbooks"
BY_NAME = {check.name: check for check in CHECKS}
LOST = {"nvmlDeviceGetTemperature": {"code": 15, "name": "GPU_IS_LOST"}}
LINK = ("generation_current", "generation_max", "width_current", "width_max", "replay_count")


def run(name: str, record: dict[str, Any], thresholds: dict[str, float] | None = None, **expected: Any) -> list[dict]:
    """Run one check of this file."""
    check = BY_NAME[name]
    return check.run(check, record, Context(thresholds={name: thresholds or {}}, expected=expected))


def one(
    name: str, record: dict[str, Any], thresholds: dict[str, float] | None = None, **expected: Any
) -> dict[str, Any]:
    """Run one check that must give one finding."""
    [item] = run(name, record, thresholds, **expected)
    return item


def to_do(record: dict[str, Any], **expected: Any) -> list[tuple[str, str]]:
    """Return (check, status) of all that is wrong, by all checks of driver and bus."""
    context = Context(expected=expected)
    found = [item for check in (*DRIVER_CHECKS, *CHECKS) for item in check.run(check, record, context)]
    return [(item["check"], item["status"]) for item in found if item["status"] in ("warn", "fail")]


def geforce(index: int = 0, **changes: Any) -> dict[str, Any]:
    """Return an idle RTX 4090: no ECC, no NVLink, no replay counter, a slow link while idle, a small BAR1."""
    record = gpu(
        index,
        name="NVIDIA GeForce RTX 4090",
        architecture="ada",
        serial=None,
        nvlink=[],
        fabric=None,
        performance_state=8,
        pci__device_id="2684",
        pci__generation_current=1,
        pci__generation_max=4,
        pci__replay_count=None,
        memory__total_bytes=24 * GIB,
        bar1__total_bytes=256 * 1024**2,
    )
    record["ecc"] = dict.fromkeys(record["ecc"])
    change(record, changes)
    return record


def lost(record: dict[str, Any], index: int = 0) -> dict[str, Any]:
    """Make a GPU of a snapshot lost: it gives its name and nothing else."""
    card = record["gpus"][index]
    card["errors"] = dict(LOST)
    for key in ("vbios_version", "inforom_version", "gsp_firmware_version", "performance_state"):
        card[key] = None
    card["pci"].update(dict.fromkeys(LINK))
    card["bar1"]["total_bytes"] = None
    return record


def test_every_check_has_its_section_in_the_runbook() -> None:
    for check in CHECKS:
        assert check.group == "gpu_pci"
        assert f"\n## {check.name}\n" in (RUNBOOKS / f"{check.group}.md").read_text(encoding="utf-8")


def test_a_healthy_host_has_nothing_to_do() -> None:
    assert to_do(snapshot(), gpu_count=8, gpu_name="H100", minimum_gpus=8) == []
    assert one("gpu_count", snapshot())["subject"] == "8 GPUs"


def test_four_idle_geforce_cards_have_nothing_to_do() -> None:
    record = snapshot([geforce(index) for index in range(4)])
    assert to_do(record, gpu_count=4, gpu_name="RTX 4090") == []
    assert "4 GPUs" in one("pcie_generation", record)["observed"]
    assert "BAR1" in one("bar1", record)["observed"]


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_host_without_nvidia_hardware_skips_with_a_plain_reason(name: str) -> None:
    item = one(name, bare_host())
    assert item["status"] == "skip"
    assert "no NVIDIA GPU" in item["observed"]


def test_a_host_that_should_have_gpus_and_has_none_fails_in_two_checks() -> None:
    assert to_do(bare_host(), gpu_count=8) == [("nvml_loadable", "fail"), ("gpu_count", "fail")]
    assert to_do(bare_host(), minimum_gpus=1) == [("nvml_loadable", "fail"), ("gpu_count", "fail")]


@pytest.mark.parametrize("status", ["missing_package", "missing_library", "not_loaded", "mismatch", "error"])
def test_without_nvml_there_is_no_second_finding(status: str) -> None:
    record = snapshot(gpus=[], nvml__status=status)
    record["pci"] = snapshot()["pci"]
    # Without its own package it is the check that is blind, and not the host that is sick.
    assert to_do(record, gpu_count=8) == [("nvml_loadable", "warn" if status == "missing_package" else "fail")]
    for name in sorted(set(BY_NAME) - {"pcie_aer"}):
        assert "see nvml_loadable" in one(name, record, gpu_count=8)["observed"]


def test_while_nvml_hangs_the_gpus_read_before_are_not_judged() -> None:
    record = snapshot([gpu(0, pci__width_current=4)], nvml__status="hung")
    assert to_do(record) == [("nvml_hang", "fail")]
    assert "see nvml_hang" in one("pcie_width", record)["observed"]


# pcie_width


@pytest.mark.parametrize(
    ("width", "minimum", "status"),
    [(16, 0, "ok"), (8, 0, "fail"), (15, 0, "fail"), (8, 8, "ok"), (4, 8, "fail"), (16, 32, "ok"), (None, 0, "skip")],
)
def test_lanes(width: int | None, minimum: int, status: str) -> None:
    record = snapshot([gpu(0, pci__width_current=width)])
    item = one("pcie_width", record, {"minimum_lanes": minimum})
    assert item["status"] == status
    if status == "fail":
        assert (item["observed"], item["remedy"]) == (f"x{width}", "reboot")


def test_only_the_narrow_cards_are_named() -> None:
    record = snapshot([gpu(0), gpu(1, pci__width_current=8), gpu(2, pci__width_max=None), gpu(3, pci__width_current=4)])
    assert [item["gpu"]["index"] for item in run("pcie_width", record)] == [1, 3]


# pcie_generation


@pytest.mark.parametrize(
    ("generation", "state", "percent", "status"),
    [
        (5, 0, 100, "ok"),
        (1, 8, 0, "ok"),
        (1, 8, 100, "ok"),
        (1, 0, 19, "ok"),
        (1, 0, 20, "warn"),
        (4, 0, 100, "warn"),
        (1, 1, 100, "ok"),
        (1, None, 100, "ok"),
        (1, 0, None, "ok"),
        (None, 0, 100, "skip"),
    ],
)
def test_a_slow_link_counts_only_under_load(
    generation: int | None, state: int | None, percent: int | None, status: str
) -> None:
    card = gpu(0, pci__generation_current=generation, performance_state=state, utilization__gpu_percent=percent)
    item = one("pcie_generation", snapshot([card]))
    assert item["status"] == status
    assert item["remedy"] == "none"  # a moment and an average: no reason for a reboot
    assert ("gpu_benchmark" in item["action"]) == (status == "warn")
    if status == "ok" and generation == 1:
        assert "without load" in item["observed"]


def test_a_site_can_have_geforce_cards_judged_in_p2() -> None:
    record = snapshot([geforce(performance_state=2, utilization__gpu_percent=90)])
    assert one("pcie_generation", record)["status"] == "ok"
    assert one("pcie_generation", record, {"performance_state": 2})["status"] == "warn"


# pcie_replay


def replays(now: int | None, before: int | None, seconds: float = 600, **previous: Any) -> dict[str, Any]:
    """Return one GPU with a count now and one in the run before."""
    record = snapshot([gpu(0, pci__replay_count=now)])
    record["previous"] = {
        "taken_at_seconds": record["taken_at_seconds"] - seconds,
        "boot_id": record["boot_id"],
        "gpus": {record["gpus"][0]["uuid"]: {"clock_event_seconds": {}, "replay_count": before, "nvlink_errors": 0}},
        **previous,
    }
    return record


@pytest.mark.parametrize(
    ("now", "before", "seconds", "status"),
    [
        (0, 0, 600, "ok"),
        (1000, 1000, 600, "ok"),
        (80, 0, 600, "ok"),
        (81, 0, 600, "warn"),
        (8, 0, 1, "ok"),
        (9, 0, 1, "warn"),
        (5, 10, 600, "skip"),
        (None, 0, 600, "skip"),
        (5, None, 600, "skip"),
        (100, 0, 0, "skip"),
        (100, 0, -5, "skip"),
    ],
)
def test_replays_count_by_their_rate(now: int | None, before: int | None, seconds: float, status: str) -> None:
    assert one("pcie_replay", replays(now, before, seconds))["status"] == status


def test_replays_need_an_earlier_run_of_the_same_boot() -> None:
    assert "first run" in one("pcie_replay", snapshot())["observed"]
    assert "first run" in one("pcie_replay", replays(999, 0, boot_id="other"))["observed"]
    assert "first run" in one("pcie_replay", replays(999, 0, boot_id=None))["observed"]
    assert one("pcie_replay", replays(999, 0, gpus={}))["status"] == "skip"


def test_the_rate_of_replays_is_a_threshold_of_the_site() -> None:
    assert one("pcie_replay", replays(10, 0), {"per_minute": 0})["status"] == "warn"
    assert one("pcie_replay", replays(1000, 0), {"per_minute": 100})["status"] == "ok"


# pcie_aer


@pytest.mark.parametrize(
    ("fatal", "nonfatal", "thresholds", "status"),
    [
        (0, 0, {}, "ok"),
        (1, 0, {}, "fail"),
        (0, 1, {}, "warn"),
        (2, 5, {}, "fail"),
        (0, 9, {"nonfatal": 10}, "ok"),
        (0, 10, {"nonfatal": 10}, "warn"),
        (1, 0, {"fatal": 2}, "ok"),
        (None, None, {}, "skip"),
        (None, 1, {}, "warn"),
    ],
)
def test_errors_that_the_kernel_counted(
    fatal: int | None, nonfatal: int | None, thresholds: dict[str, float], status: str
) -> None:
    record = snapshot([gpu(0)])
    record["pci"][0].update(aer_fatal=fatal, aer_nonfatal=nonfatal)
    item = one("pcie_aer", record, thresholds)
    assert item["status"] == status
    assert (item["gpu"] is not None) == (status in ("warn", "fail"))


def test_kernel_counters_need_no_driver() -> None:
    record = snapshot(nvml__status="not_loaded")
    record["gpus"] = []
    record["pci"][0]["aer_fatal"] = 1
    item = one("pcie_aer", record)
    assert (item["status"], item["gpu"]) == ("fail", None)


# bar1


def test_bar1_of_a_card_whose_peers_have_all_is_a_warning() -> None:
    cards = [geforce(index, bar1__total_bytes=32 * GIB) for index in range(3)] + [geforce(3)]
    item = one("bar1", snapshot(cards))
    assert (item["status"], item["remedy"], item["gpu"]["index"]) == ("warn", "configure", 3)


@pytest.mark.parametrize(
    ("bar1_bytes", "status"), [(24 * GIB, "ok"), (24 * GIB - 1, "warn"), (64 * GIB, "ok"), (None, "ok")]
)
def test_bar1_is_full_from_the_size_of_the_memory_on(bar1_bytes: int | None, status: str) -> None:
    cards = [geforce(0, bar1__total_bytes=32 * GIB), geforce(1, bar1__total_bytes=bar1_bytes)]
    assert one("bar1", snapshot(cards))["status"] == status


def test_bar1_of_another_model_is_no_peer() -> None:
    assert one("bar1", snapshot([gpu(0), geforce(1)]))["status"] == "ok"


def test_bar1_that_no_card_tells_is_skipped() -> None:
    record = each(snapshot(), lambda card: card["bar1"].update(total_bytes=None))
    assert one("bar1", record)["status"] == "skip"


# uniform_firmware


@pytest.mark.parametrize("key", ["vbios_version", "gsp_firmware_version", "inforom_version"])
def test_the_odd_card_is_named_with_what_its_peers_have(key: str) -> None:
    record = snapshot()
    record["gpus"][5][key] = "1.2.3"
    item = one("uniform_firmware", record)
    assert (item["status"], item["gpu"]["index"]) == ("warn", 5)
    assert "1.2.3" in item["observed"]
    assert record["gpus"][0][key] in item["expected"]


def test_of_two_different_cards_one_is_named() -> None:
    record = snapshot([gpu(0, vbios_version="96.1"), gpu(1, vbios_version="96.2")])
    assert one("uniform_firmware", record)["gpu"]["index"] == 0


def test_cards_of_different_boards_are_not_compared() -> None:
    record = snapshot([geforce(0), geforce(1, vbios_version="95.9", pci__subsystem_id="889e1043")])
    assert one("uniform_firmware", record)["status"] == "skip"


def test_unknown_firmware_is_neither_right_nor_wrong() -> None:
    record = snapshot([gpu(0), gpu(1, inforom_version=None)])
    assert one("uniform_firmware", record)["status"] == "ok"
    nothing = {"vbios_version": None, "inforom_version": None, "gsp_firmware_version": None}
    record = snapshot([gpu(0, **nothing), gpu(1, **nothing)])
    assert "not supported" in one("uniform_firmware", record)["observed"]


def test_a_single_card_has_no_peer() -> None:
    assert one("uniform_firmware", snapshot([gpu(0)]))["status"] == "skip"
