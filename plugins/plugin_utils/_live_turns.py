# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The watch of live requests at the gateways, turn by turn: count, judge, and say whether to watch on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._live_errors import (
    Counts,
    Judged,
    allowed_chance,
    judge_errors,
)

Turn = Sequence[Mapping[str, Any]]
MEASURE = "failed share of live requests"


def judge_turns(
    turns: Sequence[Turn], server: str, limit_percent: float, min_requests: int, turns_max: int
) -> dict[str, Any]:
    """Return {"verdict", "figures", "watch_on", "told"} of what was watched so far.

    turns: of each turn, the results of gateway_info with watch_seconds, one per gateway. The others are the servers at
    the full share. Each call with one turn more is one more look, and is judged more strictly.
    """
    new = _add_up(row for row, _share in _rows(turns) if row["server"] == server)
    others = _add_up(row for row, share in _rows(turns) if row["server"] != server and share == 100)
    pool = sum(int(row["requests"]) for row, _share in _rows(turns))
    look = len(turns)
    rare = allowed_chance(look)
    judged = judge_errors(new, others, limit_percent, rare)
    time_left = look < turns_max
    waits = time_left and new.requests < min_requests and pool > 0
    doubts = time_left and judged.word == "few"
    watch_on = judged.status == "pass" and (waits or doubts)
    told = _told(judged, new, pool, min_requests, watch_on)
    reason = {
        "measure": MEASURE, "observed": new.share, "threshold": limit_percent / 100, "rule": judged.rule,
        "status": judged.status,
    }  # fmt: skip
    failed = judged.status == "fail"
    summary = f"Fail: {server}: {MEASURE}: {judged.rule}. The release must go back." if failed else f"Pass: {told}"
    figures = {
        "requests": new.requests, "failed": new.bad, "pool_requests": pool, "others_requests": others.requests,
        "others_failed": others.bad, "look": look, "looks_max": max(turns_max, look), "chance": judged.chance,
        "rare": rare,
    }  # fmt: skip
    verdict = {"schema": 1, "verdict": judged.status, "reasons": [reason], "statistics": None, "summary": summary}
    return {"verdict": verdict, "figures": figures, "watch_on": watch_on, "told": told}


def _rows(turns: Sequence[Turn]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Give what each counter of each server grew, and the share that the server had at the end of the turn."""
    for turn in turns:
        for result in turn:
            shares = {row["server"]: int(row["share_percent"]) for row in result.get("servers") or ()}
            for row in result.get("deltas") or ():
                yield row, shares.get(row["server"], 0)


def _add_up(rows: Iterable[Mapping[str, Any]]) -> Counts:
    listed = list(rows)
    bad = sum(int(row["http_5xx"]) + int(row["errors"]) for row in listed)
    return Counts(sum(int(row["requests"]) for row in listed), bad)


def _told(judged: Judged, new: Counts, pool: int, min_requests: int, watch_on: bool) -> str:
    """Return what a person should know after this turn."""
    if judged.word == "fail":
        return f"{judged.rule}."
    if not pool:
        return "The pool has no traffic: nothing was seen of clients, the probes carry the verdict."
    if new.requests >= min_requests:
        counted = f"{new.requests} live requests were seen"
    else:
        counted = f"Few live requests were seen: {new.requests} of the {min_requests} that are wanted"
    failures = "none failed" if judged.word == "none" else judged.rule
    if watch_on:
        end = "watching on"
    elif new.requests < min_requests or judged.word == "few":
        end = "the time for the watch is over, the probes carry the verdict"
    else:
        end = ""
    return "; ".join(part for part in (counted, failures, end) if part) + "."
