# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Findings: what a check saw, what it expected and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

STATUSES = ("ok", "warn", "fail", "skip")
SEVERITIES = {"ok": "info", "skip": "info", "warn": "warning", "fail": "critical"}

# The keys of a finding, all always present.
FINDING_KEYS = ("check", "status", "severity", "subject", "observed", "expected", "action", "source")


def finding(
    check: str,
    status: str,
    subject: str,
    *,
    observed: Any = None,
    expected: Any = None,
    action: str = "",
    source: str = "",
    severity: str | None = None,
) -> dict[str, Any]:
    """Return one finding; the severity follows from the status unless it is given."""
    if status not in SEVERITIES:
        raise ValueError(f"finding {check}: the status {status!r} is none of {', '.join(STATUSES)}")
    return {
        "check": check,
        "status": status,
        "severity": severity or SEVERITIES[status],
        "subject": subject,
        "observed": observed,
        "expected": expected,
        "action": action,
        "source": source,
    }


def failures(findings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the findings that must stop the work."""
    return [item for item in findings if item["status"] == "fail"]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that looks most like the given one, or None when none is near."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return close[0] if close else None


def finding_line(item: Mapping[str, Any]) -> str:
    """Return a finding as one line: status, subject, what was seen, what was expected, what to do."""
    parts = [f"{item['status'].upper()} {item['subject']}"]
    if item.get("observed") is not None:
        parts.append(f"found: {show(item['observed'])}")
    if item.get("expected") is not None:
        parts.append(f"expected: {show(item['expected'])}")
    line = ": ".join([parts[0], "; ".join(parts[1:])]) if len(parts) > 1 else parts[0]
    if not item.get("action"):
        return line
    return f"{line}{'. ' if len(parts) > 1 else ': '}{item['action']}"


def show(value: Any, limit: int = 200) -> str:
    """Return a value as short text for a message."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
