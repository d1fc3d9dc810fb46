# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP answers come out the same however the bytes are cut; what is no HTTP is refused."""

from __future__ import annotations

import random

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._http1 import (
    MAX_HEAD_BYTES,
    AnswerReader,
    NotHttp,
    request_head,
)
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"5;name=value\r\nhello\r\n1\r\n\n\r\nA\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\nCONNECTION: keep-alive\r\n\r\nhello\n0123456789"


def read(data: bytes, size: int) -> tuple[AnswerReader, bytes]:
    reader = AnswerReader()
    return reader, b"".join(reader.feed(data[start : start + size]) for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [*range(1, 30), 1000])
@pytest.mark.parametrize("answer", [CHUNKED, COUNTED])
def test_a_body_is_the_same_however_the_bytes_arrive(answer: bytes, size: int) -> None:
    reader, body = read(answer, size)
    assert body == b"hello\n0123456789"
    assert reader.status == 200 and reader.complete and reader.keep_alive and reader.end()


def test_part_of_a_chunk_is_handed_on_before_the_chunk_is_whole() -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert reader.feed(b"a\r\n01234") == b"01234"
    assert reader.feed(b"56789\r") == b"56789" and reader.feed(b"\n") == b""
    assert not reader.complete and not reader.end()


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reader, body = read(b"HTTP/1.0 200 OK\r\n\r\nhello", 3)
    assert body == b"hello" and not reader.complete
    assert reader.end() and not reader.keep_alive


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore than was said", False),
    ],
)
def test_a_connection_is_kept_only_when_the_server_keeps_it(head: bytes, kept: bool) -> None:
    reader, body = read(head, 10_000)
    assert reader.complete and reader.keep_alive is kept and body == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x01\x00\x02\x02",
        b"220 mail.example ESMTP\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nlonger\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
    ],
)
@pytest.mark.parametrize("size", [7, 100_000])
def test_what_is_no_http_is_refused(answer: bytes, size: int) -> None:
    with pytest.raises(NotHttp):
        read(answer, size)


def test_the_head_of_a_request_names_host_port_and_key() -> None:
    head = request_head(
        parse_endpoint("http://[::1]:8001/base/v1", api_key="k"), "/v1/completions", "text/event-stream"
    )
    assert head.startswith(b"POST /base/v1/completions HTTP/1.1\r\nHost: [::1]:8001\r\n")
    assert b"\r\nAuthorization: Bearer k\r\n" in head and head.endswith(b"\r\nContent-Length: ")
    assert b"Host: example\r\n" in request_head(parse_endpoint("https://example"), "/x", "y")


def test_whatever_comes_it_is_an_answer_or_it_is_refused() -> None:
    """Damaged answers, cut anywhere: nothing else is raised, and no more body comes out than bytes went in."""
    chooser = random.Random(5)
    for _unused in range(2000):
        data = bytearray(chooser.choice([CHUNKED, COUNTED]))
        for _again in range(chooser.randrange(4)):
            data[chooser.randrange(len(data))] = chooser.randrange(256)
        try:
            _reader, body = read(bytes(data), chooser.randrange(1, 60))
        except NotHttp:
            continue
        assert len(body) <= len(data)
