# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One long request that answers with a line of JSON per step. An error may stand in a line, whatever the status is."""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_clock import (
    READ_BUFFER_BYTES,
    ReadClock,
    open_connection,
    set_deadline,
)

MAX_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class StreamEnd:
    """How a stream ended: `error` is empty for one that was read to its end; `last` is its last line."""

    status: int | None
    last: dict[str, Any]
    error: str = ""


def _line(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        start = text[:60].decode("utf-8", "replace")
        raise ValueError(f"a line is no JSON object, it begins with {start!r}; is this address the right server?")
    return value


def stream_lines(
    endpoint: Endpoint,
    path: str,
    payload: dict[str, Any],
    on_line: Callable[[dict[str, Any]], None],
    timeout_seconds: float,
    silence_seconds: float,
) -> StreamEnd:
    """POST the payload and hand over every line. It ends after timeout_seconds in all, or silence_seconds of silence.

    Never raises for what the other side does.
    """
    clock = ReadClock()
    connection = open_connection(endpoint, clock)
    end = time.perf_counter() + timeout_seconds
    status: int | None = None
    last: dict[str, Any] = {}
    rest = b""

    def wait_on() -> None:
        """Give the next read its time."""
        seconds = max(0.001, min(silence_seconds, end - time.perf_counter()))
        clock.deadline = time.perf_counter() + seconds
        if connection.sock is not None:
            connection.sock.settimeout(seconds)

    try:
        set_deadline(connection, clock, min(silence_seconds, timeout_seconds))
        headers = {"Content-Type": "application/json", **dict(endpoint.headers)}
        connection.request("POST", endpoint.base_path + path, body=json.dumps(payload).encode("utf-8"), headers=headers)
        response = connection.getresponse()
        status = response.status
        while True:
            wait_on()
            block = response.read1(READ_BUFFER_BYTES)
            *lines, rest = (rest + block).split(b"\n")
            if not block:
                lines, rest = [rest], b""
            for text in lines:
                if text.strip():
                    last = _line(text)
                    on_line(last)
            if not block and response.length:
                return StreamEnd(status, last, f"the connection broke: the answer ended {response.length} bytes early")
            if not block:
                break
            if len(rest) > MAX_LINE_BYTES:
                return StreamEnd(status, last, f"a line is longer than {MAX_LINE_BYTES} bytes")
            if time.perf_counter() >= end:
                return StreamEnd(status, last, f"not finished after {timeout_seconds:g} s")
    except socket.timeout:
        if time.perf_counter() >= end:
            return StreamEnd(status, last, f"not finished after {timeout_seconds:g} s")
        return StreamEnd(status, last, f"nothing came for {silence_seconds:g} s")
    except ValueError as error:
        return StreamEnd(status, last, str(error))
    except (OSError, http.client.HTTPException) as error:
        return StreamEnd(status, last, f"the connection broke: {type(error).__name__}: {error}")
    finally:
        connection.close()
    said = last.get("error")
    if said:
        return StreamEnd(status, last, str(said))
    return StreamEnd(status, last, "" if status == 200 else f"HTTP {status}")
