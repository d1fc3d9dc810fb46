# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI devices and the host: broken files, devices that do not answer, processes with odd names."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_host import (
    age_seconds,
    collect_host,
    cpu_governors,
    device_and_space,
    disks,
    edac_count,
    holds_nvidia,
    parse_stat,
    still_there,
    stuck_processes,
    virtual_machine,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_pci import (
    aer_total,
    collect_pci,
    config_readable,
    link_speed,
    link_width,
)


def put(root: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return str(root)


def device(
    address: str, vendor: str = "0x10de", kind: str = "0x030200", **files: str | bytes
) -> dict[str, str | bytes]:
    every: dict[str, str | bytes] = {"vendor": vendor, "class": kind, "device": "0x2330", **files}
    return {f"bus/pci/devices/{address}/{name}": content for name, content in every.items()}


# ---- PCI


def test_only_gpus_and_switches_of_nvidia_are_listed(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        {
            **device("0000:18:00.0"),
            **device("0000:19:00.0", kind="0x030000"),
            **device("0000:19:00.1", kind="0x040300"),
            **device("0000:07:00.0", kind="0x068000"),
            **device("0000:00:02.0", vendor="0x8086", kind="0x030000"),
        },
    )
    found = collect_pci(root)
    assert [(item["address"], item["kind"], item["class"]) for item in found] == [
        ("0000:07:00.0", "nvswitch", "0680"),
        ("0000:18:00.0", "gpu", "0302"),
        ("0000:19:00.0", "gpu", "0300"),
    ]


def test_a_device_has_all_its_keys_also_when_little_can_be_read(tmp_path: Path) -> None:
    (found,) = collect_pci(put(tmp_path, device("0000:18:00.0", numa_node="-1")))
    assert found == {
        "address": "0000:18:00.0", "vendor": "10de", "device_id": "2330", "class": "0302", "kind": "gpu",
        "numa_node": None, "width_current": None, "width_max": None, "speed_current_gts": None, "speed_max_gts": None,
        "readable": True, "aer_fatal": None, "aer_nonfatal": None, "aer_correctable": None,
    }  # fmt: skip


def test_a_healthy_link_is_read(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "numa_node": "1",
        "current_link_width": "16",
        "max_link_width": "16",
        "aer_dev_fatal": "DLP 0\nTLP 2",
    }
    files.update(current_link_speed="16.0 GT/s PCIe", max_link_speed="32.0 GT/s PCIe", config=b"\xde\x10\x30\x23")
    (found,) = collect_pci(
        put(tmp_path, {**device("0000:18:00.0"), **device("0000:18:00.0", "0x10de", "0x030200", **files)})
    )
    assert (found["numa_node"], found["width_current"], found["speed_current_gts"]) == (1, 16, 16.0)
    assert (found["speed_max_gts"], found["aer_fatal"], found["readable"]) == (32.0, 2, True)


def test_a_host_without_pci_has_no_device(tmp_path: Path) -> None:
    assert collect_pci(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("config", "readable"), [(b"\xff\xff\xff\xff", False), (b"\xde\x10\xff\xff", True), (None, True), (b"", True)]
)
def test_a_device_that_reads_as_ones_only_does_not_answer(config: bytes | None, readable: bool) -> None:
    assert config_readable(config) is readable


@pytest.mark.parametrize(("text", "width"), [("16", 16), ("63", None), ("255", None), ("0", None), ("x", None)])
def test_a_width_that_cannot_be_is_unknown(text: str, width: int | None) -> None:
    assert link_width(text) == width


@pytest.mark.parametrize(
    ("text", "speed"), [("32.0 GT/s PCIe", 32.0), ("8 GT/s", 8.0), ("Unknown", None), (None, None)]
)
def test_a_speed_is_a_number(text: str | None, speed: float | None) -> None:
    assert link_speed(text) == speed


@pytest.mark.parametrize(
    ("text", "total"), [("RxErr 1\nBadTLP 2\nTOTAL_ERR_COR 3", 3), ("A 1\nB 2", 3), ("", None), ("nonsense", None)]
)
def test_errors_of_a_device_are_counted_once(text: str, total: int | None) -> None:
    assert aer_total(text) == total


# ---- host


def test_governors_are_listed_once_wherever_the_kernel_has_them(tmp_path: Path) -> None:
    place = "devices/system/cpu"
    assert cpu_governors(str(tmp_path)) == []
    put(tmp_path, {f"{place}/cpu{cpu}/cpufreq/scaling_governor": "powersave" for cpu in range(3)})
    assert cpu_governors(str(tmp_path)) == ["powersave"]
    put(tmp_path, {f"{place}/cpufreq/policy{cpu}/scaling_governor": "performance" for cpu in range(3)})
    assert cpu_governors(str(tmp_path)) == ["performance"]


def test_memory_errors_are_added_up(tmp_path: Path) -> None:
    assert edac_count(str(tmp_path), "ce_count") is None
    put(tmp_path, {f"devices/system/edac/mc/mc{number}/ce_count": "2" for number in range(3)})
    assert edac_count(str(tmp_path), "ce_count") == 6


def test_each_file_system_is_listed_once() -> None:
    found = disks(("/", "/usr/..", "/no/such/directory"))
    assert len(found) == 1
    assert set(found[0]) == {"path", "total_bytes", "free_bytes", "read_only"} and found[0]["total_bytes"] > 0


def test_a_file_system_whose_server_is_gone_holds_up_nobody() -> None:
    never = threading.Event()

    def look(path: str) -> tuple[int, os.statvfs_result]:
        if path == "/dead":
            never.wait(30)
        return device_and_space("/")

    try:
        assert [one["path"] for one in disks(("/dead", "/"), look, seconds=0.2)] == ["/"]
    finally:
        never.set()


def stat_line(pid: int, name: str, state: str, started: int = 1000) -> str:
    return f"{pid} ({name}) {state} 1 " + " ".join(["0"] * 17) + f" {started} 0 0\n"


def test_a_name_with_brackets_and_blanks_is_read() -> None:
    found = parse_stat(stat_line(7, "a) D (b", "S", 4200))
    assert found and (found.pid, found.name, found.state, found.started_ticks) == (7, "a) D (b", "S", 4200)
    assert parse_stat("nonsense") is None and parse_stat(None) is None


def test_only_processes_that_are_stuck_in_the_driver_count(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        {
            "1/stat": stat_line(1, "systemd", "S"),
            "2/stat": stat_line(2, "nvidia-smi", "D"),
            "3/stat": stat_line(3, "jbd2", "D"),
            "4/stat": stat_line(4, "python3", "D"),
            "5/stat": stat_line(5, "dead", "Z", 0),
            "self/stat": stat_line(9, "nvidia", "D"),
        },
    )
    (tmp_path / "4/fd").mkdir()
    (tmp_path / "4/fd/3").symlink_to("/dev/nvidia0")
    assert [one.pid for one in stuck_processes(root)] == [2, 3, 4, 5]
    assert holds_nvidia(root, 4) and not holds_nvidia(root, 3)
    host = collect_host(str(tmp_path), root, 500.0)
    assert [one["pid"] for one in host["blocked_processes"]] == [2, 4]
    assert host["zombie_processes"] == [{"pid": 5, "name": "dead", "age_seconds": 500.0}]
    assert host["time_synchronised"] is None
    put(tmp_path, {"2/stat": stat_line(2, "nvidia-smi", "S"), "5/stat": stat_line(5, "another", "Z")})
    later = still_there(host, root)
    assert [one["pid"] for one in later["blocked_processes"]] == [4] and later["zombie_processes"] == []


def test_the_age_of_a_process_needs_the_uptime() -> None:
    process = parse_stat(stat_line(1, "x", "Z", 100))
    assert process and age_seconds(process, None) is None
    assert process and age_seconds(process, 11.0) == 10.0


@pytest.mark.parametrize(
    ("cpuinfo", "dmi", "virtual"),
    [
        ("flags : fpu hypervisor sse", "Supermicro", True),
        ("flags : fpu sse", "QEMU", False),
        ("Features : fp", "QEMU Standard PC", True),
        (None, "Ampere Mt. Jade", False),
        (None, " ", None),
    ],
)
def test_a_virtual_machine_is_known(cpuinfo: str | None, dmi: str, virtual: bool | None) -> None:
    assert virtual_machine(cpuinfo, dmi) is virtual
