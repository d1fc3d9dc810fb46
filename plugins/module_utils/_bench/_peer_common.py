# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What all adapters to other load tools share: what is asked of a tool, what it is started with, what is read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import (
    CONNECTION,
    TIMEOUT,
    TLS,
    TRUNCATED,
    ZERO_TOKENS,
    RequestRecord,
)

# A tool that stamps every event, not every read, gives two events of one read a gap of some microseconds.
SAME_READ_SECONDS = 0.0001
# The tool says that a request failed, and nothing that tells how.
UNKNOWN_ERROR = "unknown"


class PeerError(ValueError):
    """What a tool left behind cannot be used; the text names the tool, what is wrong and the fix."""


@dataclass(frozen=True)
class PeerAsk:
    """One load for one tool. A closed loop has users, an open one rate_per_second and arrivals.

    directory  where the tool may write; it is removed with all texts in it
    url        base address without /v1
    """

    program: str
    tokenizer: str
    directory: str
    url: str
    api: str
    model: str
    requests: int
    users: int | None = None
    rate_per_second: float | None = None
    arrivals: str = "poisson"
    prompt_tokens: int = 32
    output_tokens: int = 32
    seed: int = 1
    ignore_eos: bool = True
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    request_timeout_seconds: float = 30.0
    api_key: str | None = None


@dataclass(frozen=True)
class Command:
    """How a tool is started. The key is in `environment` only; `files` are written first, `result` is read after."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    result: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerRecords:
    """What a tool measured. start_unix_seconds is None when it does not say when it began."""

    records: tuple[RequestRecord, ...]
    start_unix_seconds: float | None


def read_json(text: str, tool: str, what: str) -> Any:
    """Return the content of a JSON text of a tool. Raises PeerError."""
    try:
        return json.loads(text)
    except ValueError as exc:
        raise PeerError(f"{tool}: {what} is no JSON ({exc}); look for a full disk, or use another version") from exc


def error_kind(text: str, status: int | None = None) -> str:
    """Return the kind of an error from what a tool says of it; the text itself, which may hold anything, is dropped."""
    if status is not None and 300 <= status <= 599:
        return f"http_{status}"
    for code in HTTPStatus:
        if code >= HTTPStatus.MULTIPLE_CHOICES and (text == code.phrase or f"'{int(code)} " in text):
            return f"http_{int(code)}"
    for kind, words in _WORDS:
        if any(word in text for word in words):
            return kind
    return UNKNOWN_ERROR


_WORDS = (
    (TLS, ("CERTIFICATE_VERIFY_FAILED", "SSLError", "SSLCert")),
    (TIMEOUT, ("Timeout", "timed out")),
    (TRUNCATED, ("ClientPayloadError", "IncompleteRead", "incomplete chunked read", "without sending complete")),
    (CONNECTION, ("ConnectError", "ConnectorError", "ConnectionError", "ConnectionReset", "Disconnected", "ReadError")),
    (ZERO_TOKENS, ("Never received a valid chunk", "No responses with actual content")),
)


def coalesced(gaps: Iterable[float]) -> int:
    """Return how many gaps are so small that both events can only have come in one read."""
    return sum(gap < SAME_READ_SECONDS for gap in gaps)
