# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A JSON value per line, taken apart piece by piece as bytes arrive: what Ollama's native interface streams."""

from __future__ import annotations

MAX_LINE_BYTES = 8 * 1024 * 1024


class NdjsonParser:
    """Feed bytes, get complete lines as (empty name, line), like the events of SseParser. Blank lines are dropped."""

    __slots__ = ("_rest", "strays")

    def __init__(self) -> None:
        self._rest = b""
        self.strays = 0

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """Return the lines that these bytes complete. Raises ValueError for a line without an end."""
        lines = (self._rest + chunk if self._rest else chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES:
            raise ValueError(f"a line of the stream is longer than {MAX_LINE_BYTES} bytes")
        return [("", line) for line in lines if line.strip()]

    def finish(self) -> list[tuple[str, bytes]]:
        """Return the line that the end of the stream left without its line end, if any."""
        rest, self._rest = self._rest, b""
        return [("", rest)] if rest.strip() else []
