# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How often which XID came since the boot, from the kernel log, with a bound on what is kept.

/dev/kmsg stays open between two readings: its records are then read once. A file is read on from where it was left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import read_text
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log import KMSG, KmsgLog
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_file import FileLog
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_lines import Clock
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._log_events import events as find_events

# Codes that no table knows get a series each, up to so many on a host; devices that no GPU is known for as well.
MAX_UNKNOWN_CODES = 16
MAX_DEVICES = 64
OTHER = "other"
_RECORD_BYTES = 16_384


class XidCounter:
    """Counts XIDs by device and code. Known codes always get a series of their own."""

    def __init__(self, known: Collection[int]) -> None:
        """known: the codes that the policy of the collection knows."""
        self._known = frozenset(known)
        self._unknown: set[int] = set()
        self._devices: set[str | None] = set()
        self.counts: dict[tuple[str | None, str], int] = {}

    def add(self, events: Iterable[dict[str, Any]], boot_id: str | None) -> None:
        """Count the XIDs of this boot among events of _log_events.py."""
        for event in events:
            if event["kind"] not in ("xid", "fallen_off_bus") or event["boot_id"] != boot_id:
                continue
            key = (self._device(event["pci"]), self._label(event["code"]))
            # The driver says in two ways that a GPU fell off the bus: as XID 79 and in a sentence.
            if event["kind"] == "fallen_off_bus" and key in self.counts:
                continue
            self.counts[key] = self.counts.get(key, 0) + 1

    def _label(self, code: int) -> str:
        if code not in self._known and code not in self._unknown:
            if len(self._unknown) >= MAX_UNKNOWN_CODES:
                return OTHER
            self._unknown.add(code)
        return str(code)

    def _device(self, pci: str | None) -> str | None:
        if pci not in self._devices:
            if len(self._devices) >= MAX_DEVICES:
                return None
            self._devices.add(pci)
        return pci


class KernelLog:
    """The kernel log, read on and on. wanted: auto (/dev/kmsg), none, or the path of a file."""

    def __init__(self, wanted: str, known: Collection[int], procfs_root: str = "/proc", kmsg: str = KMSG) -> None:
        """Remember where to read; nothing is opened yet."""
        self._wanted = wanted
        self._procfs_root = procfs_root
        self._kmsg = kmsg
        self._handle = -1
        self._cursor: dict[str, Any] | None = None
        self._xids = XidCounter(known)
        self.error: str | None = None

    @property
    def counts(self) -> dict[tuple[str | None, str], int]:
        """Return how often each XID came, by (PCI address, code)."""
        return dict(self._xids.counts)

    @property
    def readable(self) -> bool | None:
        """Return whether the log can be read; None when it shall not be."""
        return None if self._wanted == "none" else self.error is None

    def poll(self) -> None:
        """Read what is new; what goes wrong is left in `error`."""
        if self._wanted == "none":
            return
        clock = self._clock()
        log: KmsgLog | FileLog
        if self._wanted == "auto":
            log = KmsgLog(self._cursor, clock, self._kmsg, self._records())
        else:
            log = FileLog(self._wanted, self._cursor, clock)
        try:
            if self._wanted != "auto" and not os.path.exists(self._wanted):
                raise FileNotFoundError(2, os.strerror(2), self._wanted)
            self._xids.add(find_events(log.lines()), clock.boot_id)
        except OSError as error:
            self.error = f"{error.filename or self._wanted}: {error.strerror or error}"
            return
        self._cursor, self.error = log.cursor, None

    def _records(self) -> Iterator[bytes]:
        """Yield the records that are new, and leave the device open."""
        if self._handle < 0:
            self._handle = os.open(self._kmsg, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        while True:
            try:
                record = os.read(self._handle, _RECORD_BYTES)
            except BlockingIOError:
                return
            except BrokenPipeError:  # overwritten while it was read: the next read goes on behind the gap
                continue
            if not record:
                return
            yield record

    def _clock(self) -> Clock:
        uptime = read_text(self._procfs_root, "uptime") or ""
        boot_id = read_text(self._procfs_root, "sys/kernel/random/boot_id")
        try:
            seconds = float(uptime.split()[0])
        except (ValueError, IndexError):
            return Clock(time.time(), None, boot_id)
        return Clock(time.time(), seconds, boot_id)
