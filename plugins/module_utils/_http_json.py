# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One plain HTTP request with a deadline over all of it; failures are values, not exceptions."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_clock import ReadClock, open_connection, set_deadline

MAX_BODY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """What came back. Without an answer `status` is None, `error` is connection or timeout, and `detail` says more.

    `error` is too_large when the body was longer than MAX_BODY_BYTES.
    """

    status: int | None
    body: bytes = b""
    error: str | None = None
    detail: str = ""

    def json(self) -> Any:
        """Return the body as JSON, or None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def request(
    endpoint: Endpoint,
    path: str,
    timeout_seconds: float,
    payload: Any = None,
    method: str | None = None,
) -> Answer:
    """GET (or POST the payload as JSON to) base path + path. Never raises for what the other side does.

    `method` is for the few requests that are neither.
    """
    clock = ReadClock()
    connection = open_connection(endpoint, clock)
    try:
        if timeout_seconds <= 0:
            return Answer(None, error="timeout", detail="no time was left for this request")
        set_deadline(connection, clock, timeout_seconds)
        headers = dict(endpoint.headers)
        body = None
        if payload is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(payload).encode("utf-8")
        connection.request(
            method or ("POST" if payload is not None else "GET"), endpoint.base_path + path, body=body, headers=headers
        )
        response = connection.getresponse()
        content = response.read(MAX_BODY_BYTES + 1)
        if len(content) > MAX_BODY_BYTES:
            return Answer(
                response.status, error="too_large", detail=f"the answer is longer than {MAX_BODY_BYTES} bytes"
            )
        return Answer(response.status, content)
    except socket.timeout:
        return Answer(None, error="timeout", detail=f"no complete answer within {timeout_seconds:.1f} s")
    except (OSError, http.client.HTTPException) as exc:
        return Answer(None, error="connection", detail=f"{type(exc).__name__}: {exc}")
    finally:
        connection.close()
