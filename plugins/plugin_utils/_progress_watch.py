# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Show on the controller how far a module is, from the small file that it keeps."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

LOOK_SECONDS = 1.0
SHOW_SECONDS = 10.0


class Shown:
    """What was shown last, so that a line comes now and then and only while something moves."""

    def __init__(self, every_seconds: float = SHOW_SECONDS) -> None:
        self._every, self._at, self._count = every_seconds, 0.0, None

    def line(self, text: str) -> str | None:
        """Return the line to show for this content of the file, or None when there is nothing new to say yet."""
        try:
            state: dict[str, Any] = json.loads(text)
            seconds, count, line = float(state["seconds"]), state["count"], str(state["line"])
        except (ValueError, KeyError, TypeError):
            return None
        if seconds - self._at < self._every or count == self._count:
            return None
        self._at, self._count = seconds, count
        return line


@contextlib.contextmanager
def watched(path: Path) -> Iterator[None]:
    """Show lines from a file of this machine while the block runs."""
    end = threading.Event()
    watcher = threading.Thread(target=_watch, args=(path, end), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        end.set()
        watcher.join(timeout=5)


def _watch(path: Path, end: threading.Event) -> None:
    shown = Shown()
    while not end.wait(LOOK_SECONDS):
        with contextlib.suppress(OSError):
            line = shown.line(path.read_text(encoding="utf-8"))
            if line:
                Display().display(line)
