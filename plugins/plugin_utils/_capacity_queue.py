# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Queueing: requests in flight (Little's law) and the waiting time with many slots (Erlang C)."""

from __future__ import annotations

import math
from typing import Any


def busy_slots(rate: float, mean_seconds: float) -> float:
    """Return the mean number of requests in flight at a rate of requests that take so long: L = lambda W."""
    return rate * mean_seconds


def wait_probability(slots: int, offered: float) -> float:
    """Return Erlang C: the chance that a request has to wait. offered: busy slots on average; 1.0 when overloaded."""
    if offered >= slots:
        return 1.0
    blocked = 1.0
    for count in range(1, slots + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1 - offered / slots * (1 - blocked))


def waiting(slots: int, rate: float, mean_seconds: float) -> dict[str, Any]:
    """Return utilisation, the chance to wait and the 95th percentile of the wait; null when the queue only grows."""
    offered = busy_slots(rate, mean_seconds)
    chance = wait_probability(slots, offered)
    late: float | None = None
    if offered < slots:
        late = max(0.0, math.log(chance / 0.05) / (slots / mean_seconds - rate)) if chance > 0.05 else 0.0
    return {
        "slots": slots,
        "busy_share": round(offered / slots, 4),
        "wait_probability": round(chance, 4),
        "wait_p95_seconds": None if late is None else round(late, 2),
    }
