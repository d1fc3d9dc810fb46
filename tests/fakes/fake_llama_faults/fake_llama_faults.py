#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE engine for tests: the real llama-server behind a small proxy that misbehaves in one chosen way.

It is packed as an engine archive (tests/lab/artefacts) and takes the arguments of llama-server. fault.json beside this
file chooses the fault:

  exits_at_start     says so and ends with exit code 1
  never_ready        runs, and answers 503 "Loading model" to everything, for ever
  slow_first_token   answers well, but sends every byte of a completion "milliseconds" later
  fails_on_marker    behaves well, unless the file "marker" is on this host. An empty marker: ends at start with exit
                     code 1. A marker with the text 500: answers every completion with 500.
  renames_metric     behaves well, but its metric "from" is called "to"
  bad_share          behaves well, unless the file "marker" is on this host. Its text says who gets bad answers: "all",
                     or "clients" (who comes through the gateway, which calls the host localhost). Then "percent" of
                     the streamed completions, drawn from "seed", get a 500. Golden prompts are not streamed.

Standard library only: it runs on a bare host.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
REAL = HERE.parent / "real/bin/llama-server"
DEFAULT_MARKER = "/etc/local-llm-fault"
FAULTS = ("exits_at_start", "never_ready", "slow_first_token", "fails_on_marker", "renames_metric", "bad_share")
LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
BROKEN = {"error": {"code": 500, "message": "FAKE engine: a fault was asked for", "type": "server_error"}}
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


def say(text: str) -> None:
    """Write a line to the journal of the host."""
    print(f"FAKE llama-server: {text}", file=sys.stderr, flush=True)


def value_of(arguments: list[str], flag: str, default: str) -> str:
    """Return the value that follows a flag."""
    return arguments[arguments.index(flag) + 1] if flag in arguments[:-1] else default


def replaced(arguments: list[str], values: dict[str, str]) -> list[str]:
    """Return the arguments with the values of some flags replaced or appended."""
    result = list(arguments)
    for flag, value in values.items():
        if flag in result[:-1]:
            result[result.index(flag) + 1] = value
        else:
            result += [flag, value]
    return result


def marker_text(fault: dict[str, Any]) -> str | None:
    """Return what stands in the marker file of this host, or None when there is no such file."""
    try:
        return Path(fault.get("marker", DEFAULT_MARKER)).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_with_parent() -> None:
    """Let the kernel end the real engine when this program is gone, also after SIGKILL."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def read_pieces(answer: http.client.HTTPResponse, pieces: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    """Put each piece of an answer into the queue with the time it came; an empty piece at the end."""
    data = b"-"
    while data:
        try:
            data = answer.read1(65536)
        except (OSError, http.client.HTTPException, ValueError, AttributeError):  # the client went away and closed it
            data = b""
        pieces.put((time.monotonic(), data))


class Proxy(ThreadingHTTPServer):
    """Listens where the engine was told to listen; knows the fault and the port of the real engine."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], fault: dict[str, Any], real_port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        self.fault = fault
        self.real_port = real_port
        self.source, self.turn = random.Random(fault.get("seed", 0)), threading.Lock()

    def draws_bad(self, body: bytes, through_gateway: bool) -> bool:
        """Return whether this completion is answered badly, with the fault bad_share."""
        who = marker_text(self.fault)
        if b'"stream": true' not in body and b'"stream":true' not in body:
            return False
        if who != "all" and not (who == "clients" and through_gateway):
            return False
        with self.turn:
            return bool(self.source.random() * 100 < self.fault["percent"])


class Handler(BaseHTTPRequestHandler):
    """One client connection: each request goes to the real engine, unless the fault says otherwise."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests carry prompts."""

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _pass_on(self, body: bytes, delay_seconds: float) -> None:
        real = http.client.HTTPConnection("127.0.0.1", self.server.real_port, timeout=3600)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
            try:
                real.request(self.command, self.path, body=body or None, headers=headers)
                answer = real.getresponse()
            except OSError:
                self._answer(503, LOADING)
                return
            pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            threading.Thread(target=read_pieces, args=(answer, pieces), daemon=True).start()
            due, data = pieces.get()
            time.sleep(max(0.0, due + delay_seconds - time.monotonic()))
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_HEADERS:
                    self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while data:
                # Later by the same time each, so that the gaps between pieces stay as they were.
                time.sleep(max(0.0, due + delay_seconds - time.monotonic()))
                self._chunk(data)
                due, data = pieces.get()
            self._chunk(b"")
        finally:
            real.close()

    def _metrics(self) -> None:
        """Answer the metrics page with one name changed."""
        real = http.client.HTTPConnection("127.0.0.1", self.server.real_port, timeout=30)
        try:
            real.request("GET", self.path)
            answer = real.getresponse()
            body = answer.read()
        except OSError:
            self._answer(503, LOADING)
            return
        finally:
            real.close()
        body = body.replace(self.server.fault["from"].encode(), self.server.fault["to"].encode())
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type") or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _bad(self, kind: str, body: bytes) -> bool:
        """Return whether this completion is answered with 500."""
        if kind == "bad_share":
            return self.server.draws_bad(body, self.headers.get("Host") == "localhost")
        return kind == "fails_on_marker" and marker_text(self.server.fault) == "500"

    def _handle(self) -> None:
        kind = self.server.fault["fault"]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        completion = self.command == "POST"
        if kind == "never_ready":
            self._answer(503, LOADING)
        elif completion and self._bad(kind, body):
            self._answer(500, BROKEN)
        elif kind == "renames_metric" and self.path.partition("?")[0] == "/metrics":
            self._metrics()
        else:
            slow = completion and kind == "slow_first_token"
            self._pass_on(body, float(self.server.fault.get("milliseconds", 0)) / 1000 if slow else 0.0)

    def handle_one_request(self) -> None:
        """Serve one request; a client that went away is no error."""
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_OPTIONS = do_DELETE = do_PUT = _handle


def serve(fault: dict[str, Any], arguments: list[str]) -> int:
    """Run the real engine on a loopback port and the proxy in front of it, until a signal or the engine's end."""
    real_port = free_port()
    real = None
    if fault["fault"] != "never_ready":
        command = [str(REAL), *replaced(arguments, {"--host": "127.0.0.1", "--port": str(real_port)})]
        real = subprocess.Popen(command, preexec_fn=end_with_parent)
    host, port = value_of(arguments, "--host", "127.0.0.1"), int(value_of(arguments, "--port", "8080"))
    proxy = Proxy((host, port), fault, real_port)
    thread = threading.Thread(target=proxy.serve_forever, name="proxy", daemon=True)

    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signal_number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    thread.start()
    say(f"listening on {host} port {port} with fault {fault}")
    try:
        if real is not None:
            return real.wait()
        thread.join()
        return 1
    except SystemExit as ending:
        say("told to stop")
        return 0 if ending.code == 128 + signal.SIGTERM else int(ending.code or 0)
    finally:
        if real is not None and real.poll() is None:
            real.terminate()
            try:
                real.wait(timeout=10)
            except subprocess.TimeoutExpired:
                real.kill()


def main(arguments: list[str]) -> int:
    """Behave like llama-server, with the fault of fault.json."""
    fault = json.loads((HERE / "fault.json").read_text(encoding="utf-8"))
    if fault["fault"] not in FAULTS:
        say(f"fault.json asks for {fault['fault']!r}; known: {', '.join(FAULTS)}")
        return 2
    if {"--version", "--help", "-h"} & set(arguments):
        say(f"this is a fake with fault {fault}; the answer below is the real engine's")
        return subprocess.run([str(REAL), *arguments], check=False).returncode
    exits = fault["fault"] == "exits_at_start" or (fault["fault"] == "fails_on_marker" and marker_text(fault) == "")
    if exits:
        say(f"ends at once, because of fault {fault}")
        return 1
    return serve(fault, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
