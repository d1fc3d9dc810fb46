# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Many streams from one loop: sends requests, reads their events, keeps when they came. No text is kept.

One thread over a selector. Sockets are read as soon as they are ready, each with its own time, and the bytes are looked
at afterwards, a few streams at a go: what the client does with one stream is hardly in another stream's time.
"""

from __future__ import annotations

import errno
import selectors
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench import _records as kinds
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_connection import (
    READ,
    Connection,
    TlsError,
    resolve,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_exchange import (
    Exchange,
    Patience,
    retry_after_seconds,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_progress import Progress, StreamFault
from ansible_collections.local_llm.ops.plugins.module_utils._bench._events_ndjson import NdjsonParser
from ansible_collections.local_llm.ops.plugins.module_utils._bench._events_sse import SseParser
from ansible_collections.local_llm.ops.plugins.module_utils._bench._http1 import NotHttp, request_head
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint

# Deadlines are looked at this often.
SWEEP_SECONDS = 0.05
# When the last event has come, the end of the HTTP answer gets this long, so that the connection can be kept.
DRAIN_SECONDS = 1.0
DRAIN_BYTES = 1024 * 1024
# A kept connection that was closed sooner than this after a request was sent is replaced: both crossed on their way.
# One that is closed later was closed by a server that had the request: that is a failure, and is not sent twice.
CROSSED_SECONDS = 1.0
# This process may open no more files: its own limit, not the server's.
NO_FILE_LEFT = (errno.EMFILE, errno.ENFILE)
# So many reads are looked at before the sockets are asked again.
LOOKS_AT_ONCE = 8
# When many connections are opened in one go, those that have come about meanwhile get their requests this often.
CONNECTS_AT_ONCE = 8


class Client:
    """send() any number of requests, then poll() for those that have ended. Times are of time.perf_counter."""

    def __init__(self, endpoint: Endpoint, path: str, patience: Patience, ndjson: bool = False) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self._ndjson = ndjson
        self._head = request_head(endpoint, path, "application/x-ndjson" if ndjson else "text/event-stream")
        self._addresses = resolve(endpoint)
        self._selector = selectors.DefaultSelector()
        self._idle: list[Connection] = []
        self._active: set[Exchange] = set()
        self._ended: deque[Exchange] = deque()
        self._swept_at = 0.0
        self._begun = 0
        # What was read and not yet looked at, in the order of its times.
        self._unread: deque[tuple[Connection, bytes, float]] = deque()

    @property
    def in_flight(self) -> int:
        return len(self._active)

    def fileno(self) -> int | None:
        """Return the number of the file that becomes readable when a socket is ready, where there is one."""
        number = getattr(self._selector, "fileno", None)
        return None if number is None else number()

    def send(self, ticket: Any, body: bytes) -> Exchange:
        """Start one request. Never raises for what the other side does."""
        message = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        progress = Progress(NdjsonParser() if self._ndjson else SseParser())
        started = time.perf_counter()
        exchange = Exchange(ticket, message, progress, started, started + self._patience.request_seconds)
        self._active.add(exchange)
        if self._idle:
            exchange.reused = True
            self._carry(exchange, self._idle.pop())
        else:
            self._connect(exchange)
        return exchange

    def poll(self, timeout_seconds: float) -> list[Exchange]:
        """Wait for something to happen, at most so long, and return the exchanges that have ended."""
        if self._ended:
            timeout_seconds = 0.0
        elif self._active:
            timeout_seconds = min(timeout_seconds, SWEEP_SECONDS)
        self._read(timeout_seconds)
        while self._unread:
            for _unused in range(min(LOOKS_AT_ONCE, len(self._unread))):
                self._received(*self._unread.popleft())
            if self._unread:
                self._read(0)
        now = time.perf_counter()
        if now - self._swept_at >= SWEEP_SECONDS:
            self._sweep(now)
        ended = list(self._ended)
        self._ended.clear()
        return ended

    def _read(self, timeout_seconds: float) -> None:
        """Read what is there, each with its time; go on with connections that are not so far."""
        clock = time.perf_counter
        others: list[Connection] = []
        for key, _mask in self._selector.select(timeout_seconds):
            connection: Connection = key.data
            if connection.ready and connection.waits_for == READ:
                try:
                    data = connection.receive()
                except OSError:
                    data = b""
                if data is not None:
                    self._unread.append((connection, data, clock()))
                    if not data:
                        self._unwatch(connection)  # or it would be ready for ever
            else:
                others.append(connection)
        for connection in others:
            self._advance(connection)

    def abort(self) -> list[Exchange]:
        """End all that is under way as interrupted, and return it."""
        now = time.perf_counter()
        for exchange in list(self._active):
            self._end(exchange, kinds.INTERRUPTED, now, keep=False)
        ended = list(self._ended)
        self._ended.clear()
        return ended

    def close(self) -> None:
        self.abort()
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        self._selector.close()

    # -- connections

    def _connect(self, exchange: Exchange) -> None:
        """Try the host's addresses in turn, from the one that worked last."""
        while exchange.tries < len(self._addresses):
            address = self._addresses[exchange.tries]
            exchange.tries += 1
            try:
                connection = Connection(self._endpoint, address)
            except OSError as exc:
                if exc.errno in NO_FILE_LEFT:
                    self._end(exchange, kinds.CLIENT_LIMIT, time.perf_counter(), keep=False)
                    return
                continue
            self._watch(connection)
            self._carry(exchange, connection)
            self._begun += 1
            if self._begun % CONNECTS_AT_ONCE == 0:
                self._advance_others()
            return
        self._end(exchange, kinds.CONNECTION, time.perf_counter(), keep=False)

    def _carry(self, exchange: Exchange, connection: Connection) -> None:
        exchange.connection, connection.exchange = connection, exchange
        try:
            connection.send(exchange.message)
        except OSError as exc:
            self._unsent(exchange, connection, exc)
            return
        self._watch(connection)

    def _unsent(self, exchange: Exchange, connection: Connection, exc: OSError) -> None:
        """The request could not be sent to its end. A server that refused it has said so before it closed."""
        data = self._early(connection) if connection.ready else None
        if data:
            connection.stop_sending()
            self._watch(connection)
            self._received(connection, data, time.perf_counter())
        else:
            self._lost(exchange, exc, time.perf_counter())

    def _advance_others(self) -> None:
        """Go on with the connections that do not read yet."""
        for key, _mask in self._selector.select(0):
            if not key.data.ready:
                self._advance(key.data)

    def _watch(self, connection: Connection) -> None:
        """Have the selector tell when the connection can go on. TLS puts another object around the same socket."""
        if connection.watched_for != connection.waits_for or connection.watched is not connection.sock:
            self._unwatch(connection)
            self._selector.register(connection.sock, connection.waits_for, connection)
            connection.watched, connection.watched_for = connection.sock, connection.waits_for

    def _unwatch(self, connection: Connection) -> None:
        if connection.watched is not None:
            self._selector.unregister(connection.watched)
            connection.watched, connection.watched_for = None, 0

    def _advance(self, connection: Connection) -> None:
        exchange: Exchange | None = connection.exchange
        if exchange is None:
            self._drop(connection)
            return
        try:
            was_ready = connection.ready
            connection.advance()
            if connection.ready and not was_ready and self._addresses[0] is not connection.address:
                self._addresses.remove(connection.address)
                self._addresses.insert(0, connection.address)
        except OSError as exc:
            self._unsent(exchange, connection, exc)
            return
        self._watch(connection)
        if connection.ready and connection.waits_for != READ:
            # the request is still being sent; the server may refuse it before it has all of it
            data = self._early(connection)
            if data is not None:
                self._received(connection, data, time.perf_counter())

    @staticmethod
    def _early(connection: Connection) -> bytes | None:
        try:
            return connection.receive()
        except OSError:
            return b""

    def _drop(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._unwatch(connection)
        connection.close()

    def _lost(self, exchange: Exchange, exc: OSError | None, at: float) -> None:
        """The connection is gone. Before the answer's first byte, a kept one is replaced once, and an address by the
        next one; otherwise the exchange has ended."""
        connection = exchange.connection
        if exchange.heard_at is not None:
            whole = exchange.reader.end()
            self._end(exchange, self._verdict(exchange, at, whole), at, keep=False)
            return
        connected = connection is not None and connection.ready
        if connection is not None:
            self._drop(connection)
            exchange.connection = None
        if exchange.reused and at - exchange.started < CROSSED_SECONDS:
            exchange.reused = False
            self._connect(exchange)
        elif isinstance(exc, TlsError):
            self._end(exchange, kinds.TLS, at, keep=False)
        elif connected:
            self._end(exchange, kinds.CONNECTION, at, keep=False)
        else:
            self._connect(exchange)

    # -- answers

    def _received(self, connection: Connection, data: bytes, at: float) -> None:
        exchange: Exchange | None = connection.exchange
        if exchange is None:  # an idle connection that the server has closed
            self._drop(connection)
            return
        if not data:
            self._lost(exchange, None, at)
            return
        exchange.heard_at = at
        reader = exchange.reader
        known = reader.status is not None
        try:
            body = reader.feed(data)
            if not known and reader.status is not None:
                self._headers(exchange)
            if body:
                if reader.status == 200:
                    exchange.progress.feed(body, at)
                else:
                    exchange.drained_bytes += len(body)
        except NotHttp:
            self._end(exchange, kinds.BAD_EVENT, at, keep=False)
            return
        except StreamFault as fault:
            self._end(exchange, fault.kind, at, keep=False)
            return
        if reader.complete:
            self._end(exchange, self._verdict(exchange, at, True), at, keep=reader.keep_alive)
        elif exchange.drained_bytes > DRAIN_BYTES:
            self._end(exchange, self._verdict(exchange, at, False), at, keep=False)
        elif not exchange.draining and (exchange.progress.done or reader.status not in (None, 200)):
            exchange.draining = True
            exchange.deadline = min(exchange.deadline, at + DRAIN_SECONDS)

    @staticmethod
    def _headers(exchange: Exchange) -> None:
        value = exchange.reader.headers.get(b"retry-after")
        if value is not None:
            exchange.retry_after_seconds = retry_after_seconds(value.decode("latin-1"), datetime.now(timezone.utc))

    @staticmethod
    def _verdict(exchange: Exchange, at: float, whole: bool) -> str | None:
        status = exchange.reader.status
        if status is None:
            return kinds.TRUNCATED  # some of the head had come
        if status != 200:
            return f"http_{status}"
        return exchange.progress.end(at, whole)

    def _end(self, exchange: Exchange, error: str | None, at: float, keep: bool) -> None:
        connection = exchange.connection
        if connection is not None:
            connection.exchange = None
            connection.carried += 1
            if keep and connection.waits_for == READ:
                self._idle.append(connection)
            else:
                self._drop(connection)
            exchange.connection = None
        exchange.ended, exchange.error = at, error
        exchange.message = b""
        self._active.discard(exchange)
        self._ended.append(exchange)

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        silence = self._patience.silence_seconds
        for exchange in self._late(now, silence):
            error = self._verdict(exchange, now, False) if exchange.draining else kinds.TIMEOUT
            self._end(exchange, error, now, keep=False)

    def _late(self, now: float, silence: float | None) -> Iterable[Exchange]:
        return [
            exchange
            for exchange in self._active
            if now >= exchange.deadline
            or (silence is not None and exchange.heard_at is not None and now - exchange.heard_at >= silence)
        ]
