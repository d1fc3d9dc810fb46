# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Reads a large JSON object piece by piece, so that a header of 100 MB needs little memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError, HeaderReader

MAX_VALUE_CHARACTERS = 4 << 20
_SPACE = " \t\r\n"
_CUT = 1 << 17


class JsonStream:
    """JSON text between the reader's place and `end`, read forward."""

    def __init__(self, reader: HeaderReader, end: int) -> None:
        self._reader = reader
        self._end = end
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def error(self, what: str) -> HeaderError:
        """Return an error that names the file."""
        return self._reader.error(what)

    def _more(self) -> bool:
        """Read on; return whether there was anything."""
        if self._at > _CUT:
            self._text, self._at = self._text[self._at :], 0
        data = self._reader.read_some(self._end)
        try:
            self._text += self._utf8.decode(data, final=not data)
        except UnicodeDecodeError:
            raise self.error("the JSON text is no UTF-8") from None
        return bool(data)

    def _peek(self) -> str:
        """Return the next letter that is no space; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _take(self, letter: str) -> None:
        found = self._peek()
        if found != letter:
            raise self.error(
                f"the JSON text has {found!r} where {letter!r} must stand" if found else "the JSON text ends"
            )
        self._at += 1

    def value(self) -> Any:
        """Return the next value, of any kind."""
        self._peek()
        wanted = 1 << 12
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                # A number may go on behind the end of what was read.
                if end < len(self._text) or not isinstance(value, (int, float)) or not self._more():
                    self._at = end
                    return value
                continue
            except json.JSONDecodeError as problem:
                before = len(self._text) - self._at
                while len(self._text) - self._at < wanted and self._more():
                    continue
                if before == len(self._text) - self._at < wanted:
                    raise self.error(f"the JSON text is wrong: {problem.msg}") from None
                if wanted > MAX_VALUE_CHARACTERS:
                    raise self.error(f"a value of the JSON text is wrong, or longer than {wanted} letters") from None
                wanted *= 2
            except (RecursionError, ValueError):
                raise self.error("the JSON text has too many levels, or a number without end") from None

    def members(self) -> Iterator[str]:
        """Yield the keys of the next object; the caller takes the value of each before the next key."""
        self._take("{")
        if self._peek() == "}":
            self._at += 1
            return
        while True:
            key = self.value() if self._peek() == '"' else None
            if not isinstance(key, str):
                raise self.error(f"the JSON text has {self._peek()!r} where a key must stand")
            self._take(":")
            yield key
            if self._peek() == "}":
                self._at += 1
                return
            self._take(",")

    def at_end(self) -> bool:
        """Return whether only spaces are left."""
        return self._peek() == ""

    def starts_object(self) -> bool:
        """Return whether the next value is an object."""
        return self._peek() == "{"
