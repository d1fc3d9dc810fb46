# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Say now and then what is awaited and for how long still, while something else blocks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator


def waiting_line(what: str, passed_seconds: float, limit_seconds: float) -> str:
    """Return the line to show after so many seconds."""
    left = limit_seconds - passed_seconds
    rest = f"{left:.0f} s left" if left > 0 else f"its {limit_seconds:.0f} s are over, the last checks run"
    return f"{what}: {passed_seconds:.0f} s so far, {rest}"


@contextlib.contextmanager
def told_every(say: Callable[[str], object], what: str, limit_seconds: float, every_seconds: float) -> Iterator[None]:
    """Say the line every so often while the block runs."""
    end, started = threading.Event(), time.monotonic()

    def watch() -> None:
        while not end.wait(every_seconds):
            say(waiting_line(what, time.monotonic() - started, limit_seconds))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        end.set()
        watcher.join(timeout=5)
