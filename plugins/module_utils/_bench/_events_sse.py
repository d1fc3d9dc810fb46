# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Server-sent events, taken apart piece by piece as bytes arrive."""

from __future__ import annotations

MAX_EVENT_BYTES = 8 * 1024 * 1024


class SseParser:
    """Feed bytes, get complete events as (event name or empty, data). Comments and unknown fields are dropped.

    Lines end with LF, CR LF or CR. `error: {...}` is no field of the standard, but older llama-servers report with it
    that they failed, and others send a bare {"error": ...}: both count as an event called error. `strays` counts other
    lines that look like JSON or HTML: what a server sends that does not stream.
    """

    __slots__ = ("_begun", "_data", "_held", "_name", "_rest", "strays")

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []
        self._begun = False
        self._held = 0  # bytes that came while an event was waiting for its end
        self.strays = 0

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """Return the events that these bytes complete. Raises ValueError for an event without an end."""
        if self._rest:
            chunk = self._rest + chunk
        if not self._begun:
            chunk = self._without_mark(chunk)
        held = b""
        if b"\r" in chunk:
            if chunk.endswith(b"\r"):  # its LF may follow
                chunk, held = chunk[:-1], b"\r"
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        self._rest = lines.pop() + held
        if len(self._rest) > MAX_EVENT_BYTES:
            raise ValueError(f"a line of the stream is longer than {MAX_EVENT_BYTES} bytes")
        events: list[tuple[str, bytes]] = []
        for line in lines:
            self._line(line, events)
        self._held = self._held + len(chunk) if self._data else 0
        if self._held > MAX_EVENT_BYTES:
            raise ValueError(f"an event of the stream is longer than {MAX_EVENT_BYTES} bytes")
        return events

    def finish(self) -> list[tuple[str, bytes]]:
        """Return the event that the end of the stream left without its blank line, if any."""
        return self.feed(b"\n\n") if self._rest or self._data else []

    def _without_mark(self, chunk: bytes) -> bytes:
        """Drop a byte order mark at the very beginning."""
        if len(chunk) >= 3 or not b"\xef\xbb\xbf".startswith(chunk):
            self._begun = True
            if chunk.startswith(b"\xef\xbb\xbf"):
                return chunk[3:]
        return chunk

    def _line(self, line: bytes, events: list[tuple[str, bytes]]) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            if self._data:
                events.append((self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)))
                self._data = []
            self._name = ""
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode("utf-8", "replace")
        elif line.startswith((b"error:", b'{"error"')):
            events.append(("error", line))
        elif line[:1] in b"{<[":
            self.strays += 1
