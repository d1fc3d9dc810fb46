# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook health, as an operator runs it: one table, an exit code to rely on, and nothing counted twice."""

from __future__ import annotations

import json

import pytest
from gpu_fleet import STATE, GpuFleet, healthy, with_faults
from rollouts import HOSTS

XID_79 = "NVRM: Xid (PCI:0000:5d:00): 79, pid=1234, name=llama-server, GPU has fallen off the bus."
XID_31 = "NVRM: Xid (PCI:0000:18:00): 31, pid=1, name=llama-server, MMU Fault: ENGINE GRAPHICS"


@pytest.fixture(autouse=True)
def all_healthy(fleet: GpuFleet) -> None:
    fleet.give(**dict.fromkeys(HOSTS, healthy()))


def test_healthy_fleet_ends_well_and_changes_nothing(fleet: GpuFleet) -> None:
    done, hosts = fleet.health()
    assert done.code == 0, done.output[-4000:]
    assert "All is well. Asked: 3 hosts, 24 GPUs." in done.output
    assert {host["status"] for host in hosts.values()} == {"healthy"}
    page = (fleet.health_root / "health.html").read_text(encoding="utf-8")
    assert "NVIDIA H100 80GB HBM3" in page
    again, _hosts = fleet.health()
    assert (again.code, again.changed) == (0, 0)


def test_check_mode_writes_nothing_anywhere(fleet: GpuFleet) -> None:
    done, hosts = fleet.health("--check")
    assert done.code == 0, done.output[-4000:]
    assert hosts == {}, "no file on the controller"
    assert fleet.shell("gpu1", f"ls {STATE} 2>/dev/null || echo nothing").strip() == "nothing"


def test_gpu_that_must_leave_service_fails_the_playbook_and_says_what_to_do(fleet: GpuFleet) -> None:
    fleet.give(gpu2=with_faults("remap_failed"))
    done, hosts = fleet.health()
    assert done.code != 0
    assert "Must leave service: gpu2." in done.output
    assert "row_remap_failed" in done.output
    assert "docs/runbooks/gpu_memory.md, section row_remap_failed" in done.output
    assert "remediate=true" in done.output
    assert {name: host["status"] for name, host in hosts.items()} == {
        "gpu1": "healthy",
        "gpu2": "out_of_service",
        "gpu3": "healthy",
    }


def test_host_that_is_cut_off_is_told_as_unknown_and_fails_the_playbook(fleet: GpuFleet) -> None:
    fleet.lab_command("cut", "gpu3")
    try:
        done, hosts = fleet.health()
    finally:
        fleet.lab_command("heal", "gpu3")
    assert done.code != 0
    assert "Did not answer: gpu3." in done.output
    assert hosts["gpu3"]["status"] == "unknown"
    assert hosts["gpu1"]["status"] == "healthy"


def test_limit_asks_only_some_hosts(fleet: GpuFleet) -> None:
    done, hosts = fleet.health("--limit", "gpu1")
    assert done.code == 0, done.output[-3000:]
    assert list(hosts) == ["gpu1"]


def test_limit_does_not_hide_a_gpu_that_must_leave_service(fleet: GpuFleet) -> None:
    fleet.give(gpu2=with_faults("remap_failed"))
    done, hosts = fleet.health("--limit", "gpu2")
    assert done.code != 0
    assert hosts["gpu2"]["status"] == "out_of_service"


def test_each_xid_counts_once_however_often_one_looks(fleet: GpuFleet) -> None:
    fleet.health()
    fleet.fake_gpu("gpu1", "log", XID_31)
    counts = []
    for _run in range(2):
        _done, hosts = fleet.health()
        counts.append([event["code"] for event in hosts["gpu1"]["events"] if event["kind"] == "xid"])
    assert counts == [[31], [31]]


def test_xid_written_right_before_a_log_rotation_is_not_missed(fleet: GpuFleet) -> None:
    fleet.health()
    fleet.fake_gpu("gpu1", "log", XID_79)
    fleet.shell("gpu1", "mv /srv/fake-kmsg /srv/fake-kmsg.1; touch /srv/fake-kmsg")
    _done, hosts = fleet.health()
    assert [event["code"] for event in hosts["gpu1"]["events"]] == [79]
    assert hosts["gpu1"]["status"] == "out_of_service"
    _done, hosts = fleet.health()
    assert [event["code"] for event in hosts["gpu1"]["events"]] == [79], "found again after the rotation"


def test_noise_and_garbage_in_the_log_neither_break_nor_hide(fleet: GpuFleet) -> None:
    fleet.health()
    now = "$(awk '{printf \"%d\", $1 * 1000000}' /proc/uptime)"
    fleet.shell(
        "gpu1",
        "head -c 1000000 /dev/urandom >> /srv/fake-kmsg; echo >> /srv/fake-kmsg;"
        f' echo "3,9001,{now},-;{XID_79}" >> /srv/fake-kmsg;'
        " printf '6,9002,99999,-;NVRM: Xid (PCI:0000:18' >> /srv/fake-kmsg",
    )
    _done, hosts = fleet.health()
    assert [event["code"] for event in hosts["gpu1"]["events"]] == [79]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"skip_checks": ["temprature_gpu"]}, "Did you mean temperature_gpu?"),
        (
            {"thresholds": {"temperature_gpu": {"margin_celsius": 900}}},
            "thresholds.temperature_gpu.margin_celsius: 900",
        ),
        ({"kernel_log": "/srv/no-such-log"}, "/srv/no-such-log"),
        ({"xid_overrides": {"31": {"severity": "fatale"}}}, "fatale"),
        ({"treshholds": {}}, "Did you mean thresholds?"),
    ],
)
def test_wrong_option_is_named_with_its_value_and_the_fix(
    fleet: GpuFleet, options: dict[str, object], words: str
) -> None:

    done, _hosts = fleet.health("-e", json.dumps({"local_llm_gpu_health": options}))
    assert done.code != 0
    assert words in done.output, done.output[-3000:]


def test_missing_package_makes_a_host_unknown_and_not_sick_and_names_the_fix(fleet: GpuFleet) -> None:

    options = {"nvml_python": "/usr/bin/python3", "sysfs_root": "/srv/fake-sys", "kernel_log": "/srv/fake-kmsg"}
    done, hosts = fleet.health("-e", json.dumps({"local_llm_gpu_health": options}))
    assert done.code != 0
    assert {host["status"] for host in hosts.values()} == {"unknown"}
    assert [item for item in hosts["gpu1"]["findings"] if item["status"] == "fail"] == []
    (item,) = [item for item in hosts["gpu1"]["findings"] if item["check"] == "nvml_loadable"]
    assert "nvidia-ml-py" in item["action"]
    assert "Cannot be looked at: gpu1, gpu2, gpu3." in done.output


def test_two_findings_about_one_card_give_one_thing_to_do(fleet: GpuFleet) -> None:
    fleet.give(gpu2=with_faults("remap_failed"))
    done, hosts = fleet.health()
    assert done.code != 0
    by_check = {item["check"]: item for item in hosts["gpu2"]["findings"] if item["status"] == "fail"}
    assert not by_check["row_remap_failed"]["action"].startswith("Follow")
    assert by_check["xid"]["gpu"] == by_check["row_remap_failed"]["gpu"]
    assert by_check["xid"]["action"].startswith("Follow row_remap_failed of this GPU")
    assert "found XID 64 x1 (last " in done.output


def test_override_of_one_xid_changes_what_it_asks_for(fleet: GpuFleet) -> None:

    fleet.fake_gpu("gpu1", "log", XID_79)
    options = {
        "sysfs_root": "/srv/fake-sys",
        "kernel_log": "/srv/fake-kmsg",
        "skip_checks": ["time_sync", "disk", "zombie_processes"],
        "xid_overrides": {"79": {"severity": "warning", "action": "none"}},
    }
    done, hosts = fleet.health("-e", json.dumps({"local_llm_gpu_health": options}))
    assert done.code == 0, done.output[-3000:]
    assert hosts["gpu1"]["status"] == "degraded"
