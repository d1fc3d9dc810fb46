#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FAKE: a mirror and a model hub with faults on demand, for tests. See README.md."""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import socket
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What goes wrong for a path. times: how often; -1 always."""

    cut_after_bytes: int | None = None
    html: bool = False
    html_untyped: bool = False
    status: int = 0
    announce_bytes: int | None = None
    send_bytes: bytes | None = None
    no_range: bool = False
    no_length: bool = False
    bytes_per_second: int = 0
    wrong_start: bool = False
    times: int = 1


@dataclass
class Request:
    """A request that came."""

    path: str
    range: str
    if_range: str
    authorization: str
    sent_bytes: int = 0


@dataclass
class Content:
    """What is served: bytes by path, faults by path, repositories of the hub."""

    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large_bytes: int = 1000
    token: str = ""
    directory: Path | None = None
    cdn: str = ""
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a path."""
        if path in self.files:
            return self.files[path]
        full = self.directory / path.lstrip("/") if self.directory else None
        return full.read_bytes() if full is not None and full.is_file() else None

    def fault(self, path: str) -> Fault:
        """Return what goes wrong this time."""
        with self.lock:
            fault = self.faults.get(path)
            if fault is None or fault.times == 0:
                return Fault()
            fault.times -= 1 if fault.times > 0 else 0
            return fault

    def tree(self, repo: str) -> list[dict[str, Any]]:
        """Return the tree of a repository as a hub tells it."""
        entries: list[dict[str, Any]] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "sub"}]
        for path, data in sorted(self.repositories[repo].items()):
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            entry: dict[str, Any] = {"type": "file", "oid": blob, "size": len(data), "path": path}
            if len(data) >= self.large_bytes:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        return entries


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server: Mirror

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _plain(self, status: int, body: bytes = b"", kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, body: bool) -> None:
        content = self.server.content
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        asked, condition, access = (self.headers.get(name, "") for name in ("Range", "If-Range", "Authorization"))
        request = Request(path, asked, condition, access)
        content.requests.append(request)
        parts = path.strip("/").split("/")
        hub = path.startswith("/api/models/") or (len(parts) > 3 and parts[2] == "resolve")
        if hub and content.token and self.headers.get("Authorization") != f"Bearer {content.token}":
            self._plain(401, b'{"error":"Invalid username or password."}', "application/json")
        elif path.startswith("/api/models/"):
            self._hub_tree(parts)
        elif hub:
            self._hub_resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif path.startswith("/cdn/"):
            data = content.repositories["/".join(parts[1:3])].get("/".join(parts[3:]))
            self._file(path, data, request, body)
        else:
            self._file(path, content.read(path), request, body)

    def _hub_tree(self, parts: list[str]) -> None:
        repo, revision = "/".join(parts[2:4]), parts[5]
        if repo not in self.server.content.repositories:
            self._plain(404, b'{"error":"Repository not found"}', "application/json", X_Error_Code="RepoNotFound")
        elif revision != COMMIT:
            self._plain(404, b'{"error":"Invalid rev"}', "application/json", X_Error_Code="RevisionNotFound")
        else:
            self._plain(200, json.dumps(self.server.content.tree(repo)).encode(), "application/json")

    def _hub_resolve(self, repo: str, revision: str, path: str) -> None:
        data = self.server.content.repositories.get(repo, {}).get(path)
        if data is None or revision != COMMIT:
            self._plain(404, b"Entry not found", X_Error_Code="EntryNotFound")
            return
        where = f"{self.server.content.cdn or self.server.url}/cdn/{repo}/{path}?signature=secret"
        self._plain(302, b"", Location=where, X_Repo_Commit=COMMIT)

    def _file(self, path: str, data: bytes | None, request: Request, body: bool) -> None:
        fault = self.server.content.fault(path)
        if fault.status or data is None:
            self._plain(fault.status or 404)
            return
        if fault.html or fault.html_untyped:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.send_header("Content-Type", "text/html; charset=utf-8" if fault.html else "application/octet-stream")
            self.end_headers()
            self.close_connection = True
            self.wfile.write(PAGE)
            return
        tag = f'"{self.server.content.tags.get(path) or hashlib.sha1(data, usedforsecurity=False).hexdigest()}"'
        data = data if fault.send_bytes is None else fault.send_bytes
        begin = 0
        if request.range and not fault.no_range and request.if_range in ("", tag):
            first, _dash, last = request.range[len("bytes=") :].partition("-")
            begin, whole = int(first), len(data)
            if begin >= whole:
                self._plain(416)
                return
            data = data[: int(last) + 1] if last else data
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin + fault.wrong_start}-{len(data) - 1}/{whole}")
        else:
            self.send_response(200)
        length = len(data) - begin if fault.announce_bytes is None else fault.announce_bytes
        if fault.no_length:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("ETag", tag)
        self.end_headers()
        if body:
            self._send(memoryview(data)[begin:], fault, request)

    def _send(self, data: memoryview, fault: Fault, request: Request) -> None:
        left = len(data) if fault.cut_after_bytes is None else min(len(data), fault.cut_after_bytes)
        block = max(1, fault.bytes_per_second // 20) if fault.bytes_per_second else 1 << 18
        place = 0
        try:
            while place < left:
                part = data[place : min(place + block, left)]
                self.wfile.write(part)
                place += len(part)
                request.sent_bytes = place
                if fault.bytes_per_second:
                    time.sleep(0.05)
        except OSError:
            self.close_connection = True
            return
        if left < len(data):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


class Mirror(http.server.ThreadingHTTPServer):
    """The fake server, on a free port."""

    daemon_threads = True

    def __init__(self, content: Content, address: str = "127.0.0.1", port: int = 0) -> None:
        self.content = content
        super().__init__((address, port), Handler)
        self.url = f"http://{address}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent when a client goes away."""

    def __enter__(self) -> Mirror:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.server_close()


def main() -> int:
    """Serve a directory; write a line of JSON per request to a log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="where the requests are written to when the program ends or is asked")
    parser.add_argument("--cut-first", metavar="PATH:BYTES", help="cut the first answer for a path after some bytes")
    parser.add_argument("--slow", metavar="PATH:BYTES_PER_SECOND", help="send a path slowly")
    arguments = parser.parse_args()
    content = Content(directory=arguments.directory)
    if arguments.cut_first:
        path, _colon, count = arguments.cut_first.rpartition(":")
        content.faults[path] = Fault(cut_after_bytes=int(count))
    if arguments.slow:
        path, _colon, count = arguments.slow.rpartition(":")
        content.faults[path] = Fault(bytes_per_second=int(count), times=-1)
    with Mirror(content, arguments.address, arguments.port) as mirror:
        print(mirror.url, flush=True)
        try:
            while True:
                time.sleep(0.2)
                if arguments.log:
                    lines = [json.dumps(vars(item)) for item in list(content.requests)]
                    arguments.log.write_text("".join(f"{line}\n" for line in lines))
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
