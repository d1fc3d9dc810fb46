# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the events of one answer mean: tokens and when they came, usage, errors, and how the answer ended.

Every event is parsed as JSON, which costs 2 to 4 microseconds. A check of bytes instead would save little and could be
wrong.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._events_ndjson import NdjsonParser
from ansible_collections.local_llm.ops.plugins.module_utils._bench._events_sse import SseParser
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import (
    BAD_EVENT,
    STREAM_ERROR,
    TRUNCATED,
    ZERO_TOKENS,
)

# Counts and times beyond these are no counts and times: what a server says must not break the arithmetic.
MAX_TOKENS = 1 << 31
MAX_LOAD_NANOSECONDS = 10**15
_TEXT_KEYS = ("content", "reasoning_content", "reasoning", "tool_calls", "refusal", "thinking")
_decode = json.JSONDecoder().decode
# With these the server says that it did not end by itself.
_FAILED_FINISHES = ("error", "abort")


class StreamFault(ValueError):
    """The answer holds an error; `kind` is one of the records' kinds."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Progress:
    """What has been seen of one answer. Feed the body in the portions in which socket reads brought it."""

    __slots__ = (
        "_last_read",
        "_parser",
        "cached_tokens",
        "coalesced",
        "done",
        "finished",
        "first_at",
        "gaps",
        "last_at",
        "load_seconds",
        "output_tokens",
        "prompt_tokens",
        "reads",
        "token_at",
        "token_events",
    )

    def __init__(self, parser: SseParser | NdjsonParser) -> None:
        self._parser = parser
        self._last_read = -1
        self.reads = 0
        self.done = False  # the end was announced, nothing more is to come
        self.finished = False  # the last token was announced; usage may follow
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.token_at = 0.0
        self.gaps: list[float] = []
        self.coalesced = 0
        self.token_events = 0
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.load_seconds: float | None = None

    def feed(self, body: bytes, at: float) -> None:
        """Take what one socket read brought of the body. Raises StreamFault."""
        self.reads += 1
        try:
            events = self._parser.feed(body)
        except ValueError as exc:
            raise StreamFault(BAD_EVENT) from exc
        for name, data in events:
            self._event(name, data, at)

    def end(self, at: float, whole: bool) -> str | None:
        """The answer is at its end: return the kind of error or None. `whole` is false when it broke off."""
        try:
            for name, data in self._parser.finish() if whole else ():
                self._event(name, data, at)
        except StreamFault as fault:
            return fault.kind
        if not self.done and not (self.finished and whole):
            if not whole or self.last_at is not None:
                return TRUNCATED
            return BAD_EVENT if self._parser.strays else ZERO_TOKENS
        tokens = self.output_tokens if self.output_tokens is not None else self.token_events
        return None if tokens > 0 and self.last_at is not None else ZERO_TOKENS

    def _event(self, name: str, data: bytes, at: float) -> None:
        if data == b"[DONE]":
            self.done = True
            return
        if name == "error":
            raise StreamFault(STREAM_ERROR)
        try:
            event = _decode(data.decode("utf-8"))
        except (ValueError, RecursionError) as exc:
            raise StreamFault(BAD_EVENT) from exc
        if not isinstance(event, dict):
            raise StreamFault(BAD_EVENT)
        if event.get("error"):
            raise StreamFault(STREAM_ERROR)
        choices = event.get("choices")
        if choices:
            self._choices(choices, at)
        elif "done" in event:
            self._ollama(event, at)
        usage = event.get("usage")
        if usage:
            self._usage(usage)

    def _choices(self, choices: Any, at: float) -> None:
        if not isinstance(choices, list):
            raise StreamFault(BAD_EVENT)
        self.last_at = at
        token = False
        for choice in choices:
            if not isinstance(choice, dict):
                raise StreamFault(BAD_EVENT)
            finish = choice.get("finish_reason")
            if finish:
                if finish in _FAILED_FINISHES:
                    raise StreamFault(STREAM_ERROR)
                self.finished = True
            token = token or _is_token(choice, bool(finish))
        if token:
            self._token(at)

    def _ollama(self, event: dict[str, Any], at: float) -> None:
        """A line of Ollama's /api/chat or /api/generate; the one with done has the counts, durations in nanoseconds."""
        self.last_at = at
        message = event.get("message")
        part = message if isinstance(message, dict) else event
        if not event["done"] or any(part.get(key) for key in ("response", *_TEXT_KEYS)):
            self._token(at)
        if event["done"]:
            self.done = self.finished = True
            self.output_tokens = _count(event.get("eval_count"), self.output_tokens)
            self.prompt_tokens = _count(event.get("prompt_eval_count"), self.prompt_tokens)
            load = event.get("load_duration")
            if isinstance(load, (int, float)) and not isinstance(load, bool) and 0 <= load < MAX_LOAD_NANOSECONDS:
                self.load_seconds = load / 1e9

    def _token(self, at: float) -> None:
        self.token_events += 1
        if self.first_at is None:
            self.first_at = at
        else:
            self.gaps.append(at - self.token_at)
            if self.reads == self._last_read:
                self.coalesced += 1
        self.token_at = at
        self._last_read = self.reads

    def _usage(self, usage: Any) -> None:
        """The last usage counts: servers that send it with every event count up."""
        if not isinstance(usage, dict):
            raise StreamFault(BAD_EVENT)
        self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
        self.output_tokens = _count(usage.get("completion_tokens"), self.output_tokens)
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            self.cached_tokens = _count(details.get("cached_tokens"), self.cached_tokens)


def _is_token(choice: dict[str, Any], finished: bool) -> bool:
    """Tell whether the event of this choice stands for a token. Its text may be empty: some tokens have none."""
    delta = choice.get("delta")
    if isinstance(delta, dict):
        if delta.get("content") or any(delta.get(key) for key in _TEXT_KEYS):
            return True
        return not finished and "role" not in delta
    return bool(choice.get("text")) or not finished


def _count(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_TOKENS else otherwise
