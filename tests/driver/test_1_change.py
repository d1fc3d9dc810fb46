# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A driver comes, changes, stays where it is, and goes."""

from __future__ import annotations

import json

from driver_fleet import ALL, DIRECTORY, HELD, HOSTS, NEW, OLD, PACKAGES, UNATTENDED, DriverFleet, failed, plan, well

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, sha256_hex


def test_a_bare_host_gets_the_driver_and_check_mode_said_so_before(fleet: DriverFleet) -> None:
    """Check mode names what will be installed and changes nothing; then it is installed."""
    well(fleet.steps(["absent"], None, ""))
    for host, (answer,) in well(fleet.steps(["downloaded"], plan(OLD), "first", "--check")).items():
        assert answer["changed"]
        assert fleet.transaction(host) == {}
        assert fleet.versions(host) == {}
    well(fleet.steps(ALL, plan(OLD), "first"))
    fleet.is_on_version(OLD)


def test_an_upgrade_changes_the_driver_and_no_step_does_anything_twice(on_old: DriverFleet) -> None:
    """Each step is taken twice: the second time it changes nothing."""
    answers = well(on_old.steps([step for step in ALL for _twice in range(2)], plan(NEW, OLD), "good"))
    on_old.is_on_version(NEW)
    for host, results in answers.items():
        assert [one["changed"] for one in results] == [True, False] * len(ALL), host
        installed = results[4]
        assert installed["packages_before"]["libcuda1"] == f"{OLD}-1"
        assert installed["packages_after"]["libcuda1"] == f"{NEW}-1"
        assert f"libcuda1 {OLD}-1 (held)" in installed["diff"]["before"]
        assert f"libcuda1 {NEW}-1 (held)" in installed["diff"]["after"]
        on_old.shell(host, f"test -f {DIRECTORY}/cache/libcuda1_{OLD}-1_amd64.deb")
        lines = on_old.shell(host, f"cat {DIRECTORY}/journal.jsonl").splitlines()
        previous = CHAIN_START
        for line in lines:
            assert json.loads(line)["previous_sha256"] == previous
            previous = sha256_hex(line)


def test_check_mode_tells_the_change_of_packages(on_old: DriverFleet) -> None:
    """The same diff as the real run, without a transaction."""
    for host, (answer,) in well(on_old.steps(["installed"], plan(NEW, OLD), "check", "--check")).items():
        assert answer["packages_after"]["libcuda1"] == f"{NEW}-1"
        assert on_old.versions(host)["libcuda1"].startswith(OLD)


def test_a_process_on_the_device_stops_the_transaction_and_is_named(on_old: DriverFleet) -> None:
    """The step stopped fails with process, command and unit; going back changes no package."""
    for host in HOSTS:
        on_old.shell(host, "systemd-run --quiet --unit=trainer /bin/sh -c 'exec 9</dev/nvidia0; exec sleep 3600'")
    answers = on_old.steps(["downloaded", "stopped"], plan(NEW, OLD), "holder")
    for said in failed(answers, "stopped").values():
        assert "(sleep)" in said
        assert "trainer.service" in said
        assert "/dev/nvidia0" in said
    well(on_old.steps(["rolled_back"], None, "holder"))
    on_old.is_on_version(OLD)
    for host in HOSTS:
        on_old.shell(host, "systemctl stop trainer")


INSTANCE = "local-llm@chat.service"
INSTANCE_UNIT = """[Service]
ExecStart=/bin/sh -c 'exec 9</dev/nvidia0; exec sleep infinity'
"""


def test_an_instance_is_stopped_and_waits_until_the_driver_was_proven(on_old: DriverFleet) -> None:
    """Neither the way forward nor the way back starts it, not even for a plan that names it to be started."""
    place = "/etc/systemd/system/local-llm@.service"
    for host in HOSTS:
        on_old.shell(host, f"printf '%s' \"{INSTANCE_UNIT}\" > {place}")
        on_old.shell(host, f"systemctl daemon-reload && systemctl start {INSTANCE}")
    units = ["nvidia-persistenced.service", INSTANCE]
    wanted = plan(NEW, OLD, stop_units=[*reversed(units)], start_units=units)
    for steps in (ALL[:4], ["rolled_back", "committed"]):
        well(on_old.steps(steps, wanted, "instance"))
        for host in HOSTS:
            assert on_old.shell(host, f"systemctl is-active {INSTANCE} || true").strip() == "inactive", host
    on_old.is_on_version(OLD)
    for host in HOSTS:
        assert on_old.transaction(host)["closed"] is True, host
        on_old.shell(host, f"rm {place} && systemctl daemon-reload")


def test_a_plan_that_only_holds_leaves_everything_running(on_old: DriverFleet) -> None:
    """The packages are held again while the persistence daemon holds the GPU; it is not stopped."""
    shown = "systemctl show --property=MainPID nvidia-persistenced.service"
    before = {host: on_old.shell(host, shown) for host in HOSTS}
    for host in HOSTS:
        on_old.shell(host, f"apt-mark unhold {' '.join(HELD)}")
    well(on_old.steps(ALL, plan(OLD, OLD, install={}, stop_units=[], start_units=[]), "hold"))
    on_old.is_on_version(OLD)
    assert {host: on_old.shell(host, shown) for host in HOSTS} == before


def test_a_second_transaction_is_refused_while_one_is_open(on_old: DriverFleet) -> None:
    """The answer names the open one."""
    well(on_old.steps(["downloaded"], plan(NEW, OLD), "one"))
    for said in failed(on_old.steps(["downloaded"], plan(NEW, OLD), "two"), "downloaded").values():
        assert "one" in said
        assert "rolled_back" in said
    well(on_old.steps(["rolled_back"], None, "one"))
    on_old.is_on_version(OLD)


def test_unattended_upgrades_do_not_move_the_driver(on_old: DriverFleet) -> None:
    """The real program, allowed to take all of the repository, leaves the driver where it is."""
    key = "Unattended-Upgrade::Origins-Pattern"
    allow = f'#clear {key}; {key} {{ "origin=local-llm-test"; }};'
    for host in HOSTS:
        on_old.shell(host, "apt-get -qq update && apt-get -qq install -y unattended-upgrades >/dev/null 2>&1")
        on_old.shell(host, f"printf '%s\\n' '{allow}' > /etc/apt/apt.conf.d/99test")
        said = on_old.shell(host, "unattended-upgrade -v -d 2>&1")
        assert "blacklist" in said.lower(), said[-3000:]
    on_old.is_on_version(OLD)
    for host in HOSTS:  # the test bites: without what this collection does it moves
        on_old.shell(host, f"apt-mark unhold {' '.join(PACKAGES)}")
        on_old.shell(host, f"mkdir -p /root/away && mv /etc/apt/preferences.d/* {UNATTENDED} /root/away")
        said = on_old.shell(host, "unattended-upgrade -v --dry-run 2>&1")
        assert "libcuda1" in said, said[-3000:]
        on_old.shell(host, "cd /root/away && mv 52* /etc/apt/apt.conf.d/ && mv * /etc/apt/preferences.d/")
        on_old.shell(host, f"apt-mark hold {' '.join(PACKAGES)}; rm /etc/apt/apt.conf.d/99test")
    on_old.is_on_version(OLD)


def test_absent_leaves_no_package_no_hold_and_no_file(on_old: DriverFleet) -> None:
    """What came as a dependency goes as well; a second time nothing is left to do."""
    for host, (first, second) in well(on_old.steps(["absent", "absent"], None, "")).items():
        assert first["changed"], host
        assert not second["changed"], host
        assert on_old.versions(host) == {}
        assert on_old.held(host) == []
        assert "nvidia" not in on_old.shell(host, "dpkg-query -W -f '${Package}\\n'")
        left = "ls -d /var/lib/local_llm/driver /etc/apt/*/*local-llm* /etc/nvidia 2>/dev/null || true"
        assert on_old.shell(host, left) == "", host
        assert on_old.driver(host) == ("", "")
