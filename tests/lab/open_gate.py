# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold a process of a lab host at the moment at which it opens a file, with nothing of that in the code under test.

The kernel asks whoever watches a directory whether a file in it may be opened (fanotify) and keeps the process waiting
for the answer. So a host can be power-cut between two steps that are microseconds apart. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLASS_CONTENT, _CLOSE_ON_EXEC, _LARGE_FILES = 0x04, 0x01, 0o100000
_ADD = 0x01
_OPEN_PERM, _ON_CHILD, _ON_DIRECTORY = 0x00010000, 0x08000000, 0x40000000
_ALLOW = 1
_EVENT = struct.Struct("=IBBHQii")
_ANSWER = struct.Struct("=iI")
_HERE = -100

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


class OpenGate:
    """Waits for a process that opens a name in a directory, and keeps it there until the gate ends."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.reached = threading.Event()
        self._handle = _checked(
            _libc.fanotify_init(_CLASS_CONTENT | _CLOSE_ON_EXEC, os.O_RDONLY | _LARGE_FILES), "fanotify_init"
        )
        mask = _OPEN_PERM | _ON_CHILD | _ON_DIRECTORY
        try:
            path = os.fsencode(directory)
            _checked(_libc.fanotify_mark(self._handle, _ADD, mask, _HERE, path), f"fanotify_mark {directory}")
        except OSError:
            os.close(self._handle)
            raise
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        while True:
            ready, _write, _error = select.select([self._handle, self._wake], [], [])
            if self._wake in ready:
                return
            data = os.read(self._handle, 4096)
            place = 0
            while place < len(data):
                length, _version, _reserved, _header, _mask, opened, _pid = _EVENT.unpack_from(data, place)
                place += length
                if opened < 0:
                    continue
                name = os.path.basename(os.readlink(f"/proc/self/fd/{opened}"))
                if name == self.name and not self.reached.is_set():
                    self.reached.set()  # no answer: it waits
                else:
                    os.write(self._handle, _ANSWER.pack(opened, _ALLOW))
                os.close(opened)

    def wait(self, seconds: float) -> None:
        """Return when a process stands at the gate; raise TimeoutError when none comes."""
        if not self.reached.wait(seconds):
            raise TimeoutError(f"Nothing opened {self.name} within {seconds:.0f} s")

    def end(self) -> None:
        """Let everybody through."""
        os.write(self._waker, b".")
        self._thread.join()
        for handle in (self._handle, self._wake, self._waker):
            os.close(handle)


@contextmanager
def open_gate(directory: Path, name: str) -> Iterator[OpenGate]:
    """Keep whoever opens a name in a directory waiting while the block runs, the first time only."""
    gate = OpenGate(directory, name)
    try:
        yield gate
    finally:
        gate.end()
