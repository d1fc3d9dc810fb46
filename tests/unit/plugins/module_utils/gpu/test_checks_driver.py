# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the driver: one cause gives one finding, and what will break at the next boot is said before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_driver import CHECKS
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import bare_host, change, snapshot

RUNBOOKS = Path(__file__).resolve().parents[5] / "docs" / "runbooks"
BY_NAME = {check.name: check for check in CHECKS}
LOADED = "570.133.20"
NEWER = "575.57.08"
SILENT: dict[str, Any] = {"gpus": [], "topology": []}


def run(name: str, record: dict[str, Any], **expected: Any) -> list[dict[str, Any]]:
    """Run one check of this file."""
    check = BY_NAME[name]
    return check.run(check, record, Context(expected=expected))


def one(name: str, record: dict[str, Any], **expected: Any) -> dict[str, Any]:
    """Run one check that must give one finding."""
    [item] = run(name, record, **expected)
    return item


def statuses(record: dict[str, Any], **expected: Any) -> dict[str, str]:
    """Return {check: status} of the checks that found something to do."""
    found = [item for name in BY_NAME for item in run(name, record, **expected)]
    return {item["check"]: item["status"] for item in found if item["status"] in ("warn", "fail")}


def silent(status: str, code: int | None = None, **changes: Any) -> dict[str, Any]:
    """Return a host with GPUs on the bus on which NVML does not answer."""
    record = snapshot(**changes)
    record.update(SILENT)
    change(record, {"nvml__status": status, "nvml__code": code, "nvml__error": f"said {status}"})
    return record


def test_every_check_has_its_section_in_the_runbook() -> None:
    for check in CHECKS:
        assert check.group == "gpu_driver"
        assert f"\n## {check.name}\n" in (RUNBOOKS / f"{check.group}.md").read_text(encoding="utf-8")


def test_a_healthy_host_has_nothing_to_do() -> None:
    assert [item["status"] for name in BY_NAME for item in run(name, snapshot())] == ["ok"] * 5 + ["skip"]


def test_a_host_without_nvidia_hardware_skips_everything_with_a_plain_reason() -> None:
    for name in BY_NAME:
        item = one(name, bare_host(), driver_version="570")
        assert item["status"] == "skip"
        assert "no NVIDIA GPU" in item["observed"]


@pytest.mark.parametrize("expected", [{"gpu_count": 8}, {"minimum_gpus": 1}])
def test_a_host_that_should_have_gpus_fails_when_it_has_none(expected: dict[str, int]) -> None:
    assert statuses(bare_host(), **expected) == {"nvml_loadable": "fail"}


def test_not_wanting_gpus_is_not_expecting_them() -> None:
    assert one("nvml_loadable", bare_host(), gpu_count=None, minimum_gpus=0)["status"] == "skip"


@pytest.mark.parametrize(
    ("status", "code", "changes", "remedy", "said"),
    [
        ("missing_library", 12, {}, "configure", "libnvidia-ml.so.1"),
        ("not_loaded", 9, {"driver__loaded_version": None}, "configure", "modprobe nvidia"),
        (
            "not_loaded",
            9,
            {"driver__loaded_version": None, "driver__disk_version": None},
            "configure",
            "dkms autoinstall -k 6.12.48-amd64",
        ),
        ("not_loaded", 9, {}, "configure", "nvidia-modprobe"),
        ("mismatch", 18, {"driver__library_versions": [NEWER]}, "reboot", "rmmod nvidia_uvm"),
        ("error", 999, {}, "reboot", "reboot"),
        ("error", 4, {}, "configure", "root"),
        ("error", 8, {}, "hardware", "power cables"),
        ("error", 17, {}, "configure", "control group"),
        ("error", None, {}, "configure", "probe itself failed"),
    ],
)
def test_each_way_nvml_fails_has_its_own_remedy(
    status: str, code: int | None, changes: dict[str, Any], remedy: str, said: str
) -> None:
    record = silent(status, code, **changes)
    item = one("nvml_loadable", record)
    assert (item["status"], item["remedy"]) == ("fail", remedy)
    assert said in item["action"] or said in item["observed"]
    assert item["runbook"] == "docs/runbooks/gpu_driver.md#nvml_loadable"
    assert statuses(record) == {"nvml_loadable": "fail"}


def test_a_check_that_lacks_its_package_does_not_say_that_the_host_is_sick() -> None:
    record = silent("missing_package", None)
    item = one("nvml_loadable", record)
    assert (item["status"], item["remedy"]) == ("warn", "configure")
    assert "cannot be looked at" in item["observed"]
    assert "nvidia-ml-py" in item["action"] and "may serve on" in item["action"]
    assert statuses(record) == {"nvml_loadable": "warn"}


def test_a_mismatch_names_all_versions() -> None:
    record = silent("mismatch", 18, driver__library_versions=[NEWER], driver__disk_version=NEWER)
    observed = one("nvml_loadable", record)["observed"]
    assert LOADED in observed
    assert NEWER in observed
    assert "see nvml_loadable" in one("driver_lib_match", record)["observed"]


def test_a_hang_is_reported_once_with_the_call_and_the_stuck_processes() -> None:
    record = silent("hung", host__blocked_processes=[{"pid": 77, "name": "nvidia-smi"}])
    change(record, {"nvml__hung_call": "nvmlInit", "nvml__seconds": 30.0})
    assert statuses(record) == {"nvml_hang": "fail"}
    item = one("nvml_hang", record)
    assert item["remedy"] == "reboot"
    assert "nvmlInit" in item["observed"]
    assert "nvidia-smi (77)" in item["observed"]
    assert "SIGKILL" in item["action"]
    assert "see nvml_hang" in one("nvml_loadable", record)["observed"]


@pytest.mark.parametrize("status", ["hung", "error"])
def test_a_host_without_gpus_never_hangs_in_the_driver(status: str) -> None:
    record = bare_host()
    record["nvml"]["status"] = status
    record["host"]["blocked_processes"] = [{"pid": 77, "name": "nvidia-smi"}]
    assert one("nvml_hang", record)["status"] == "skip"
    assert one("nvml_hang", record, gpu_count=1)["status"] == "fail"


def test_a_host_too_slow_to_ask_nvml_is_no_hang_of_the_driver() -> None:
    record = silent("error", None, nvml__hung_call="import pynvml")
    record["host"]["blocked_processes"] = [{"pid": 77, "name": "nvidia-smi"}]
    assert statuses(record) == {"nvml_loadable": "fail"}
    item = one("nvml_loadable", record)
    assert item["remedy"] == "configure"
    assert "deadline_seconds" in item["action"]


def test_an_nvml_error_with_stuck_processes_is_a_hang_and_nothing_else() -> None:
    record = silent("error", 999, host__blocked_processes=[{"pid": 77, "name": "nvidia-modeset"}])
    assert statuses(record) == {"nvml_hang": "fail"}


def test_stuck_processes_while_nvml_answers_are_no_hang() -> None:
    assert one("nvml_hang", snapshot(host__blocked_processes=[{"pid": 7, "name": "nvidia-smi"}]))["status"] == "ok"


def test_nvml_that_does_not_start_for_a_lost_gpu_is_reported_by_gpu_lost() -> None:
    record = silent("error", 15)
    record["pci"][0]["readable"] = False
    assert "see gpu_lost" in one("nvml_loadable", record)["observed"]
    record["pci"][0]["readable"] = True
    assert one("nvml_loadable", record)["status"] == "fail"


@pytest.mark.parametrize(
    ("loaded", "disk", "libraries", "status", "remedy"),
    [
        (LOADED, LOADED, [LOADED], "ok", "none"),
        (LOADED, None, [LOADED], "ok", "none"),
        (LOADED, LOADED, [], "ok", "none"),
        (LOADED, LOADED, [LOADED, NEWER], "ok", "none"),
        (LOADED, LOADED, [NEWER], "warn", "configure"),
        (LOADED, None, [NEWER], "warn", "configure"),
        (LOADED, NEWER, [NEWER], "warn", "reboot"),
        (LOADED, NEWER, [LOADED, NEWER], "warn", "reboot"),
        (LOADED, NEWER, [], "warn", "reboot"),
        (LOADED, NEWER, [LOADED], "warn", "configure"),
        (None, LOADED, [LOADED], "skip", "none"),
        (LOADED, None, [], "skip", "none"),
    ],
)
def test_versions_of_module_and_library(
    loaded: str | None, disk: str | None, libraries: list[str], status: str, remedy: str
) -> None:
    record = snapshot(driver__loaded_version=loaded, driver__disk_version=disk, driver__library_versions=libraries)
    item = one("driver_lib_match", record)
    assert (item["status"], item["remedy"]) == (status, remedy)


@pytest.mark.parametrize("disk", [LOADED, NEWER, None])
def test_a_library_unlike_the_module_fails_only_while_nvml_does_not_answer(disk: str | None) -> None:
    changes: dict[str, Any] = {"driver__disk_version": disk, "driver__library_versions": [NEWER]}
    item = one("driver_lib_match", silent("error", 999, **changes))
    assert (item["status"], item["remedy"]) == ("fail", "reboot")
    assert one("driver_lib_match", snapshot(**changes))["status"] == "warn"


def test_a_half_done_upgrade_warns_of_the_reboot_itself() -> None:
    item = one("driver_lib_match", snapshot(driver__disk_version=NEWER))
    assert "Do not reboot yet" in item["action"]


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({}, "ok", ""),
        ({"kernel__newest": "6.12.60-amd64"}, "ok", ""),
        (
            {"kernel__newest": "6.12.60-amd64", "kernel__newest_has_module": False},
            "warn",
            "dkms autoinstall -k 6.12.60",
        ),
        ({"kernel__newest_has_module": False}, "warn", "dkms autoinstall"),
        ({"kernel__secure_boot": True}, "ok", ""),
        ({"kernel__secure_boot": True, "kernel__newest_module_signed": False}, "warn", "mokutil"),
        ({"kernel__newest_module_signed": False}, "ok", ""),
        ({"kernel__secure_boot": None, "kernel__newest_module_signed": False}, "ok", ""),
        ({"kernel__secure_boot": True, "kernel__newest_module_signed": None}, "skip", ""),
        ({"kernel__newest": None}, "skip", ""),
        ({"kernel__newest_has_module": None}, "skip", ""),
        ({"driver__loaded_version": None, "kernel__newest_has_module": False}, "skip", ""),
    ],
)
def test_the_next_kernel_must_have_a_module_that_it_will_load(changes: dict[str, Any], status: str, said: str) -> None:
    item = one("next_kernel_module", snapshot(**changes))
    assert item["status"] == status
    assert said in item["action"]


def test_nouveau_that_holds_the_gpus_is_the_only_finding() -> None:
    record = silent("not_loaded", 9, driver__loaded_version=None, driver__nouveau_loaded=True)
    assert statuses(record) == {"nouveau": "fail"}
    assert "see nouveau" in one("nvml_loadable", record)["observed"]


def test_nouveau_that_holds_one_of_the_gpus_fails() -> None:
    record = snapshot(driver__nouveau_loaded=True)
    record["gpus"].pop()
    assert one("nouveau", record)["status"] == "fail"


def test_nouveau_beside_a_driver_that_has_all_gpus_is_a_warning() -> None:
    assert one("nouveau", snapshot(driver__nouveau_loaded=True))["status"] == "warn"


def test_nouveau_on_a_host_without_any_nvidia_driver_is_left_to_nvml_loadable() -> None:
    record = silent("missing_library", 12, driver__loaded_version=None, driver__disk_version=None)
    record["driver"]["nouveau_loaded"] = True
    assert statuses(record) == {"nvml_loadable": "fail"}


@pytest.mark.parametrize(
    ("wanted", "changes", "status"),
    [
        (None, {}, "skip"),
        (LOADED, {}, "ok"),
        ("570", {}, "ok"),
        ("570.133", {}, "ok"),
        ("57", {}, "warn"),
        ("570.13", {}, "warn"),
        (NEWER, {}, "warn"),
        (NEWER, {"driver__disk_version": NEWER, "driver__library_versions": [LOADED, NEWER]}, "skip"),
        (NEWER, {"driver__loaded_version": None, "nvml__driver_version": None}, "skip"),
    ],
)
def test_the_driver_of_the_inventory(wanted: str | None, changes: dict[str, Any], status: str) -> None:
    assert one("driver_version", snapshot(**changes), driver_version=wanted)["status"] == status


def test_a_driver_that_waits_for_its_reboot_is_reported_once() -> None:
    record = snapshot(driver__disk_version=NEWER, driver__library_versions=[LOADED, NEWER])
    assert statuses(record, driver_version=NEWER) == {"driver_lib_match": "warn"}
    record = silent("mismatch", 18, driver__disk_version=NEWER, driver__library_versions=[NEWER])
    assert statuses(record, driver_version=NEWER) == {"nvml_loadable": "fail"}


def test_what_fails_is_critical_and_tells_what_to_do() -> None:
    for item in failures(run("nvml_loadable", silent("error", 999))):
        assert item["severity"] == "critical"
        assert item["action"]
