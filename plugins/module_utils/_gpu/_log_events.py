# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Kernel log lines as events: what the NVIDIA driver, its switches and the kernel itself complain about. Pure.

An event (all keys always present): {"at": ISO 8601 or None, "at_seconds": Unix time or None, "boot_id": str or None,
 "kind": one of KINDS, "code": int or None, "sub_code": str or None, "pci": "0000:18:00.0" or None, "message": str}
code: the XID or SXid; 79 for a GPU that has fallen off the bus, whichever way the driver says so.
sub_code: "UNIT/number" for XID 144 to 150, the hex action ("0x2") for XID 154.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, Optional

# A line of the kernel log: Unix time, boot id, text (with or without the prefix of dmesg or syslog).
LogLine = tuple[Optional[float], Optional[str], str]
Event = dict[str, Any]

KINDS = (
    "xid",
    "sxid",
    "fallen_off_bus",
    "api_mismatch",
    "hung_task",
    "soft_lockup",
    "oom",
    "io_error",
    "read_only_fs",
)
FALLEN_OFF_BUS = 79
RECOVERY_ACTION_CHANGED = 154
NVLINK5_CODES = range(144, 151)
MAX_MESSAGE = 300

# Looked for before any pattern: a line without one of these cannot hold an event.
_MARKERS = (
    "Xid",
    "fallen off the bus",
    "The NVIDIA GPU",
    "NVSwitch",
    "API mismatch",
    "blocked for more than",
    "soft lockup",
    "ut of memory",
    "I/O error",
    "ilesystem read-only",
    "forced readonly",
    "ilesystem has been shut down",
)
# How much of an endless line is looked at: before and after its first marker.
_BEFORE, _AFTER = 200, 1500
# The driver breaks this message into lines: the GPU first, what happened to it later.
_PENDING_LINES = 4

_ADDRESS = r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.([0-7]))?"
# Behind the address there may be a GPU instance of MIG: "(PCI:0000:C3:00 GPU-I:05)".
_XID = re.compile(
    rf"NVRM: Xid \(?(?:PCI:)?{_ADDRESS}(?![0-9a-fA-F])[^)]{{0,40}}?\)?[^:]{{0,40}}?: (\d{{1,4}})(?=[\s,.:;]|$)"
)
_SXID = re.compile(rf"SXid \(?(?:PCI:)?{_ADDRESS}\)?[^:]{{0,40}}: (\d{{5}})(?=[\s,.:;]|$)")
_SWITCH_ERROR = re.compile(r"detected NVSwitch (?:non-)?fatal error (\d{5})\b", re.IGNORECASE)
_ANY_ADDRESS = re.compile(rf"(?<![0-9a-fA-F:.]){_ADDRESS}(?![0-9a-fA-F:])")
_GPU_ANNOUNCED = re.compile(rf"NVRM: The NVIDIA GPU {_ADDRESS}")
_RECOVERY = re.compile(r"action changed from 0x[0-9a-fA-F]+[^\n]{0,80}? to (0x[0-9a-fA-F]{1,8})\b")
_NVLINK5 = re.compile(
    r"(?:^|[\s,])([A-Z][A-Z0-9_/]{1,40})\s+(Nonfatal|Non-fatal|Fatal)\s+XC\s?\d\s+i\s?\d+\s+Link\s+(-?\d{1,3})"
    r"\s+[(\[](0x[0-9a-fA-F]{1,8})((?:[\s,]+0x[0-9a-fA-F]{1,8})*)"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffd]+")
_KERNEL: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("api_mismatch", re.compile(r"NVRM: API mismatch")),
    ("hung_task", re.compile(r"task \S.{0,60}?:\d+ blocked for more than \d+ seconds")),
    ("soft_lockup", re.compile(r"soft lockup - CPU#\d+")),
    ("oom", re.compile(r"[Oo]ut of memory: Kill(?:ed)? process \d+")),
    ("io_error", re.compile(r"I/O error,? (?:on )?dev(?:ice)? [\w-]+")),
    (
        "read_only_fs",
        re.compile(r"[Rr]emounting filesystem read-only|forced readonly|[Ff]ilesystem has been shut down"),
    ),
)


def events(lines: Iterable[LogLine]) -> list[Event]:
    """Return the events of log lines, in their order. Whatever is not understood is left out; nothing raises."""
    found: list[Event] = []
    pending: str | None = None
    left = 0
    for at_seconds, boot_id, text in lines:
        for part in _parts(text):
            announced = _GPU_ANNOUNCED.search(part)
            if announced:
                pending, left = _address(announced.groups()), _PENDING_LINES
            event = _event(part, pending if left > 0 else None)
            if event:
                found.append({**event, "at": iso_time(at_seconds), "at_seconds": at_seconds, "boot_id": boot_id})
                if event["kind"] == "fallen_off_bus":
                    pending, left = None, 0
        left -= 1
    return found


def normal_address(text: str) -> str | None:
    """Return a PCI address as 0000:18:00.0: lower case, four-digit domain, with its function. None when it is none."""
    match = _ANY_ADDRESS.search(text.strip().replace("PCI:", ""))
    return _address(match.groups()) if match else None


def iso_time(at_seconds: float | None) -> str | None:
    """Return a Unix time as ISO 8601 in UTC, or None for one that no clock can show."""
    if at_seconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(at_seconds, tz=timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def nvlink5_fields(message: str) -> dict[str, Any] | None:
    """Return unit, link, sub_code, intrinfo and error_status of an XID 144 to 150; None when the registers are missing.

    error_status is None for drivers that print one register only.
    """
    match = _NVLINK5.search(message)
    if not match:
        return None
    intrinfo = int(match.group(4), 16)
    others = [int(word, 16) for word in re.findall(r"0x[0-9a-fA-F]+", match.group(5))]
    return {
        "unit": match.group(1),
        "link": int(match.group(3)),
        "intrinfo": intrinfo,
        "sub_code": (intrinfo >> 20) & 0x3F,
        "error_status": others[0] if others else None,
    }


def _parts(text: str) -> Iterator[str]:
    """Yield the lines of one record that may hold an event, cut to a length that patterns can be tried on."""
    if not any(marker in text for marker in _MARKERS):
        return
    for line in text.replace("\\x0a", "\n").split("\n"):
        starts = [start for start in (line.find(marker) for marker in _MARKERS) if start >= 0]
        if starts:
            first = min(starts)
            yield _CONTROL.sub(" ", line[max(0, first - _BEFORE) : first + _AFTER])


def _event(line: str, pending: str | None) -> Event | None:
    match = _XID.search(line)
    if match:
        code = int(match.group(5))
        return _made("xid", code, _address(match.groups()[:4]), line[match.start() :], _sub_code(code, line))
    match = _SXID.search(line)
    if match:
        start = line.rfind("nvidia-nvswitch", 0, match.start())
        return _made(
            "sxid", int(match.group(5)), _address(match.groups()[:4]), line[start if start >= 0 else match.start() :]
        )
    match = _SWITCH_ERROR.search(line)
    if match:
        return _made("sxid", int(match.group(1)), normal_address(line[match.end() :]), line[match.start() :])
    if "fallen off the bus" in line and "NVRM" in line:
        start = line.index("NVRM")
        return _made("fallen_off_bus", FALLEN_OFF_BUS, normal_address(line[start:]) or pending, line[start:])
    for kind, pattern in _KERNEL:
        match = pattern.search(line)
        if match:
            return _made(kind, None, None, _whole(line, match.start()))
    return None


def _made(kind: str, code: int | None, pci: str | None, message: str, sub_code: str | None = None) -> Event:
    return {
        "at": None,
        "at_seconds": None,
        "boot_id": None,
        "kind": kind,
        "code": code,
        "sub_code": sub_code,
        "pci": pci,
        "message": message.strip()[:MAX_MESSAGE],
    }


def _whole(line: str, start: int) -> str:
    """Return a message of the kernel from its own beginning, without the prefix of dmesg or syslog."""
    for mark in ("kernel: ", "] "):
        place = line.rfind(mark, 0, start)
        if place >= 0:
            return line[place + len(mark) :]
    return line


def _sub_code(code: int, line: str) -> str | None:
    if code == RECOVERY_ACTION_CHANGED:
        match = _RECOVERY.search(line)
        return hex(int(match.group(1), 16)) if match else None
    if code in NVLINK5_CODES:
        fields = nvlink5_fields(line)
        return f"{fields['unit']}/{fields['sub_code']}" if fields else None
    return None


def _address(groups: tuple[str | Any, ...]) -> str:
    domain, bus, device, function = groups[:4]
    return f"{int(domain or '0', 16):04x}:{int(bus, 16):02x}:{int(device, 16):02x}.{function or '0'}"
