# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the FAKE stream server sends and when: a behaviour and a request turned into steps of bytes at known times."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass
class Behaviour:
    """What the fake does. `fault` (for every request, or for each `fault_every`th) is none or one of

    before an answer: http_<status>, hang, reset, close_unheard (closed without a byte, later), not_http, html (a
        page with status 200), json (an answer that is no stream), json_error (an error as plain JSON with status 200),
        empty (status 200 and nothing)
    in the middle: stream_error, error_field (as older llama-servers), truncated, cut (the connection ends inside a
        chunk), abort (it is reset), bad_json, bad_chunk, stall (silence for ever), finish_error
    otherwise: zero_tokens, no_done, hold_open (the HTTP answer never ends), trickle (a byte now and then, for ever)
    """

    ttft_seconds: float = 0.0
    itl_seconds: float = 0.0
    tokens: int | None = None
    fault: str = "none"
    fault_every: int = 1
    coalesce: int = 1  # so many events are sent at once, when the last of them is due
    tokens_per_event: int = 1  # so many tokens stand in one event, which comes when the last of them is due
    split: bool = False  # every event comes in three packets, the last of them when it is due
    crlf: bool = False
    comments: bool = False
    stall_after: int | None = None  # after so many tokens nothing comes for stall_seconds
    stall_seconds: float = 0.0
    usage: bool = True
    continuous_usage: bool = False
    cached_tokens: int | None = None
    empty_text: bool = False
    role_first: bool = True
    keep_alive: bool = True
    close_after: int | None = None  # a connection is closed without a word after so many answers
    retry_after: str | None = None  # with http_429 and http_503
    packed: bool = False  # says that the answer is packed with gzip
    close_unheard_seconds: float = 0.0  # with the fault close_unheard
    slots: int | None = None  # so many answers at a time, the others wait
    api_key: str | None = None
    open_list: bool = False  # the list of models needs no key
    apis: tuple[str, ...] = ("chat", "completions", "ollama_chat", "ollama_generate")
    models: tuple[str, ...] = ("chat", "fake")
    strict_model: bool = False  # other models are refused with 404
    answer_text: str = "one two three"
    answers: dict[str, str] = field(default_factory=dict)
    pages: dict[str, tuple[int, str]] = field(default_factory=dict)


class Step(NamedTuple):
    """Bytes to send so many seconds after the request came; `paced` when they complete a token."""

    offset: float
    data: bytes
    paced: bool = False


# How a script ends: keep and close are proper ends, the others are what they say.
KEEP, CLOSE, ABORT, HANG = "keep", "close", "abort", "hang"
MIDDLE = {
    "stream_error", "error_field", "truncated", "cut", "abort", "bad_json", "bad_chunk", "stall", "finish_error",
}  # fmt: skip
PACKET_GAP_SECONDS = 0.001


def script(behaviour: Behaviour, body: dict[str, Any], fault: str, api: str) -> tuple[list[Step], str]:
    """Return the steps of one streamed answer and how it ends. api: chat, completions, ollama_chat, ollama_generate."""
    wire = _Wire(api, behaviour.crlf)
    steps = [Step(0.0, _head(behaviour, wire.content_type))]
    if api == "chat" and behaviour.role_first:
        steps.append(Step(0.0, wire.role()))
    if fault == "trickle":
        return steps + [Step(0.05 * number, chunk(b": \n\n")) for number in range(2000)], HANG
    wanted = (body.get("options") or {}).get("num_predict", 8) if wire.ollama else body.get("max_tokens", 8)
    tokens = behaviour.tokens if behaviour.tokens is not None else wanted
    count = 0 if fault == "zero_tokens" else tokens
    half = count // 2
    asked = wire.ollama or (body.get("stream_options") or {}).get("include_usage")
    usage = _usage(behaviour, count) if behaviour.usage and asked else None
    held, begin = b"", 0
    group = behaviour.coalesce * behaviour.tokens_per_event
    for number in range(count):
        if (number + 1) % behaviour.tokens_per_event and number + 1 < count:
            continue
        partly = {**usage, "completion_tokens": number + 1} if usage and behaviour.continuous_usage else None
        held += wire.tokens(begin, number + 1, behaviour.empty_text, json.dumps(partly) if partly else "")
        begin = number + 1
        if begin % group and begin < count:
            continue
        due = behaviour.ttft_seconds + number * behaviour.itl_seconds
        if behaviour.stall_after is not None and number >= behaviour.stall_after:
            due += behaviour.stall_seconds
        steps += _pieces(held, due, behaviour, wire.ollama)
        held = b""
        if number >= half and fault in MIDDLE:
            return _break(steps, fault, wire)
    steps.append(Step(steps[-1].offset, wire.end(usage, fault == "zero_tokens", fault == "no_done")))
    if fault == "hold_open":
        return steps, HANG
    steps.append(Step(steps[-1].offset, b"0\r\n\r\n"))
    return steps, KEEP if behaviour.keep_alive else CLOSE


def _pieces(data: bytes, due: float, behaviour: Behaviour, ollama: bool) -> list[Step]:
    comment = [Step(due, chunk(b": still here\n\n"))] if behaviour.comments and not ollama else []
    if not behaviour.split:
        return [*comment, Step(due, data, True)]
    third = max(1, len(data) // 3)
    return [
        *comment,
        Step(due - 2 * PACKET_GAP_SECONDS, data[:third]),
        Step(due - PACKET_GAP_SECONDS, data[third : 2 * third]),
        Step(due, data[2 * third :], True),
    ]


def _break(steps: list[Step], fault: str, wire: _Wire) -> tuple[list[Step], str]:
    at = steps[-1].offset
    end = b"0\r\n\r\n"
    if fault == "stream_error":
        return [*steps, Step(at, wire.error() + end)], KEEP
    if fault == "error_field":
        return [*steps, Step(at, chunk(b'error: {"code": 500, "message": "the engine died"}\n\n') + end)], KEEP
    if fault == "finish_error":
        return [*steps, Step(at, wire.finish("abort") + end)], KEEP
    if fault == "truncated":
        return [*steps, Step(at, end)], KEEP
    if fault == "bad_json":
        return [*steps, Step(at, wire.frame('{"choices": [') + end)], KEEP
    if fault == "bad_chunk":
        return [*steps, Step(at, b"no size\r\n")], HANG
    if fault == "cut":
        return [*steps, Step(at, b"ff\r\ndata: {")], CLOSE
    return steps, ABORT if fault == "abort" else HANG


def _head(behaviour: Behaviour, content_type: str) -> bytes:
    close = "" if behaviour.keep_alive else "Connection: close\r\n"
    packed = "Content-Encoding: gzip\r\n" if behaviour.packed else ""
    kind = f"Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n"
    return f"HTTP/1.1 200 OK\r\n{kind}{packed}{close}\r\n".encode()


def _usage(behaviour: Behaviour, count: int) -> dict[str, Any]:
    usage: dict[str, Any] = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
    if behaviour.cached_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": behaviour.cached_tokens}
    return usage


def chunk(data: bytes) -> bytes:
    """Return the bytes as one chunk of HTTP."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@functools.lru_cache(maxsize=4096)
def _tokens(wire: _Wire, first: int, end: int, empty: bool, usage: str) -> bytes:
    text = "" if empty else "".join(f"w{number} " for number in range(first, end))
    return wire.frame(wire.part(text, usage))


@dataclass(frozen=True)
class _Wire:
    """How things are written in one API."""

    api: str
    crlf: bool

    @property
    def ollama(self) -> bool:
        return self.api.startswith("ollama")

    @property
    def content_type(self) -> str:
        return "application/x-ndjson" if self.ollama else "text/event-stream"

    def frame(self, data: str) -> bytes:
        """Return one event (or line) as one chunk."""
        end = "\r\n" if self.crlf else "\n"
        return chunk((data + end if self.ollama else f"data: {data}{end}{end}").encode())

    def tokens(self, first: int, end: int, empty: bool, usage: str) -> bytes:
        return _tokens(self, first, end, empty, usage)

    def part(self, text: str, usage: str) -> str:
        if self.api == "ollama_chat":
            return json.dumps({"model": "fake", "message": {"role": "assistant", "content": text}, "done": False})
        if self.api == "ollama_generate":
            return json.dumps({"model": "fake", "response": text, "done": False})
        return self._choice(text, None, usage)

    def _choice(self, text: str, finish: str | None, usage: str = "") -> str:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        choice.update({"delta": {} if finish else {"content": text}} if self.api == "chat" else {"text": text})
        kind = "chat.completion.chunk" if self.api == "chat" else "text_completion"
        event: dict[str, Any] = {"id": "fake", "object": kind, "model": "fake", "choices": [choice]}
        if usage:
            event["usage"] = json.loads(usage)
        return json.dumps(event)

    def role(self) -> bytes:
        delta = {"role": "assistant", "content": None}
        return self.frame(json.dumps({"choices": [{"index": 0, "finish_reason": None, "delta": delta}]}))

    def finish(self, reason: str) -> bytes:
        return self.frame(self._choice("", reason))

    def error(self) -> bytes:
        if self.ollama:
            return self.frame('{"error": "the runner died"}')
        return self.frame('{"error": {"message": "the engine died", "code": 500}}') + self.frame("[DONE]")

    def end(self, usage: dict[str, Any] | None, nothing: bool, no_done: bool) -> bytes:
        """Return the end of a good answer: why it ended, what it counted, [DONE]."""
        if self.ollama:
            last: dict[str, Any] = {"model": "fake", "done": True, "done_reason": "stop" if nothing else "length"}
            last.update(
                {"message": {"role": "assistant", "content": ""}} if self.api == "ollama_chat" else {"response": ""}
            )
            if usage:
                last.update(
                    eval_count=usage["completion_tokens"], prompt_eval_count=7, load_duration=2_500_000, eval_duration=1
                )
            return self.frame(json.dumps(last))
        data = self.finish("stop" if nothing else "length")
        if usage:
            data += self.frame(json.dumps({"choices": [], "usage": usage}))
        return data if no_done else data + self.frame("[DONE]")
