#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE model server for tests of the gateway. It holds no model: it streams counted words at a set pace.

POST /v1/chat/completions and /v1/completions answer after "delay" seconds with "words" pieces, "pace" seconds apart
(set them in the JSON body, or as defaults on the command line). The header X-Fake-Server names who answered, and
X-Fake-Authorization says "present" when an Authorization header reached it. GET /health answers 200, or what was
last set by POST /fake/health?status=NNN. GET /v1/models lists one model called "fake".
"""

from __future__ import annotations

import argparse
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeServer(ThreadingHTTPServer):
    """Threads, a name to answer with, and a health status that a test can change."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], name: str, delay: float, pace: float, words: int) -> None:
        super().__init__(address, FakeHandler)
        self.fake_name = name
        self.defaults = {"delay": delay, "pace": pace, "words": words}
        self.health_status = 200


class FakeHandler(BaseHTTPRequestHandler):
    """The few paths of an OpenAI-compatible server that the gateway lets through, and one it must not."""

    protocol_version = "HTTP/1.1"
    server: FakeServer

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: tests read the answers, not a log."""

    def _head(self, status: int, content_type: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("X-Fake-Server", self.server.fake_name)
        self.send_header("X-Fake-Authorization", "present" if "Authorization" in self.headers else "absent")
        self.send_header("X-Fake-Path", self.path)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _json(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self._head(status, "application/json", len(body))
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer health and the list of models."""
        if self.path == "/health":
            self._json(self.server.health_status, {"fake": True})
        elif self.path.startswith("/v1/models"):
            self._json(200, {"object": "list", "data": [{"id": "fake", "object": "model"}]})
        else:
            self._json(200, {"fake": True, "path": self.path})

    def do_POST(self) -> None:
        """Stream or answer at once, as the body asks."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/fake/health?status="):
            self.server.health_status = int(self.path.rsplit("=", 1)[1])
            self._json(200, {"fake": True})
            return
        body = json.loads(raw or b"{}")
        setting = {key: body.get(key, value) for key, value in self.server.defaults.items()}
        time.sleep(setting["delay"])
        if "status" in body:
            self._json(int(body["status"]), {"fake": True})
            return
        if not body.get("stream"):
            time.sleep(setting["pace"] * setting["words"])
            message = {"role": "assistant", "content": " ".join(f"w{n}" for n in range(setting["words"]))}
            self._json(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
            return
        self._head(200, "text/event-stream", None)
        for number in range(setting["words"]):
            self._chunk(json.dumps({"choices": [{"index": 0, "delta": {"content": f"w{number} "}}]}))
            time.sleep(setting["pace"])
        self._chunk("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: str) -> None:
        payload = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(payload):x}\r\n".encode() + payload + b"\r\n")
        self.wfile.flush()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="FAKE model server for tests of the gateway.")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--words", type=int, default=3)
    options = parser.parse_args()
    address = (options.address, options.port)
    FakeServer(address, options.name, options.delay, options.pace, options.words).serve_forever()


if __name__ == "__main__":
    main()
