# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The GPU exporter's side of the process that asks NVML: tell it to read, wait no longer than a deadline, part from it.

A process that waits inside a broken driver is in state D, and no signal ends it. It is killed at the deadline and then
waited for without blocking. As long as it is there, no second one is started: one hung driver costs one process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_OUTPUT_BYTES = 8 * 1024 * 1024
# A process that was killed is gone by then, or it hangs in the driver.
GRACE_SECONDS = 0.5
POLL_SECONDS = 0.02
# Why there is no reading. hung: a call of NVML gave no answer; busy: the host was too slow for it.
HUNG, BUSY, DIED, NOT_STARTED = "hung", "busy", "died", "not_started"
_NVML = "nvml"


@dataclass
class Reading:
    """What one reading brought. problem: None when it was read to its end; else a word for it, with the text `why`."""

    records: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None
    why: str = ""
    seconds: float = 0.0


class Worker:
    """One process that reads; started when it is needed, and again when it has ended."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Remember how to start it; nothing is started yet."""
        self._command = list(command)
        self._environment = environment
        self._pid: int | None = None
        self._killed = False
        self._in = -1
        self._out = -1
        self._hung_call = ""
        # It said that it ends after this reading, so that the next one gets a new session with NVML.
        self._last = False

    @property
    def pid(self) -> int | None:
        """Return the process that is there, also one that was killed and does not go."""
        return self._pid

    def read(self, deadline_seconds: float) -> Reading:
        """Return one reading after at most so long, and a little for parting from a process that hangs."""
        started = time.monotonic()
        reading = self._read(started + deadline_seconds)
        reading.seconds = time.monotonic() - started
        return reading

    def _read(self, end: float) -> Reading:
        if self._killed and not self._gone():
            return Reading(problem=HUNG, why=f"process {self._pid} still waits in {self._hung_call}")
        if self._pid is None:
            try:
                self._start()
            except OSError as error:
                return Reading(problem=NOT_STARTED, why=f"{self._command[0]} cannot be started: {error}")
        reading, calling = Reading(), b""
        try:
            # One that has ended takes nothing more; what it wrote before tells where.
            with contextlib.suppress(BrokenPipeError):
                os.write(self._in, b"read\n")
            calling = self._listen(end, reading)
        except (OSError, ValueError) as error:
            reading.problem, reading.why = DIED, str(error)
        if reading.problem is None:
            if self._last:
                self.stop()
            return reading
        self._hung_call = _call(calling)
        if reading.problem == BUSY and self._hung_call.startswith(_NVML):
            reading.problem = HUNG
        reading.why = reading.why or f"{self._hung_call} gave no answer in time"
        self.stop()
        return reading

    def stop(self) -> None:
        """End the process; one that cannot die is left behind and remembered."""
        if self._pid is None:
            return
        if not self._killed:
            self._killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._close()
        end = time.monotonic() + GRACE_SECONDS
        while not self._gone() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)

    def _start(self) -> None:
        child_in, self._in = os.pipe()
        self._out, child_out = os.pipe()
        try:
            actions = [(os.POSIX_SPAWN_DUP2, child_in, 0), (os.POSIX_SPAWN_DUP2, child_out, 1)]
            self._pid = os.posix_spawn(self._command[0], self._command, self._environment, file_actions=actions)
        except OSError:
            self._close()
            raise
        finally:
            os.close(child_in)
            os.close(child_out)
        os.set_blocking(self._out, False)
        self._killed = False

    def _listen(self, end: float, reading: Reading) -> bytes:
        """Take lines up to {"done"} or the deadline; return the last line that says what is being asked."""
        calling, rest, total = b"", b"", 0
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                reading.problem = BUSY
                return calling
            data = os.read(self._out, 65536)
            total += len(data)
            if not data:
                raise ValueError(f"the process that asks NVML ended in {_call(calling)}; see the lines before this one")
            if total > MAX_OUTPUT_BYTES:
                raise ValueError(f"the process that asks NVML wrote more than {MAX_OUTPUT_BYTES} bytes")
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b'{"calling"'):
                    calling = line
                    continue
                record = _parse(line)
                if record.get("done"):
                    self._last = bool(record.get("last"))
                    return calling
                if record:
                    reading.records.append(record)

    def _gone(self) -> bool:
        """Return whether the process has ended, and forget it then."""
        if self._pid is None:
            return True
        try:
            pid, _status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            pid = self._pid
        if pid == 0:
            return False
        self._pid, self._killed = None, False
        self._close()
        return True

    def _close(self) -> None:
        for descriptor in (self._in, self._out):
            if descriptor >= 0:
                os.close(descriptor)
        self._in = self._out = -1


def _parse(line: bytes) -> dict[str, Any]:
    """Return a line as a record; whatever is none counts for nothing."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _call(line: bytes) -> str:
    record = _parse(line)
    name = str(record.get("calling", "the start of the interpreter"))
    return name if record.get("gpu") is None else f"{name} (GPU {record['gpu']})"
