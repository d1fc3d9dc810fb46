# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a driver transaction: what programs print, versions, holders of the device, services."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver import _holders
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._apt import (
    parse_query,
    parse_simulation,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._changes import (
    missing,
    of_driver,
    reverse,
    unfinished,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._holders import holders_text, wait_free
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError, Host, told
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._kernel import loaded_modules
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._units import (
    close_window,
    open_window,
    start,
    stop,
    unit_states,
)


def package(version: str, status: str = "installed", broken: bool = False) -> dict[str, object]:
    """Return a package as dpkg tells of it."""
    return {"version": version, "status": status, "held": False, "broken": broken}


def test_dpkg_is_understood_also_for_other_architectures_and_holds() -> None:
    rows = [
        "libcuda1:amd64 5-1 installed hold ok",
        "libcuda1:i386 5-1 half-installed install reinstreq",
        "old  not-installed purge ok",
    ]
    text = "\n".join(rows).replace(" ", "\t")
    assert parse_query(text, "amd64") == {
        "libcuda1": {"version": "5-1", "status": "installed", "held": True, "broken": False},
        "libcuda1:i386": {"version": "5-1", "status": "half-installed", "held": False, "broken": True},
    }


def test_a_simulation_of_apt_is_understood() -> None:
    text = """Inst libcuda1 [1-1] (2-1 local-deb [amd64])
Inst nvidia-smi [1-1] (2-1 x:1/y [amd64]) []
Inst nvidia-support (3 Debian:12 [all])
Remv nvidia-old [1-1] [nvidia-smi:amd64 ]
Conf libcuda1 (2-1 local-deb [amd64])"""
    assert parse_simulation(text) == {
        "libcuda1": ("1-1", "2-1"),
        "nvidia-smi": ("1-1", "2-1"),
        "nvidia-support": (None, "3"),
        "nvidia-old": ("1-1", None),
    }


def test_the_closure_is_computed_from_what_is_installed() -> None:
    packages = {
        "libcuda1": package("580.1.2-1"),
        "libnvidia-ml1:i386": package("580.1.2-1"),
        "nvidia-support": package("2026"),
        "nvidia-old": package("580.1.2-1", "config-files"),
        "linux-headers": package("6.1"),
        "vim": package("9"),
    }
    assert of_driver(packages, "580.1.2", ["linux-headers", "not-there"]) == [
        "libcuda1",
        "libnvidia-ml1:i386",
        "linux-headers",
        "nvidia-support",
    ]


def test_what_is_not_as_wanted_is_told_for_each_package() -> None:
    packages = {
        "a": package("1"),
        "b": package("2", "half-configured"),
        "c": package("1"),
        "d": package("1", "config-files"),
    }
    assert missing({"a": "1", "b": "2", "c": None, "d": None, "e": "1"}, packages) == [
        "b is 2 (half-configured), not 2 (installed)",
        "c is still there (1, installed)",
        "e 1 is not installed",
    ]
    assert unfinished(packages) == ["b"]
    assert reverse({"a": ("1", "2"), "b": (None, "2")}) == {"a": ("2", "1"), "b": ("2", None)}


def test_modules_leave_from_the_top_and_unknown_ones_first(tmp_path: Path) -> None:
    for name in ("nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia_new", "ext4"):
        (tmp_path / "module" / name).mkdir(parents=True)
    host = Host(lambda _command: (0, "", ""), sysfs_root=str(tmp_path))
    assert loaded_modules(host) == ["nvidia_new", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia"]


def process(root: Path, pid: int, device: str, unit: str) -> None:
    """Make a process of a fake /proc."""
    place = root / str(pid)
    (place / "fd").mkdir(parents=True)
    os.symlink(device, place / "fd" / "7")
    (place / "comm").write_text(f"serve{pid}\n")
    (place / "cgroup").write_text(f"0::/system.slice/{unit}\n")


def test_who_holds_the_driver_is_told_with_process_command_unit_and_device(tmp_path: Path) -> None:
    process(tmp_path, 10, "/dev/nvidia0", "local-llm@chat.service")
    text = holders_text(wait_free(str(tmp_path), 0))
    assert "process 10 (serve10) of local-llm@chat.service holds /dev/nvidia0" in text
    assert "Stop local-llm@chat.service" in text


def test_a_process_that_hides_its_mappings_does_not_count_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(tmp_path, 10, "/dev/null", "x.service")

    def denied(place: str) -> set[str]:
        raise PermissionError(13, "Permission denied", f"{place}/maps")

    monkeypatch.setattr(_holders, "mapped_devices", denied)
    with pytest.raises(DriverError, match=r"10/maps may not be read: whether process 10 \(serve10\)"):
        wait_free(str(tmp_path), 0)


def test_dpkg_waits_until_another_package_manager_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["process 7", "process 7", None]
    monkeypatch.setattr(_apt, "lock_holder", lambda _path: answers.pop(0))
    monkeypatch.setattr(_apt.time, "sleep", lambda _seconds: None)
    _apt.wait_for_dpkg(Host(lambda _command: (0, "", "")))
    assert answers == []
    monkeypatch.setattr(_apt, "lock_holder", lambda _path: "process 7")
    monkeypatch.setattr(_apt, "LOCK_SECONDS", 0.0)
    with pytest.raises(DriverError, match=r"lock-frontend has been held by process 7"):
        _apt.wait_for_dpkg(Host(lambda _command: (0, "", "")))


def test_units_are_told_in_the_order_in_which_they_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "LoadState=loaded\nActiveState=active\n\nLoadState=not-found\nActiveState=inactive\n"
    host = Host(lambda _command: (0, shown, ""))
    monkeypatch.setattr(f"{Host.__module__}.find_program", lambda name: f"/bin/{name}")
    monkeypatch.setattr(f"{unit_states.__module__}.find_program", lambda name: f"/bin/{name}")
    assert unit_states(host, ["b.service", "a.service"]) == {"b.service": "active", "a.service": "absent"}


def test_an_error_shows_the_lines_that_tell_of_it_and_none_twice() -> None:
    out = "\n".join([*(f"line {number}" for number in range(30)), "Error! Bad return status", "line 29"])
    assert told(
        out, "E: Sub-process failed"
    ) == "It wrote: Error! Bad return status | E: Sub-process failed | " + " | ".join(
        f"line {number}" for number in range(17, 30)
    )


class Systemd:
    """Answers systemctl for units that are all there, and keeps what was asked."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.commands: list[str] = []

    def run(self, command: Sequence[str]) -> tuple[int, str, str]:
        """Answer a command."""
        self.commands.append(" ".join(command))
        asked = len(command) - list(command).index("--") - 1 if "show" in command else 0
        return 0, "\n\n".join(["LoadState=loaded\nActiveState=" + self.state] * asked), ""


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    """Return a host's systemd on which nothing runs."""
    monkeypatch.setattr(f"{Host.__module__}.find_program", lambda name: name)
    monkeypatch.setattr(f"{unit_states.__module__}.find_program", lambda name: name)
    return Systemd("inactive")


def test_the_host_s_own_updates_are_masked_until_the_reboot_or_the_end_of_the_window(systemd: Systemd) -> None:
    open_window(Host(systemd.run), 600)
    (mask,) = [one for one in systemd.commands if one.startswith("systemctl mask")]
    assert mask.startswith("systemctl mask --runtime -- apt-daily.timer")
    (end,) = [one for one in systemd.commands if one.startswith("systemd-run")]
    assert "--on-active=600" in end
    assert "systemctl unmask --runtime apt-daily.timer" in end
    assert "is-enabled apt-daily-upgrade.timer && systemctl start apt-daily-upgrade.timer" in end
    assert ";" not in end, "Debian 12's systemd spoils it when it reads its units anew"


def test_the_end_of_the_window_takes_the_masks_away_before_the_timer_that_would(
    systemd: Systemd, tmp_path: Path
) -> None:
    masks = tmp_path / "run/systemd/system"
    masks.mkdir(parents=True)
    for unit in ("apt-daily.timer", "apt-daily.service"):
        (masks / unit).symlink_to("/dev/null")
    close_window(Host(systemd.run, system_root=str(tmp_path)))
    assert systemd.commands[1] == "systemctl unmask --runtime -- apt-daily.timer apt-daily.service"
    assert systemd.commands[-1] == "systemctl stop -- local-llm-driver-window.timer"


def test_a_window_whose_end_was_cut_off_still_starts_the_timers_the_second_time(
    systemd: Systemd, tmp_path: Path
) -> None:
    close_window(Host(systemd.run, system_root=str(tmp_path)))
    assert not any("unmask" in command for command in systemd.commands)
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert f"systemctl start -- {timer}" in systemd.commands


def test_a_timer_of_updates_that_does_not_start_is_no_fault_of_the_driver(systemd: Systemd, tmp_path: Path) -> None:
    def run(command: Sequence[str]) -> tuple[int, str, str]:
        code, out, err = systemd.run(command)
        return (1 if "start" in command else code), out, err

    close_window(Host(run, system_root=str(tmp_path)))
    assert systemd.commands[-1] == "systemctl stop -- local-llm-driver-window.timer"


def test_an_error_names_the_command_and_what_it_wrote(systemd: Systemd) -> None:
    host = Host(lambda _command: (1, "", "Unit x.service not found."))
    with pytest.raises(
        DriverError, match=r"systemctl start -- x ended with exit code 1\. It wrote: Unit x\.service not"
    ):
        host.must("Starting x", "systemctl", "start", "--", "x")


def test_a_unit_that_does_not_run_after_its_start_is_an_error(systemd: Systemd) -> None:
    with pytest.raises(DriverError, match=r"journalctl -u nvidia-persistenced\.service"):
        start(Host(systemd.run), ["nvidia-persistenced.service"])


def test_a_unit_whose_start_came_too_early_is_started_once_more(systemd: Systemd) -> None:
    def run(command: Sequence[str]) -> tuple[int, str, str]:
        if "start" in command:
            systemd.state = "active" if "systemctl start -- a.service" in systemd.commands else "failed"
        return systemd.run(command)

    assert start(Host(run), ["a.service"]) == ["a.service"]
    assert systemd.commands.count("systemctl start -- a.service") == 2


def test_only_units_that_run_are_stopped(systemd: Systemd) -> None:
    assert stop(Host(systemd.run), ["a.service"]) == []
    systemd.state = "active"
    assert stop(Host(systemd.run), ["a.service"]) == ["a.service"]
    assert "systemctl stop -- a.service" in systemd.commands
