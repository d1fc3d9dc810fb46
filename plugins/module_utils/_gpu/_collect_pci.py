# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""NVIDIA devices on the PCI bus, read from sysfs: they are there even when the driver does not see them."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    list_directory,
    read_bytes,
    read_int,
    read_text,
    to_int,
)

NVIDIA = "10de"
KINDS = {"0300": "gpu", "0302": "gpu", "0680": "nvswitch"}
# What a link tells when the device does not answer: all bits set, in the field of 6 bits or in 8.
_NO_WIDTH = (0, 63, 255)
_SPEED = re.compile(r"^(\d+(?:\.\d+)?)\s*GT/s")


def collect_pci(sysfs_root: str) -> list[dict[str, Any]]:
    """Return the GPUs and NVSwitches of the part `pci` of a snapshot, by address."""
    devices = os.path.join(sysfs_root, "bus", "pci", "devices")
    found = []
    for address in list_directory(devices):
        place = os.path.join(devices, address)
        if _hex(read_text(place, "vendor")) != NVIDIA:
            continue
        device_class = _hex(read_text(place, "class"))[:4]
        if device_class in KINDS:
            found.append(_device(place, address.lower(), device_class))
    return found


def _device(place: str, address: str, device_class: str) -> dict[str, Any]:
    node = read_int(place, "numa_node")
    return {
        "address": address,
        "vendor": NVIDIA,
        "device_id": _hex(read_text(place, "device")),
        "class": device_class,
        "kind": KINDS[device_class],
        "numa_node": None if node is None or node < 0 else node,
        "width_current": link_width(read_text(place, "current_link_width")),
        "width_max": link_width(read_text(place, "max_link_width")),
        "speed_current_gts": link_speed(read_text(place, "current_link_speed")),
        "speed_max_gts": link_speed(read_text(place, "max_link_speed")),
        "readable": config_readable(read_bytes(place, "config", limit_bytes=4)),
        "aer_fatal": aer_total(read_text(place, "aer_dev_fatal")),
        "aer_nonfatal": aer_total(read_text(place, "aer_dev_nonfatal")),
        "aer_correctable": aer_total(read_text(place, "aer_dev_correctable")),
    }


def config_readable(config: bytes | None) -> bool:
    """Return whether a device answers: one that has fallen off the bus reads as all bits set."""
    return not config or config.strip(b"\xff") != b""


def link_width(text: str | None) -> int | None:
    """Return the lanes of a link, None when the device does not tell."""
    width = to_int(text)
    return None if width in _NO_WIDTH else width


def link_speed(text: str | None) -> float | None:
    """Return a link speed such as '32.0 GT/s PCIe' as a number, None for 'Unknown'."""
    match = _SPEED.match(text or "")
    return float(match.group(1)) if match else None


def aer_total(text: str | None) -> int | None:
    """Return the total of a table of advanced error reporting: its TOTAL line, else the sum of its lines."""
    if not text:
        return None
    counts: dict[str, int] = {}
    for line in text.splitlines():
        name, _space, number = line.rpartition(" ")
        count = to_int(number)
        if count is not None:
            counts[name.strip()] = count
    totals = [count for name, count in counts.items() if name.startswith("TOTAL")]
    return sum(totals or counts.values()) if counts else None


def _hex(text: str | None) -> str:
    return (text or "").lower().removeprefix("0x")
