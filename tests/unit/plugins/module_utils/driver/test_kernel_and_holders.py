# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels, headers, DKMS, Secure Boot, and who holds a GPU, from files and texts as hosts have them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver import _facts as facts
from ansible_collections.local_llm.ops.plugins.module_utils._driver import _holders as holders
from ansible_collections.local_llm.ops.plugins.module_utils._driver import _kernel_read as kernel_read
from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import (
    DKMS_KEYS,
    FACTS_KEYS,
    GPU_KEYS,
    HOLDER_KEYS,
    KERNEL_KEYS,
)

DKMS = """\
nvidia-current/535.247.01, 6.1.0-35-amd64, x86_64: installed
nvidia-current, 535.247.01, 6.1.0-37-amd64, x86_64: built
nvidia/580.95.05: added
zfs/2.1.11, 6.1.0-35-amd64, x86_64: installed
nvidia/580.95.05, 6.8.0-50-generic, x86_64: installed (WARNING! Diff between built and installed module!)
"""


def test_dkms_tells_what_is_built_for_which_kernel() -> None:
    found = [tuple(one[key] for key in DKMS_KEYS) for one in kernel_read.parse_dkms(DKMS)]
    assert found == [
        ("nvidia-current", "535.247.01", "6.1.0-35-amd64", "installed"),
        ("nvidia-current", "535.247.01", "6.1.0-37-amd64", "built"),
        ("nvidia", "580.95.05", None, "added"),
        ("nvidia", "580.95.05", "6.8.0-50-generic", "installed"),
    ]


def test_headers_are_there_when_something_can_be_built(tmp_path: Path) -> None:
    for release in ("6.1.0-35", "6.1.0-37", "6.1.0-9"):
        (tmp_path / "lib/modules" / release).mkdir(parents=True)
        (tmp_path / "lib/modules" / release / "modules.dep").touch()
    (tmp_path / "usr/src/linux-headers-6.1.0-37").mkdir(parents=True)
    (tmp_path / "usr/src/linux-headers-6.1.0-37/Makefile").touch()
    (tmp_path / "lib/modules/6.1.0-37/build").symlink_to("/usr/src/linux-headers-6.1.0-37")
    (tmp_path / "lib/modules/6.1.0-35/build").symlink_to("/usr/src/gone")
    found = kernel_read.kernels("6.18.0-cloud", str(tmp_path))
    assert [tuple(one[key] for key in KERNEL_KEYS) for one in found] == [
        ("6.1.0-9", False),
        ("6.1.0-35", False),
        ("6.1.0-37", True),
        ("6.18.0-cloud", False),
    ]


@pytest.mark.parametrize(
    ("variable", "said", "state"),
    [
        (b"\x06\x00\x00\x00\x01", "", "on"),
        (b"\x06\x00\x00\x00\x00", "", "off"),
        (None, "SecureBoot enabled\n", "on"),
        (None, "SecureBoot disabled\n", "off"),
        (None, "EFI variables are not supported on this system\n", "unknown"),
    ],
)
def test_secure_boot_is_read_from_the_firmware_else_asked(
    tmp_path: Path, variable: bytes | None, said: str, state: str
) -> None:
    place = tmp_path / "firmware/efi/efivars"
    place.mkdir(parents=True)
    if variable is not None:
        (place / kernel_read.EFI_VARIABLE).write_bytes(variable)
    assert kernel_read.secure_boot_state(str(tmp_path), lambda: said) == state


def test_a_host_without_efi_has_no_secure_boot_and_one_without_sysfs_does_not_tell(tmp_path: Path) -> None:
    assert kernel_read.secure_boot_state(str(tmp_path), lambda: "") == "unknown"
    (tmp_path / "firmware").mkdir()
    assert kernel_read.secure_boot_state(str(tmp_path), lambda: "") == "off"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("/var/lib/dkms/mok.pub is already enrolled\n", True),
        ("/var/lib/dkms/mok.pub is not enrolled\n", False),
        ("Failed to read\n", None),
    ],
)
def test_a_key_is_enrolled_not_enrolled_or_not_known(said: str, answer: bool | None) -> None:
    assert kernel_read.parse_test_key(said) is answer


@pytest.mark.parametrize(
    ("text", "flavour"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build", "open"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.247.01  Thu Apr  3", "proprietary"),
        (None, None),
    ],
)
def test_the_loaded_module_says_its_kind(tmp_path: Path, text: str | None, flavour: str | None) -> None:
    if text:
        (tmp_path / "driver/nvidia").mkdir(parents=True)
        (tmp_path / "driver/nvidia/version").write_text(text, encoding="utf-8")
    assert kernel_read.loaded_flavour(str(tmp_path), "535.247.01") == flavour
    assert kernel_read.loaded_flavour(str(tmp_path), None) is None


def test_the_library_is_found_behind_debians_alternatives(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib/x86_64-linux-gnu"
    (place / "nvidia/current").mkdir(parents=True)
    (place / "nvidia/current/libnvidia-ml.so.535.261.03").touch()
    (place / "nvidia/current/libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.535.261.03")
    (tmp_path / "etc/alternatives").mkdir(parents=True)
    (tmp_path / "etc/alternatives/x").symlink_to("/usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.1")
    (place / "libnvidia-ml.so.1").symlink_to("/etc/alternatives/x")
    assert kernel_read.library_version(str(tmp_path)) == "535.261.03"
    assert kernel_read.library_version(str(tmp_path / "etc")) is None


def process(root: Path, pid: int, name: str, cgroup: str, files: Sequence[str] = (), maps: str = "") -> None:
    place = root / str(pid)
    (place / "fd").mkdir(parents=True)
    for number, target in enumerate(files):
        (place / "fd" / str(number)).symlink_to(target)
    (place / "comm").write_text(f"{name}\n", encoding="utf-8")
    (place / "cgroup").write_text(cgroup, encoding="utf-8")
    (place / "maps").write_text(maps, encoding="utf-8")


def test_holders_are_found_by_open_files_and_by_what_they_mapped(tmp_path: Path) -> None:
    unit = "0::/system.slice/system-local\\x2dllm.slice/local-llm@chat.service\n"
    process(tmp_path, 20, "llama-server", unit, ["/dev/null", "/dev/nvidiactl", "/dev/nvidia0"])
    maps = "7f00-7f01 rw-s 0 00:05 512   /dev/nvidia-uvm\n7f02-7f03 r--p 0 08:01 1 /usr/lib/libnvidia-ml.so.1\n"
    process(tmp_path, 3, "python3", "0::/user.slice/user-0.slice/session-2.scope\n", maps=maps)
    process(tmp_path, 4, "sh", "0::/init.scope\n", ["/dev/null"])
    process(tmp_path, 5, "tool", "0::/\n", ["/dev/nvidia-caps/nvidia-cap1"])
    found = [tuple(one[key] for key in HOLDER_KEYS) for one in holders.find_holders(str(tmp_path))]
    assert found == [
        (3, "python3", "session-2.scope", "/dev/nvidia-uvm"),
        (5, "tool", None, "/dev/nvidia-caps/nvidia-cap1"),
        (20, "llama-server", "local-llm@chat.service", "/dev/nvidia0"),
    ]


def test_a_process_that_may_not_be_looked_at_makes_the_holders_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(tmp_path, 20, "x", "0::/\n")

    def denied(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(holders.os, "listdir", denied)
    monkeypatch.setattr(holders, "list_directory", lambda *parts: ["20"])
    with pytest.raises(holders.CannotLook, match="whether process 20"):
        holders.find_holders(str(tmp_path))
    assert facts.holders(str(tmp_path)) is None


def test_mappings_that_may_not_be_read_make_the_holders_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(tmp_path, 20, "x", "0::/\n")

    def denied(path: str, **_options: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(holders, "open", denied, raising=False)
    with pytest.raises(holders.CannotLook, match="20/maps may not be read"):
        holders.find_holders(str(tmp_path))


def test_a_device_that_was_made_anew_meanwhile_is_held_all_the_same(tmp_path: Path) -> None:
    process(tmp_path, 6, "a", "0::/\n", maps="7f00-7f01 rw-s 0 00:05 512   /dev/nvidia-uvm (deleted)\n")
    process(tmp_path, 7, "b", "0::/\n", ["/dev/nvidia0 (deleted)"])
    found = [(one["pid"], one["device"]) for one in holders.find_holders(str(tmp_path))]
    assert found == [(6, "/dev/nvidia-uvm"), (7, "/dev/nvidia0")]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/ollama.service\n", "ollama.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope\n", "app-x.scope"),
        ("12:pids:/x\n1:name=systemd:/system.slice/nvidia-dcgm.service\n0::/y\n", "nvidia-dcgm.service"),
        ("0::/system.slice/docker-abc.scope\n", "docker-abc.scope"),
        ("0::/\n", None),
        (None, None),
    ],
)
def test_a_control_group_names_the_unit(text: str | None, unit: str | None) -> None:
    assert holders.unit_of(text) == unit


SERVICES = """\
Id=nvidia-persistenced.service
LoadState=loaded
ActiveState=active

Id=nvidia-fabricmanager.service
LoadState=loaded
ActiveState=failed

Id=nvidia-dcgm.service
LoadState=not-found
ActiveState=inactive
"""


def test_services_are_active_inactive_or_absent() -> None:
    assert facts.parse_services(SERVICES) == {
        "nvidia-persistenced": "active",
        "nvidia-fabricmanager": "inactive",
        "nvidia-dcgm": "absent",
    }
    assert set(facts.parse_services("").values()) == {"absent"}


def test_os_release_loses_its_quotes() -> None:
    assert facts.os_release('ID=rocky\nVERSION_ID="9.6"\n# x=1\n') == {"ID": "rocky", "VERSION_ID": "9.6"}


def test_a_host_with_nothing_has_every_fact(tmp_path: Path) -> None:
    for name in ("sys/firmware", "proc", "root/usr", "root/var", "root/etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root/etc/os-release").write_text("ID=debian\nVERSION_ID=12\n", encoding="utf-8")
    device = tmp_path / "sys/bus/pci/devices/0000:18:00.0"
    device.mkdir(parents=True)
    for name, text in {"vendor": "0x10de", "class": "0x030200", "device": "0x2330"}.items():
        (device / name).write_text(text, encoding="utf-8")
    sources = facts.Sources(
        str(tmp_path / "sys"), str(tmp_path / "proc"), str(tmp_path / "root"), running_kernel="6.1.0-35"
    )
    found = facts.gather_driver_facts(sources, lambda command: (127, "", ""))
    assert tuple(sorted(found)) == tuple(sorted(FACTS_KEYS))
    assert found["gpus"] == [dict(zip(GPU_KEYS, ("0000:18:00.0", "2330", "hopper"), strict=True))]
    assert (found["distribution"], found["distribution_version"]) == ("debian", "12")
    assert (found["kernel_running"], found["kernel_newest"], found["secure_boot"]) == ("6.1.0-35", None, "off")
    assert (found["holders"], found["transaction"], found["loaded_version"]) == ([], None, None)
    assert found["disk_free_bytes"] > 0


def test_the_transaction_on_the_host_is_read_and_a_broken_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / facts.TRANSACTION
    os.makedirs(path.parent)
    path.write_text('{"schema": 1, "state": "stopped"}', encoding="utf-8")
    assert facts.transaction(str(tmp_path)) == {"schema": 1, "state": "stopped"}
    path.write_text('{"schema": 1, "sta', encoding="utf-8")
    assert facts.transaction(str(tmp_path)) is None
