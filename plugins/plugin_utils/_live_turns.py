# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The watch of live requests at the gateways, turn by turn: count, judge, and say whether to watch on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
    turns: Sequence[Turn],
    server: str,
    limit_percent: float,
    min_requests: int,
    turns_max: int,
    *,
    unchanged: Collection[str] | None = None,
    service: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return {"verdict", "figures", "watch_on", "told"} of what was watched so far.

    turns: of each turn, the results of gateway_info with watch_seconds, one per gateway. The others are the servers at
    the full share; with unchanged only these of them. service: what llm_release_info says of the instance before the
    watch and now. Each call with one turn more is one more look, and is judged more strictly.
    """
    listed = [row for row, _share in _rows(turns) if row["server"] == server]
    rest = [row for row, share in _rows(turns) if row["server"] != server and share == 100]
    compared = [row for row in rest if unchanged is None or row["server"] in unchanged]
    new, others = _add_up(listed), _add_up(compared)
    pool = sum(int(row["requests"]) for row, _share in _rows(turns))
    look = len(turns)
    rare = allowed_chance(look)
    judged = judge_errors(new, others, limit_percent, rare)
    time_left = look < turns_max
    # What more requests may still tell is no reason to stop before the time is over.
    share_status = "pass" if time_left and judged.status == "inconclusive" else judged.status
    share = _reason(MEASURE, new.share, limit_percent / 100, judged.rule, share_status)
    reasons = [share, *_state_reasons(turns, server), *([_service_reason(*service)] if service else [])]
    word = _worst(reasons)
    retried = _retries(listed)
    waits = time_left and new.requests < min_requests and pool > 0
    doubts = time_left and judged.word in ("few", "few_others")
    watch_on = word == "pass" and (waits or doubts)
    if word == "pass":
        told = _told(judged, new, pool, min_requests, watch_on, retried)
    else:
        told = "; ".join(str(reason["rule"]) for reason in reasons if reason["status"] == word) + _sent_again(retried)
        told += ". The time for the watch is over, a person decides." if word == "inconclusive" else "."
    figures = {
        "requests": new.requests, "failed": new.bad, "retries": retried, "pool_requests": pool,
        "others_requests": others.requests, "others_failed": others.bad, "others_retries": _retries(compared),
        "look": look, "looks_max": max(turns_max, look), "chance": judged.chance, "rare": rare,
    }  # fmt: skip
    summary = _summary(server, word, reasons, told)
    verdict = {"schema": 1, "verdict": word, "reasons": reasons, "statistics": None, "summary": summary}
    return {"verdict": verdict, "figures": figures, "watch_on": watch_on, "told": told}


def _rows(turns: Sequence[Turn]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Give what each counter of each server grew, and the share that the server had at the end of the turn."""
    for turn in turns:
        for result in turn:
            shares = {row["server"]: int(row["share_percent"]) for row in result.get("servers") or ()}
            for row in result.get("deltas") or ():
                yield row, shares.get(row["server"], 0)


def _add_up(rows: Iterable[Mapping[str, Any]]) -> Counts:
    """Return the counts. What a server did not answer and another one did counts as well: the client waited for it."""
    listed = list(rows)
    bad = sum(int(row["http_5xx"]) + int(row["errors"]) for row in listed) + _retries(listed)
    return Counts(sum(int(row["requests"]) for row in listed), bad)


def _retries(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(int(row["retries"]) for row in rows)


def _reason(measure: str, observed: Any, threshold: Any, rule: str, status: str) -> dict[str, Any]:
    return {"measure": measure, "observed": observed, "threshold": threshold, "rule": rule, "status": status}


def _state_reasons(turns: Sequence[Turn], server: str) -> list[dict[str, Any]]:
    """Return one reason on how the gateways saw the server at the end of each turn; none where no gateway told.

    A gateway sends nothing more to a server that is down. So a release that crashed has few requests, and fewer bad.
    """
    states = [
        str(row.get("operational_state", "unknown"))
        for turn in turns
        for result in turn
        for row in result.get("servers") or ()
        if row["server"] == server
    ]
    if not states:
        return []
    wrong = [state for state in states if state != "up"]
    observed = wrong[-1] if wrong else "up"
    rule = f"a gateway found it {observed} at the end of a turn" if wrong else "up at the end of every turn"
    return [_reason("state at the gateways", observed, "up", rule, "fail" if wrong else "pass")]


def _service_reason(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reason on whether the service is still the run that was let in."""
    measure, state = "run of the service", str(now.get("active_state") or "unknown")
    restarts = int(now.get("restarts") or 0) - int(before.get("restarts") or 0)
    if state != "active":
        rule = f"the service is {state} under live requests"
    elif restarts > 0:
        rule = f"the service ended under live requests; restarts by the service manager: {restarts}"
    elif not now.get("invocation") or now["invocation"] != before.get("invocation"):
        rule = "the service was started again under live requests"
    else:
        return _reason(measure, "the same", "the same", "the same run from the first live request to the last", "pass")
    return _reason(measure, "another" if state == "active" else state, "the same", rule, "fail")


def _worst(reasons: Iterable[Mapping[str, Any]]) -> str:
    found = {reason["status"] for reason in reasons}
    return next((word for word in ("fail", "inconclusive") if word in found), "pass")


def _summary(server: str, word: str, reasons: Iterable[Mapping[str, Any]], told: str) -> str:
    if word == "pass":
        return f"Pass: {told}"
    rules = "; ".join(f"{reason['measure']}: {reason['rule']}" for reason in reasons if reason["status"] == word)
    end = "The release must go back." if word == "fail" else "A person decides."
    return f"{word.capitalize()}: {server}: {rules}. {end}"


def _sent_again(retried: int) -> str:
    return f" (tries sent again: {retried})" if retried else ""


def _told(judged: Judged, new: Counts, pool: int, min_requests: int, watch_on: bool, retried: int) -> str:
    """Return what a person should know after this turn, which nothing has ended."""
    if not pool:
        return "The pool has no traffic: nothing was seen of clients, the probes carry the verdict."
    if new.requests >= min_requests:
        counted = f"{new.requests} live requests were seen"
    else:
        counted = f"Few live requests were seen: {new.requests} of the {min_requests} that are wanted"
    failures = "none failed" if judged.word == "none" else judged.rule + _sent_again(retried)
    if watch_on:
        end = "watching on"
    elif new.requests < min_requests or judged.word == "few":
        end = "the time for the watch is over, the probes carry the verdict"
    else:
        end = ""
    return "; ".join(part for part in (counted, failures, end) if part) + "."
