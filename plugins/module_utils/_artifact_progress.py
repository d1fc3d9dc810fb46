# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How far a download is: counts, bytes, rate and time left, as a line for people and as a small file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._progress_file import time_text, write_progress


def size_text(count: float) -> str:
    """Return a number of bytes for people."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


class Progress:
    """Counts files and bytes. Every few seconds it hands a line to say, and writes its state to a file."""

    def __init__(
        self,
        label: str,
        files_total: int,
        bytes_total: int | None,
        say: Callable[[str], None],
        path: str | None = None,
        interval_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.files_total, self.bytes_total = label, files_total, bytes_total
        self.files_done = self.bytes_done = self.bytes_received = 0
        self._say, self._path, self._interval, self._clock = say, path, interval_seconds, clock
        self._began = self._told = clock()

    def start(self) -> None:
        """Begin to count the time, after waiting for others."""
        self._began = self._told = self._clock()

    def received(self, count: int) -> None:
        """Count bytes that came over the network."""
        self.bytes_received += count
        self.there(count)

    def there(self, count: int) -> None:
        """Count bytes that need not come (any more); negative when a part had to be thrown away."""
        self.bytes_done += count
        if self._clock() - self._told >= self._interval:
            self.tell()

    def file_done(self) -> None:
        """Count a file."""
        self.files_done += 1

    def state(self) -> dict[str, Any]:
        """Return the counts; rate and time left are null while nothing can be said."""
        seconds = self._clock() - self._began
        rate = self.bytes_received / seconds if seconds > 0 and self.bytes_received else None
        left = None
        if rate and self.bytes_total is not None:
            left = max(0, self.bytes_total - self.bytes_done) / rate
        return {
            "label": self.label,
            "files_done": self.files_done,
            "files_total": self.files_total,
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "bytes_per_second": rate,
            "seconds": seconds,
            "seconds_left": left,
        }

    def line(self) -> str:
        """Return the state as one line."""
        return progress_line(self.state())

    def tell(self) -> None:
        """Say the line now and write the file."""
        self._told = self._clock()
        self._say(self.line())
        if self._path:
            state = self.state()
            write_progress(self._path, {**state, "line": progress_line(state), "count": state["bytes_done"]})


def progress_line(state: dict[str, Any]) -> str:
    """Return the state of a download as one line."""
    total = state["bytes_total"]
    parts = [f"{state['label']}: {state['files_done']} of {state['files_total']} files"]
    if total:
        share = 100 * state["bytes_done"] / total
        parts.append(f"{size_text(state['bytes_done'])} of {size_text(total)} ({share:.0f} %)")
    else:
        parts.append(size_text(state["bytes_done"]))
    if state["bytes_per_second"]:
        parts.append(f"{size_text(state['bytes_per_second'])}/s")
    if state["seconds_left"] is not None:
        parts.append(f"{time_text(state['seconds_left'])} left")
    return ", ".join(parts)
