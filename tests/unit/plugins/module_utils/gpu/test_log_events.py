# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel log lines become events, whatever form the driver prints, and garbage becomes none."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._log_events import (
    KINDS,
    MAX_MESSAGE,
    events,
    iso_time,
    normal_address,
    nvlink5_fields,
)

KEYS = {"at", "at_seconds", "boot_id", "kind", "code", "sub_code", "pci", "message"}
FALLEN = "NVRM: Xid (PCI:0000:18:00): 79, pid=1234, name=python, GPU has fallen off the bus."
LINK_EVENT = (
    "NVRM: Xid (PCI:0000:04:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 00 (0x004505c6 0x00000000 0x00000000)"
)
RECOVERY = "NVRM: Xid (PCI:0000:18:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"
SWITCH = "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)"


def read(*lines: str) -> list[dict[str, Any]]:
    return events([(1_793_534_400.0 + number, "boot", line) for number, line in enumerate(lines)])


@pytest.mark.parametrize(
    ("line", "code", "pci", "sub_code"),
    [
        (FALLEN, 79, "0000:18:00.0", None),
        (f"[171167.620236] {FALLEN}", 79, "0000:18:00.0", None),
        (f"Nov  1 12:00:00 gpu1 kernel: {FALLEN}", 79, "0000:18:00.0", None),
        ("NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen", 79, "0000:05:00.0", None),
        ("NVRM: Xid (0000:03:00): 14, Channel 00000001", 14, "0000:03:00.0", None),
        ("NVRM: Xid (PCI:0000:18:00.0): 31, pid=1, name=vllm, Ch 00000008", 31, "0000:18:00.0", None),
        ("NVRM: Xid (PCI:00000000:3B:00.0): 48, DBE", 48, "0000:3b:00.0", None),
        ("NVRM: Xid (PCI:0018:01:00): 94, Contained", 94, "0018:01:00.0", None),
        ("NVRM: Xid (PCI:10000:e1:00): 62, x", 62, "10000:e1:00.0", None),
        ("NVRM: Xid (PCI:0000:05:00): 62", 62, "0000:05:00.0", None),
        ("NVRM: Xid (0000:05:00): 13 0003 00000000 000090c0", 13, "0000:05:00.0", None),
        ("NVRM: Xid (PCI:0000:C3:00 GPU-I:05): 31, pid=9, name=x", 31, "0000:c3:00.0", None),
        (LINK_EVENT, 149, "0000:04:00.0", "NETIR_LINK_EVT/4"),
        (
            "NVRM: Xid (PCI:0000:00:1e): 149, NETIR_LINK_EVT Fatal XC 1 i 2 Link 01 [0x0000000a]",
            149,
            "0000:00:1e.0",
            "NETIR_LINK_EVT/0",
        ),
        (
            "NVRM: Xid (PCI:0018:01:00): 145, pid=7, name=python3, RLW_RXPIPE Nonfatal XC0 i0 Link 13 (0x0409a0c2 0x8)",
            145,
            "0018:01:00.0",
            "RLW_RXPIPE/0",
        ),
        ("NVRM: Xid (PCI:0000:04:00): 149, something new", 149, "0000:04:00.0", None),
        (RECOVERY, 154, "0000:18:00.0", "0x2"),
        (
            "NVRM: Xid (PCI:0000:18:00): 154, GPU recovery action changed from 0x2 (OS Reboot) to 0x0 (None)",
            154,
            "0000:18:00.0",
            "0x0",
        ),
        ("NVRM: Xid (PCI:0000:18:00): 154, GPU recovery action changed from 0x0 (None) to", 154, "0000:18:00.0", None),
    ],
)
def test_every_form_of_an_xid_is_read(line: str, code: int, pci: str, sub_code: str | None) -> None:
    (event,) = read(line)
    assert (event["kind"], event["code"], event["pci"], event["sub_code"]) == ("xid", code, pci, sub_code)
    assert event["message"].startswith("NVRM: Xid")


@pytest.mark.parametrize(
    ("line", "kind", "code", "pci"),
    [
        ("NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.", "fallen_off_bus", 79, "0000:18:00.0"),
        ("NVRM: GPU 18:00.0: GPU has fallen off the bus.", "fallen_off_bus", 79, "0000:18:00.0"),
        ("NVRM: fallen off the bus and is not responding to commands.", "fallen_off_bus", 79, None),
        (SWITCH, "sxid", 12028, "0000:05:00.0"),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:00:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
            "sxid",
            20034,
            "0000:00:00.0",
        ),
        ("detected NVSwitch non-fatal error 12020 on NVSwitch pci 0000:07:00.0", "sxid", 12020, "0000:07:00.0"),
        (
            "NVRM: API mismatch: the client has the version 570.1, but this kernel module has 565.2",
            "api_mismatch",
            None,
            None,
        ),
        ("INFO: task nvidia-smi:4242 blocked for more than 120 seconds.", "hung_task", None, None),
        ("watchdog: BUG: soft lockup - CPU#3 stuck for 23s! [python:12]", "soft_lockup", None, None),
        ("Out of memory: Killed process 77 (python3) total-vm:1kB", "oom", None, None),
        ("Memory cgroup out of memory: Killed process 77 (llama-server)", "oom", None, None),
        ("I/O error, dev nvme0n1, sector 5 op 0x0:(READ)", "io_error", None, None),
        ("Buffer I/O error on dev sda1, logical block 1", "io_error", None, None),
        ("EXT4-fs (sda1): Remounting filesystem read-only", "read_only_fs", None, None),
        ("BTRFS info (device sda1: state E): forced readonly", "read_only_fs", None, None),
    ],
)
def test_every_other_form_is_read(line: str, kind: str, code: int | None, pci: str | None) -> None:
    (event,) = read(line)
    assert (event["kind"], event["code"], event["pci"]) == (kind, code, pci)
    assert kind in KINDS


def test_an_event_has_every_key_and_the_time_of_its_line() -> None:
    (event,) = read(FALLEN)
    assert set(event) == KEYS
    assert (event["at"], event["at_seconds"], event["boot_id"]) == ("2026-11-01T12:00:00Z", 1_793_534_400.0, "boot")


@pytest.mark.parametrize(
    "between", [[], ["usb 1-1: new device"], ["NVRM: (PCI ID: 10de:2330) installed in this system has"]]
)
def test_a_fall_told_in_several_lines_keeps_its_gpu(between: list[str]) -> None:
    lines = [
        "NVRM: The NVIDIA GPU 0000:19:00.0",
        *between,
        "NVRM: fallen off the bus and is not responding to commands.",
    ]
    (event,) = read(*lines)
    assert event["pci"] == "0000:19:00.0"


@pytest.mark.parametrize("joint", ["\n", "\\x0a"])
def test_a_record_of_several_lines_is_one_event(joint: str) -> None:
    lines = ["NVRM: The NVIDIA GPU 0000:19:00.0", "NVRM: (PCI ID: 10de:2330) has", "NVRM: fallen off the bus and"]
    (event,) = read(joint.join(lines))
    assert (event["kind"], event["pci"]) == ("fallen_off_bus", "0000:19:00.0")


def test_an_old_announcement_is_not_taken_for_a_later_fall() -> None:
    noise = ["usb 1-1: new device"] * 10
    (event,) = read("NVRM: The NVIDIA GPU 0000:19:00.0", *noise, "NVRM: fallen off the bus and is not responding")
    assert event["pci"] is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Xid",
        "NVRM: Xid (PCI:00",
        "NVRM: Xid (PCI:0000:18:00",
        "NVRM: Xid (PCI:0000:18:00):",
        "NVRM: Xid (PCI:0000:18:00): ",
        "NVRM: Xid (PCI:0000:18:00): abc, x",
        "NVRM: Xid error: xyz, invalid data",
        "NVRM: Xid (PCI:0000:18:00): 79x",
        "nvidia-nvswitch0: SXid (PCI:0000:01:00.0): 2003",
        "NVRM: The NVIDIA GPU 0000:18:00.0 is not supported",
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)",
        "the I/O error rate is fine",
    ],
)
def test_half_lines_and_near_misses_are_no_events(line: str) -> None:
    assert read(line) == []


def test_events_are_found_among_noise_nul_bytes_and_replaced_characters() -> None:
    broken = b"\xff\xfe\x00NVRM: Xid (PCI:0000:18:00): 31, pid=1, name=\xc3\x28\x00py, x\x00".decode("utf-8", "replace")
    found = read("audit: x", broken, "\x00" * 50, SWITCH, "NVRM: Xid (PCI:0000", FALLEN)
    assert [item["code"] for item in found] == [31, 12028, 79]
    assert not any(ord(character) < 32 or character == "\ufffd" for item in found for character in item["message"])


def test_an_endless_line_is_read_and_cut() -> None:
    (event,) = read("x" * 2_000_000 + FALLEN + "y" * 2_000_000)
    assert event["code"] == 79
    assert len(event["message"]) == MAX_MESSAGE


def test_a_megabyte_of_garbage_is_read_fast_and_yields_nothing() -> None:
    chance = random.Random(7)
    garbage = bytes(chance.getrandbits(8) for _byte in range(1 << 20)).decode("utf-8", "replace")
    started = time.monotonic()
    assert read(garbage) == []
    assert read(*garbage.split("\n")) == []
    assert read("NVRM: Xid (PCI:0000:18:00 " * 40_000) == []
    assert read("(0x1 " * 200_000 + "Xid" + " 0x1" * 200_000) == []
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("PCI:0000:18:00", "0000:18:00.0"),
        ("00000000:AF:00.0", "0000:af:00.0"),
        ("3b:00.1", "0000:3b:00.1"),
        ("*", None),
        ("GPU-1234", None),
    ],
)
def test_addresses_have_one_form(text: str, normal: str | None) -> None:
    assert normal_address(text) == normal


def test_nvlink_registers_give_unit_sub_code_and_status() -> None:
    fields = nvlink5_fields(LINK_EVENT)
    assert fields == {"unit": "NETIR_LINK_EVT", "link": 0, "intrinfo": 0x004505C6, "sub_code": 4, "error_status": 0}
    assert nvlink5_fields("149, NETIR_LINK_EVT Fatal") is None


def test_a_time_that_no_clock_shows_is_none() -> None:
    assert [iso_time(value) for value in (None, 1e300, float("nan"))] == [None, None, None]
