# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Read the journal of a rollout leniently: what can be read is shown, and where the chain breaks is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, sha256_hex

JOURNAL_SCHEMA = 1


def parse_time(text: Any) -> datetime | None:
    """Return a moment in UTC from an ISO 8601 text, or None when it is none. A text without a zone is UTC."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def read_journal(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return (readable records in file order, integrity).

    Integrity: {"ok", "lines", "readable", "first_broken_line" (from 1, or null), "reason" (or null), "head_sha256"}.
    A chain cannot tell that whole lines at its end are missing; "head_sha256" is what to compare with a copy.
    Each record carries "line" (its number) and "intact" (False from the first broken line on).
    """
    records: list[dict[str, Any]] = []
    broken_line: int | None = None
    reason: str | None = None
    previous_sha256 = CHAIN_START
    previous_seq: int | None = None
    rollout_id: Any = None
    raw_lines = text.split("\n")
    cut_off = bool(raw_lines[-1])
    if not cut_off:
        raw_lines.pop()
    for number, raw in enumerate(raw_lines, start=1):
        record = _parse(raw)
        if record is None:
            problem: str | None = _unreadable(number, last=number == len(raw_lines) and cut_off)
        else:
            problem = _misfit(record, number, previous_sha256, previous_seq, rollout_id)
            rollout_id = record.get("rollout_id") if rollout_id is None else rollout_id
            seq = record.get("seq")
            previous_seq = seq if isinstance(seq, int) else None
        if problem and broken_line is None:
            broken_line, reason = number, problem
        if record is not None:
            records.append({**record, "line": number, "intact": broken_line is None})
        previous_sha256 = sha256_hex(raw)
    if not raw_lines:
        reason = "The journal is empty."
    integrity = {
        "ok": reason is None,
        "lines": len(raw_lines),
        "readable": len(records),
        "first_broken_line": broken_line,
        "reason": reason,
        "head_sha256": previous_sha256 if raw_lines else None,
    }
    return records, integrity


def _parse(raw: str) -> dict[str, Any] | None:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _unreadable(number: int, last: bool) -> str:
    if last:
        return f"Line {number} is cut off: the writer was stopped in the middle of it."
    return f"Line {number} is not a JSON object."


def _misfit(
    record: dict[str, Any], number: int, previous_sha256: str, previous_seq: int | None, rollout_id: Any
) -> str | None:
    """Return why a record does not follow the line before it, or None."""
    if record.get("previous_sha256") != previous_sha256:
        if number == 1:
            return "Line 1 does not start a chain: lines before it are missing, or it was changed."
        return (
            f"Line {number} does not carry the digest of line {number - 1}: "
            f"line {number - 1} was changed, or lines between them are missing."
        )
    if record.get("schema") != JOURNAL_SCHEMA:
        return f"Line {number} has schema {record.get('schema')!r}; this report reads schema {JOURNAL_SCHEMA}."
    seq = record.get("seq")
    if previous_seq is not None and seq != previous_seq + 1:
        return f"Line {number} has the number {seq!r} where {previous_seq + 1} is due."
    if rollout_id is not None and record.get("rollout_id") != rollout_id:
        return f"Line {number} belongs to rollout {record.get('rollout_id')!r}, not to {rollout_id!r}."
    return None
