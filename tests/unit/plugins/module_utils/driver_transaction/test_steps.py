# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a driver transaction on a host in memory: forward, back, refused, repeated, predicted."""

from __future__ import annotations

import json

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.driver_host import NAMES, FakeHost, host, plan

__all__ = ["host"]
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
