# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One request under way: its answer so far, its deadline, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_connection import Connection
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_progress import Progress
from ansible_collections.local_llm.ops.plugins.module_utils._bench._http1 import AnswerReader

# About thirty years; a longer number asks for nothing that a person would wait for.
MAX_RETRY_AFTER_DIGITS = 9


@dataclass(frozen=True)
class Patience:
    """How long to wait: for one request in all, and without a byte inside one answer (None: no limit of its own)."""

    request_seconds: float
    silence_seconds: float | None = None


class Exchange:
    """One request and its answer. `ticket` is the caller's. At the end `ended` is set, and `error` is its kind."""

    __slots__ = (
        "connection",
        "deadline",
        "drained_bytes",
        "draining",
        "ended",
        "error",
        "heard_at",
        "message",
        "progress",
        "reader",
        "retry_after_seconds",
        "reused",
        "started",
        "ticket",
        "tries",
    )

    def __init__(self, ticket: Any, message: bytes, progress: Progress, started: float, deadline: float) -> None:
        self.ticket = ticket
        self.message = message
        self.progress = progress
        self.started = started
        self.deadline = deadline
        self.ended: float | None = None
        self.error: str | None = None
        self.retry_after_seconds: float | None = None
        self.reader = AnswerReader()
        self.connection: Connection | None = None
        self.heard_at: float | None = None  # when the last byte came
        self.reused = False
        self.draining = False
        self.drained_bytes = 0
        self.tries = 0  # addresses of the host that were tried


def retry_after_seconds(value: str, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as a number or as a date."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= MAX_RETRY_AFTER_DIGITS else None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return max(0.0, (moment - now).total_seconds())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
