# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a driver transaction on a host in memory: forward, back, refused, repeated, predicted."""

from __future__ import annotations

import json

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import closure
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _holders, _units, _work
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.driver_host import (
    KERNEL,
    NAMES,
    FakeHost,
    host,
    plan,
)

__all__ = ["host"]
INSTANCE = "local-llm@chat.service"
FORWARD = ("downloaded", "stopped", "installed", "loaded", "held", "committed")


def forward(host: FakeHost, version: str, until: str = "committed") -> None:
    """Take the steps up to one of them."""
    for state in FORWARD[: FORWARD.index(until) + 1]:
        host.call(state, plan(version))


def test_the_way_forward_ends_on_the_new_driver_held_and_pinned(host: FakeHost) -> None:
    forward(host, "2.0")
    assert host.packages == dict.fromkeys(NAMES, "2.0-1")
    assert host.held == set(NAMES)
    assert host.loaded == "2.0"
    assert (host.root / "etc/apt/preferences.d/local-llm-driver").read_text() == "Pin: version 2.0*\n"


def test_no_step_changes_anything_the_second_time(host: FakeHost) -> None:
    for state in FORWARD:
        assert host.call(state, plan("2.0"))["changed"], state
        assert not host.call(state, plan("2.0"))["changed"], state


def test_nothing_touches_the_packages_before_the_step_installed(host: FakeHost) -> None:
    forward(host, "2.0", "stopped")
    assert host.packages == dict.fromkeys(NAMES, "1.0-1")
    assert not [one for one in host.commands if one.startswith("apt-get") and "--simulate" not in one]


def test_the_transaction_runs_without_lists_of_a_mirror(host: FakeHost) -> None:
    forward(host, "2.0", "installed")
    (one,) = [one for one in host.commands if one.startswith("apt-get") and "--simulate" not in one]
    assert "Dir::Etc::SourceList=/dev/null" in one
    assert "--force-confold" in one
    assert str(host.root / "driver/cache/libcuda1_2.0-1_amd64.deb") in one


@pytest.mark.parametrize("back", [False, True])
def test_a_package_that_came_for_others_stays_one(host: FakeHost, back: bool) -> None:
    host.automatic = {"libcuda1"}
    forward(host, "2.0", "installed")
    if back:
        host.call("rolled_back")
    assert host.automatic == {"libcuda1"}


@pytest.mark.parametrize("until", FORWARD[:-1])
def test_the_way_back_leads_from_every_step_to_the_host_of_before(host: FakeHost, until: str) -> None:
    host.held = {"libcuda1"}
    forward(host, "2.0", until)
    assert host.call("rolled_back")["transaction"]["state"] == "rolled_back"
    assert host.packages == dict.fromkeys(NAMES, "1.0-1")
    assert host.held == {"libcuda1"}
    assert host.loaded == "1.0"
    assert not (host.root / "etc/apt/preferences.d/local-llm-driver").exists()
    assert not host.call("rolled_back")["changed"]


def test_a_committed_transaction_does_not_go_back(host: FakeHost) -> None:
    forward(host, "2.0")
    with pytest.raises(DriverError, match="committed: it is over"):
        host.call("rolled_back")


def test_a_script_that_fails_is_told_and_taken_back(host: FakeHost) -> None:
    def spoil(name: str, version: str) -> str:
        return "half-configured" if (name, version) == ("nvidia-kernel-dkms", "2.0-1") else "installed"

    host.spoil = spoil
    forward(host, "2.0", "stopped")
    with pytest.raises(DriverError, match=r"nvidia-kernel-dkms is 2\.0-1 \(half-configured\)"):
        host.call("installed")
    host.call("rolled_back")
    assert host.packages == dict.fromkeys(NAMES, "1.0-1")
    assert host.held == set(NAMES)
    events = [json.loads(line)["event"] for line in (host.root / "driver/journal.jsonl").read_text().splitlines()]
    assert events[-4:] == ["error", "rolling_back", "rolling_back", "rolled_back"]


def test_a_way_back_that_fails_is_marked_and_can_be_repeated(host: FakeHost) -> None:
    forward(host, "2.0", "installed")
    host.spoil = lambda _name, _version: "half-configured"
    with pytest.raises(DriverError):
        host.call("rolled_back")
    assert json.loads((host.root / "driver/transaction.json").read_text())["state"] == "failed"
    with pytest.raises(DriverError, match="Another driver transaction"):
        host.call("downloaded", plan("1.0"))
    host.spoil = lambda _name, _version: "installed"
    assert host.call("rolled_back")["transaction"]["state"] == "rolled_back"


def test_a_module_in_use_asks_for_a_reboot_once(host: FakeHost) -> None:
    forward(host, "2.0", "installed")
    host.in_use = True
    assert host.call("loaded")["reboot_needed"]
    assert host.call("loaded")["reboot_needed"]
    assert not host.call("loaded")["changed"]
    host.boot = "boot-2"
    with pytest.raises(DriverError, match="Also after a reboot"):
        host.call("loaded")
    host.in_use, host.loaded = False, "2.0"
    assert host.call("loaded")["transaction"]["state"] == "loaded"


def test_a_reboot_before_the_packages_changed_does_not_stand_for_the_one_of_the_plan(host: FakeHost) -> None:
    wanted = plan("2.0", reboot="needed", reboot_reason="NVSwitch")
    for state in ("downloaded", "stopped"):
        host.call(state, wanted)
    host.boot = "boot-2"
    host.call("installed")
    assert host.call("loaded")["reboot_needed"]
    assert host.loaded == "1.0"
    host.boot, host.loaded = "boot-3", "2.0"
    assert not host.call("loaded")["reboot_needed"]


def test_old_packages_that_nobody_has_are_refused_before_anything_changes(host: FakeHost) -> None:
    host.mirror -= {("libcuda1", "1.0-1")}
    with pytest.raises(DriverError, match=r"Nothing was changed: the way back would be lost.*libcuda1 1\.0-1"):
        host.call("downloaded", plan("2.0"))
    assert not (host.root / "driver/transaction.json").exists()


def test_old_packages_come_from_the_cache_of_apt(host: FakeHost) -> None:
    host.mirror -= {("libcuda1", "1.0-1")}
    (host.root / "archives").mkdir()
    (host.root / "archives/libcuda1_1.0-1_amd64.deb").write_text("libcuda1 1.0-1")
    host.call("downloaded", plan("2.0"))
    assert (host.root / "driver/cache/libcuda1_1.0-1_amd64.deb").exists()


def test_a_spoiled_package_is_not_installed_and_is_brought_anew(host: FakeHost) -> None:
    forward(host, "2.0", "stopped")
    (host.root / "driver/cache/libcuda1_2.0-1_amd64.deb").write_text("spoiled")
    with pytest.raises(DriverError, match=r"lacks libcuda1 2\.0-1"):
        host.call("installed")
    host.call("rolled_back")
    forward(host, "2.0")
    assert host.packages["libcuda1"] == "2.0-1"


def test_a_host_with_unfinished_packages_is_refused(host: FakeHost) -> None:
    host.packages["vim"], host.status["vim"] = "9", "half-configured"
    with pytest.raises(DriverError, match="dpkg has not finished with vim"):
        host.call("downloaded", plan("2.0"))


def test_a_package_that_apt_would_also_remove_is_refused(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.packages["cuda-tools"] = "7"
    real = host.run

    def run(command: list[str]) -> tuple[int, str, str]:
        code, out, err = real(command)
        removes = "--simulate" in command and "install" in command
        return code, f"{out}\nRemv cuda-tools [7]" if removes else out, err

    monkeypatch.setattr(host, "run", run)
    with pytest.raises(DriverError, match="apt would also remove cuda-tools"):
        host.call("downloaded", plan("2.0"))


def test_a_plan_that_refuses_is_not_begun(host: FakeHost) -> None:
    refusal = {"check": "secure_boot", "status": "fail", "subject": "Secure Boot", "action": "Enrol a key."}
    with pytest.raises(DriverError, match="The plan refuses: FAIL Secure Boot"):
        host.call("downloaded", plan("2.0", refusals=[refusal]))


def test_another_transaction_is_refused_while_one_is_open(host: FakeHost) -> None:
    host.call("downloaded", plan("2.0"))
    with pytest.raises(DriverError, match="Another driver transaction is open here: t1"):
        host.call("downloaded", plan("1.0"))


@pytest.mark.parametrize(("state", "first"), [("installed", "stopped"), ("loaded", "installed"), ("held", "loaded")])
def test_a_step_out_of_turn_names_the_one_before(host: FakeHost, state: str, first: str) -> None:
    host.call("downloaded", plan("2.0"))
    with pytest.raises(DriverError, match=f"first comes: {first}"):
        host.call(state)


def test_a_step_without_a_transaction_says_how_one_begins(host: FakeHost) -> None:
    with pytest.raises(DriverError, match="Begin one: state downloaded"):
        host.call("installed")


def test_check_mode_predicts_the_packages_and_writes_nothing(host: FakeHost) -> None:
    answer = host.call("installed", plan("2.0"), check_mode=True)
    assert answer["changed"]
    assert answer["packages_after"] == dict.fromkeys(NAMES, "2.0-1")
    assert "libcuda1 1.0-1 (held)" in answer["diff"]["before"]
    assert not (host.root / "driver").exists()
    assert host.packages == dict.fromkeys(NAMES, "1.0-1")


def test_a_first_driver_goes_again_when_it_is_taken_back(host: FakeHost) -> None:
    host.packages, host.held, host.loaded = {}, set(), ""
    forward(host, "2.0", "loaded")
    assert host.loaded == "2.0"
    host.call("rolled_back")
    assert host.packages == {}
    assert host.loaded == ""


def test_absent_leaves_no_package_hold_or_file(host: FakeHost) -> None:
    forward(host, "2.0")
    assert host.call("absent")["changed"]
    assert (host.packages, host.held & set(host.packages), host.loaded) == ({}, set(), "")
    assert not (host.root / "driver").exists()
    assert not list((host.root / "etc/apt").rglob("*local-llm*"))
    assert not host.call("absent")["changed"]


def test_absent_knows_what_came_with_a_transaction_that_never_ended(host: FakeHost) -> None:
    host.packages, host.held, host.loaded = {}, set(), ""
    host.mirror |= {("linux-headers", "6-1")}
    wanted = plan("2.0", install={**plan("2.0")["install"], "linux-headers": "6-1"})
    for state in ("downloaded", "stopped", "installed"):
        host.call(state, wanted)
    host.needless = {"linux-headers"}
    host.call("absent")
    assert host.packages == {}


def test_a_damaged_transaction_names_the_file(host: FakeHost) -> None:
    host.call("downloaded", plan("2.0"))
    (host.root / "driver/transaction.json").write_text("{")
    with pytest.raises(DriverError, match=r"transaction\.json is damaged"):
        host.call("stopped")


def test_a_snapshot_of_another_transaction_is_not_gone_back_to(host: FakeHost) -> None:
    forward(host, "2.0", "installed")
    path = host.root / "driver/snapshot.json"
    path.write_text(path.read_text().replace("1.0-1", "9.9-1"))
    with pytest.raises(DriverError, match="is not the one of transaction t1"):
        host.call("rolled_back")


def test_the_other_flavour_of_the_same_version_is_loaded_in_place_of_the_first(host: FakeHost) -> None:
    told = host.root / "proc/driver/nvidia/version"
    told.parent.mkdir(parents=True)
    told.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  1.0")
    host.mirror |= {("nvidia-open-kernel-dkms", "1.0-1")}
    wanted = plan("1.0", modules="open", install={"nvidia-open-kernel-dkms": "1.0-1"})
    for state in ("downloaded", "stopped", "installed"):
        host.call(state, wanted)
    host.commands.clear()
    with pytest.raises(DriverError, match="loaded are the proprietary modules, not the open ones"):
        host.call("loaded")
    assert "rmmod nvidia" in host.commands


def test_a_host_on_which_no_kernel_got_a_module_is_no_success(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    real = host.write

    def without_modules() -> None:
        real()
        (host.root / "lib/modules" / KERNEL / "modules.dep").unlink()

    monkeypatch.setattr(host, "write", without_modules)
    forward(host, "2.0", "stopped")
    with pytest.raises(DriverError, match="for any kernel"):
        host.call("installed")


def record_starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every unit of a plan run, and return the list of those that are started from now on."""
    started: list[str] = []
    monkeypatch.setattr(_units, "unit_states", lambda _host, names: dict.fromkeys(names, "active"))
    monkeypatch.setattr(_work, "stop", lambda _host, names: list(names))
    monkeypatch.setattr(_units, "start", lambda _host, names: started.extend(names))
    return started


@pytest.mark.parametrize("until", ["stopped", "installed", "loaded"])
def test_no_instance_starts_before_the_driver_was_proven(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, until: str
) -> None:
    started = record_starts(monkeypatch)
    both = ["nvidia-persistenced.service", INSTANCE]
    wanted = plan("2.0", stop_units=[*reversed(both)], start_units=both)
    for state in FORWARD[: FORWARD.index(until) + 1]:
        host.call(state, wanted)
    assert started == (["nvidia-persistenced.service"] if until == "loaded" else [])
    started.clear()
    host.call("rolled_back")
    assert started == ["nvidia-persistenced.service"]


def kept(host: FakeHost) -> dict[str, object]:
    """Return the transaction on the host."""
    found: dict[str, object] = json.loads((host.root / "driver/transaction.json").read_text())
    return found


def test_a_way_back_is_open_until_it_is_closed(host: FakeHost) -> None:
    forward(host, "2.0", "loaded")
    assert kept(host)["closed"] is False
    host.call("rolled_back")
    assert (kept(host)["state"], kept(host)["closed"]) == ("rolled_back", False)
    assert host.call("committed", check_mode=True)["changed"]
    assert host.call("committed")["changed"]
    assert (kept(host)["state"], kept(host)["closed"]) == ("rolled_back", True)
    assert not host.call("committed")["changed"]
    assert not host.call("committed", check_mode=True)["changed"]
    assert not host.call("rolled_back")["changed"]
    events = [json.loads(line)["event"] for line in (host.root / "driver/journal.jsonl").read_text().splitlines()]
    assert events[-2:] == ["rolled_back", "closed"]


def test_a_committed_transaction_is_closed_and_an_open_one_is_not_closed_early(host: FakeHost) -> None:
    forward(host, "2.0", "loaded")
    with pytest.raises(DriverError, match="this step needs verified"):
        host.call("committed")
    forward(host, "2.0")
    assert kept(host)["closed"] is True


def test_what_a_first_driver_brings_along_is_held_so_that_the_next_plan_has_nothing_to_do(host: FakeHost) -> None:
    host.packages, host.held, host.loaded = {"nvidia-modprobe": "3-1", "vim": "9-1"}, set(), ""
    host.needs = {"nvidia-support": "2026-1", "nvidia-kernel-common": "20-1", "dkms": "3-1"}
    host.mirror |= set(host.needs.items())
    forward(host, "2.0", "installed")
    ours = {*NAMES, "nvidia-support", "nvidia-kernel-common", "nvidia-modprobe"}
    assert host.held == ours
    assert set(closure({name: {"version": one} for name, one in host.packages.items()}, "2.0")) == ours
    host.call("rolled_back")
    assert not host.held & set(host.packages)


@pytest.mark.parametrize("steps", [FORWARD, ("downloaded", "installed", "held", "committed")])
def test_a_plan_that_only_holds_stops_nothing_and_loads_nothing(host: FakeHost, steps: tuple[str, ...]) -> None:
    host.held = set()
    host.holder()
    wanted = plan("1.0", install={})
    for state in steps:
        host.call(state, wanted, check_mode=True)
        host.call(state, wanted)
    assert host.held == set(NAMES)
    assert kept(host)["state"] == "committed"
    assert not [one for one in host.commands if one.startswith(("rmmod", "modprobe"))]


def test_a_plan_that_only_holds_goes_back_without_stopping_anything(host: FakeHost) -> None:
    host.held = {"libcuda1"}
    host.holder()
    for state in ("downloaded", "installed"):
        host.call(state, plan("1.0", install={}))
    assert host.call("rolled_back")["transaction"]["state"] == "rolled_back"
    assert host.held == {"libcuda1"}


def test_a_change_of_packages_still_needs_a_driver_that_nobody_holds(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_holders, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(_holders.wait_free, "__defaults__", (0.0,))
    host.holder()
    host.call("downloaded", plan("2.0"))
    with pytest.raises(DriverError, match=r"process 77 .*nvidia-persistenced\.service holds /dev/nvidia0"):
        host.call("stopped")


def test_an_old_package_that_was_spoiled_is_found_before_anything_changes(host: FakeHost) -> None:
    forward(host, "2.0", "stopped")
    (host.root / "driver/cache/libcuda1_1.0-1_amd64.deb").write_text("spoiled")
    host.commands.clear()
    with pytest.raises(DriverError, match=r"lacks libcuda1 1\.0-1.*Take the transaction back"):
        host.call("installed")
    assert host.packages == dict.fromkeys(NAMES, "1.0-1")
    assert not [one for one in host.commands if one.startswith(("apt-get", "dpkg --configure", "rmmod"))]
    assert kept(host)["state"] == "stopped"


def test_the_way_back_brings_a_spoiled_old_package_anew(host: FakeHost) -> None:
    forward(host, "2.0", "loaded")
    (host.root / "driver/cache/libcuda1_1.0-1_amd64.deb").write_text("spoiled")
    mirror, host.mirror = host.mirror, set()
    with pytest.raises(DriverError, match=r"lacks libcuda1 1\.0-1.*run state rolled_back again"):
        host.call("rolled_back")
    host.mirror = mirror
    assert host.call("rolled_back")["transaction"]["state"] == "rolled_back"
    assert host.packages == dict.fromkeys(NAMES, "1.0-1")


def test_check_mode_names_the_packages_that_absent_removes_also_without_a_transaction(host: FakeHost) -> None:
    host.packages |= {"nvidia-support": "2026-1", "vim": "9-1"}
    told = host.call("absent", check_mode=True)
    assert told["changed"]
    real = host.call("absent")
    assert real["changed"]
    assert told["packages_after"] == {}
    assert real["packages_before"].keys() == told["packages_before"].keys() == {*NAMES, "nvidia-support"}
    assert host.packages == {"vim": "9-1"}
    assert not host.call("absent", check_mode=True)["changed"]


def test_a_build_that_fails_is_not_tried_again_by_force(host: FakeHost) -> None:
    builds = []

    def spoil(name: str, version: str) -> str:
        if (name, version) != ("nvidia-kernel-dkms", "2.0-1"):
            return "installed"
        builds.append(version)
        return "half-configured"

    host.spoil = spoil
    forward(host, "2.0", "stopped")
    with pytest.raises(DriverError, match="half-configured"):
        host.call("installed")
    assert builds == ["2.0-1"]


def test_a_half_installed_package_is_installed_by_force(host: FakeHost) -> None:
    answers = ["half-installed", "installed"]
    host.spoil = lambda name, _version: answers.pop(0) if name == "libcuda1" and answers else "installed"
    forward(host, "2.0", "installed")
    assert [one for one in host.commands if one.startswith("dpkg ") and "--install" in one]
