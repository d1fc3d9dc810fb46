# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The highest rate within the limits: double until it breaks, bisect, then confirm. Sends nothing itself.

One probe is an open loop at one rate; its answer is (good requests, issued requests). A rate is kept when the whole
Wilson interval of the share of good requests lies at or above the wanted share, broken when it lies below. In between
the probe is repeated and the counts are pooled; what stays undecided counts as broken, since a promise rests on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import wilson

# (rate, number of the probe) in, (good, issued) out; None when the run was stopped.
Probe = Callable[[float, int], "tuple[int, int] | None"]


@dataclass(frozen=True)
class Search:
    """Bounds of a search. resolution: the answer is at most this factor below the lowest rate that broke."""

    start_rate: float = 1.0
    max_rate: float = 64.0
    wanted_share: float = 0.95
    resolution: float = 1.1
    repeats: int = 3
    confirmations: int = 3
    max_probes: int = 40


@dataclass
class _State:
    probes: list[dict[str, Any]]
    ended: str = ""


def search_rate(probe: Probe, settings: Search) -> dict[str, Any]:
    """Return the highest rate that kept the limits (None: not even the lowest one tried), and every probe.

    `ended`: confirmed, limited_by_max_rate, never_kept, out_of_probes or stopped.
    """
    state = _State([])
    kept, broken = _double(probe, settings, state)
    if not state.ended and kept is None:
        kept, broken = _halve(probe, settings, state, broken or settings.start_rate)
    while not state.ended and kept and broken and broken / kept > settings.resolution:
        middle = (kept * broken) ** 0.5
        if _keeps(probe, settings, state, middle, "bisect"):
            kept = middle
        elif not state.ended:
            broken = middle
    confirmed = False
    while not state.ended and kept:
        confirmed = _confirmed(probe, settings, state, kept)
        if confirmed or state.ended:
            break
        broken, kept = kept, kept / settings.resolution
    if not state.ended:
        state.ended = "never_kept" if not kept else "confirmed" if broken else "limited_by_max_rate"
    return {
        "rate_per_second": round(kept, 4) if kept else None,
        "broken_at_rate_per_second": round(broken, 4) if broken else None,
        "confirmed": confirmed,
        "ended": state.ended,
        "wanted_share": settings.wanted_share,
        "probes": state.probes,
    }


def _double(probe: Probe, settings: Search, state: _State) -> tuple[float | None, float | None]:
    """Go up from the first rate until one breaks. Returns (highest kept, lowest broken)."""
    kept, rate = None, settings.start_rate
    while not state.ended:
        if not _keeps(probe, settings, state, rate, "double"):
            return kept, None if state.ended else rate
        kept = rate
        if rate >= settings.max_rate:
            return kept, None
        rate = min(2 * rate, settings.max_rate)
    return kept, None


def _halve(probe: Probe, settings: Search, state: _State, broken: float) -> tuple[float | None, float]:
    """Go down when not even the first rate was kept, to a hundredth of it."""
    rate = broken / 2
    while not state.ended and rate >= settings.start_rate / 100:
        if _keeps(probe, settings, state, rate, "halve"):
            return rate, broken
        if not state.ended:
            broken = rate
        rate /= 2
    return None, broken


def _confirmed(probe: Probe, settings: Search, state: _State, rate: float) -> bool:
    """Probe the rate anew, some times; all of it together must keep the limits."""
    good = issued = 0
    for _number in range(settings.confirmations):
        counts = _probe(probe, settings, state, rate, "confirm")
        if counts is None:
            return False
        good, issued = good + counts[0], issued + counts[1]
    return settings.confirmations == 0 or (issued > 0 and good / issued >= settings.wanted_share)


def _keeps(probe: Probe, settings: Search, state: _State, rate: float, step: str) -> bool:
    good = issued = 0
    for _number in range(max(1, settings.repeats)):
        counts = _probe(probe, settings, state, rate, step)
        if counts is None:
            return False
        good, issued = good + counts[0], issued + counts[1]
        pair = wilson(good, issued)
        if pair is None or pair[1] < settings.wanted_share:
            return False
        if pair[0] >= settings.wanted_share:
            return True
    return False


def _probe(probe: Probe, settings: Search, state: _State, rate: float, step: str) -> tuple[int, int] | None:
    if len(state.probes) >= settings.max_probes:
        state.ended = "out_of_probes"
        return None
    counts = probe(rate, len(state.probes))
    if counts is None:
        state.ended = "stopped"
        return None
    good, issued = counts
    share = round(good / issued, 6) if issued else None
    state.probes.append(
        {"step": step, "rate_per_second": round(rate, 4), "good": good, "issued": issued, "share": share}
    )
    return counts


def requests_needed(wanted_share: float) -> int:
    """Return the fewest requests with which a flawless probe is decided at once: its interval must reach the share."""
    number = 1
    while number < 100_000:
        pair = wilson(number, number)
        if pair and pair[0] >= wanted_share:
            return number
        number += 1
    return number
