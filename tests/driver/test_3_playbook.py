# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook driver on a fleet that serves: planned, changed, taken back, gone on with; clients see none of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from driver_fleet import FAILS, KEEP, NEW, OLD, OTHER
from driver_rollout_fleet import LAB, SERVING, DriverRolloutFleet, wanted
from fleet import Client
from rollouts import Rollout, gateway_servers, journal

READY = {f"{host}-chat": "ready" for host in SERVING}


@pytest.fixture(scope="module")
def serving() -> Iterator[DriverRolloutFleet]:
    """One gateway and two hosts that serve on the old driver, which `site` has installed."""
    it = DriverRolloutFleet(LAB)
    it.furnish()
    done = it.playbook("site", *wanted(OLD))
    assert done.code == 0, done.output[-6000:]
    yield it
    if not KEEP:
        it.lab_command("down")


@pytest.fixture
def on_old(serving: DriverRolloutFleet) -> DriverRolloutFleet:
    """Hosts that serve on the old driver."""
    return bring(serving, OLD)


@pytest.fixture
def on_new(serving: DriverRolloutFleet) -> DriverRolloutFleet:
    """Hosts that serve on the new driver."""
    return bring(serving, NEW)


def bring(fleet: DriverRolloutFleet, version: str) -> DriverRolloutFleet:
    """Let all hosts serve on a version, whatever a test before has left."""
    for host in SERVING:
        fleet.shell(host, "rm -rf /run/driver_stand_in")
        fleet.ad_hoc("gw1", "local_llm.ops.gateway_backend", f"pool=chat server={host}-chat state=ready")
    if drivers(fleet) != both(version) or "open" in {fleet.state(host) for host in SERVING}:
        done = fleet.change(version, "-e", '{"local_llm_allow_pool_outage": true}')
        assert done.code == 0, done.output[-6000:]
        assert drivers(fleet) == both(version)
    assert servers(fleet) == READY
    return fleet


@pytest.fixture
def client(serving: DriverRolloutFleet) -> Iterator[Client]:
    with serving.client(rate=10) as it:
        it.wait_answered(10)
        yield it


def servers(fleet: DriverRolloutFleet) -> dict[str, str]:
    """Return the state of each server at the gateway."""
    return {server["server"]: server["admin_state"] for server in gateway_servers(fleet)}


def drivers(fleet: DriverRolloutFleet) -> dict[str, tuple[str, str]]:
    """Return what is loaded and the library of each host."""
    return {host: fleet.driver(host) for host in SERVING}


def both(version: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(SERVING, (version, version))


def test_site_installs_the_first_driver_and_leaves_it_alone_afterwards(serving: DriverRolloutFleet) -> None:
    assert drivers(serving) == both(OLD)
    done = serving.playbook("site", *wanted(NEW))
    assert done.code == 0, done.output[-3000:]
    assert drivers(serving) == both(OLD)
    assert f"runs driver {OLD}. To come to what the inventory wants: {OLD} to {NEW}," in done.output


def test_check_mode_prints_the_plan_per_host_and_changes_nothing(serving: DriverRolloutFleet) -> None:
    done = serving.change(NEW, "--check")
    assert done.code == 0, done.output[-4000:]
    assert "Driver rollout driver-" in done.output
    row = next(line for line in done.output.splitlines() if line.startswith("1 ") and "gpu1" in line)
    assert OLD in row and NEW in row
    assert f"libnvidia-ml1 {OLD}-1 -> {NEW}-1" in done.output
    assert "expected downtime" in done.output
    assert done.rollout is None
    assert drivers(serving) == both(OLD)


def test_reboot_that_nobody_decided_about_stops_before_anything_is_touched(serving: DriverRolloutFleet) -> None:
    done = serving.playbook("driver", *wanted(NEW, reboot="ask"))
    assert done.code != 0
    assert "-e nvidia_driver_reboot=yes" in done.output
    assert servers(serving) == READY
    assert done.rollout is None


def test_build_that_fails_goes_back_and_stops_the_rollout(serving: DriverRolloutFleet, client: Client) -> None:
    done = serving.change(FAILS)
    assert done.code != 0
    assert done.outcome == "rolled_back_verified", done.output[-6000:]
    assert drivers(serving) == both(OLD)
    assert servers(serving) == READY
    assert not [line for line in journal(done.made_rollout) if line["host"] == "gpu2" and line["event"] == "drained"]
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_good_driver_comes_to_every_host_and_clients_see_none_of_it(
    serving: DriverRolloutFleet, client: Client
) -> None:
    done = serving.change(NEW)
    assert done.code == 0, done.output[-6000:]
    assert done.outcome == "completed"
    assert drivers(serving) == both(NEW)
    assert servers(serving) == READY
    again = serving.change(NEW)
    assert (again.code, again.rollout) == (0, None), again.output[-3000:]
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_dead_controller_is_gone_on_with_and_a_drained_server_stays_drained(on_new: DriverRolloutFleet) -> None:
    on_new.ad_hoc("gw1", "local_llm.ops.gateway_backend", "pool=chat server=gpu2-chat state=drain")
    run = Rollout(on_new, *wanted(OLD), playbook="driver")
    run.wait_event("driver_installed", "gpu1", 200)
    run.kill()
    assert on_new.state("gpu1") == "open"
    assert servers(on_new)["gpu1-chat"] == "drain", "nothing lets a host in by itself while its driver is half there"

    # upgrade asks for instances that serve, and says to start them; start finds the lock of the dead rollout.
    refused = on_new.playbook("upgrade", "-e", "lab_parallel_requests=3")
    assert refused.code != 0
    refused = on_new.playbook("start")
    assert refused.code != 0
    assert "run driver" in refused.output, f"nobody says which playbook ends it: {refused.output[-4000:]}"
    assert servers(on_new)["gpu1-chat"] == "drain"

    # A lock expires. What the dead rollout left on the host does not mend by that.
    lock = "/var/lib/local_llm/gateway/rollout.lock"
    on_new.shell(
        "gw1", f"""sed -i -E 's/("renewed_at": *)"[^"]*"/\\1"2020-01-01T00:00:00Z"/' {lock}; grep -q 2020-01 {lock}"""
    )
    refused = on_new.playbook("start")
    assert refused.code != 0
    assert "is open here (installed). Run driver" in refused.output, refused.output[-4000:]
    assert servers(on_new)["gpu1-chat"] == "drain"

    done = on_new.change(OLD, "-e", '{"local_llm_allow_pool_outage": true}')
    assert done.code == 0, done.output[-6000:]
    assert drivers(on_new) == both(OLD)
    assert servers(on_new) == {"gpu1-chat": "ready", "gpu2-chat": "drain"}
    on_new.ad_hoc("gw1", "local_llm.ops.gateway_backend", "pool=chat server=gpu2-chat state=ready")


def test_module_that_is_another_one_than_its_package_says_goes_back(on_old: DriverRolloutFleet) -> None:
    done = on_old.change(OTHER)
    assert done.code != 0
    assert done.outcome == "rolled_back_verified", done.output[-6000:]
    assert drivers(on_old) == both(OLD)
    assert servers(on_old) == READY


@contextmanager
def switched_on_again(fleet: DriverRolloutFleet) -> Iterator[None]:
    """Switch on each host that goes off: a host of the lab that reboots ends, and does not come back by itself."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            for host in SERVING:
                if not fleet.is_on(host):
                    fleet.lab_command("boot", host)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def stick(fleet: DriverRolloutFleet) -> None:
    """Keep the modules in the kernel of each host until its next boot."""
    for host in SERVING:
        fleet.shell(host, "mkdir -p /run/driver_stand_in && touch /run/driver_stand_in/stuck")


def test_modules_that_do_not_unload_go_back_where_no_reboot_is_allowed(on_old: DriverRolloutFleet) -> None:
    stick(on_old)
    done = on_old.change(NEW)
    assert done.code != 0
    assert "nvidia_driver_reboot is no" in done.output
    assert done.outcome == "rolled_back_verified", done.output[-6000:]
    assert servers(on_old) == READY


def test_modules_that_do_not_unload_take_a_reboot_with_consent(on_old: DriverRolloutFleet) -> None:
    stick(on_old)
    with switched_on_again(on_old):
        done = on_old.playbook("driver", *wanted(NEW, reboot="yes"))
    assert done.code == 0, done.output[-6000:]
    assert done.outcome == "completed"
    assert drivers(on_old) == both(NEW)
    assert servers(on_old) == READY
    rebooted = [line["host"] for line in journal(done.made_rollout) if line["event"] == "rebooting"]
    assert sorted(rebooted) == sorted(SERVING)
