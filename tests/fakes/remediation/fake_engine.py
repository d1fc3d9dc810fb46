#!/usr/bin/python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE llama-server whose health, metrics and life a test changes by files in its cache directory.

fake_engine.py ADDRESS PORT. In $HOME: "crash" (ends with 1 at once), "mute" (answers nothing), "stuck" (one request
under way, no token); without them it serves and makes tokens.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOME = Path(os.environ["HOME"])
STARTED = time.monotonic()


class Handler(BaseHTTPRequestHandler):
    """The pages of llama-server that count here."""

    def do_GET(self) -> None:
        """Answer a page."""
        while (HOME / "mute").exists():
            time.sleep(0.5)  # the fault: it takes connections and says nothing
        stuck = (HOME / "stuck").exists()
        tokens = 7 if stuck else int((time.monotonic() - STARTED) * 100)
        pages = {
            "/health": "{}",
            "/v1/models": '{"data": [{"id": "chat"}]}',
            "/props": '{"build_info": "fake", "total_slots": 2}',
            "/metrics": f"llamacpp:requests_processing {int(stuck)}\nllamacpp:requests_deferred 0\n"
            f"llamacpp:prompt_tokens_total 5\nllamacpp:tokens_predicted_total {tokens}\n",
        }
        body = pages.get(self.path, "").encode()
        # HAProxy's health check goes as soon as it has the status.
        with contextlib.suppress(ConnectionError):
            self.send_response(200 if self.path in pages else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_POST(self) -> None:
        """Stream an answer for as long as its words last."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number in range(200):
            self.wfile.write(f'data: {{"choices":[{{"delta":{{"content":"w{number} "}}}}]}}\n\n'.encode())
            self.wfile.flush()
            time.sleep(0.1)  # the pace of the answer
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


def main() -> None:
    """Serve until told otherwise."""
    if (HOME / "crash").exists():
        sys.exit(1)
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()


if __name__ == "__main__":
    main()
