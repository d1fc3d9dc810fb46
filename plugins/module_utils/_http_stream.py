# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One streamed completion: send it, read its events, keep when they came. No text is kept.

Time is taken once per socket read, so all events of one read share a time; gaps inside one read are counted as
coalesced. The definitions are vLLM's, with one difference: an event that only announces the role is no token.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_clock import (
    READ_BUFFER_BYTES,
    ReadClock,
    open_connection,
    set_deadline,
)
from ansible_collections.local_llm.ops.plugins.module_utils._sse import SseParser


@dataclass(frozen=True)
class RequestRecord:
    """What one request did. Times are seconds; `started` is on the clock of time.perf_counter.

    `error` is None for a success, else http_<status>, timeout, connection, stream_error, zero_tokens, truncated or
    interrupted. `ttft_seconds` runs from before the send to the first token event, `e2el_seconds` to the last event
    with choices. `gaps_seconds` are the gaps between token events, `coalesced_gaps` how many of them lie in one read.
    """

    index: int
    started: float
    seconds: float
    error: str | None
    ttft_seconds: float | None = None
    e2el_seconds: float | None = None
    gaps_seconds: tuple[float, ...] = ()
    coalesced_gaps: int = 0
    token_events: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class StreamError(ValueError):
    """The server said inside the stream that it failed, or sent what is no event of this API."""


def _is_token(choice: dict[str, Any]) -> bool:
    """Tell whether the event of this choice stands for a token. Its text may be empty: some tokens have none."""
    finished = bool(choice.get("finish_reason"))
    delta = choice.get("delta")
    if isinstance(delta, dict):
        if any(delta.get(key) for key in ("content", "reasoning_content", "reasoning", "tool_calls")):
            return True
        return not finished and "role" not in delta
    return bool(choice.get("text")) or not finished


class _Progress:
    """What has been seen of one stream."""

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.token_at = 0.0
        self.token_read = -1
        self.gaps: list[float] = []
        self.coalesced = 0
        self.token_events = 0
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None

    def event(self, name: str, data: bytes, at: float, read_number: int) -> None:
        if data == b"[DONE]":
            self.done = True
            return
        try:
            event = json.loads(data)
        except ValueError as exc:
            raise StreamError("an event is no JSON") from exc
        if not isinstance(event, dict) or event.get("error") or name == "error":
            raise StreamError("the server sent an error inside the stream")
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
            self.output_tokens = _count(usage.get("completion_tokens"), self.output_tokens)
        choices = event.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._choice(choices[0], at, read_number)

    def _choice(self, choice: dict[str, Any], at: float, read_number: int) -> None:
        self.last_at = at
        if choice.get("finish_reason"):
            self.finished = True
        if not _is_token(choice):
            return
        self.token_events += 1
        if self.first_at is None:
            self.first_at = at
        else:
            self.gaps.append(at - self.token_at)
            if read_number == self.token_read:
                self.coalesced += 1
        self.token_at, self.token_read = at, read_number

    def verdict(self) -> str | None:
        """Return the kind of error of a stream that has ended, or None."""
        if not self.done and not self.finished:
            return "truncated" if self.last_at is not None else "zero_tokens"
        tokens = self.output_tokens if self.output_tokens is not None else self.token_events
        return None if tokens > 0 and self.last_at is not None else "zero_tokens"


def _count(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


class StreamClient:
    """One user: a connection that is kept between requests. Not shared between threads, except for abort()."""

    def __init__(self, endpoint: Endpoint, path: str, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._path = endpoint.base_path + path
        self._timeout_seconds = timeout_seconds
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **dict(endpoint.headers)}
        self._clock = ReadClock()
        self._connection = open_connection(endpoint, self._clock)
        self._aborted = False

    def send(self, index: int, body: bytes) -> RequestRecord:
        """Send one request and read its stream to the end. Never raises for what the other side does."""
        progress = _Progress()
        reused = self._connection.sock is not None
        started = time.perf_counter()
        error = self._exchange(body, progress, retry=reused)
        seconds = time.perf_counter() - started
        if error is not None:
            self._connection.close()
            if self._aborted:
                error = "interrupted"
        return RequestRecord(
            index=index,
            started=started,
            seconds=seconds,
            error=error,
            ttft_seconds=None if progress.first_at is None else progress.first_at - started,
            e2el_seconds=None if progress.last_at is None else progress.last_at - started,
            gaps_seconds=tuple(progress.gaps),
            coalesced_gaps=progress.coalesced,
            token_events=progress.token_events,
            prompt_tokens=progress.prompt_tokens,
            output_tokens=progress.output_tokens,
        )

    def abort(self) -> None:
        """Cut the connection from another thread; the request under way ends as interrupted."""
        self._aborted = True
        sock = self._connection.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        self._connection.close()

    def _exchange(self, body: bytes, progress: _Progress, retry: bool) -> str | None:
        """Return the kind of error or None. A kept connection that the server had closed is opened anew, once."""
        response: http.client.HTTPResponse | None = None
        try:
            set_deadline(self._connection, self._clock, self._timeout_seconds)
            self._connection.request("POST", self._path, body=body, headers=self._headers)
            response = self._connection.getresponse()
            if response.status != 200:
                return f"http_{response.status}"
            return self._read(response, progress)
        except StreamError:
            return "stream_error"
        except socket.timeout:
            return "timeout"
        except (OSError, http.client.HTTPException):
            if response is not None:
                return None if progress.done else "truncated"
            if retry and not self._aborted:
                self._connection.close()
                return self._exchange(body, progress, retry=False)
            return "connection"

    def _read(self, response: http.client.HTTPResponse, progress: _Progress) -> str | None:
        parser = SseParser()
        clock = self._clock
        while True:
            chunk = response.read1(READ_BUFFER_BYTES)
            if not chunk:
                break
            try:
                events = parser.feed(chunk)
            except ValueError as exc:
                raise StreamError(str(exc)) from exc
            for name, data in events:
                progress.event(name, data, clock.read_at, clock.reads)
        for name, data in parser.finish():
            progress.event(name, data, clock.read_at, clock.reads)
        return progress.verdict()
