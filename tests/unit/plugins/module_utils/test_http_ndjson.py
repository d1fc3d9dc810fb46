# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams of JSON lines: errors inside status 200, silence, a cut, and what is no JSON."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_ndjson import StreamEnd, stream_lines

Serve = Callable[..., StreamEnd]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer one request with pieces (bytes, or seconds of silence) and return how the stream ended."""
    stop = threading.Event()
    servers = []

    def _serve(*pieces: bytes | float, status: int = 200, length: int | None = None, seen: Any = None) -> StreamEnd:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                for piece in pieces:
                    if isinstance(piece, bytes):
                        self.wfile.write(piece)
                        self.wfile.flush()
                    else:
                        stop.wait(piece)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        endpoint = parse_endpoint(f"http://127.0.0.1:{server.server_address[1]}")
        lines: list[dict[str, Any]] = [] if seen is None else seen
        return stream_lines(endpoint, "/x", {}, lines.append, timeout_seconds=2, silence_seconds=0.3)

    yield _serve
    stop.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def test_lines_come_whole_however_they_are_cut(serve: Serve) -> None:
    seen: list[dict[str, Any]] = []
    end = serve(b'{"a":', b'1}\n{"b":2}\n\n{"status"', b':"success"}', seen=seen)
    assert end == StreamEnd(200, {"status": "success"})
    assert seen == [{"a": 1}, {"b": 2}, {"status": "success"}]


def test_an_error_in_a_line_is_an_error_with_status_200(serve: Serve) -> None:
    assert serve(b'{"status":"pulling"}\n{"error":"digest mismatch"}\n').error == "digest mismatch"


def test_a_status_without_a_text_is_an_error(serve: Serve) -> None:
    assert serve(b"{}\n", status=500).error == "HTTP 500"


def test_a_web_page_is_an_error_that_shows_its_beginning(serve: Serve) -> None:
    assert "<html>" in serve(b"<html>Sign in</html>").error


def test_a_cut_is_an_error(serve: Serve) -> None:
    assert "connection broke" in serve(b'{"a":1}\n', length=500).error


def test_silence_ends_the_wait(serve: Serve) -> None:
    started = time.monotonic()
    assert serve(b'{"a":1}\n', 5.0).error == "nothing came for 0.3 s"
    assert time.monotonic() - started < 2


def test_a_server_that_drips_is_ended_by_the_whole_time(serve: Serve) -> None:
    pieces: list[bytes | float] = [b'{"a":1}\n', 0.1] * 40
    assert serve(*pieces).error == "not finished after 2 s"


def test_a_closed_port_is_an_error() -> None:
    end = stream_lines(parse_endpoint("http://127.0.0.1:9"), "/x", {}, lambda line: None, 1, 1)
    assert end.status is None
    assert "connection broke" in end.error
