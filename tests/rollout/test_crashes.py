# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller, a host or the network dies in mid-rollout: nothing is lost and nothing stays half done."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from fleet import Client, Fleet
from rollouts import HOSTS, Rollout, gateway_servers, release_arguments
from waiting import wait_for

START = Callable[..., Rollout]
# A measurement that a short lease and a short dead-man leave time for; a longer one is refused.
SHORT_ROUNDS = {
    "local_llm_benchmark": {
        "users": 6, "requests": 150, "warmup_requests": 24, "prompt_tokens": 32, "output_tokens": 16, "max_seconds": 8
    },
    "local_llm_drain_timeout_seconds": 20,
}  # fmt: skip


@pytest.mark.parametrize("event", ["drained", "switched", "benchmark"])
def test_second_run_resumes_after_the_controller_was_killed(
    fleet: Fleet,
    client: Client,
    rollout: START,
    other_release: list[str],
    settled: Callable[[], None],
    event: str,
) -> None:
    first = rollout(*other_release)
    first.wait_event(event, "gpu1")
    first.kill()
    done = fleet.playbook("upgrade", *other_release)
    assert done.code == 0, done.output[-4000:]
    assert done.outcome == "completed"
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_what_a_killed_rollout_had_promoted_goes_back_when_the_next_run_fails(
    fleet: Fleet, client: Client, rollout: START, settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    first = rollout(*release_arguments("fails_on_marker"))
    first.wait_event("full_share", "gpu1")
    first.kill()
    fleet.shell("gpu2", "touch /etc/local-llm-fault")
    try:
        done = fleet.playbook("upgrade", *release_arguments("fails_on_marker"))
    finally:
        fleet.shell("gpu2", "rm /etc/local-llm-fault")
    assert done.code != 0
    assert done.outcome == "rolled_back_verified", done.output[-4000:]
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_rollback_that_was_killed_half_way_is_finished_by_a_second_one(
    fleet: Fleet, client: Client, rollout: START, other_release: list[str], settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    assert fleet.playbook("upgrade", *other_release).code == 0
    first = rollout(playbook="rollback")
    first.wait_event("rolled_back_verified", "gpu1")
    first.kill()
    done = fleet.playbook("rollback")
    assert done.code == 0, done.output[-4000:]
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_hosts_and_gateway_go_back_by_themselves_when_the_controller_never_returns(
    fleet: Fleet, client: Client, rollout: START, other_release: list[str], settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    times = {"local_llm_commit_timeout_seconds": 40, "local_llm_lease_seconds": 60, **SHORT_ROUNDS}
    one = rollout(*other_release, "-e", json.dumps(times))
    one.wait_event("switched", "gpu1")
    one.kill()
    assert fleet.releases()["gpu1"]["armed"]

    def back() -> bool:
        state = fleet.releases()["gpu1"]
        return state["current"] == before["gpu1"]["current"] and not state["armed"]

    wait_for("the dead-man of gpu1", back, 75)
    wait_for(
        "the gateway to let gpu1 in again", lambda: all(s["admin_state"] == "ready" for s in gateway_servers(fleet)), 90
    )
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic


@pytest.mark.parametrize(("lose", "bring_back"), [("power-cut", "boot"), ("cut", "heal")])
def test_host_that_is_lost_in_batch_two_stops_the_rollout_and_goes_back_when_it_is_back(
    fleet: Fleet,
    client: Client,
    rollout: START,
    other_release: list[str],
    settled: Callable[[], None],
    lose: str,
    bring_back: str,
) -> None:
    before = fleet.releases()
    times = {"local_llm_commit_timeout_seconds": 60, "local_llm_lease_seconds": 100, **SHORT_ROUNDS}
    one = rollout(*other_release, "-e", json.dumps(times))
    one.wait_event("switched", "gpu2")
    fleet.lab_command(lose, "gpu2")
    done = one.finish()
    assert done.code != 0
    assert done.outcome == "halted", done.output[-4000:]
    fleet.lab_command(bring_back, "gpu2")
    wait_for("gpu2 on its old release", lambda: fleet.releases()["gpu2"]["current"] == before["gpu2"]["current"], 90)
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    assert after["gpu1"]["state"] == "rolled_back_verified"
    wait_for(
        "the gateway to let gpu2 in again",
        lambda: all(s["admin_state"] == "ready" for s in gateway_servers(fleet)),
        150,
    )
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_second_rollout_at_the_same_time_is_refused_and_names_the_first(
    fleet: Fleet, client: Client, rollout: START, other_release: list[str]
) -> None:
    first = rollout(*other_release)
    first.wait_event("drained", "gpu1")
    second = fleet.playbook("upgrade", *other_release)
    assert second.code != 0
    assert first.directory is not None
    assert first.directory.name in second.output, second.output[-3000:]
    done = first.finish()
    assert done.code == 0, done.output[-3000:]
    assert done.outcome == "completed"
    traffic = client.finish()
    assert traffic.failed == 0, traffic
