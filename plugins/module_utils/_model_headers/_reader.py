# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Reads the header of a file that nobody trusts: every length is checked against the file before it is used."""

from __future__ import annotations

import os
import struct
from types import TracebackType
from typing import BinaryIO

# One read never takes more than this into memory, whatever a file says.
MAX_READ_BYTES = 1 << 20
BUFFER_BYTES = 1 << 16


class HeaderError(ValueError):
    """A header that cannot be read. The text names the file, the place, what is wrong and the fix."""


COPY_AGAIN = "The file is damaged or not complete: compare its SHA-256 with the source, then copy it again."


class HeaderReader:
    """A file read from the front, with a limit on how far the header may reach."""

    def __init__(self, path: str, max_header_bytes: int) -> None:
        self.path = path
        self.offset = 0
        self.max_header_bytes = max_header_bytes
        try:
            self.size = os.path.getsize(path)
            self._file: BinaryIO = open(path, "rb", buffering=BUFFER_BYTES)  # noqa: SIM115
        except OSError as error:
            raise HeaderError(
                f"{path}: cannot be opened ({error.strerror}). Check the path and who may read it."
            ) from None

    def __enter__(self) -> HeaderReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def left(self) -> int:
        """Bytes of the file after the current place."""
        return self.size - self.offset

    def error(self, what: str, fix: str = COPY_AGAIN, offset: int | None = None) -> HeaderError:
        """Return the error that names the file and the place."""
        return HeaderError(f"{self.path}: at byte {self.offset if offset is None else offset}: {what}. {fix}")

    def _check(self, count: int, what: str) -> None:
        if count > self.left:
            raise self.error(f"{what} needs {count} bytes, but the file ends after {self.left} more")
        if self.offset + count > self.max_header_bytes:
            raise self.error(
                f"the header is longer than {self.max_header_bytes} bytes",
                "No known model has such a header. Take the model from its publisher again.",
            )

    def read(self, count: int, what: str) -> bytes:
        """Return exactly this many bytes."""
        self._check(count, what)
        if count > MAX_READ_BYTES:
            raise self.error(
                f"{what} is {count} bytes long, more than {MAX_READ_BYTES}",
                "No known model has such a value. Take the model from its publisher again.",
            )
        data = self._file.read(count)
        if len(data) != count:
            raise self.error(f"{what}: {count} bytes wanted, {len(data)} came", "Another program is writing the file.")
        self.offset += count
        return data

    def read_some(self, end: int) -> bytes:
        """Return the next bytes up to the given place, at most one buffer; empty at the end."""
        data = self._file.read(max(0, min(BUFFER_BYTES, end - self.offset)))
        self.offset += len(data)
        return data

    def skip(self, count: int, what: str) -> None:
        """Go over this many bytes without reading them."""
        self._check(count, what)
        self._file.seek(count, os.SEEK_CUR)
        self.offset += count

    def number(self, form: struct.Struct, what: str) -> int | float | bool:
        """Return one little-endian number."""
        value: int | float | bool = form.unpack(self.read(form.size, what))[0]
        return value

    def unsigned(self, form: struct.Struct, what: str) -> int:
        """Return one little-endian whole number."""
        return int(self.number(form, what))
