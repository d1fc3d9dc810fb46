# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Waiting until nobody holds a device of the driver any more, and the words for who still does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._holders import CannotLook, find_holders
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError

# The kernel ends a process of a stopped unit a moment after systemd says that it is stopped.
PATIENCE_SECONDS = 10.0


def holders_now(procfs_root: str) -> list[dict[str, Any]]:
    """Return who holds a device; an error where that cannot be told."""
    try:
        return find_holders(procfs_root)
    except CannotLook as error:
        raise DriverError(str(error)) from error


def wait_free(procfs_root: str, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
    """Return who still holds a device after a while; an empty list is the proof that nobody does."""
    deadline = time.monotonic() + seconds
    while True:
        found = holders_now(procfs_root)
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.2)  # the pace of looking; the deadline stands above


def holders_text(holders: Sequence[dict[str, Any]]) -> str:
    """Return holders for an error: process, command, unit and device of each, and what to do."""
    words = [
        f"process {one['pid']} ({one['command']}) of {one['unit'] or 'no unit'} holds {one['device']}"
        for one in holders[:8]
    ]
    more = f", and {len(holders) - 8} more" if len(holders) > 8 else ""
    units = sorted({one["unit"] for one in holders if one["unit"]})
    fix = f"Stop {', '.join(units)}" if units else "End it"
    return f"The driver is in use: {'; '.join(words)}{more}. {fix}, then run again."
