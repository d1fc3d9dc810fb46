# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""HTTP connections that keep a deadline over a whole answer and note the time once per socket read.

http.client knows only a timeout per read: a server that sends a byte now and then holds it for ever. And a client that
takes the time per parsed event sees gaps of microseconds when several events came in one read. Both are mended here, in
the raw file under the answer's buffer, so that everything above it stays plain http.client.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint

# The socket's timeout is set again this often, so a deadline is kept to within this many seconds.
DEADLINE_SLACK_SECONDS = 0.25
READ_BUFFER_BYTES = 65536


class ReadClock:
    """What one connection's reads share: the deadline, and the time and number of the latest socket read."""

    def __init__(self) -> None:
        self.deadline = float("inf")
        self.read_at = 0.0
        self.reads = 0


class _ClockedRaw(io.RawIOBase):
    """The raw file of a socket, with deadline and time stamps."""

    def __init__(self, raw: Any, sock: socket.socket, clock: ReadClock) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._clock = clock
        self._timeout_set_at = float("-inf")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        now = time.perf_counter()
        remaining = self._clock.deadline - now
        if remaining <= 0:
            raise socket.timeout("the deadline of the whole request has passed")
        if now - self._timeout_set_at > DEADLINE_SLACK_SECONDS:
            self._sock.settimeout(remaining)
            self._timeout_set_at = now
        count: int | None = self._raw.readinto(buffer)
        self._clock.read_at = time.perf_counter()
        self._clock.reads += 1
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def _clocked_response_class(clock: ReadClock) -> type[http.client.HTTPResponse]:
    class ClockedResponse(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_ClockedRaw(raw, sock, clock), READ_BUFFER_BYTES)

    return ClockedResponse


def open_connection(endpoint: Endpoint, clock: ReadClock) -> http.client.HTTPConnection:
    """Return a connection (not yet connected) whose answers keep and feed the clock."""
    connection: http.client.HTTPConnection
    if endpoint.secure:
        connection = http.client.HTTPSConnection(endpoint.host, endpoint.port, context=endpoint.tls)
    else:
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
    connection.response_class = _clocked_response_class(clock)
    return connection


def set_deadline(connection: http.client.HTTPConnection, clock: ReadClock, seconds: float) -> None:
    """Give the next request on this connection so many seconds in all, connecting included."""
    clock.deadline = time.perf_counter() + seconds
    connection.timeout = seconds
    if connection.sock is not None:
        connection.sock.settimeout(seconds)
