# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a driver transaction: what programs print, versions, holders of the device, services."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._apt import (
    parse_query,
    parse_simulation,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._changes import (
    closure,
    missing,
    reverse,
    unfinished,
    upstream,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._holders import (
    find_holders,
    holders_text,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import Host, told
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._kernel import (
    loaded_modules,
    parse_dkms,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._units import unit_states


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


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("535.261.03-1~deb12u1", "535.261.03"),
        ("1:580.95.05-0ubuntu0.24.04.1", "580.95.05"),
        ("580.95.05", "580.95.05"),
        ("2:1.0", "1.0"),
    ],
)
def test_the_driver_s_version_is_read_out_of_a_package_s(version: str, expected: str) -> None:
    assert upstream(version) == expected


def test_the_closure_is_computed_from_what_is_installed() -> None:
    packages = {
        "libcuda1": package("580.1.2-1"),
        "libnvidia-ml1:i386": package("580.1.2-1"),
        "nvidia-support": package("2026"),
        "nvidia-old": package("580.1.2-1", "config-files"),
        "vim": package("9"),
    }
    assert closure(packages, "580.1.2", ["nvidia-support", "not-there"]) == [
        "libcuda1",
        "libnvidia-ml1:i386",
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


def test_dkms_is_understood_in_its_forms() -> None:
    text = """nvidia-current/535.261.03, 6.1.0-44-amd64, x86_64: installed
nvidia/580.95.05, 6.8.0-51-generic, x86_64: installed (original_module exists)
nvidia-current, 470.1.2, 5.10.0-1-amd64, x86_64: built
nvidia-current/550.163.01: added
zfs/2.1.11, 6.1.0-44-amd64, x86_64: installed"""
    assert [(one["version"], one["kernel"], one["status"]) for one in parse_dkms(text)] == [
        ("535.261.03", "6.1.0-44-amd64", "installed"),
        ("580.95.05", "6.8.0-51-generic", "installed"),
        ("470.1.2", "5.10.0-1-amd64", "built"),
        ("550.163.01", "", "added"),
    ]


def test_modules_leave_from_the_top_and_unknown_ones_first(tmp_path: Path) -> None:
    for name in ("nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia_new", "ext4"):
        (tmp_path / "module" / name).mkdir(parents=True)
    host = Host(lambda _command: (0, "", ""), sysfs_root=str(tmp_path))
    assert loaded_modules(host) == ["nvidia_new", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia"]


def process(root: Path, pid: int, device: str = "", mapped: str = "", unit: str = "") -> None:
    """Make a process of a fake /proc."""
    place = root / str(pid)
    (place / "fd").mkdir(parents=True)
    os.symlink("/dev/null", place / "fd" / "0")
    if device:
        os.symlink(device, place / "fd" / "7")
    (place / "maps").write_text(f"7f00-7f01 rw-s 00000000 00:05 7 {mapped}\n" if mapped else "")
    (place / "cmdline").write_text(f"python3\0serve{pid}\0")
    (place / "cgroup").write_text(f"0::/system.slice/{unit}\n" if unit else "0::/\n")


def test_holders_are_found_by_open_files_and_by_mappings(tmp_path: Path) -> None:
    process(tmp_path, 10, device="/dev/nvidia0", unit="local-llm@chat.service")
    process(tmp_path, 11, mapped="/dev/nvidia-uvm")
    process(tmp_path, 12, device="/dev/nvme0")
    found = find_holders(str(tmp_path))
    assert [(one["pid"], one["device"], one["unit"]) for one in found] == [
        (10, "/dev/nvidia0", "local-llm@chat.service"),
        (11, "/dev/nvidia-uvm", None),
    ]
    text = holders_text(found)
    assert "process 10 (python3 serve10) of local-llm@chat.service holds /dev/nvidia0" in text
    assert "Stop local-llm@chat.service" in text


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
