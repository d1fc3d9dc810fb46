# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XIDs counted from the kernel log: each once, and a bound on the series that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _exporter_log as exporter_log
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_log import KernelLog, XidCounter

ADDRESS = "0000:18:00.0"


def event(code: int, pci: str | None = ADDRESS, boot: str = "now", kind: str = "xid") -> dict[str, Any]:
    return {"kind": kind, "code": code, "pci": pci, "boot_id": boot}


def line(number: int, text: str) -> str:
    return f"3,{number},{1000 + number},-;{text}\n"


def xid(code: int, bus: str = "18") -> str:
    return f"NVRM: Xid (PCI:0000:{bus}:00): {code}, pid=1, name=x, something"


def test_codes_are_counted_by_device_and_only_of_this_boot() -> None:
    counter = XidCounter([31, 79])
    counter.add([event(31), event(31), event(79, "0000:2a:00.0"), event(31, boot="earlier")], "now")
    counter.add([event(0, kind="oom"), event(31)], "now")
    assert counter.counts == {(ADDRESS, "31"): 3, ("0000:2a:00.0", "79"): 1}


def test_gpu_that_fell_off_the_bus_counts_once_however_the_driver_says_it() -> None:
    counter = XidCounter([79])
    counter.add([event(79), event(79, kind="fallen_off_bus"), event(79, kind="fallen_off_bus")], "now")
    assert counter.counts == {(ADDRESS, "79"): 1}


def test_codes_that_nobody_knows_are_grouped_beyond_a_bound() -> None:
    counter = XidCounter([31])
    counter.add([event(code) for code in range(1000, 3000)] + [event(31)], "now")
    assert len(counter.counts) == exporter_log.MAX_UNKNOWN_CODES + 2
    assert counter.counts[ADDRESS, "31"] == 1, "a known code is told although unknown ones came before"
    assert counter.counts[ADDRESS, "other"] == 2000 - exporter_log.MAX_UNKNOWN_CODES
    assert sum(counter.counts.values()) == 2001


def test_devices_are_bounded_too() -> None:
    counter = XidCounter([31])
    counter.add([event(31, f"0000:{number:02x}:00.0") for number in range(256)], "now")
    assert len(counter.counts) == exporter_log.MAX_DEVICES + 1
    assert sum(counter.counts.values()) == 256


@pytest.fixture
def procfs(tmp_path: Path) -> str:
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("now\n")
    (tmp_path / "uptime").write_text("5000.0 1.0\n")
    return str(tmp_path)


def test_file_is_read_on_from_where_it_was_left(tmp_path: Path, procfs: str) -> None:
    path = tmp_path / "kmsg"
    path.write_text(line(1, xid(31)))
    log = KernelLog(str(path), [31], procfs)
    for _turn in range(3):
        log.poll()
    assert log.counts == {(ADDRESS, "31"): 1} and log.readable is True
    with path.open("a") as file:
        file.write(line(2, xid(31)) + line(3, xid(79, "2a")) + line(4, "usb 1-1: new device"))
    log.poll()
    assert log.counts == {(ADDRESS, "31"): 2, ("0000:2a:00.0", "79"): 1}


def test_file_that_is_missing_says_so_and_comes_back(tmp_path: Path, procfs: str) -> None:
    path = tmp_path / "kmsg"
    log = KernelLog(str(path), [31], procfs)
    log.poll()
    assert str(path) in str(log.error)
    path.write_text(line(1, xid(31)))
    log.poll()
    assert log.error is None and log.counts == {(ADDRESS, "31"): 1}


def test_device_stays_open_so_that_a_record_is_read_once(tmp_path: Path, procfs: str) -> None:
    path = tmp_path / "device"
    path.write_text(line(1, xid(31)).rstrip("\n"))
    log = KernelLog("auto", [31], procfs, kmsg=str(path))
    log.poll()
    log.poll()
    assert log.counts == {(ADDRESS, "31"): 1} and log.readable is True


def test_device_that_may_not_be_read_says_so(tmp_path: Path, procfs: str) -> None:
    log = KernelLog("auto", [31], procfs, kmsg=str(tmp_path / "missing"))
    log.poll()
    assert "missing" in str(log.error) and log.readable is False


def test_no_log_is_neither_readable_nor_unreadable(procfs: str) -> None:
    log = KernelLog("none", [31], procfs)
    log.poll()
    assert log.readable is None and log.counts == {}
