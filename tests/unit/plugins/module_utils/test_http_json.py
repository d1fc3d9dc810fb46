# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain requests: failures are values, and nothing takes longer than allowed."""

from __future__ import annotations

import socket
import threading
import time

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import request
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer


def test_a_page_and_its_status_come_back() -> None:
    with FakeStreamServer(Behaviour(pages={"/health": (503, '{"a": 1}')})) as fake:
        answer = request(parse_endpoint(fake.url), "/health", 2.0)
    assert answer.status == 503 and answer.json() == {"a": 1} and answer.error is None


def test_refused_is_a_value() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    answer = request(parse_endpoint(f"http://127.0.0.1:{port}"), "/health", 1.0)
    assert answer.status is None and answer.error == "connection"


def test_a_server_that_accepts_and_then_trickles_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def trickle() -> None:
            connection, _address = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.03):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        started = time.monotonic()
        answer = request(parse_endpoint(f"http://127.0.0.1:{server.getsockname()[1]}"), "/health", 0.3)
        stop.set()
        thread.join(5)
    assert answer.error == "timeout" and time.monotonic() - started < 1.0


def test_no_time_left_asks_nothing() -> None:
    assert request(parse_endpoint("http://127.0.0.1:1"), "/", -1.0).error == "timeout"
