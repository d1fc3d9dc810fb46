# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Streams through the program zstd, for files of any size: a block at a time, nothing in between on the disk."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError

RunCommand = Callable[..., tuple[int, str, str]]
# Model weights hardly become smaller at a higher level, only slower.
LEVEL = 3
_NOT_FOUND = 127


class _Program:
    """zstd in a shell that gives it a pipe; it runs in a thread, since run_command returns only at its end."""

    def __init__(self, run_command: RunCommand, script: str, path: str, its_end: int) -> None:
        self._path, self._its_end = path, its_end
        self._result: tuple[int, str, str] | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(run_command, script), daemon=True)
        self._thread.start()

    def _run(self, run_command: RunCommand, script: str) -> None:
        try:
            self._result = run_command(
                ["/bin/sh", "-c", script, "sh", self._path],
                pass_fds=(self._its_end,),
                before_communicate_callback=lambda _process: self._close(),
                handle_exceptions=False,
                expand_user_and_vars=False,
            )
        except (OSError, ValueError) as error:  # told in the thread that waits
            self._error = error
        finally:
            self._close()

    def _close(self) -> None:
        """Close this process's copy of the program's end, or nobody would see the end of the stream."""
        if self._its_end >= 0:
            os.close(self._its_end)
            self._its_end = -1

    def problem(self) -> str:
        """Wait for the end; return what went wrong, or an empty text."""
        self._thread.join()
        if self._error is not None or self._result is None:
            return f"{self._path}: the program zstd does not run ({self._error}). Look at /bin/sh on the host."
        code, _out, err = self._result
        if code == 0:
            return ""
        if code == _NOT_FOUND:
            return (
                f"{self._path}: the program zstd is not on this host. Install the package zstd there "
                "(the playbook site does it)."
            )
        reason = (err.strip().splitlines() or ["no output"])[-1]
        return f"{self._path}: zstd ended with {code}: {reason}"


@contextmanager
def packing(run_command: RunCommand, packed: str) -> Iterator[io.FileIO]:
    """Give a stream; what is written to it lies packed and on the disk in a file when this ends well."""
    its_end, own_end = os.pipe()
    # One thread: an archive is in no hurry, the host serves meanwhile, and memory stays at some 15 MB.
    script = f'exec zstd --quiet -{LEVEL} --single-thread --stdout < /dev/fd/{its_end} > "$1"'
    stream = os.fdopen(own_end, "wb", buffering=0)
    program = _Program(run_command, script, packed, its_end)
    ended_early = False
    try:
        yield stream
        stream.close()
    except BrokenPipeError:
        ended_early = True
    finally:
        with suppress(OSError):
            stream.close()
        problem = program.problem()
    if problem or ended_early:
        raise TreeError(
            f"{problem or f'{packed}: zstd ended too early'}. When the disk is full, make room there; then run again."
        )
    descriptor = os.open(packed, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def unpacking(run_command: RunCommand, packed: str) -> Iterator[io.FileIO]:
    """Give a stream of the plain bytes of a packed file; raises at its end when the file is damaged."""
    own_end, its_end = os.pipe()
    script = f'exec zstd --decompress --quiet --stdout -- "$1" > /dev/fd/{its_end}'
    stream = os.fdopen(own_end, "rb", buffering=0)
    program = _Program(run_command, script, packed, its_end)
    try:
        yield stream
    finally:
        # Whoever stops reading half way ends the program with that.
        stream.close()
        problem = program.problem()
    if problem:
        raise TreeError(f"{problem}. The archive cannot be read.")
