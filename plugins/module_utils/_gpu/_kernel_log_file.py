# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A kernel log in a file, from where the last run stopped: also after the file was rotated, compressed or truncated."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import IO, Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_lines import (
    Clock,
    LogLine,
    parse_file_line,
)

MAX_BYTES = 64 * 1024**2
MAX_LINES = 200_000
# A file that is read for the first time is read from its end: what is older is not news.
FIRST_READ_BYTES = 16 * 1024**2
BLOCK_BYTES = 256 * 1024
# What has no end of line after so much is no half line that will be finished.
MAX_LINE_BYTES = 1024**2
# A file is known again by the hash of its first bytes: names change and inodes are used again.
HEAD_BYTES = 1024


@dataclass(frozen=True)
class Part:
    """A file, and from where it is read. rotated: nothing more comes, so its last line needs no end of line."""

    path: str
    offset: int
    rotated: bool


class FileLog:
    """The lines of a log file since a cursor. Read lines() to its end; then the other attributes hold."""

    source = "file"

    def __init__(
        self,
        path: str,
        cursor: dict[str, Any] | None,
        clock: Clock,
        max_bytes: int = MAX_BYTES,
        max_lines: int = MAX_LINES,
        first_read_bytes: int = FIRST_READ_BYTES,
    ) -> None:
        """Remember where to read; nothing is opened yet."""
        self.path = path
        self.clock = clock
        self.cursor = cursor if cursor and cursor.get("source") == self.source and cursor.get("path") == path else None
        self.overlap = self.cursor is None
        self.lost_messages = 0
        self.note: str | None = None
        self._newest_ns = 0
        self._left_bytes = max_bytes
        self._left_lines = max_lines
        self._first_read_bytes = first_read_bytes

    def lines(self) -> Iterator[LogLine]:
        """Yield the new lines, oldest first. Raises OSError when a file cannot be read."""
        for part in self._parts():
            finished = yield from self._lines_of(part)
            if not finished:
                self.note = "there was more than one run reads; the rest comes with the next run"
                return

    def _parts(self) -> list[Part]:
        """Return what to read, oldest first."""
        current = _status(self.path)
        if self.cursor is None:
            size = current.st_size if current else 0
            return [Part(self.path, max(0, size - self._first_read_bytes), False)] if current else []
        offset = int(self.cursor["offset"])
        rotated = rotated_files(self.path)
        if current and current.st_ino == self.cursor["inode"] and self._is_same(self.path):
            # Nothing was read of an empty file: it may since have grown, been copied away and been emptied again.
            missed = [Part(path, 0, True) for path in self._newer(rotated)] if offset == 0 else []
            return [*missed, Part(self.path, offset, False)]
        old = next((path for path in rotated if self._is_inode(path) and self._is_same(path)), None)
        # A head of no bytes fits every file, so it tells only together with the inode.
        if old is None and self.cursor["head_bytes"]:
            old = next((path for path in rotated if self._is_same(path)), None)
        begun = bool(current and current.st_size)
        if old is None:
            self.lost_messages += 1
            self.overlap = True
            self.note = "the file that the last run read is gone: what came after that run is lost"
            missed = [Part(path, 0, True) for path in self._newer(rotated)]
            return [*missed, Part(self.path, 0, False)] if begun else missed
        later = rotated[rotated.index(old) + 1 :]
        parts = [Part(old, offset, begun or bool(later)), *(Part(path, 0, True) for path in later)]
        return [*parts, Part(self.path, 0, False)] if begun else parts

    def _lines_of(self, part: Part) -> Generator[LogLine, None, bool]:
        """Yield the complete lines of a file; returns whether it was read to its end."""
        offset = part.offset
        with _open(part.path) as stream:
            stream.seek(offset)
            rest = b""
            if self.cursor is None and offset:
                # In the middle of a file: the first line is most likely not whole.
                offset += len(stream.readline(MAX_LINE_BYTES))
            finished = False
            while self._left_bytes > 0 and self._left_lines > 0:
                try:
                    block = stream.read(BLOCK_BYTES)
                except (EOFError, OSError, zlib.error):
                    if not part.path.endswith(".gz"):
                        raise
                    # A damaged archive: what can be read of it was read.
                    self.lost_messages += 1
                    block = b""
                if not block:
                    finished = True
                    break
                self._left_bytes -= len(block)
                *complete, rest = (rest + block).split(b"\n")
                for number, raw in enumerate(complete):
                    if self._left_lines <= 0:
                        rest = b"\n".join([*complete[number:], rest])
                        break
                    offset += len(raw) + 1
                    self._left_lines -= 1
                    yield from self._line(raw)
                if len(rest) > MAX_LINE_BYTES and self._left_lines > 0:
                    offset += len(rest)
                    yield from self._line(rest)
                    rest = b""
            if not finished and b"\n" not in rest:
                finished = not stream.read(1)
            if finished and part.rotated and rest:
                offset += len(rest)
                yield from self._line(rest)
        self.cursor = self._cursor(part.path, offset)
        return finished

    def _line(self, raw: bytes) -> Iterator[LogLine]:
        line = parse_file_line(raw.decode("utf-8", "replace").replace("\0", "").rstrip("\r"), self.clock)
        if line is not None:
            yield line

    def _cursor(self, path: str, offset: int) -> dict[str, Any]:
        length, status = min(offset, HEAD_BYTES), os.stat(path)
        self._newest_ns = max(self._newest_ns, status.st_mtime_ns)
        return {
            "source": self.source,
            "path": self.path,
            "inode": status.st_ino,
            "mtime_ns": self._newest_ns,
            "offset": offset,
            "head_bytes": length,
            "head_sha256": _head(path, length),
        }

    def _newer(self, rotated: list[str]) -> list[str]:
        """Return the rotated files that were written after the last run read."""
        if self.cursor is None:
            return []
        read = self.cursor.get("mtime_ns", 0)
        statuses = ((path, _status(path)) for path in rotated)
        return [path for path, status in statuses if status and status.st_mtime_ns > read]

    def _is_inode(self, path: str) -> bool:
        status = _status(path)
        return bool(status and self.cursor and status.st_ino == self.cursor["inode"])

    def _is_same(self, path: str) -> bool:
        """Return whether a file begins as the one of the cursor and is not shorter than what was read of it."""
        if self.cursor is None:
            return False
        if not path.endswith(".gz"):
            status = _status(path)
            if status is None or status.st_size < int(self.cursor["offset"]):
                return False
        return _head(path, int(self.cursor["head_bytes"])) == self.cursor["head_sha256"]


def rotated_files(path: str) -> list[str]:
    """Return the older files of a log, oldest first: <path>.1, <path>-20261101, and those also as .gz."""
    directory, base = os.path.split(path)
    pattern = re.compile(rf"^{re.escape(base)}(?:[.-]\d+)+(?:\.gz)?$")
    found = []
    try:
        names = os.listdir(directory or ".")
    except OSError:
        return []
    for name in names:
        status = _status(os.path.join(directory, name)) if pattern.match(name) else None
        if status is not None:
            found.append((status.st_mtime_ns, _generation(name, base), os.path.join(directory, name)))
    return [name for _time, _generation_key, name in sorted(found)]


def _generation(name: str, base: str) -> int:
    """Return a number that grows with the age of a date and falls with a counter, for files of the same second."""
    number = int("".join(char for char in name[len(base) :] if char.isdigit()) or 0)
    return number if number > 19_000_000 else -number


def _open(path: str) -> IO[bytes]:
    if not path.endswith(".gz"):
        return open(path, "rb")
    import gzip  # Here: it is seldom needed, and every run of the module would pay for it.

    return gzip.open(path, "rb")  # type: ignore[return-value]


def _head(path: str, length: int) -> str:
    try:
        with _open(path) as stream:
            return hashlib.sha256(stream.read(length)).hexdigest()
    except (OSError, EOFError, zlib.error):
        return ""


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
