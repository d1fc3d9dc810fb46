# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One non-blocking connection to a model server, plain or TLS: connect, shake hands, send, receive. It never waits."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint

READ_BYTES = 65536
READ, WRITE = 1, 2  # the same numbers as selectors.EVENT_READ and EVENT_WRITE

# What getaddrinfo gives for one address: family, type, protocol, name, socket address.
Address = tuple[Any, ...]


class TlsError(OSError):
    """The handshake failed, for instance because the certificate is not trusted."""


def resolve(endpoint: Endpoint) -> list[Address]:
    """Return the addresses of the endpoint's host, in the order of preference; none when its name is not known."""
    try:
        return list(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return []


class Connection:
    """Starts to connect when it is made. advance() until `ready`; then send() and receive().

    waits_for says what the socket must become before advance() is of use. `carried` counts the answers so far.
    """

    __slots__ = (
        "_connected",
        "_host",
        "_out",
        "_tls",
        "address",
        "carried",
        "exchange",
        "ready",
        "sock",
        "waits_for",
        "watched",
        "watched_for",
    )

    def __init__(self, endpoint: Endpoint, address: Address) -> None:
        self.address = address
        self.exchange: Any = None  # the one that it carries
        self.carried = 0
        self.ready = False
        self.waits_for = WRITE
        self.watched: socket.socket | None = None  # what the selector has of it, and for what
        self.watched_for = 0
        self._connected = False
        self._out = memoryview(b"")
        self._host = endpoint.host
        self._tls = endpoint.tls if endpoint.secure else None
        self.sock = socket.socket(address[0], address[1], address[2])
        try:
            self.sock.setblocking(False)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self.sock.connect_ex(address[4])
            if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
                raise OSError(code, "cannot connect")
        except OSError:
            self.sock.close()
            raise

    def send(self, data: bytes) -> None:
        """Send now, or as soon as the connection is ready. On the same machine that is now."""
        self._out = memoryview(data)
        self.advance()

    def advance(self) -> None:
        """Go on with what can be done now. Raises OSError."""
        if not self._connected:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "cannot connect")
            try:
                self.sock.getpeername()
            except OSError:
                return  # not yet
            self._connected = True
        if not self.ready and not self._shake_hands():
            return
        self.waits_for = READ
        while self._out:
            try:
                self._out = self._out[self.sock.send(self._out) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self.waits_for = READ | WRITE
                return

    def _shake_hands(self) -> bool:
        if self._tls is not None:
            try:
                if not isinstance(self.sock, ssl.SSLSocket):  # takes the socket over, with its number
                    self.sock = self._tls.wrap_socket(
                        self.sock, server_hostname=self._host, do_handshake_on_connect=False
                    )
                self.sock.do_handshake()
            except ssl.SSLWantReadError:
                self.waits_for = READ
                return False
            except ssl.SSLWantWriteError:
                self.waits_for = WRITE
                return False
            except (ssl.SSLError, ValueError) as exc:
                raise TlsError(str(exc)) from exc
        self.ready = True
        return True

    def stop_sending(self) -> None:
        """Send nothing more of the request: the server takes no more of it, and may have said why."""
        self._out = memoryview(b"")
        self.waits_for = READ

    def receive(self) -> bytes | None:
        """Return what has come, b"" at the end of the stream, None when there is nothing yet. Raises OSError."""
        try:
            data = self.sock.recv(READ_BYTES)
            if isinstance(self.sock, ssl.SSLSocket):
                while data and self.sock.pending():
                    more = self.sock.recv(READ_BYTES)
                    if not more:
                        break
                    data += more
            return data
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def close(self) -> None:
        self.sock.close()
