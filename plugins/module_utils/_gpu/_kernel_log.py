# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The kernel log since the last run: from the journal, from /dev/kmsg or from a file, each line once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    TIMED_OUT,
    RunCommand,
    find_program,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_file import FileLog, rotated_files
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_lines import (
    Clock,
    LogLine,
    parse_journal,
    parse_kmsg,
)

KMSG = "/dev/kmsg"
FIRST_READ_DAYS = 7
# journalctl is asked for so many entries at once: what it prints is held in memory.
CHUNK_LINES = 20_000
MAX_CHUNKS = 10
_RECORD_BYTES = 16_384
_FIELDS = "MESSAGE,_BOOT_ID"

NO_PERMISSION = (
    "this user may not read the kernel log: run the check as root (become: true), "
    "or add the user to the group systemd-journal or adm"
)
NO_SOURCE = "there is neither a journal with messages of the kernel nor /dev/kmsg: name a file with kernel_log"

FindEvents = Callable[[Iterable[LogLine]], list[dict[str, Any]]]


class LogSource(Protocol):
    """A place where the kernel log lies. After lines() was read to its end the attributes hold."""

    source: str
    cursor: dict[str, Any] | None
    overlap: bool
    lost_messages: int
    note: str | None

    def lines(self) -> Iterator[LogLine]:
        """Yield the new lines, oldest first. Raises OSError when they may not be read."""


@dataclass(frozen=True)
class LogRead:
    """What one run read. overlap: some of the events may be known from an earlier run."""

    source: str
    readable: bool
    error: str | None = None
    lost_messages: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    cursor: dict[str, Any] | None = None
    overlap: bool = False


def read_kernel_log(
    wanted: str,
    cursor: dict[str, Any] | None,
    clock: Clock,
    run_command: RunCommand,
    find_events: FindEvents,
    kmsg_path: str = KMSG,
) -> LogRead:
    """Return the events since the cursor. wanted: auto, none or the path of a file."""
    if wanted == "none":
        return LogRead("none", False, "kernel_log is none: nothing of the kernel log was read", cursor=cursor)
    if wanted != "auto":
        return _read(FileLog(wanted, cursor, clock), find_events, cursor)
    journalctl = find_program("journalctl")
    sources: list[LogSource] = []
    if journalctl:
        sources.append(JournalLog(journalctl, cursor, run_command, clock))
    if os.path.exists(kmsg_path):
        sources.append(KmsgLog(cursor, clock, kmsg_path))
    # A host stays with the source that it has begun with: two sources tell times that differ a little.
    sources.sort(key=lambda one: one.cursor is None)
    denied = None
    for source in sources:
        result = _read(source, find_events, cursor)
        if result.readable:
            return result
        denied = denied or result.error
    return LogRead("none", False, denied or NO_SOURCE, cursor=cursor)


def _read(source: LogSource, find_events: FindEvents, cursor: dict[str, Any] | None) -> LogRead:
    try:
        events = find_events(source.lines())
    except PermissionError:
        return LogRead(source.source, False, _denied(source), cursor=cursor)
    except OSError as error:
        what = f"{error.filename or source.source}: {error.strerror or error}"
        return LogRead(source.source, False, f"the kernel log cannot be read: {what}", cursor=cursor)
    if source.cursor is None and source.source != "file":
        return LogRead(source.source, False, None, cursor=cursor)
    return LogRead(source.source, True, source.note, source.lost_messages, events, source.cursor, source.overlap)


def _denied(source: LogSource) -> str:
    if source.source == "file":
        return f"this user may not read {getattr(source, 'path', 'the file')}: run the check as root (become: true)"
    return NO_PERMISSION


def path_problem(path: str) -> str | None:
    """Return what is wrong with the path of a log file; one that is just being rotated is fine."""
    if not os.path.isabs(path):
        return "is neither auto nor none nor an absolute path. Give the whole path of the file."
    if os.path.isdir(path):
        return "is a directory. Name the log file in it."
    if not os.path.exists(path) and not rotated_files(path):
        return "does not exist. Name a file that holds the kernel log, or use auto."
    return None


class JournalLog:
    """The messages of the kernel in the journal, by journalctl."""

    source = "journal"

    def __init__(
        self, journalctl: str, cursor: Mapping[str, Any] | None, run_command: RunCommand, clock: Clock
    ) -> None:
        """Remember where to go on; nothing is run yet."""
        self._journalctl = journalctl
        self._run_command = run_command
        self._clock = clock
        mine = bool(cursor and cursor.get("source") == self.source)
        self.cursor: dict[str, Any] | None = dict(cursor) if cursor and mine else None
        self.overlap = not mine
        self.lost_messages = 0
        self.note: str | None = None

    def lines(self) -> Iterator[LogLine]:
        """Yield the new entries. Raises PermissionError when this user may not see them, TimeoutError, OSError."""
        if self.cursor is not None:
            yield from self._later()
        if self.cursor is None:
            yield from self._first()

    def _first(self) -> Iterator[LogLine]:
        """Yield the newest entries of this boot and of the last days."""
        self.overlap = True
        count = 0
        for position, line in self._entries("-k", f"--since=-{FIRST_READ_DAYS}d", f"--lines={CHUNK_LINES}"):
            count += 1
            self.cursor = {"source": self.source, "cursor": position}
            yield line
        if count >= CHUNK_LINES:
            self.note = f"the first run read the newest {CHUNK_LINES} messages only"
        if self.cursor is None:
            # Silent for days: go on from its last message, whenever that was.
            for position, _line in self._entries("-k", "--lines=1"):
                self.cursor = {"source": self.source, "cursor": position}

    def _later(self) -> Iterator[LogLine]:
        """Yield what came after the cursor, in this boot and in those between.

        journalctl is asked to begin with the entry of the cursor, not after it: when that one is gone from the
        journal, --after-cursor leaves out the first entry behind the gap.
        """
        for chunk in range(MAX_CHUNKS):
            begin = str((self.cursor or {})["cursor"])
            count = 0
            for position, line in self._entries("_TRANSPORT=kernel", f"--cursor={begin}", first=CHUNK_LINES):
                count += 1
                self.cursor = {"source": self.source, "cursor": position}
                if count == 1 and _same_entry(position, begin):
                    continue
                if count == 1 and chunk == 0:
                    self.lost_messages += 1
                    self.overlap = True
                    self.note = "the journal has dropped the message that the last run stopped at: some may be lost"
                yield line
            if count == 0 and chunk == 0:
                # Not even the entry itself: this is another journal.
                self.lost_messages += 1
                self.note = "the journal of the last run is gone: what came after that run is lost"
                self.cursor = None
            if count < CHUNK_LINES:
                return
        self.note = "there was more than one run reads; the rest comes with the next run"

    def _entries(self, *selection: str, first: int | None = None) -> Iterator[tuple[str, LogLine]]:
        command = [self._journalctl, "--no-pager", "-o", "json", f"--output-fields={_FIELDS}", *selection]
        if first is not None:
            # Only new versions of journalctl can stop after the first entries by themselves.
            command = ["/bin/sh", "-c", '"$@" | head -n "$0"', str(first), *command]
        rc, out, err = self._run_command(command)
        if rc in TIMED_OUT:
            raise TimeoutError(errno.ETIMEDOUT, "it did not answer in time", "journalctl")
        found = False
        start = 0
        while start < len(out):
            end = out.find("\n", start)
            end = len(out) if end < 0 else end
            entry = parse_journal(out[start:end], self._clock)
            start = end + 1
            if entry is not None:
                found = True
                yield entry
        if not found and ("insufficient permissions" in err or "not seeing messages" in err):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "journal")


def _same_entry(one: str, other: str) -> bool:
    """Return whether two cursors name one entry: by boot, time since boot and content; its file may have changed."""

    def key(cursor: str) -> dict[str, str]:
        fields = dict(part.partition("=")[::2] for part in cursor.split(";"))
        return {name: fields.get(name, "") for name in ("b", "m", "x")}

    return one == other or (key(one) == key(other) and bool(key(one)["m"]))


class KmsgLog:
    """The ring of messages in the kernel, by /dev/kmsg. What it has overwritten, it counts."""

    source = "kmsg"

    def __init__(
        self, cursor: Mapping[str, Any] | None, clock: Clock, path: str = KMSG, records: Iterable[bytes] | None = None
    ) -> None:
        """Remember where to go on. records: a stand-in for the device."""
        self._clock = clock
        self._path = path
        self._records = records
        self.cursor: dict[str, Any] | None = dict(cursor) if cursor and cursor.get("source") == self.source else None
        self.overlap = self.cursor is None
        self.lost_messages = 0
        self.note: str | None = None

    def lines(self) -> Iterator[LogLine]:
        """Yield the records that are new in this boot. Raises OSError when the device may not be read."""
        before = self.cursor
        # The next number that is expected; unknown in the first run ever.
        expected: int | None = None
        if before is not None:
            expected = int(before["sequence"]) + 1 if before.get("boot_id") == self._clock.boot_id else 0
        for record in self._records if self._records is not None else kmsg_records(self._path):
            parsed = parse_kmsg(record.decode("utf-8", "replace"), self._clock)
            if parsed is None:
                continue
            sequence, line = parsed
            if expected is not None and sequence < expected:
                continue
            if expected is not None and sequence > expected:
                self.lost_messages += sequence - expected
            expected = sequence + 1
            self.cursor = {"source": self.source, "boot_id": self._clock.boot_id, "sequence": sequence}
            yield line
        if self.lost_messages:
            self.note = f"the kernel has overwritten {self.lost_messages} messages since the last run"


def kmsg_records(path: str) -> Iterator[bytes]:
    """Yield the records that the kernel holds, without waiting for more. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                record = os.read(handle, _RECORD_BYTES)
            except BlockingIOError:
                return
            except BrokenPipeError:
                # Overwritten while it was read: the next read goes on behind the gap, which the numbers show.
                continue
            if not record:
                return
            yield record
    finally:
        os.close(handle)
