# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Server-sent events, taken apart piece by piece as bytes arrive."""

from __future__ import annotations

MAX_EVENT_BYTES = 8 * 1024 * 1024


class SseParser:
    """Feed bytes, get complete events as (event name or empty, data). Comments and unknown fields are dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """Return the events that these bytes complete. Raises ValueError for an event without an end."""
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_EVENT_BYTES:
            raise ValueError(f"a line of the stream is longer than {MAX_EVENT_BYTES} bytes")
        events: list[tuple[str, bytes]] = []
        for line in lines:
            self._line(line[:-1] if line.endswith(b"\r") else line, events)
        return events

    def finish(self) -> list[tuple[str, bytes]]:
        """Return the event that the end of the stream left without its blank line, if any."""
        events = self.feed(b"\n\n") if self._rest or self._data else []
        return events

    def _line(self, line: bytes, events: list[tuple[str, bytes]]) -> None:
        if not line:
            if self._data:
                events.append((self._name, b"\n".join(self._data)))
            self._name, self._data = "", []
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode("utf-8", "replace")
