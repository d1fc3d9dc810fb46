# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver, kernel and services: what is not there costs no program, and every distribution's names are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import (
    _collect_driver,
    _collect_kernel,
    _collect_units,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_driver import (
    collect_driver,
    collect_packages,
    driver_version_in,
    fabric_manager_version,
    library_versions,
    parse_packages,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_kernel import (
    collect_kernel,
    module_in,
    newest_kernel,
    parse_modinfo,
    read_modules,
    secure_boot,
    version_key,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_units import (
    UNITS,
    collect_units,
    parse_units,
)


class Programs:
    """Stands for module.run_command and for the programs that there are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **outputs: str) -> None:
        self.outputs = {name.replace("_", "-"): text for name, text in outputs.items()}
        self.ran: list[list[str]] = []
        for module in (_collect_driver, _collect_kernel, _collect_units):
            monkeypatch.setattr(module, "find_program", lambda name: name if name in self.outputs else None)

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        self.ran.append(list(command))
        return 0, self.outputs[command[0]], ""


def put(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


# ---- driver


def test_loaded_driver_and_driver_on_disk_are_told_apart(tmp_path: Path) -> None:
    root = put(tmp_path, {"module/nvidia/version": "570.1\n", "module/nvidia_uvm/refcnt": "0", "module/ext4/x": ""})
    found = collect_driver(root, str(tmp_path), {"version": "580.2", "license": "Dual MIT/GPL"}, {"nvidia-x": "580.2"})
    assert found == {
        "loaded_version": "570.1",
        "disk_version": "580.2",
        "module_licence": "Dual MIT/GPL",
        "library_versions": [],
        "nouveau_loaded": False,
        "loaded_modules": ["nvidia", "nvidia_uvm"],
        "packages": {"nvidia-x": "580.2"},
    }


def test_a_host_without_a_driver_has_none(tmp_path: Path) -> None:
    found = collect_driver(put(tmp_path, {"module/nouveau/x": ""}), str(tmp_path), {}, {})
    assert (found["loaded_version"], found["disk_version"], found["nouveau_loaded"]) == (None, None, True)


def test_the_version_of_a_library_is_in_its_real_name(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.570.133.20").touch()
    (tmp_path / "libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.570.133.20")
    (tmp_path / "libnvidia-ml.so").symlink_to("libnvidia-ml.so.1")
    (tmp_path / "libnvidia-cfg.so.580.1.1").touch()
    assert library_versions(str(tmp_path)) == ["570.133.20"]


def test_a_library_that_is_only_called_1_tells_no_version(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()
    assert library_versions(str(tmp_path)) == []


def test_only_installed_packages_of_a_driver_count() -> None:
    text = (
        "libnvidia-ml1\t535.261.03-1~deb12u1\tinstalled\nnvidia-fabricmanager-570\t570.133.20-0ubuntu1\tinstalled\n"
        "nvidia-old\t470.1.1\tconfig-files\nnvidia-container-toolkit\t1.17.8-1\tinstalled\nnvidia-settings\t\tinstalled\n"
        "cuda-drivers\t3:570.133.20-1.el9\tinstalled\nno line\n"
    )
    assert parse_packages(text) == {
        "libnvidia-ml1": "535.261.03", "nvidia-fabricmanager-570": "570.133.20", "cuda-drivers": "570.133.20",
    }  # fmt: skip


def test_dpkg_is_asked_only_when_there_is_such_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Programs(monkeypatch, dpkg_query="libnvidia-ml1\t535.261.03\tinstalled\n", rpm="")
    root = put(tmp_path, {"status": "", "info/bash.list": ""})
    assert (collect_packages(run, root), run.ran) == ({}, [])
    put(tmp_path, {"info/libnvidia-ml1:amd64.list": ""})
    assert collect_packages(run, root) == {"libnvidia-ml1": "535.261.03"}
    assert [command[0] for command in run.ran] == ["dpkg-query"]


def test_rpm_is_asked_where_there_is_no_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Programs(monkeypatch, rpm="nvidia-driver-cuda\t570.133.20\tinstalled\n")
    assert collect_packages(run, str(tmp_path)) == {"nvidia-driver-cuda": "570.133.20"}
    monkeypatch.setattr(_collect_driver, "find_program", lambda name: None)
    assert collect_packages(run, str(tmp_path)) == {}


def test_the_fabric_manager_tells_its_version_by_its_package_or_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Programs(monkeypatch, nv_fabricmanager="Fabric Manager version is : 570.133.20\n")
    assert fabric_manager_version({"nvidia-fabricmanager-580": "580.1.2"}, run) == "580.1.2" and not run.ran
    assert fabric_manager_version({}, run) == "570.133.20"
    assert fabric_manager_version({}, Programs(monkeypatch)) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [("535.261.03-1", "535.261.03"), ("1:550.54-2", "550.54"), ("1.17.8", None), ("12.8.1", None), ("", None)],
)
def test_what_looks_like_a_driver_version_is_found(text: str, version: str | None) -> None:
    assert driver_version_in(text) == version


# ---- kernel


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.9.12-amd64", "6.12.1-amd64"),
        ("6.12.48-amd64", "6.12.48+deb13-amd64"),
        ("6.12.0-rc7", "6.12.0"),
        ("5.14.0-503.el9.x86_64", "5.14.0-570.el9.x86_64"),
        ("6.8.0-45-generic", "6.8.0-101-generic"),
    ],
)
def test_versions_of_kernels_are_compared_as_numbers(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


def test_the_newest_kernel_is_the_one_that_can_be_booted(tmp_path: Path) -> None:
    assert newest_kernel(str(tmp_path)) is None
    put(tmp_path, {"lib/modules/6.9.0/modules.dep": "", "lib/modules/6.10.0/modules.dep": "", "lib/modules/7/x": ""})
    assert newest_kernel(str(tmp_path)) == "6.10.0"
    put(tmp_path, {"boot/vmlinuz-6.9.0": "", "boot/vmlinuz-0-rescue-12ab": "", "boot/vmlinuz-6.99.0.old": ""})
    assert newest_kernel(str(tmp_path)) == "6.9.0"


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("updates/dkms/nvidia.ko.zst: kernel/x.ko", "updates/dkms/nvidia.ko.zst"),
        ("updates/dkms/nvidia-current.ko:", "updates/dkms/nvidia-current.ko"),
        ("extra/nvidia-tesla-535.ko.xz:", "extra/nvidia-tesla-535.ko.xz"),
        ("kernel/nvidia-580-open/nvidia.ko:", "kernel/nvidia-580-open/nvidia.ko"),
        ("updates/dkms/nvidia-current-open.ko:", "updates/dkms/nvidia-current-open.ko"),
        ("updates/dkms/nvidia-uvm.ko: updates/dkms/nvidia.ko", None),
        ("updates/dkms/nvidia-current-uvm.ko:", None),
        ("kernel/drivers/video/fbdev/nvidia/nvidiafb.ko:", None),
        ("kernel/drivers/i2c/busses/i2c-nvidia-gpu.ko:", None),
    ],
)
def test_the_module_is_found_under_every_name(line: str, path: str | None) -> None:
    assert module_in(f"kernel/a.ko:\n{line}\nkernel/b.ko:\n".encode()) == path


def test_one_modinfo_tells_of_both_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, then = (f"{tmp_path}/lib/modules/{kernel}/updates/nvidia.ko" for kernel in ("6.1.0", "6.2.0"))
    run = Programs(
        monkeypatch,
        modinfo=f"filename:       {now}\nversion:        570.1\nlicense:        NVIDIA\nsigner:         key\n"
        f"filename:       {then}\nversion:        580.1\nparm:           x:y (int)\n",
    )
    procfs = put(tmp_path / "proc", {"sys/kernel/osrelease": "6.1.0\n"})
    put(tmp_path, {f"lib/modules/{kernel}/modules.dep": "updates/nvidia.ko:\n" for kernel in ("6.1.0", "6.2.0")})
    modules = read_modules(procfs, run, str(tmp_path))
    assert run.ran == [["modinfo", now, then]]
    assert modules.of(modules.running)["version"] == "570.1"
    assert collect_kernel(modules, str(tmp_path)) == {
        "running": "6.1.0",
        "newest": "6.2.0",
        "newest_has_module": True,
        "newest_module_signed": False,
        "secure_boot": None,
    }


@pytest.mark.parametrize(("listing", "has"), [("kernel/a.ko:\n", False), (None, None)])
def test_without_a_module_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str | None, has: bool | None
) -> None:
    run = Programs(monkeypatch, modinfo="")
    put(tmp_path, {"boot/vmlinuz-6.1.0": "", "proc/sys/kernel/osrelease": "6.1.0"})
    if listing is not None:
        put(tmp_path, {"lib/modules/6.1.0/modules.dep": listing})
    found = collect_kernel(read_modules(str(tmp_path / "proc"), run, str(tmp_path)), str(tmp_path))
    assert (found["newest_has_module"], found["newest_module_signed"], run.ran) == (has, None, [])


@pytest.mark.parametrize(
    ("variable", "on"), [(None, None), (b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (b"\6", None)]
)
def test_secure_boot_is_read_from_its_variable(variable: bytes | None, on: bool | None) -> None:
    assert secure_boot(variable) is on


def test_what_is_no_field_of_modinfo_is_left_out() -> None:
    assert parse_modinfo("version: 1\nfilename: /x\nversion: 2\nversion: 3\n  sig: 00:11\n") == {
        "/x": {"filename": "/x", "version": "2"}
    }


# ---- services


def test_one_call_tells_of_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    block = "Id={}\nLoadState={}\nActiveState=active\nSubState=running\nResult=success\n"
    run = Programs(
        monkeypatch, systemctl="\n".join([block.format(UNITS[0], "loaded"), block.format(UNITS[1], "masked")])
    )
    found = collect_units(run)
    assert len(run.ran) == 1 and set(found) == set(UNITS)
    assert found[UNITS[0]] == {
        "load_state": "loaded", "active_state": "active", "sub_state": "running", "result": "success",
    }  # fmt: skip
    assert found[UNITS[1]]["load_state"] == "masked"


def test_without_a_device_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Programs(monkeypatch, systemctl="")
    assert {unit["load_state"] for unit in collect_units(run, ask=False).values()} == {"not-found"}
    assert run.ran == []


def test_a_service_manager_that_does_not_answer_leaves_the_state_unknown() -> None:
    assert {unit["active_state"] for unit in parse_units("").values()} == {"unknown"}
