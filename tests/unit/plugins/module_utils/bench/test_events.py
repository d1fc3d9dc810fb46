# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events, however the bytes are cut, and what they mean: tokens, usage, errors, the end."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_progress import Progress, StreamFault
from ansible_collections.local_llm.ops.plugins.module_utils._bench._events_ndjson import MAX_LINE_BYTES, NdjsonParser
from ansible_collections.local_llm.ops.plugins.module_utils._bench._events_sse import MAX_EVENT_BYTES, SseParser

STREAM = (
    b'\xef\xbb\xbf: comment\n\ndata: {"a": 1}\n\nevent: error\r\ndata:two\r\ndata: lines\r\n\r\nid: 7\n\n'
    b'retry: 10\ndata: {"b":\rdata: 2}\r\rerror: {"code": 5}\n\ndata: [DONE]\n\n'
)
EVENTS = [
    ("", b'{"a": 1}'), ("error", b"two\nlines"), ("", b'{"b":\n2}'), ("error", b'error: {"code": 5}'), ("", b"[DONE]"),
]  # fmt: skip


@pytest.mark.parametrize("size", [*range(1, 20), 1000])
def test_events_are_the_same_however_the_bytes_arrive(size: int) -> None:
    parser = SseParser()
    events = [event for start in range(0, len(STREAM), size) for event in parser.feed(STREAM[start : start + size])]
    assert events == EVENTS and parser.strays == 0


def test_a_last_event_without_its_blank_line_is_not_lost() -> None:
    parser = SseParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.finish() == [("", b"[DONE]")]
    assert parser.finish() == []


def test_a_line_without_an_end_is_refused_before_memory_runs_out() -> None:
    with pytest.raises(ValueError, match="longer than"):
        SseParser().feed(b"x" * (MAX_EVENT_BYTES + 1))
    with pytest.raises(ValueError, match="longer than"):
        NdjsonParser().feed(b"x" * (MAX_LINE_BYTES + 1))


def test_an_event_of_ever_more_lines_is_refused_before_memory_runs_out() -> None:
    parser, line = SseParser(), b"data: " + b"x" * 100_000 + b"\n"
    with pytest.raises(ValueError, match="longer than"):
        for _unused in range(MAX_EVENT_BYTES // 100_000 + 1):
            assert parser.feed(line) == []


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_lines_of_json_are_the_same_however_the_bytes_arrive(size: int) -> None:
    data = b'{"a": 1}\r\n\n{"b": 2}\n{"c": 3}'
    parser = NdjsonParser()
    lines = [line for start in range(0, len(data), size) for line in parser.feed(data[start : start + size])]
    lines += parser.finish()
    assert [json.loads(line) for _name, line in lines] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert parser.finish() == []


def sse(*events: dict[str, Any] | str) -> bytes:
    return b"".join(
        b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n" for event in events
    )


def chat(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def text(word: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": word, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}


@pytest.mark.parametrize(
    ("event", "tokens"),
    [
        (chat({"role": "assistant", "content": None}), 0),
        (chat({"role": "assistant", "content": ""}), 0),
        (chat({"role": "assistant", "content": "x"}), 1),
        (chat({"content": "x"}), 1),
        (chat({"content": ""}), 1),
        (chat({}), 1),
        (chat({"content": "x"}, "stop"), 1),
        (chat({"content": ""}, "stop"), 0),
        (chat({}, "length"), 0),
        (chat({"reasoning_content": "x"}), 1),
        (chat({"role": "assistant", "tool_calls": [{}]}), 1),
        (text("x"), 1),
        (text(""), 1),
        (text("", "stop"), 0),
        (text("x", "length"), 1),
        (USAGE, 0),
        ({"choices": [], "prompt_progress": 0.5}, 0),
    ],
)
def test_what_counts_as_a_token(event: dict[str, Any], tokens: int) -> None:
    progress = Progress(SseParser())
    progress.feed(sse(event), 1.0)
    assert progress.token_events == tokens and (progress.first_at == 1.0) is bool(tokens)


def test_events_of_one_read_share_a_time_and_count_as_coalesced() -> None:
    progress = Progress(SseParser())
    progress.feed(sse(text("a")), 1.0)
    progress.feed(sse(text("b"), text("c"), text("d")), 2.0)
    progress.feed(sse(text("e"), text("", "stop"), USAGE, "[DONE]"), 2.5)
    assert progress.gaps == [1.0, 0.0, 0.0, 0.5] and progress.coalesced == 2
    assert (progress.first_at, progress.last_at) == (1.0, 2.5)
    assert (progress.prompt_tokens, progress.output_tokens, progress.token_events) == (5, 9, 5)
    assert progress.done and progress.end(2.5, True) is None


def test_an_event_that_is_split_over_reads_has_the_time_of_the_read_that_completes_it() -> None:
    progress = Progress(SseParser())
    data = sse(text("abc"))
    progress.feed(data[:9], 1.0)
    assert progress.token_events == 0
    progress.feed(data[9:], 2.0)
    assert progress.token_events == 1 and progress.first_at == 2.0


def test_usage_with_every_event_counts_up_and_cached_tokens_are_kept() -> None:
    progress = Progress(SseParser())
    for number in (1, 4, 6):
        usage = {"prompt_tokens": 5, "completion_tokens": number, "prompt_tokens_details": {"cached_tokens": 3}}
        progress.feed(sse(chat({"content": "x"}, usage=usage)), 1.0)
    assert progress.output_tokens == 6 and progress.token_events == 3 and progress.cached_tokens == 3


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (sse({"error": {"message": "x"}}), "stream_error"),
        (b"event: error\ndata: x\n\n", "stream_error"),
        (b'error: {"code": 500}\n', "stream_error"),
        (b'{"error": {"message": "x"}}\n', "stream_error"),
        (sse(chat({}, "abort")), "stream_error"),
        (sse("{no json"), "bad_event"),
        (sse("[1, 2]"), "bad_event"),
        (sse({"choices": ["x"]}), "bad_event"),
        (sse({"choices": [], "usage": "many"}), "bad_event"),
    ],
)
def test_errors_inside_a_stream_are_told_apart(data: bytes, kind: str) -> None:
    progress = Progress(SseParser())
    progress.feed(sse(text("a")), 1.0)
    with pytest.raises(StreamFault) as caught:
        progress.feed(data, 2.0)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("data", "whole", "kind"),
    [
        (sse(text("a"), text("", "stop"), "[DONE]"), True, None),
        (sse(text("a"), text("", "stop")), True, None),
        (sse(text("a"), text("", "stop")), False, "truncated"),
        (sse(text("a"), "[DONE]"), False, None),
        (sse(text("a")), True, "truncated"),
        (sse(text("a")), False, "truncated"),
        (b"", False, "truncated"),
        (b"", True, "zero_tokens"),
        (b": only a comment\n\n", True, "zero_tokens"),
        (sse(text("", "stop"), "[DONE]"), True, "zero_tokens"),
        (sse("[DONE]"), True, "zero_tokens"),
        (sse(text("a"), {"choices": [], "usage": {"completion_tokens": 0}}, "[DONE]"), True, "zero_tokens"),
        (b"<html>\n", True, "bad_event"),
        (b'{"choices": [{"message": {"content": "one"}}]}', True, "bad_event"),
    ],
)
def test_how_an_answer_ends(data: bytes, whole: bool, kind: str | None) -> None:
    progress = Progress(SseParser())
    if data:
        progress.feed(data, 1.0)
    assert progress.end(1.0, whole) == kind


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


@pytest.mark.parametrize("chatting", [True, False])
def test_ollamas_lines_have_tokens_counts_and_the_time_of_loading(chatting: bool) -> None:
    def part(word: str, done: bool = False, **more: Any) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": word}} if chatting else {"response": word}
        return {**said, "done": done, **more}

    progress = Progress(NdjsonParser())
    progress.feed(lines(part("a")), 1.0)
    progress.feed(lines(part("b"), part("")), 2.0)
    last = part("", True, eval_count=7, prompt_eval_count=4, load_duration=1_500_000_000)
    progress.feed(lines(last), 3.0)
    assert progress.done and progress.end(3.0, True) is None
    assert (progress.token_events, progress.output_tokens, progress.prompt_tokens) == (3, 7, 4)
    assert progress.load_seconds == 1.5 and progress.gaps == [1.0, 0.0] and progress.coalesced == 1


def test_ollamas_error_line_in_a_good_answer_is_an_error() -> None:
    progress = Progress(NdjsonParser())
    with pytest.raises(StreamFault) as caught:
        progress.feed(lines({"response": "a", "done": False}, {"error": "the runner died"}), 1.0)
    assert caught.value.kind == "stream_error"


def test_ollama_without_its_last_line_is_truncated() -> None:
    progress = Progress(NdjsonParser())
    progress.feed(lines({"response": "a", "done": False}), 1.0)
    assert progress.end(1.0, True) == "truncated"


def test_a_value_nested_beyond_reason_is_an_error_of_this_answer_only() -> None:
    with pytest.raises(StreamFault) as caught:
        Progress(SseParser()).feed(b"data: " + b"[" * 100_000 + b"\n\n", 0.0)
    assert caught.value.kind == "bad_event"


@pytest.mark.parametrize(
    "value",
    [1 << 40, 10**400, -1, True, "7", None],
    ids=["too_many", "more_than_a_float", "negative", "bool", "text", "null"],
)
def test_a_count_that_is_none_is_left_out(value: Any) -> None:
    progress = Progress(SseParser())
    progress.feed(sse(text("a"), {"choices": [], "usage": {"prompt_tokens": value, "completion_tokens": value}}), 0.1)
    assert progress.output_tokens is None and progress.prompt_tokens is None
    ollama = Progress(NdjsonParser())
    end = {"response": "", "done": True, "eval_count": value, "load_duration": value if value != 1 << 40 else 10**400}
    ollama.feed(lines(end), 0.1)
    assert ollama.output_tokens is None and ollama.load_seconds is None


@pytest.mark.parametrize("parser", [SseParser, NdjsonParser])
def test_whatever_comes_it_is_understood_or_it_is_an_error_of_its_kind(
    parser: type[SseParser] | type[NdjsonParser],
) -> None:
    chooser = random.Random(7)
    good = sse(chat({"role": "assistant"}), chat({"content": "x"}, usage={"completion_tokens": 1}), "[DONE]")
    good += lines({"message": {"content": "a"}, "done": False}, {"done": True, "eval_count": 1, "load_duration": 5})
    for _unused in range(2000):
        data = bytearray(good)
        for _again in range(1 + chooser.randrange(6)):
            data[chooser.randrange(len(data))] = chooser.randrange(256)
        progress = Progress(parser())
        try:
            for start in range(0, len(data), 40):
                progress.feed(bytes(data[start : start + 40]), float(start))
        except StreamFault as fault:
            assert fault.kind in ("bad_event", "stream_error")
        assert progress.end(1.0, True) in (None, "bad_event", "stream_error", "truncated", "zero_tokens")
