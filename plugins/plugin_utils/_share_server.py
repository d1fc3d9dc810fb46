# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A read-only HTTP server of the controller's model cache, for the time of one play. A program of its own.

It reads its settings as one line of JSON from standard input, writes its port as one line to standard output, and ends
by itself as soon as the process that it serves is gone, however that process ended. It gives out regular files whose
names are SHA-256 digests, to those who have the token, and nothing else. Standard library only.
"""

from __future__ import annotations

import hmac
import http.server
import json
import os
import re
import select
import socket
import stat
import sys
import threading
import time
from typing import Any

_BLOCK_BYTES = 1 << 20
_NAME = re.compile(r"/([0-9a-f]{64})")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
# A reader that takes nothing for this long is gone.
_SILENT_SECONDS = 60


class SharedPace:
    """Holds all connections together below a rate."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate, self._due, self._lock = bytes_per_second, 0.0, threading.Lock()

    def take(self, count: int) -> None:
        """Wait until this many bytes more are within the rate."""
        if self._rate <= 0:
            return
        with self._lock:
            now = time.monotonic()
            self._due = max(self._due, now) + count / self._rate
            wait = self._due - now
        if wait > 0:
            time.sleep(wait)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD for one file."""

    protocol_version = "HTTP/1.1"
    server_version = "local_llm.ops"
    sys_version = ""
    timeout = _SILENT_SECONDS
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: an address or a token in a log helps nobody."""

    def do_HEAD(self) -> None:
        """Answer with the headers only."""
        self._answer(False)

    def do_GET(self) -> None:
        """Answer with a file or the rest of it."""
        self._answer(True)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, body: bool) -> None:
        if not hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {self.server.token}"):
            self._refuse(401)
            return
        name = _NAME.fullmatch(self.path)
        if name is None:
            self._refuse(404)
            return
        try:
            path = os.path.join(self.server.root, name[1])
            stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0)
        except OSError:
            self._refuse(404)
            return
        with stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                self._refuse(404)
                return
            size = status.st_size
            tag = f'"{name[1]}"'
            wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
            begin, end = 0, size
            if wanted and self.headers.get("If-Range", tag) == tag:
                begin = int(wanted[1])
                end = min(size, int(wanted[2]) + 1) if wanted[2] else size
                if begin >= end:
                    self._refuse(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(end - begin))
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", tag)
            self.end_headers()
            if body:
                self._send(stream.fileno(), begin, end)

    def _send(self, handle: int, begin: int, end: int) -> None:
        """Send a part of a file; the kernel copies it."""
        self.wfile.flush()
        try:
            while begin < end:
                # The socket has a timeout, so the kernel may take a part only or ask to wait.
                block = min(_BLOCK_BYTES, end - begin)
                self.server.pace.take(block)
                sent = self._send_block(handle, begin, block)
                if not sent:
                    self.close_connection = True
                    return
                begin += sent
        except OSError:
            self.close_connection = True

    def _send_block(self, handle: int, begin: int, count: int) -> int:
        done = 0
        while done < count:
            try:
                sent = os.sendfile(self.connection.fileno(), handle, begin + done, count - done)
            except BlockingIOError:
                if not select.select([], [self.connection], [], _SILENT_SECONDS)[1]:
                    return 0
                continue
            if not sent:
                return 0
            done += sent
        return done


class Server(http.server.ThreadingHTTPServer):
    """The server with what its handlers need."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, settings: dict[str, Any]) -> None:
        self.root, self.token = str(settings["root"]), str(settings["token"])
        self.pace = SharedPace(int(settings["bytes_per_second"]))
        super().__init__((str(settings["address"]), int(settings.get("port", 0))), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a host that goes away is no error of the controller."""


class ServerV6(Server):
    """The same on an IPv6 address."""

    address_family = socket.AF_INET6


def wait_for_end(pid: int, parent_seconds: float = 1.0) -> None:
    """Return when a process is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        handle = -1
    if handle >= 0:
        select.select([handle], [], [])
        return
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        except PermissionError:
            pass
        time.sleep(parent_seconds)


def main() -> int:
    """Serve until the process of the play is gone."""
    settings = json.loads(sys.stdin.readline())
    kind = ServerV6 if ":" in str(settings["address"]) else Server
    try:
        server = kind(settings)
    except OSError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return 1
    sys.stdout.write(json.dumps({"port": server.server_address[1], "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nothing, handle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wait_for_end(int(settings["play_pid"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
