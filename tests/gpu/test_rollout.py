# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts on hosts with GPUs: a sick card is refused before, noticed during, and never let in again unproven."""

from __future__ import annotations

import json

import pytest
from fleet import Client
from gpu_fleet import GpuFleet, healthy, with_faults
from rollouts import HOSTS, Rollout, gateway_servers, journal

pytestmark = pytest.mark.usefixtures("restored")
XID_31 = "NVRM: Xid (PCI:0000:18:00): 31, pid=1, name=llama-server, MMU Fault: ENGINE GRAPHICS"
XID_79 = "NVRM: Xid (PCI:0000:18:00): 79, pid=1234, name=llama-server, GPU has fallen off the bus."


@pytest.fixture
def other_release(fleet: GpuFleet) -> list[str]:
    """Arguments for a good release that differs from the one that serves now."""
    text = fleet.shell("gpu1", "cat /var/lib/local_llm/instances/chat/current/release.json")
    now = json.loads(text)["description"]["config"]["parallel_requests"]
    return ["-e", f"lab_parallel_requests={2 if now != 2 else 3}"]


def test_good_upgrade_rests_on_the_health_of_the_gpus(
    fleet: GpuFleet, client: Client, other_release: list[str]
) -> None:
    done = fleet.playbook("upgrade", *other_release)
    assert done.code == 0, done.output[-4000:]
    assert done.outcome == "completed"
    lines = journal(done.made_rollout)
    for event in ("gpu_health", "gpu_watched"):
        assert {line["host"] for line in lines if line["event"] == event} == set(HOSTS)
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_host_whose_gpu_must_leave_service_is_refused_before_anything_is_touched(
    fleet: GpuFleet, other_release: list[str]
) -> None:
    before = fleet.releases()
    fleet.give(gpu2=with_faults("remap_failed"))
    done = fleet.playbook("upgrade", *other_release)
    assert done.code != 0
    assert "row_remap_failed" in done.output, done.output[-3000:]
    assert done.rollout is None, "no rollout was begun"
    assert fleet.releases() == before


def test_host_whose_gpus_cannot_be_looked_at_is_refused_with_the_right_words(
    fleet: GpuFleet, other_release: list[str]
) -> None:
    options = {**fleet.variables()["local_llm_gpu_health"], "nvml_python": "/usr/bin/python3"}
    done = fleet.playbook("upgrade", *other_release, "-e", json.dumps({"local_llm_gpu_health": options}))
    assert done.code != 0
    assert done.rollout is None
    assert "cannot be looked at" in done.output and "nvidia-ml-py" in done.output, done.output[-3000:]


def test_rollout_beside_a_recovery_is_refused_and_says_who_holds_the_lock(
    fleet: GpuFleet, other_release: list[str]
) -> None:
    lock = "directory=/var/lib/local_llm/gateway/recovery rollout_id=recovery-elsewhere"
    fleet.ad_hoc("gw1", "local_llm.ops.rollout_lock", f"state=held {lock}")
    before = fleet.releases()
    try:
        done = fleet.playbook("upgrade", *other_release)
    finally:
        fleet.ad_hoc("gw1", "local_llm.ops.rollout_lock", f"state=released {lock}")
    assert done.code != 0
    assert "recovery-elsewhere" in done.output and "holds its lock on gw1" in done.output, done.output[-3000:]
    assert fleet.releases() == before


def test_host_without_the_gpus_that_its_instance_wants_is_refused(fleet: GpuFleet, other_release: list[str]) -> None:
    fleet.give(gpu3=healthy("none"))
    done = fleet.playbook("upgrade", *other_release)
    assert done.code != 0
    assert done.rollout is None
    assert "gpu3" in done.output


def test_xid_that_a_restart_answers_takes_the_release_back(
    fleet: GpuFleet, client: Client, other_release: list[str]
) -> None:
    before = fleet.releases()
    options = fleet.variables()["local_llm_gpu_health"]
    options["xid_overrides"] = {"31": {"severity": "critical", "action": "restart_app"}}
    one = Rollout(fleet, *other_release, "-e", json.dumps({"local_llm_gpu_health": options}))
    one.wait_event("admitted", "gpu1")
    fleet.fake_gpu("gpu1", "log", XID_31)
    done = one.finish()
    assert done.code != 0
    assert done.outcome == "rolled_back_verified", done.output[-4000:]
    assert "31" in next(line["detail"] for line in journal(done.made_rollout) if line["event"] == "failed")
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_fatal_xid_during_the_watch_takes_the_release_back_and_keeps_the_host_out(
    fleet: GpuFleet, client: Client, other_release: list[str]
) -> None:
    before = fleet.releases()
    one = Rollout(fleet, *other_release)
    one.wait_event("admitted", "gpu1")
    fleet.fake_gpu("gpu1", "log", XID_79)
    done = one.finish()
    assert done.code != 0
    assert done.outcome == "rollback_failed", done.output[-4000:]
    assert "79" in next(line["detail"] for line in journal(done.made_rollout) if line["event"] == "failed")
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    states = {server["server"]: server["admin_state"] for server in gateway_servers(fleet)}
    assert states["gpu1-chat"] == "drain"
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_host_that_loses_a_gpu_during_the_rollout_stays_out_of_service(
    fleet: GpuFleet, client: Client, other_release: list[str]
) -> None:
    one = Rollout(fleet, *other_release)
    one.wait_event("admitted", "gpu1")
    fleet.fake_gpu("gpu1", "fault", "gpu_lost:gpu=3")
    done = one.finish()
    assert done.code != 0
    assert done.outcome == "rollback_failed", done.output[-4000:]
    states = {server["server"]: server["admin_state"] for server in gateway_servers(fleet)}
    assert states == {"gpu1-chat": "drain", "gpu2-chat": "ready", "gpu3-chat": "ready"}
    traffic = client.finish()
    assert traffic.failed == 0, traffic
