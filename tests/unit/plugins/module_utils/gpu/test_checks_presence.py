# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs are there: a card that is missing, lost or no longer on the bus is one finding."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import (
    bare_host,
    change,
    gpu,
    snapshot,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.test_checks_pci import lost, one, to_do


def off_the_bus(record: dict[str, Any], index: int = 0) -> dict[str, Any]:
    """Remove a GPU from NVML and from the bus."""
    record["gpus"].pop(index)
    record["pci"].pop(index)
    return record


# gpu_count


@pytest.mark.parametrize(
    ("expected", "status"),
    [
        ({}, None),
        ({"gpu_count": 7}, None),
        ({"gpu_count": 8}, "fail"),
        ({"minimum_gpus": 7}, None),
        ({"minimum_gpus": 8}, "fail"),
        ({"gpu_count": 6}, "warn"),
        ({"gpu_count": 7, "minimum_gpus": 8}, "fail"),
    ],
)
def test_seven_gpus_against_what_is_expected(expected: dict[str, Any], status: str | None) -> None:
    record = snapshot([gpu(index) for index in range(7)])
    item = one("gpu_count", record, **expected)
    assert item["status"] == (status or "ok")


def test_a_card_that_left_the_bus_is_one_finding_also_without_nvml() -> None:
    record = off_the_bus(snapshot())
    assert to_do(record, gpu_count=8) == [("gpu_count", "fail")]
    assert one("gpu_count", record, gpu_count=8)["remedy"] == "reboot"
    change(record, {"gpus": [], "nvml__status": "missing_package"})
    assert one("gpu_count", record, gpu_count=8)["status"] == "fail"


def test_a_card_that_the_driver_does_not_take_is_named() -> None:
    record = snapshot()
    gone = record["gpus"].pop(3)
    expectations: list[dict[str, Any]] = [{}, {"gpu_count": 8}, {"gpu_count": 6}]
    for expected in expectations:
        assert to_do(record, **expected) == [("gpu_count", "fail")]
        assert gone["pci"]["address"] in one("gpu_count", record, **expected)["observed"]


def test_a_card_passed_to_a_virtual_machine_is_fine_when_the_count_says_so() -> None:
    record = snapshot()
    record["gpus"].pop(3)
    assert to_do(record, gpu_count=7) == []


def test_gpus_that_nouveau_holds_are_left_to_nouveau() -> None:
    record = snapshot(driver__nouveau_loaded=True)
    record["gpus"].pop(3)
    assert to_do(record) == [("nouveau", "fail")]
    record["gpus"].clear()
    assert to_do(record) == [("nouveau", "fail")]
    assert "see nouveau" in one("pcie_width", record)["observed"]


def test_nvml_counts_where_the_bus_cannot_be_read() -> None:
    record = snapshot()
    record["pci"] = []
    assert to_do(record, gpu_count=8) == []
    assert one("gpu_count", record, gpu_count=9)["status"] == "fail"


def test_another_card_than_expected_is_named() -> None:
    record = snapshot([gpu(0), gpu(1, name="NVIDIA A100-SXM4-80GB")])
    item = one("gpu_count", record, gpu_name="h100")
    assert (item["status"], item["remedy"], item["gpu"]["index"]) == ("fail", "configure", 1)


# gpu_lost


def test_a_lost_gpu_is_the_only_finding() -> None:
    record = lost(snapshot(), 2)
    assert to_do(record, gpu_count=8, gpu_name="H100", minimum_gpus=8) == [("gpu_lost", "fail")]
    item = one("gpu_lost", record)
    assert (item["remedy"], item["gpu"]["index"]) == ("reboot", 2)
    assert "GPU_IS_LOST" in item["observed"]


def test_a_gpu_lost_for_nvml_and_for_the_bus_is_one_finding() -> None:
    record = lost(snapshot(), 2)
    record["pci"][2].update(readable=False, aer_fatal=3)
    assert to_do(record) == [("gpu_lost", "fail")]
    assert "reads ff" in one("gpu_lost", record)["observed"]


def test_a_gpu_that_nvml_no_longer_lists_and_the_bus_reads_as_ff_is_one_finding() -> None:
    record = snapshot()
    gone = record["gpus"].pop(2)
    record["pci"][2]["readable"] = False
    assert to_do(record, gpu_count=8) == [("gpu_lost", "fail")]
    assert one("gpu_lost", record)["gpu"] == {"index": None, "uuid": None, "pci_address": gone["pci"]["address"]}


@pytest.mark.parametrize(("code", "remedy"), [(999, "reboot"), (8, "hardware"), (4, "configure"), (17, "configure")])
def test_a_gpu_that_nvml_cannot_open_is_one_finding(code: int, remedy: str) -> None:
    record = snapshot()
    card = record["gpus"][2]
    lost(record, 2)["gpus"][2]["errors"] = {"nvmlDeviceGetHandleByIndex": {"code": code, "name": "CODE"}}
    card.update(name=None, uuid=None)
    card["pci"].update(address=None)
    assert to_do(record, gpu_count=8, gpu_name="H100") == [("gpu_lost", "fail")]
    item = one("gpu_lost", record)
    assert (item["remedy"], item["subject"]) == (remedy, "GPU 2")
    record["pci"][2]["readable"] = False
    item = one("gpu_lost", record, gpu_count=8)
    assert (item["remedy"], item["gpu"]["pci_address"]) == ("reboot", "0000:1a:00.0")


def test_an_error_of_another_call_does_not_make_a_gpu_lost() -> None:
    record = snapshot()
    record["gpus"][0]["errors"] = {"nvmlDeviceGetPowerUsage": {"code": 999, "name": "UNKNOWN"}}
    assert one("gpu_lost", record)["status"] == "ok"


def test_a_lost_gpu_is_seen_on_the_bus_while_nvml_is_silent() -> None:
    record = snapshot(nvml__status="error", nvml__code=15)
    record["gpus"] = []
    record["pci"][0]["readable"] = False
    assert to_do(record, gpu_count=8) == [("gpu_lost", "fail")]


def test_a_lost_nvswitch_is_named() -> None:
    record = snapshot()
    record["pci"].append({**record["pci"][0], "address": "0000:07:00.0", "kind": "nvswitch", "readable": False})
    item = one("gpu_lost", record, gpu_count=8)
    assert (item["status"], item["subject"], item["gpu"]) == ("fail", "NVSwitch 0000:07:00.0", None)


def test_when_every_gpu_is_lost_the_others_say_where_to_look() -> None:
    record = snapshot()
    for index in range(8):
        lost(record, index)
    assert to_do(record) == [("gpu_lost", "fail")] * 8
    for name in ("pcie_width", "pcie_generation", "pcie_replay", "bar1", "uniform_firmware"):
        assert "see gpu_lost" in one(name, record)["observed"]


# gpu_count against the run before


def after(record: dict[str, Any], before: int = 8) -> dict[str, Any]:
    """Return a snapshot whose run before saw so many GPUs."""
    uuids = [gpu(index)["uuid"] for index in range(before)]
    record["previous"] = {"taken_at_seconds": 1.0, "boot_id": "another", "gpus": {uuid: {} for uuid in uuids}}
    return record


@pytest.mark.parametrize("expected", [{}, {"minimum_gpus": 7}])
def test_a_gpu_that_vanished_since_the_run_before_is_named(expected: dict[str, Any]) -> None:
    record = after(off_the_bus(snapshot(), 3))
    assert to_do(record, **expected) == [("gpu_count", "warn")]
    item = one("gpu_count", record, **expected)
    assert item["remedy"] == "none"
    assert item["observed"] == f"7; gone since the run before: {gpu(3)['uuid']}"
    assert "expected.gpu_count: 7" in item["action"] and gpu(3)["uuid"] in item["action"]


def test_a_gpu_taken_out_on_purpose_is_fine_when_the_count_says_so() -> None:
    assert to_do(after(off_the_bus(snapshot(), 3)), gpu_count=7) == []


def test_a_gpu_that_vanished_below_the_wanted_number_is_one_finding_with_its_name() -> None:
    expectations: list[dict[str, Any]] = [{"gpu_count": 8}, {"minimum_gpus": 8}]
    for expected in expectations:
        item = one("gpu_count", after(off_the_bus(snapshot(), 3)), **expected)
        assert item["status"] == "fail"
        assert gpu(3)["uuid"] in item["observed"]


def test_the_only_gpu_of_a_host_does_not_vanish_unseen() -> None:
    item = one("gpu_count", after(bare_host(), before=1))
    assert (item["status"], item["observed"]) == ("warn", f"0; gone since the run before: {gpu(0)['uuid']}")


def test_a_gpu_that_vanished_while_nvml_is_silent_is_one_of_those_of_the_run_before() -> None:
    record = after(off_the_bus(snapshot(), 3))
    change(record, {"gpus": [], "nvml__status": "mismatch"})
    assert to_do(record) == [("nvml_loadable", "fail"), ("gpu_count", "warn")]
    assert "1 of GPU-" in one("gpu_count", record)["observed"]


def test_a_gpu_that_is_lost_replaced_or_new_did_not_vanish() -> None:
    assert to_do(after(lost(snapshot(), 3))) == [("gpu_lost", "fail")]
    assert to_do(after(snapshot([gpu(index, uuid=f"GPU-new-{index}") for index in range(8)]))) == []
    assert to_do(after(snapshot(), before=7)) == []
    assert to_do(after(snapshot(), before=0)) == []
