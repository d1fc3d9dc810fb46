# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The streaming client: what counts as a token, what counts as an error, when time is taken."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_stream import RequestRecord, StreamClient
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer

CHAT = "/v1/chat/completions"
BODY = {
    "messages": [{"role": "user", "content": "x"}],
    "max_tokens": 8,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def send(fake: FakeStreamServer, path: str = CHAT, timeout: float = 5.0, times: int = 1) -> list[RequestRecord]:
    client = StreamClient(parse_endpoint(fake.url), path, timeout)
    body = dict(BODY)
    if path != CHAT:
        body["prompt"] = "x"
        del body["messages"]
    records = [client.send(number, json.dumps(body).encode()) for number in range(times)]
    client.close()
    return records


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_times_of_a_known_pace_come_out_right(path: str) -> None:
    with FakeStreamServer(Behaviour(ttft_seconds=0.05, itl_seconds=0.01)) as fake:
        record = send(fake, path)[0]
    assert record.error is None
    assert record.output_tokens == 8 and record.prompt_tokens == 7 and record.token_events == 8
    assert record.ttft_seconds is not None and 0.05 <= record.ttft_seconds < 0.08
    assert record.e2el_seconds is not None and 0.12 <= record.e2el_seconds < 0.16
    assert len(record.gaps_seconds) == 7


def test_an_event_that_only_announces_the_role_is_not_the_first_token() -> None:
    with FakeStreamServer(Behaviour(ttft_seconds=0.06, role_first=True)) as fake:
        record = send(fake)[0]
    assert record.ttft_seconds is not None and record.ttft_seconds >= 0.06


def test_events_of_one_read_share_a_time_and_count_as_coalesced() -> None:
    with FakeStreamServer(Behaviour(itl_seconds=0.02, coalesce=4)) as fake:
        record = send(fake)[0]
    assert record.coalesced_gaps == 6
    assert sorted(record.gaps_seconds)[:6] == [0.0] * 6


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("http_404", "http_404"),
        ("http_503", "http_503"),
        ("reset", "connection"),
        ("stream_error", "stream_error"),
        ("truncated", "truncated"),
        ("cut", "truncated"),
        ("zero_tokens", "zero_tokens"),
        ("hang", "timeout"),
        ("trickle", "timeout"),
        ("no_done", None),
    ],
)
def test_every_fault_gets_its_own_kind(fault: str, error: str | None) -> None:
    with FakeStreamServer(Behaviour(fault=fault)) as fake:
        record = send(fake, timeout=0.3)[0]
    assert record.error == error


def test_a_server_that_trickles_bytes_is_cut_at_the_deadline() -> None:
    with FakeStreamServer(Behaviour(fault="trickle")) as fake:
        record = send(fake, timeout=0.3)[0]
    assert record.seconds < 0.8


def test_nothing_listening_is_a_connection_error() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    record = StreamClient(parse_endpoint(url), CHAT, 1.0).send(0, b"{}")
    assert record.error == "connection"


def test_tokens_without_text_still_make_a_success_when_usage_counts_them() -> None:
    with FakeStreamServer(Behaviour(empty_text=True)) as fake:
        record = send(fake)[0]
    assert record.error is None and record.output_tokens == 8


def test_without_usage_the_events_are_counted() -> None:
    with FakeStreamServer(Behaviour(usage=False)) as fake:
        record = send(fake)[0]
    assert record.error is None and record.output_tokens is None and record.token_events == 8


def test_a_connection_is_kept_between_requests() -> None:
    with FakeStreamServer() as fake:
        records = send(fake, times=3)
        assert [record.error for record in records] == [None] * 3
        assert fake.connections == 1


def test_a_kept_connection_that_the_server_closed_is_opened_anew() -> None:
    with FakeStreamServer(Behaviour(keep_alive=False)) as fake:
        assert [record.error for record in send(fake, times=3)] == [None] * 3
        assert fake.connections == 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
def test_tls_is_checked_and_streams_like_plain_http(tmp_path: Path) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=fake"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with FakeStreamServer(Behaviour(ttft_seconds=0.02), tls=context) as fake:
        records = []
        for endpoint in (
            parse_endpoint(fake.url, ca_path=certificate),
            parse_endpoint(fake.url, validate_certs=False),
            parse_endpoint(fake.url),
        ):
            client = StreamClient(endpoint, CHAT, 5.0)
            records.append(client.send(0, json.dumps(BODY).encode()))
            client.close()
        fake.behaviour.fault = "trickle"
        client = StreamClient(parse_endpoint(fake.url, ca_path=certificate), CHAT, 0.3)
        records.append(client.send(0, json.dumps(BODY).encode()))
    assert [record.error for record in records] == [None, None, "connection", "timeout"]


def test_abort_from_another_thread_ends_the_request_as_interrupted() -> None:
    with FakeStreamServer(Behaviour(fault="hang")) as fake:
        client = StreamClient(parse_endpoint(fake.url), CHAT, 30.0)
        found: list[RequestRecord] = []
        thread = threading.Thread(target=lambda: found.append(client.send(0, json.dumps(BODY).encode())))
        thread.start()
        end = time.monotonic() + 5
        while not fake.bodies and time.monotonic() < end:
            thread.join(0.01)
        client.abort()
        thread.join(5)
    assert found and found[0].error == "interrupted"
