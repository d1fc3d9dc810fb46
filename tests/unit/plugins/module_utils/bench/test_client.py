# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a server that misbehaves: every fault has its kind, times are right, connections are kept."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench import _client
from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import Place, Workload, request_body
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client import Client
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_exchange import (
    Exchange,
    Patience,
    retry_after_seconds,
)
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint, parse_endpoint
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer

APIS = ("openai_chat", "openai_completions", "ollama", "ollama_generate")
CHAT = Workload("openai_chat", "fake", output_tokens=8)


def client_for(
    target: FakeStreamServer | Endpoint | str, work: Workload = CHAT, seconds: float = 5.0, silence: float | None = None
) -> Client:
    if isinstance(target, FakeStreamServer):
        target = target.url
    endpoint = parse_endpoint(target) if isinstance(target, str) else target
    return Client(endpoint, work.url_path, Patience(seconds, silence), work.is_ollama)


def finish(client: Client, count: int, seconds: float = 10.0) -> list[Exchange]:
    """Return so many exchanges once they have ended."""
    ended: list[Exchange] = []
    deadline = time.monotonic() + seconds
    while len(ended) < count:
        assert time.monotonic() < deadline, f"{len(ended)} of {count} requests have ended"
        ended += client.poll(0.05)
    return ended


def one(client: Client, work: Workload = CHAT) -> Exchange:
    client.send(None, request_body(work, "measured", Place(0)))
    return finish(client, 1)[0]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("split", [False, True])
def test_times_of_a_known_pace_come_out_right(api: str, split: bool) -> None:
    work = Workload(api, "fake", output_tokens=8)
    with FakeStreamServer(
        Behaviour(ttft_seconds=0.05, itl_seconds=0.01, split=split, crlf=split, comments=split)
    ) as fake:
        client = client_for(fake, work)
        exchange = one(client, work)
        client.close()
    progress = exchange.progress
    assert exchange.error is None
    assert progress.token_events == progress.output_tokens == 8 and progress.prompt_tokens == 7
    assert progress.first_at is not None and progress.last_at is not None
    # Never early, whatever the machine does. How late it may be is for benchmarks/ to say.
    assert progress.first_at - exchange.started >= 0.05
    assert progress.last_at - exchange.started >= 0.12
    assert len(progress.gaps) == 7
    assert (progress.load_seconds == 0.0025) is work.is_ollama


def test_an_event_that_only_announces_the_role_is_not_the_first_token() -> None:
    with FakeStreamServer(Behaviour(ttft_seconds=0.06, role_first=True)) as fake:
        exchange = one(client_for(fake))
    assert exchange.progress.first_at is not None and exchange.progress.first_at - exchange.started >= 0.06


def test_a_burst_shares_one_time_and_counts_as_coalesced() -> None:
    with FakeStreamServer(Behaviour(itl_seconds=0.02, coalesce=4)) as fake:
        progress = one(client_for(fake)).progress
    assert progress.coalesced == 6 and sorted(progress.gaps)[:6] == [0.0] * 6


def test_several_tokens_in_one_event_are_counted_by_usage_and_not_by_events() -> None:
    with FakeStreamServer(Behaviour(tokens_per_event=4, cached_tokens=3)) as fake:
        progress = one(client_for(fake)).progress
    assert (progress.token_events, progress.output_tokens, progress.cached_tokens) == (2, 8, 3)


FAULTS = [
    ("http_404", "http_404"), ("http_429", "http_429"), ("http_503", "http_503"), ("reset", "connection"),
    ("not_http", "bad_event"), ("html", "bad_event"), ("json", "bad_event"), ("json_error", "stream_error"),
    ("empty", "zero_tokens"), ("stream_error", "stream_error"), ("error_field", "stream_error"),
    ("finish_error", "stream_error"), ("truncated", "truncated"), ("cut", "truncated"), ("abort", "truncated"),
    ("bad_json", "bad_event"), ("bad_chunk", "bad_event"), ("stall", "timeout"), ("hang", "timeout"),
    ("trickle", "timeout"), ("zero_tokens", "zero_tokens"), ("no_done", None),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "error"), FAULTS)
def test_every_fault_gets_its_own_kind(fault: str, error: str | None) -> None:
    with FakeStreamServer(Behaviour(fault=fault, retry_after="7")) as fake:
        exchange = one(client_for(fake, seconds=0.4))
    assert exchange.error == error
    assert exchange.retry_after_seconds == (7.0 if fault.startswith("http_") else None)


@pytest.mark.parametrize("api", APIS[2:])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("stream_error", "stream_error"),
        ("json_error", "stream_error"),
        ("truncated", "truncated"),
        ("cut", "truncated"),
        ("html", "bad_event"),
        ("empty", "zero_tokens"),
        ("zero_tokens", "zero_tokens"),
        ("http_404", "http_404"),
        ("stall", "timeout"),
    ],
)
def test_faults_of_ollamas_own_interface_get_their_kinds(api: str, fault: str, error: str) -> None:
    work = Workload(api, "fake", output_tokens=8)
    with FakeStreamServer(Behaviour(fault=fault)) as fake:
        assert one(client_for(fake, work, seconds=0.4), work).error == error


def test_many_streams_at_once_are_each_told_their_own_end() -> None:
    with FakeStreamServer(Behaviour(ttft_seconds=0.01, itl_seconds=0.002, fault="cut", fault_every=4)) as fake:
        client = client_for(fake)
        for number in range(60):
            client.send(number, request_body(CHAT, "measured", Place(number)))
        assert client.in_flight == 60
        ended = finish(client, 60)
    assert sorted(exchange.ticket for exchange in ended) == list(range(60))
    assert [exchange.error for exchange in ended].count("truncated") == 15
    good = [exchange for exchange in ended if exchange.error is None]
    assert len(good) == 45 and all(exchange.progress.token_events == 8 for exchange in good)


def test_silence_in_the_middle_of_an_answer_ends_it_before_its_whole_time_is_over() -> None:
    with FakeStreamServer(Behaviour(stall_after=4, stall_seconds=30.0)) as fake:
        exchange = one(client_for(fake, seconds=30.0, silence=0.2))
    assert exchange.error == "timeout" and exchange.progress.token_events == 4


def test_an_answer_that_never_ends_after_its_last_event_is_a_success_and_its_connection_is_not_kept() -> None:
    with FakeStreamServer(Behaviour(fault="hold_open")) as fake:
        client = client_for(fake, seconds=20.0)
        first = one(client)
        fake.behaviour.fault = "none"
        second = one(client)
        assert fake.connections == 2
    assert first.error is None and first.ended is not None and first.ended - first.started < 10
    assert second.error is None


def test_nothing_listening_is_a_connection_error() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    assert one(client_for(url)).error == "connection"
    assert one(client_for("http://no-such-host.invalid:1")).error == "connection"


def test_a_connection_is_kept_between_requests() -> None:
    with FakeStreamServer() as fake:
        client = client_for(fake)
        assert [one(client).error for _unused in range(3)] == [None] * 3
        fake.behaviour.fault = "http_503"
        assert one(client).error == "http_503"
        assert fake.connections == 1


@pytest.mark.parametrize("behaviour", [Behaviour(keep_alive=False), Behaviour(close_after=1)])
def test_a_connection_that_the_server_closed_is_opened_anew(behaviour: Behaviour) -> None:
    with FakeStreamServer(behaviour) as fake:
        client = client_for(fake)
        assert [one(client).error for _unused in range(3)] == [None] * 3
        assert fake.connections == 3


def test_a_kept_connection_that_is_closed_at_the_moment_of_the_next_request_is_replaced_once() -> None:
    """The race that the fake cannot make: the server closes when it has the second request, before its first byte."""
    seen: list[bytes] = []
    page = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

    def serve(listener: socket.socket) -> None:
        for answers in (1, 0):
            connection, _address = listener.accept()
            with connection:
                for _unused in range(answers + 1):
                    seen.append(connection.recv(65536))
                    if len(seen) != 2:
                        connection.sendall(page)
                    if len(seen) == 2:
                        break

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        client = client_for(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert [one(client).error, one(client).error] == ["http_503", "http_503"]
        thread.join(5)
    assert len(seen) == 3


def test_a_kept_connection_that_is_closed_while_the_server_works_is_a_failure_and_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_client, "CROSSED_SECONDS", 0.05)
    with FakeStreamServer(Behaviour(close_unheard_seconds=0.2, fault_every=2, fault="close_unheard")) as fake:
        client = client_for(fake)
        assert [one(client).error, one(client).error] == [None, "connection"]
        assert fake.requests == 2


def test_a_packed_answer_is_no_answer_of_this_api() -> None:
    """Its events cannot be told apart as they come, and it would look like an answer without a token."""
    with FakeStreamServer(Behaviour(packed=True)) as fake:
        assert one(client_for(fake)).error == "bad_event"


def test_a_large_prompt_is_sent_in_pieces() -> None:
    work = Workload("openai_chat", "fake", prompt_tokens=400_000, output_tokens=8)
    with FakeStreamServer() as fake:
        assert one(client_for(fake, work), work).error is None
        assert len(fake.bodies[0]["messages"][0]["content"].split()) == 400_000


def test_abort_ends_what_is_under_way_as_interrupted_and_keeps_what_it_has() -> None:
    with FakeStreamServer(Behaviour(stall_after=4, stall_seconds=30.0)) as fake:
        client = client_for(fake, seconds=30.0)
        exchange = client.send(None, request_body(CHAT, "measured", Place(0)))
        deadline = time.monotonic() + 5
        while exchange.progress.token_events < 4 and time.monotonic() < deadline:
            client.poll(0.05)
        assert [ended.error for ended in client.abort()] == ["interrupted"]
    assert exchange.progress.token_events == 4


def test_ipv6_and_the_key_in_the_header() -> None:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with FakeStreamServer(Behaviour(api_key="secret"), host="::1") as fake:
        assert one(client_for(parse_endpoint(fake.url, api_key="secret"))).error is None
        assert one(client_for(parse_endpoint(fake.url, api_key="wrong"))).error == "http_401"


def test_a_host_with_several_addresses_is_tried_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeStreamServer() as fake, socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))
        family = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        addresses = [(*family, closed.getsockname()), (*family, ("127.0.0.1", fake.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_unused, **_too: addresses)
        client = client_for(fake)
        assert [one(client).error for _unused in range(2)] == [None] * 2
        assert fake.connections == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    directory = tmp_path_factory.mktemp("tls")
    key, path = str(directory / "key.pem"), str(directory / "cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", path, "-days", "1", "-subj", "/CN=fake"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return path, key


def test_tls_is_checked_and_streams_like_plain_http(certificate: tuple[str, str]) -> None:
    path, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    work = Workload("openai_chat", "fake", prompt_tokens=40_000, output_tokens=200)
    with FakeStreamServer(Behaviour(itl_seconds=0.0005), tls=context) as fake:
        trusting = client_for(parse_endpoint(fake.url, ca_path=path), work)
        for number in range(8):
            trusting.send(number, request_body(work, "measured", Place(number)))
        ended = finish(trusting, 8)
        assert [exchange.error for exchange in ended] == [None] * 8
        assert [exchange.progress.token_events for exchange in ended] == [200] * 8
        assert one(trusting).error is None and fake.connections == 8
        assert one(client_for(parse_endpoint(fake.url, validate_certs=False))).error is None
        assert one(client_for(parse_endpoint(fake.url))).error == "tls"
        fake.behaviour.fault = "trickle"
        assert one(client_for(parse_endpoint(fake.url, ca_path=path), seconds=0.4)).error == "timeout"


def test_tls_towards_a_plain_port_and_the_other_way_round(certificate: tuple[str, str]) -> None:
    path, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    with FakeStreamServer() as fake:
        assert one(client_for(fake.url.replace("http", "https"), seconds=0.5)).error in ("tls", "timeout")
    with FakeStreamServer(tls=context) as fake:
        assert one(client_for(fake.url.replace("https", "http"))).error in ("bad_event", "connection")


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_seconds(" 12 ", now) == 12.0
    assert retry_after_seconds("Thu, 01 Jan 2026 00:00:30 GMT", now) == 30.0
    assert retry_after_seconds("Wed, 31 Dec 2025 23:00:00 GMT", now) == 0.0
    for text in ("soon", "9" * 400, "Mon, 99 Jan 99999 00:00:00 GMT", "-5"):
        assert retry_after_seconds(text, now) is None


def test_no_text_is_kept() -> None:
    with FakeStreamServer() as fake:
        exchange = one(client_for(fake))
        prompt = fake.bodies[0]["messages"][0]["content"]
    values = {name: str(getattr(exchange, name)) for name in Exchange.__slots__}
    values.update({name: str(getattr(exchange.progress, name, "")) for name in type(exchange.progress).__slots__})
    assert prompt.split()[0] not in json.dumps(values) and "w0" not in json.dumps(values)


def test_a_refusal_in_the_middle_of_a_large_request_is_heard() -> None:
    """A gateway that limits bodies answers and closes before it has read all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def refuse() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 20):
                    pass

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        work = Workload("openai_chat", "fake", prompt_tokens=2_000_000)
        exchange = one(client_for(f"http://127.0.0.1:{listener.getsockname()[1]}", work), work)
        thread.join(5)
    assert exchange.error == "http_413"


def test_a_head_that_breaks_off_is_no_connection_that_was_never_made() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def half() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConte")

        thread = threading.Thread(target=half, daemon=True)
        thread.start()
        assert one(client_for(f"http://127.0.0.1:{listener.getsockname()[1]}")).error == "truncated"
        thread.join(5)


def test_when_no_file_is_left_the_client_is_the_limit_and_not_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*_unused: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(_client, "Connection", no_file)
    assert one(client_for("http://127.0.0.1:1")).error == "client_limit"
