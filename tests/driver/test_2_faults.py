# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever goes wrong, a host ends on the new driver or on the old one, verified, with nothing held wrongly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from functools import partial

import pytest
from driver_fleet import ALL, DIRECTORY, FAILS, HOSTS, NEW, OLD, OTHER, SILENT, DriverFleet, failed, plan, well
from waiting import wait_for

FORWARD = ALL[:3]


@pytest.mark.parametrize(
    ("version", "word"),
    [
        pytest.param(FAILS, "Bad return status for module build", id="build-fails"),
        pytest.param(SILENT, "There is no module of driver", id="no-module-and-no-word"),
        pytest.param(OTHER, "580.40.99", id="module-of-another-version"),
    ],
)
def test_a_bad_version_is_taken_back(on_old: DriverFleet, version: str, word: str) -> None:
    """The step installed says what is wrong, and the way back ends on the old driver."""
    answers = on_old.steps([*FORWARD, "rolled_back", "rolled_back"], plan(version, OLD), "bad")
    for said in failed(answers, "installed").values():
        assert word in said
    for host, results in answers.items():
        assert [one["changed"] for one in results[-2:]] == [True, False], host
        assert results[-2]["transaction"]["state"] == "rolled_back", results[-2]
    on_old.is_on_version(OLD)


def test_a_verification_that_fails_after_loading_is_taken_back(on_old: DriverFleet) -> None:
    """What runs is another version than what lies on the disk: the step held refuses, and the host goes back."""
    well(on_old.steps(ALL[:4], plan(NEW, OLD), "swapped"))
    for host in HOSTS:
        on_old.fake_loaded(host, "580.19.99")
    for said in failed(on_old.steps(["held"], None, "swapped"), "held").values():
        assert "loaded is 580.19.99" in said
    well(on_old.steps(["rolled_back"], None, "swapped"))
    on_old.is_on_version(OLD)


def test_a_host_that_reboots_between_the_steps_goes_on(on_old: DriverFleet) -> None:
    """Power cuts after each step that changes something; the same steps again end on the new driver."""
    for step in ("downloaded", "stopped", "installed", "loaded"):
        well(on_old.steps([step], plan(NEW, OLD), "reboots"))
        on_old.reboot(*HOSTS)
    well(on_old.steps(ALL, plan(NEW, OLD), "reboots"))
    on_old.is_on_version(NEW)


def test_a_module_that_stays_in_use_asks_for_one_reboot(on_old: DriverFleet) -> None:
    """The step loaded says that a reboot is needed, says it again, and goes on after it. So does the way back."""
    for host in HOSTS:
        on_old.shell(host, "mkdir -p /run/driver_stand_in && touch /run/driver_stand_in/stuck")
    answers = well(on_old.steps([*FORWARD, "loaded", "loaded"], plan(NEW, OLD), "stuck"))
    for host, results in answers.items():
        assert [one["reboot_needed"] for one in results[-2:]] == [True, True], host
        assert on_old.transaction(host)["state"] == "reboot_needed"
    on_old.reboot(*HOSTS)
    well(on_old.steps(["loaded"], None, "stuck"))
    for host in HOSTS:
        on_old.shell(host, "mkdir -p /run/driver_stand_in && touch /run/driver_stand_in/stuck")
    for host, (answer,) in well(on_old.steps(["rolled_back"], None, "stuck")).items():
        assert answer["reboot_needed"], host
        assert answer["transaction"]["state"] == "rolling_back", host
    on_old.reboot(*HOSTS)
    well(on_old.steps(["rolled_back"], None, "stuck"))
    on_old.is_on_version(OLD)


def test_a_plan_with_a_reboot_waits_for_it(on_old: DriverFleet) -> None:
    """Nothing is unloaded before the reboot that the plan names."""
    wanted = plan(NEW, OLD, reboot="needed", reboot_reason="the host has NVSwitches")
    for host, results in well(on_old.steps([*FORWARD, "loaded"], wanted, "planned")).items():
        assert results[-1]["reboot_needed"]
        assert "NVSwitches" in on_old.transaction(host)["detail"]
        assert on_old.driver(host) == (OLD, NEW)
    on_old.reboot(*HOSTS)
    well(on_old.steps(ALL, wanted, "planned"))
    on_old.is_on_version(NEW)


@pytest.mark.parametrize("way", ["forward", "back"])
def test_a_power_cut_in_the_midst_of_dpkg(on_old: DriverFleet, way: str) -> None:
    """dpkg has unpacked some packages and configured others: the same step again mends it, or the way back does."""
    well(on_old.steps(ALL[:2], plan(NEW, OLD), "cut"))
    for host in HOSTS:
        on_old.shell(host, "mkdir -p /run/driver_stand_in && touch /run/driver_stand_in/hold")
    under_way = on_old.started(["installed"], plan(NEW, OLD), "cut")
    try:
        on_old.wait_file("/run/driver_stand_in/reached")
        on_old.lab_command("power-cut", *HOSTS)
    finally:
        end(under_way)
    on_old.lab_command("boot", *HOSTS)
    for host in HOSTS:
        assert on_old.shell(host, "dpkg --audit") != "", "the power cut came too late"
    if way == "forward":
        well(on_old.steps(["installed", *ALL[3:]], plan(NEW, OLD), "cut"))
        on_old.is_on_version(NEW)
    else:
        well(on_old.steps(["rolled_back"], None, "cut"))
        on_old.is_on_version(OLD)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a playbook with everything that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_old_packages_that_left_the_mirror_come_from_the_cache(on_old: DriverFleet) -> None:
    """The mirror has the new driver alone: the cache serves the way back."""
    on_old.publish([NEW])
    well(on_old.steps([*ALL[:4], "rolled_back"], plan(NEW, OLD), "gone"))
    on_old.is_on_version(OLD)
    on_old.publish([NEW, OLD])


def test_without_the_old_packages_nothing_begins(on_old: DriverFleet) -> None:
    """Neither the mirror nor a cache has them: refused before anything changed, with name and version."""
    on_old.publish([NEW])
    for host in HOSTS:
        on_old.shell(host, f"rm -rf {DIRECTORY}/cache; apt-get clean")
    for said in failed(on_old.steps(["downloaded"], plan(NEW, OLD), "lost"), "downloaded").values():
        assert f"libcuda1 {OLD}-1" in said
        assert "Nothing was changed" in said
    on_old.is_on_version(OLD)
    on_old.publish([NEW, OLD])


def test_a_spoiled_package_in_the_cache_is_not_installed(on_old: DriverFleet) -> None:
    """A file whose SHA-256 is another one is refused; the step downloaded brings it anew."""
    well(on_old.steps(["downloaded", "stopped"], plan(NEW, OLD), "spoiled"))
    for host in HOSTS:
        on_old.shell(host, f"echo x >> {DIRECTORY}/cache/libcuda1_{NEW}-1_amd64.deb")
    for said in failed(on_old.steps(["installed"], plan(NEW, OLD), "spoiled"), "installed").values():
        assert f"libcuda1 {NEW}-1" in said
    well(on_old.steps(["rolled_back", *ALL], plan(NEW, OLD), "spoiled"))
    on_old.is_on_version(NEW)


def test_a_way_back_that_is_spoiled_is_found_while_nothing_has_changed(on_old: DriverFleet) -> None:
    """The file of an old package is another one than before: the step installed refuses and changes nothing."""
    well(on_old.steps(["downloaded", "stopped"], plan(NEW, OLD), "way back"))
    for host in HOSTS:
        on_old.shell(host, f"echo x >> {DIRECTORY}/cache/libcuda1_{OLD}-1_amd64.deb")
    for said in failed(on_old.steps(["installed"], plan(NEW, OLD), "way back"), "installed").values():
        assert f"libcuda1 {OLD}-1" in said
    well(on_old.steps(["rolled_back"], None, "way back"))
    on_old.is_on_version(OLD)


def test_the_hosts_own_updates_wait_and_come_back(on_old: DriverFleet) -> None:
    """Masked while the transaction is open; back after its end, after a reboot, and when it was left alone."""

    def enabled(host: str) -> str:
        return on_old.shell(host, "systemctl is-enabled apt-daily-upgrade.timer || true").strip()

    def run_again(host: str) -> bool:
        """Tell whether the timers are enabled, and run."""
        timers = "apt-daily.timer apt-daily-upgrade.timer"
        active = on_old.shell(host, f"systemctl is-active {timers} || true").split()
        return enabled(host) == "enabled" and active == ["active", "active"]

    assert [run_again(host) for host in HOSTS] == [True, True], "the timers of the lab's hosts run before"

    well(on_old.steps(FORWARD, plan(NEW, OLD), "window"))
    assert [enabled(host) for host in HOSTS] == ["masked-runtime", "masked-runtime"]
    on_old.reboot("gpu2")
    wait_for("updates of gpu2", partial(run_again, "gpu2"), 60)
    well(on_old.steps(["rolled_back"], None, "window"))
    assert [run_again(host) for host in HOSTS] == [True, True]
    # Long enough for the packages' scripts to let systemd read its units anew before the end: they do as real ones do.
    well(on_old.steps(FORWARD, plan(NEW, OLD), "alone", window_seconds=20))
    for host in HOSTS:
        wait_for(f"updates of {host}", partial(run_again, host), 120)
    well(on_old.steps(["rolled_back"], None, "alone"))
    on_old.is_on_version(OLD)


def test_the_journal_tells_the_fault(on_old: DriverFleet) -> None:
    """What a step failed with stands in the journal of the host."""
    on_old.steps([*FORWARD, "rolled_back"], plan(FAILS, OLD), "told")
    for host in HOSTS:
        lines = [json.loads(line) for line in on_old.shell(host, f"cat {DIRECTORY}/journal.jsonl").splitlines()]
        events = [line["event"] for line in lines if line["transaction_id"] == "told"]
        assert events == ["downloaded", "stopped", "installing", "error", "rolling_back", "rolling_back", "rolled_back"]
