# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Live traffic of one server under its new release, as Prometheus saw it: a verdict on the answers to _live_queries.py.

Missing data is never a pass. Controller only; nothing here asks anybody.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._chance import chance_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_errors import FALSE_ALARM, Counts, judge_errors
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_queries import AT_GATEWAY, Watched, queries
from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import Series

# How far back a sample may lie from which a counter is taken to have grown.
LOOK_BACK_SECONDS = 300
# 95 of 100 requests must be in time; a release that just keeps that fails in fewer than 1 of 100 watches.
LATE_SHARE, LATE_CHANCE = 0.05, 0.01
# Asked once about the gateway and once about the engine: both together are wrong as often as all looks at the gateways.
RARE = FALSE_ALARM / 2
# Of fewer requests than this the gateway's count and the one of Prometheus are not held against each other.
LEAST_COMPARED = 5
NOBODY = Counts(0, 0)


def gaps(what: Watched, answers: Mapping[str, Sequence[Series]], started: float, ended: float) -> list[str]:
    """Return what is missing of the answers, one sentence each: series, gateways, samples as new as the watch's end."""
    found = []
    # A target that nobody has yet is no gap. One that is there all the same must tell everything.
    needed = AT_GATEWAY if what.unscraped_before and not joined(answers.get("up", ())) else tuple(queries(what, 1))
    for key, expression in queries(what, 1).items():
        if key not in needed:
            continue
        listed = joined(answers.get(key, ()))
        selector = expression.rpartition("[")[0]
        if not listed:
            found.append(f"no series {selector}")
            continue
        found += [f"{problem} of {selector}" for problem in _sample_gaps(key, listed, what, started, ended)]
    return found


def judge_live(
    what: Watched,
    answers: Mapping[str, Sequence[Series]],
    started: float,
    ended: float,
    requests_seen: int = 0,
    others: Counts = NOBODY,
) -> dict[str, Any]:
    """Return {"verdict", "figures", "notes"} on what Prometheus saw between two of its own times.

    requests_seen: what the gateways themselves counted meanwhile. others: what they counted of the other servers. A
    proven fault counts more than missing data.
    """
    series = {key: joined(listed) for key, listed in answers.items()}
    reasons = [
        _reason("data of Prometheus", gap, "data of the whole watch", "missing data is never a pass", "inconclusive")
        for gap in gaps(what, answers, started, ended)
    ]
    figures: dict[str, Any] = {"release_label": _release_label(series.get("up", []), what.release)}
    notes: list[str] = []
    reasons += _errors_at_gateway(what, series, started, requests_seen, others, figures, notes)
    reasons += _up(what, series, figures, notes)
    reasons += _errors_of_engine(what, series, started, others, figures, notes)
    reasons += _first_tokens(what, series, started, figures, notes)
    reasons += _queue(what, series, started, figures, notes)
    return {"verdict": _verdict(what, reasons, figures), "figures": figures, "notes": notes}


def error_verdict(message: str) -> dict[str, Any]:
    """Return the verdict when Prometheus cannot be asked."""
    reason = _reason("data of Prometheus", message, "an answer", "missing data is never a pass", "inconclusive")
    return {
        "schema": 1,
        "verdict": "error",
        "reasons": [reason],
        "statistics": None,
        "summary": f"Error: {message}. A person decides.",
    }


def presence_verdict(what: Watched, answers: Mapping[str, Sequence[Series]]) -> dict[str, Any]:
    """Return the verdict before the watch: Prometheus must know every series that the watch will ask for."""
    missing = [gap for gap in gaps(what, answers, 0.0, 0.0) if not gap.startswith("too few")]
    rule = f"it knows every series that the watch of {what.member.server} will read"
    reasons = [_reason("data of Prometheus", gap, "there", rule, "inconclusive") for gap in missing]
    word = "inconclusive" if missing else "pass"
    summary = (
        f"Inconclusive: Prometheus has {'; '.join(missing[:3])}. Nobody could watch the new release. A person decides."
        if missing
        else f"Pass: Prometheus knows {what.member.server}."
    )
    return {"schema": 1, "verdict": word, "reasons": reasons, "statistics": None, "summary": summary}


def joined(listed: Sequence[Series]) -> list[Series]:
    """Return series joined over their label `release`, which changes when the targets are written anew."""
    found: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for one in listed:
        key = tuple(sorted((name, value) for name, value in one.labels.items() if name != "release"))
        found.setdefault(key, []).append(one)
    result = []
    for parts in found.values():
        ordered = sorted((part for part in parts if part.samples), key=lambda part: part.samples[-1][0])
        samples = sorted({stamp: value for part in ordered for stamp, value in part.samples}.items())
        if samples:
            result.append(Series(ordered[-1].labels, tuple(samples)))
    return result


def growth(samples: Sequence[tuple[float, float]], since: float, from_before: bool) -> float | None:
    """Return how much a counter grew since a time, None when it has no two samples for that.

    from_before: count from the last sample before that time, for a counter that stood still then; else from the first
    one after it. A counter that begins anew counts from nothing.
    """
    before = [pair for pair in samples if pair[0] < since]
    used = [pair for pair in samples if pair[0] >= since]
    if from_before and before:
        used = [before[-1], *used]
    if len(used) < 2:
        return None
    steps = itertools.pairwise(used)
    return sum(now - last if now >= last else now for (_at, last), (_then, now) in steps)


def _sample_gaps(key: str, listed: list[Series], what: Watched, started: float, ended: float) -> list[str]:
    found = []
    groups: dict[str, list[Series]] = {"": listed}
    if key in AT_GATEWAY:
        groups = {gateway: [one for one in listed if one.labels.get("host") == gateway] for gateway in what.gateways}
    for host, members in groups.items():
        place = f" at {host}" if host else ""
        stamps = [stamp for one in members for stamp, _value in one.samples]
        if not stamps:
            found.append(f"no series{place}")
        elif max(stamps) < ended:
            found.append(f"the newest sample{place} is {ended - max(stamps):.0f} s older than the end of the watch,")
        elif key in _COUNTERS and not any(growth(one.samples, started, key in AT_GATEWAY) is not None
                                          for one in members):  # fmt: skip
            found.append(f"too few samples{place} since the server was let in")
    return found


_COUNTERS = (*AT_GATEWAY, "ended", "failed", "first_tokens", "in_time")


def _total(
    series: Mapping[str, list[Series]], key: str, since: float, codes: Sequence[str] | None = None
) -> float | None:
    """Return how much all series of a query grew together; None when that is not known of any."""
    chosen = [one for one in series.get(key, []) if codes is None or one.labels.get("code") in codes]
    grown = [growth(one.samples, since, key in AT_GATEWAY) for one in chosen if one.samples[-1][0] >= since]
    known = [value for value in grown if value is not None]
    return sum(known) if known else None


def _errors_at_gateway(
    what: Watched,
    series: Mapping[str, list[Series]],
    started: float,
    requests_seen: int,
    others: Counts,
    figures: dict[str, Any],
    notes: list[str],
) -> list[dict[str, Any]]:
    good = _total(series, "answers", started, ("1xx", "2xx", "3xx", "5xx", "other"))
    failed, broken = _total(series, "answers", started, ("5xx",)), _total(series, "broken_off", started)
    figures.update(requests=good, requests_at_gateways=requests_seen)
    if good is None or broken is None:
        return []
    bad = (failed or 0) + broken
    figures["failed"] = bad
    found = []
    if requests_seen >= LEAST_COMPARED and good < requests_seen / 2:
        found.append(
            _reason(
                "live requests in Prometheus",
                good,
                requests_seen,
                f"the gateways counted {requests_seen}; Prometheus must see them too",
                "inconclusive",
            )
        )
    measure = "failed share of live requests at the gateway"
    return [*found, _share(measure, bad, good, others, what.error_max_percent, notes)]


def _up(
    what: Watched, series: Mapping[str, list[Series]], figures: dict[str, Any], notes: list[str]
) -> list[dict[str, Any]]:
    if not what.member.metrics.metrics:
        notes.append(f"errors, time to first token and queue inside {what.member.engine}: not measured by metrics")
        return []
    newest = max((one.samples[-1] for one in series.get("up", [])), default=None)
    if newest is None:
        if what.unscraped_before:
            notes.append(
                f"errors, time to first token and queue inside {what.member.engine}: Prometheus has no target of it "
                f"before the rollout has ended, since {what.unscraped_before} has no metrics; the gateway's figures "
                "decide"
            )
        return []
    figures["up"] = newest[1]
    rule = "the newest scrape of the engine succeeded"
    return [_reason("scrape of the engine", newest[1], 1, rule, "pass" if newest[1] == 1 else "inconclusive")]


def _errors_of_engine(
    what: Watched,
    series: Mapping[str, list[Series]],
    started: float,
    others: Counts,
    figures: dict[str, Any],
    notes: list[str],
) -> list[dict[str, Any]]:
    if "ended" not in series or "failed" not in series:
        if what.member.metrics.metrics:
            notes.append(f"errors inside {what.member.engine}: it does not count them; the gateway does")
        return []
    ended, failed = _total(series, "ended", started), _total(series, "failed", started)
    if ended is None or failed is None:
        return []
    figures.update(engine_requests=ended, engine_failed=failed)
    return [_share("failed share inside the engine", failed, ended, others, what.error_max_percent, notes)]


def _first_tokens(
    what: Watched, series: Mapping[str, list[Series]], started: float, figures: dict[str, Any], notes: list[str]
) -> list[dict[str, Any]]:
    if what.ttft_bound is None:
        if what.member.metrics.metrics and what.ttft_max_seconds is not None:
            notes.append(
                f"time to first token: {what.member.engine} has no histogram that reaches it; the benchmark held it"
            )
        return []
    # A scrape may come between two questions: both are counted up to the same one.
    pair = {key: _up_to(series.get(key, []), _common_end(series)) for key in ("first_tokens", "in_time")}
    count, in_time = _total(pair, "first_tokens", started), _total(pair, "in_time", started)
    if count is None or in_time is None:
        return []
    late = max(0, round(count - in_time))
    figures.update(first_tokens=count, first_tokens_late=late)
    if not count:
        notes.append("time to first token: no request came, so there is nothing to judge")
        return []
    chance = chance_of(late, round(count), LATE_SHARE)
    rule = (
        f"{late} of {count:.0f} first tokens came after {what.ttft_bound:g} s; 5 of 100 are allowed, and that many are "
        f"seen by chance in {100 * chance:.2g} of 100 watches"
    )
    status = "fail" if chance < LATE_CHANCE else "pass"
    return [_reason("late share of first tokens", late / count, LATE_SHARE, rule, status)]


def _common_end(series: Mapping[str, list[Series]]) -> float:
    newest = [[one.samples[-1][0] for one in series.get(key, [])] for key in ("first_tokens", "in_time")]
    return min(max(stamps, default=0.0) for stamps in newest)


def _up_to(listed: list[Series], end: float) -> list[Series]:
    cut = [Series(one.labels, tuple(pair for pair in one.samples if pair[0] <= end)) for one in listed]
    return [one for one in cut if one.samples]


def _queue(
    what: Watched, series: Mapping[str, list[Series]], started: float, figures: dict[str, Any], notes: list[str]
) -> list[dict[str, Any]]:
    if "waiting" not in series:
        return []
    by_time: dict[float, float] = {}
    for one in series["waiting"]:
        for stamp, value in one.samples:
            if stamp >= started:
                by_time[stamp] = by_time.get(stamp, 0.0) + value
    if not by_time:
        return []
    middle = float(statistics.median(by_time.values()))
    figures["waiting"] = middle
    rule = f"median of {len(by_time)} scrapes, at most {what.queue_max:g} may wait inside the engine"
    status = "pass" if middle <= what.queue_max else "fail"
    return [_reason("requests that wait in the engine", middle, what.queue_max, rule, status)]


def _share(
    measure: str, bad: float, total: float, others: Counts, limit_percent: float, notes: list[str]
) -> dict[str, Any]:
    counts = Counts(round(total), round(bad))
    judged = judge_errors(counts, others, limit_percent, RARE)
    if judged.word in ("few", "like_others", "few_others"):
        notes.append(f"{measure}: {judged.rule}")
    return _reason(measure, counts.share, limit_percent / 100, judged.rule, judged.status)


def _release_label(up: list[Series], release: str) -> str:
    """Return whether the targets know the release yet: current, stale, or unknown without a target."""
    if not up:
        return "unknown"
    newest = max(up, key=lambda one: one.samples[-1][0])
    return "current" if newest.labels.get("release") == release else "stale"


def _reason(measure: str, observed: Any, threshold: Any, rule: str, status: str) -> dict[str, Any]:
    return {"measure": measure, "observed": observed, "threshold": threshold, "rule": rule, "status": status}


def _verdict(what: Watched, reasons: list[dict[str, Any]], figures: Mapping[str, Any]) -> dict[str, Any]:
    failed = [reason for reason in reasons if reason["status"] == "fail"]
    open_ = [reason for reason in reasons if reason["status"] == "inconclusive"]
    server = what.member.server
    if failed:
        told = "; ".join(f"{reason['measure']}: {reason['rule']}" for reason in failed)
        word, summary = "fail", f"Fail: by Prometheus, {server}: {told}. The release must go back."
    elif open_:
        told = "; ".join(
            f"{reason['measure']}: {reason['observed']}, wanted {reason['threshold']}" for reason in open_[:3]
        )
        word, summary = "inconclusive", f"Inconclusive: {server}: {told}. A person decides."
    else:
        count = figures.get("requests") or 0
        told = f"{server} answered {count:.0f} live requests, and nothing beyond chance speaks against it"
        word, summary = "pass", f"Pass: by Prometheus, {told}."
    return {"schema": 1, "verdict": word, "reasons": reasons, "statistics": None, "summary": summary}
