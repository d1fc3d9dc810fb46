# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How far a benchmark is, as a line for people and as the small file that the controller looks at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._progress_file import time_text, write_progress


def progress_line(label: str, state: Mapping[str, Any], expected_seconds: float | None, requests: int | None) -> str:
    """Return the state of a run as one line: answers, failures, rate and time left, as far as they can be told."""
    done, elapsed = state["done"], state["elapsed_seconds"]
    parts = [f"{label}: {done} of {requests} answers" if requests else f"{label}: {done} answers"]
    if state["failed"]:
        parts.append(f"{state['failed']} failed")
    parts.append(f"{state['in_flight']} under way")
    rate = done / elapsed if elapsed > 0 else 0.0
    if rate:
        parts.append(f"{rate:.1f}/s")
    left = seconds_left(done, elapsed, expected_seconds, requests)
    if left is not None:
        parts.append(f"{time_text(left)} left")
    return ", ".join(parts)


def seconds_left(done: int, elapsed: float, expected_seconds: float | None, requests: int | None) -> float | None:
    """Return the time left by the plan's own account, else by the rate so far; None when nothing can be said."""
    if expected_seconds is not None:
        return max(0.0, expected_seconds - elapsed)
    if requests and done and elapsed > 0:
        return max(0.0, (requests - done) * elapsed / done)
    return None


class Teller:
    """Writes the file at most as often as it is called, which is about once a second."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def __call__(
        self, label: str, state: Mapping[str, Any], expected_seconds: float | None, requests: int | None
    ) -> None:
        if self._path:
            self._write(
                progress_line(label, state, expected_seconds, requests), state["elapsed_seconds"], state["issued"]
            )

    def done(self) -> None:
        """Say that the work has ended."""
        if self._path:
            self._write("done", 0.0, -1, finished=True)

    def _write(self, line: str, seconds: float, count: int, finished: bool = False) -> None:
        write_progress(
            str(self._path),
            {"line": line, "seconds": seconds, "count": count, "finished": finished, "process": os.getpid()},
        )
