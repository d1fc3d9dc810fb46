# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""HTTP/1.1 as bytes: the head of a request, and an answer read piece by piece. No sockets here.

Small on purpose. http.client would need a thread per stream, and copies every piece through two buffers; here one loop
reads hundreds of streams, and what one socket read brought is handed on in one go.
"""

from __future__ import annotations

import functools

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint

MAX_HEAD_BYTES = 65536
_NO_BODY = (204, 304)


class NotHttp(ValueError):
    """What came is no HTTP/1.1 answer."""


def request_head(endpoint: Endpoint, path: str, accept: str) -> bytes:
    """Return the head of a POST of JSON, up to where the length of the body belongs."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    if endpoint.port != (443 if endpoint.secure else 80):
        host = f"{host}:{endpoint.port}"
    lines = [
        f"POST {endpoint.base_path}{path} HTTP/1.1",
        f"Host: {host}",
        "Accept-Encoding: identity",
        f"Accept: {accept}",
        "Content-Type: application/json",
        *[f"{name}: {value}" for name, value in endpoint.headers],
        "Content-Length: ",
    ]
    return "\r\n".join(lines).encode("utf-8")


class AnswerReader:
    """Reads one answer. Feed what a socket read brought, get what of the body it held.

    status is None until the head is there; complete tells that the answer is at its end; keep_alive then tells whether
    the connection can carry another request.
    """

    __slots__ = ("_buffer", "_chunked", "_in_trailer", "_left", "_need", "complete", "headers", "keep_alive", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.complete = False
        self.keep_alive = False
        self._buffer = b""
        self._chunked = False
        self._left: int | None = None  # of a body with a length; None: the body ends with the connection
        self._need = 0  # of the chunk that is being read, its line end included
        self._in_trailer = False

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the body among these. Raises NotHttp."""
        if self.status is None:
            data = self._head(self._buffer + data)
            if self.status is None:
                return b""
        if self.complete:
            if data:
                self.keep_alive = False  # nobody asked for more
            return b""
        if self._chunked:
            return self._chunks(data)
        if self._left is None:
            return data
        body = data[: self._left]
        self._left -= len(body)
        if not self._left:
            self.complete = True
            self.keep_alive = self.keep_alive and len(body) == len(data)
        return body

    def end(self) -> bool:
        """The connection was closed: tell whether that is the proper end of the answer."""
        if self.status is not None and not self.complete and not self._chunked and self._left is None:
            self.complete = True
        return self.complete

    def _head(self, data: bytes) -> bytes:
        """Take the head off and return what follows; keep everything while the head is not whole."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0 or data[:5] != b"HTTP/":
                if not b"HTTP/".startswith(data[:5]):
                    raise NotHttp("the answer does not begin with HTTP/")
                if len(data) > MAX_HEAD_BYTES:
                    raise NotHttp(f"the head of the answer is longer than {MAX_HEAD_BYTES} bytes")
                self._buffer = data
                return b""
            status = self._parse(data[:end])
            data = data[end + 4 :]
            if not 100 <= status < 200:
                break
        self._buffer = b""
        self.status = status
        return data

    def _parse(self, head: bytes) -> int:
        first, *lines = head.split(b"\r\n")
        words = first.split(None, 2)
        if len(words) < 2 or not words[1].isdigit() or len(words[1]) != 3:
            raise NotHttp("the first line of the answer has no status")
        self.headers = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise NotHttp("a line of the answer's head has no colon")
            self.headers[name.strip().lower()] = value.strip()
        status = int(words[1])
        connection = self.headers.get(b"connection", b"").lower()
        self.keep_alive = b"close" not in connection if words[0] != b"HTTP/1.0" else b"keep-alive" in connection
        coding = self.headers.get(b"transfer-encoding", b"").lower()
        if coding and coding != b"chunked":
            raise NotHttp("the answer has a transfer coding other than chunked")
        self._chunked = bool(coding)
        if self.headers.get(b"content-encoding", b"identity").lower() not in (b"", b"identity"):
            raise NotHttp("the answer is packed, and no packing was asked for")
        length = self.headers.get(b"content-length")
        if status in _NO_BODY:
            self._chunked, self._left = False, 0
        elif not self._chunked and length is not None:
            if not length.isdigit():
                raise NotHttp("the answer's content-length is no number")
            self._left = int(length)
        else:
            self._left = None
        self.complete = self._left == 0
        self.keep_alive = self.keep_alive and (self._chunked or self._left is not None)
        return status

    def _chunks(self, data: bytes) -> bytes:
        """Take chunks apart. What is left of a chunk whose end has not come is handed on as it comes."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces = []
        start, size = 0, len(data)
        while start < size:
            if self._need:
                # the rest of a chunk and its line end
                take = min(self._need, size - start)
                text = max(0, min(take, self._need - 2))
                if text:
                    pieces.append(data[start : start + text])
                for byte in data[start + text : start + take]:
                    if byte not in (13, 10):
                        raise NotHttp("a chunk is longer than it says")
                start += take
                self._need -= take
                continue
            end = data.find(b"\r\n", start)
            if end < 0:
                if size - start > MAX_HEAD_BYTES:
                    raise NotHttp("the size of a chunk has no end")
                self._buffer = data[start:]
                break
            line = data[start:end]
            start = end + 2
            if self._in_trailer:
                if not line:
                    self.complete = True
                    self.keep_alive = self.keep_alive and start == size
                    break
                continue
            length = _chunk_size(line)
            if length == 0:
                self._in_trailer = True
            else:
                self._need = length + 2
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@functools.lru_cache(maxsize=1024)
def _chunk_size(line: bytes) -> int:
    digits = line.split(b";", 1)[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise NotHttp("the size of a chunk is no number")
    return int(digits, 16)
