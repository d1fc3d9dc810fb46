# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Canonical JSON, digests and hash-chained lines."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# What the first line of a chain carries as the digest of the line before it.
CHAIN_START = "0" * 64


def canonical_json(value: Any) -> str:
    """Return the one JSON text that equal values share: sorted keys, no spaces, no escapes of non-ASCII letters."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_hex(data: str | bytes) -> str:
    """Return the SHA-256 of a text (as UTF-8) or of bytes, as 64 hex digits."""
    return hashlib.sha256(data.encode("utf-8") if isinstance(data, str) else data).hexdigest()


def chained_line(previous_sha256: str, record: dict[str, Any]) -> tuple[str, str]:
    """Return (line without newline, SHA-256 of that line) for a record that follows the line with the given digest.

    The line carries the digest of the line before it under "previous_sha256", so that a changed, missing or
    reordered line breaks every digest after it.
    """
    line = canonical_json({**record, "previous_sha256": previous_sha256})
    return line, sha256_hex(line)
