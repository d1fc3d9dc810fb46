# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""May this run be believed? Each check says ok, warn, fail or unknown; one fail makes the run invalid.

A run is invalid when the client was the limit, when others used the server at the same time, or when there is too
little of it. That the server was slow or failed makes no run invalid: that is what a run is there to find out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import MIN_SAMPLES, percentile
from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import (
    coalesced_share,
    count_requests,
    counted,
    one_piece_share,
    tokens_per_event,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import CLIENT_LIMIT, RequestRecord, Run
from ansible_collections.local_llm.ops.plugins.module_utils._bench._windows import achieved_rate_share

# First words of the invalid reasons; the verdict reads them.
REASON_ALL_FAILED = "all_failed"
REASON_TOO_FEW = "too_few_samples"
REASON_CLIENT_LIMITED = "client_limited"
REASON_INTERRUPTED = "interrupted"
REASON_GAVE_UP = "gave_up"
REASON_FOREIGN = "foreign_traffic"
REASON_COUNTS_DIFFER = "counts_differ"
REASON_CACHE = "prefix_cache"
REASON_ONE_PIECE = "one_piece"
REASON_RESTARTED = "server_restarted"
REASON_APART = "generators_apart"

# Above this share of one core the client itself may be what is measured: all its threads share one interpreter.
CLIENT_CPU_SHARE_MAX = 0.8
ACHIEVED_RATE_MIN = 0.95
# A request is sent late when the client is busy: at most 5 ms, or a tenth of the time to first token.
LATENESS_FLOOR_SECONDS = 0.005
LATENESS_TTFT_SHARE = 0.1
# From here on gaps between events say more about reads of the socket than about tokens.
COALESCED_SHARE_WARN = 0.1
# When more answers than this come in one read, time to first token is that of the whole answer.
ONE_PIECE_SHARE_MAX = 0.5
# An answer that is over sooner than this may well come in one piece, and hides no more than this time.
ONE_PIECE_FROM_SECONDS = 0.1
# Repeated prompts are in the cache nearly whole; a chat template shared by all of them is not half of a prompt.
CACHE_HIT_SHARE_MAX = 0.5
FOREIGN_SHARE_MAX = 0.01
OVERLAP_SHARE_MIN = 0.9

HINTS = {
    "connection": "nothing answers at this address: check that the service runs, and url",
    "tls": "the certificate is not trusted: give ca_path, or check the host name in url",
    "timeout": "the server answers too late or hangs: look at its log, or raise request_timeout_seconds",
    "http_401": "the key is missing or wrong: check api_key",
    "http_403": "the key may not do this: check api_key and the gateway's allow-list",
    "http_404": "the path or the model is not known there: check url, api and model",
    "http_400": "the server refuses the request: check model, and that prompt and output fit its context length",
    "http_429": "the server or the gateway sheds load: fewer users, or a longer queue",
    "http_503": "the server is still loading, or the gateway has no server for it: look at llm_info",
    "stream_error": "the server failed in the middle of an answer: look at its log",
    "bad_event": "what answers is no model server of this api: check url and api",
    "truncated": "the stream ended before its end was announced: look for a crash in the server's log",
    "zero_tokens": "the server answered with 200 and no token: the engine behind it may be dead",
    CLIENT_LIMIT: "so many were under way, or so many files were open, that no more were sent: ask for less",
}


def check(
    name: str, status: str, observed: Any = None, limit: Any = None, reason: str = "", code: str = ""
) -> dict[str, Any]:
    """Return one check. `code` is the first word of the invalid reason when it fails."""
    return {"check": name, "status": status, "observed": observed, "limit": limit, "reason": reason, "code": code}


def judged(name: str, bad: bool, observed: Any, limit: Any, reason: str, code: str) -> dict[str, Any]:
    """Return a check that fails with its reason, or is ok and has none."""
    return check(name, "fail" if bad else "ok", observed, limit, reason if bad else "", code)


def checks_of(
    run: Run,
    stages: Sequence[Mapping[str, Any]],
    server: Mapping[str, Any] | None,
    shares_prefix: bool,
    overlap_share: float | None = None,
) -> list[dict[str, Any]]:
    """Return every check of a run. `server` is the report's part about the server, `shares_prefix` tells that prompts
    are alike on purpose, `overlap_share` how much of the time all load generators ran."""
    records = counted(run.records)
    good = [record for record in records if record.error is None]
    found = [
        *_complete(run, records, len(good)),
        _enough(run, len(good), len(records)),
        *_sent(records),
        _cpu(run, len(good)),
        *_rate(records, stages),
        *_late(run, records, good),
        *_streams(good),
        *_server(server, shares_prefix),
    ]
    if overlap_share is not None:
        bad = overlap_share < OVERLAP_SHARE_MIN
        why = f"all load generators ran together for {overlap_share:.0%} of the time only; start them together"
        found.append(judged("generators", bad, overlap_share, OVERLAP_SHARE_MIN, why, REASON_APART))
    return found


def invalid_reasons(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the reasons of the checks that failed, each with its code in front."""
    return [f"{item['code']}: {item['reason']}" for item in checks if item["status"] == "fail"]


def public(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the checks as a report shows them."""
    return [{key: value for key, value in item.items() if key != "code"} for item in checks]


def error_sentence(errors: Mapping[str, int]) -> str:
    """Return the kinds of errors with their counts and, for the most frequent one, what to look at."""
    if not errors:
        return "no errors"
    ordered = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    counts = ", ".join(f"{count} x {kind}" for kind, count in ordered)
    hint = HINTS.get(ordered[0][0], "the server fails: look at its log" if ordered[0][0].startswith("http_5") else "")
    return f"{counts}; {hint}" if hint else counts


def _complete(run: Run, records: Sequence[RequestRecord], successes: int) -> list[dict[str, Any]]:
    found = []
    if run.interrupted:
        why = f"stopped from outside after {len(records)} requests"
        found.append(check("complete", "fail", len(records), None, why, REASON_INTERRUPTED))
    if records and not successes:
        why = error_sentence(count_requests(records)["errors"])
        found.append(check("any_success", "fail", 0, 1, why, REASON_ALL_FAILED))
    if run.gave_up:
        why = f"the first {len(records)} requests all failed, so no more were sent"
        found.append(check("gave_up", "fail", len(records), None, why, REASON_GAVE_UP))
    return found


def _enough(run: Run, successes: int, issued: int) -> dict[str, Any]:
    wanted = MIN_SAMPLES["p50"]
    if not issued:
        if run.interrupted:
            return check("samples", "unknown", 0, wanted)
        why = "no request was sent within the time allowed"
        return check("samples", "fail", 0, wanted, why, REASON_TOO_FEW)
    if 0 < successes < wanted:
        why = f"{successes} successes, and a p50 needs {wanted}"
        return check("samples", "fail", successes, wanted, why, REASON_TOO_FEW)
    return check("samples", "ok", successes, wanted)


def _cpu(run: Run, successes: int) -> dict[str, Any]:
    share = round(run.cpu_seconds / run.seconds, 3) if run.seconds > 0 else 0.0
    if not successes or share <= CLIENT_CPU_SHARE_MAX:
        return check("client_cpu", "ok", share, CLIENT_CPU_SHARE_MAX)
    why = (
        f"the client used {share:.0%} of a core, above {CLIENT_CPU_SHARE_MAX:.0%}; "
        "use fewer users, or run it from an idle machine"
    )
    return check("client_cpu", "fail", share, CLIENT_CPU_SHARE_MAX, why, REASON_CLIENT_LIMITED)


def _sent(records: Sequence[RequestRecord]) -> list[dict[str, Any]]:
    """Tell when requests were not sent at all, whatever the reason of the client was."""
    unsent = sum(record.error == CLIENT_LIMIT for record in records)
    if not unsent:
        return []
    why = f"{unsent} of {len(records)} requests were not sent: {HINTS[CLIENT_LIMIT]}"
    return [check("all_sent", "fail", unsent, 0, why, REASON_CLIENT_LIMITED)]


def _rate(records: Sequence[RequestRecord], stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Judge whether an open loop was sent at the rate that was asked for."""
    if all(record.scheduled is None for record in records):
        return []
    found = []
    sent = [record for record in records if record.error != CLIENT_LIMIT]
    shares = [share for stage in stages if (share := stage.get("achieved_rate_share")) is not None]
    share = min(shares) if shares else achieved_rate_share(sent)
    if share is None:
        found.append(check("achieved_rate", "unknown", None, ACHIEVED_RATE_MIN))
    else:
        bad = share < ACHIEVED_RATE_MIN
        why = f"the client reached {share:.0%} of the rate asked for; ask for less, or use more load generators"
        found.append(judged("achieved_rate", bad, share, ACHIEVED_RATE_MIN, why, REASON_CLIENT_LIMITED))
    return found


def _late(run: Run, records: Sequence[RequestRecord], good: Sequence[RequestRecord]) -> list[dict[str, Any]]:
    """Judge whether the client sent in time. A schedule must be kept nearly always; of a closed loop, whose users wait
    for their answers anyhow, only a client that is late most of the time was what was measured."""
    ttft = sorted(record.ttft_seconds for record in good if record.ttft_seconds is not None)
    if not run.lateness_seconds or not ttft:
        return []
    planned = any(record.scheduled is not None for record in records)
    limit = round(max(LATENESS_FLOOR_SECONDS, LATENESS_TTFT_SHARE * percentile(ttft, 0.5)), 6)
    seen = round(max(0.0, percentile(sorted(run.lateness_seconds), 0.99 if planned else 0.5)), 6)
    why = (
        f"one request in {'a hundred' if planned else 'two'} was sent {1000 * seen:.1f} ms late or more, "
        f"above {1000 * limit:.1f} ms; run it from an idle machine, or ask for less"
    )
    return [judged("client_lateness", seen > limit, seen, limit, why, REASON_CLIENT_LIMITED)]


def _streams(good: Sequence[RequestRecord]) -> list[dict[str, Any]]:
    """Judge whether the tokens came one by one: else gaps, or even the time to the first token, mean something else."""
    found = []
    share = coalesced_share(good)
    if share is not None:
        noisy = share > COALESCED_SHARE_WARN
        why = f"{share:.0%} of the gaps lie inside one read: itl says little here, tpot holds"
        found.append(check("coalesced", *(("warn", share, COALESCED_SHARE_WARN, why) if noisy else ("ok", share))))
    whole = one_piece_share(good)
    if whole is not None:
        middle = median(record.e2el_seconds or 0.0 for record in good)
        bad = whole > ONE_PIECE_SHARE_MAX and middle > ONE_PIECE_FROM_SECONDS
        why = (
            f"{whole:.0%} of the answers came in one piece, so time to first token is that of the whole answer; "
            "look for a proxy that buffers, or ask for more output_tokens"
        )
        found.append(judged("one_piece", bad, round(whole, 4), ONE_PIECE_SHARE_MAX, why, REASON_ONE_PIECE))
    tokens = tokens_per_event(good)
    if tokens is not None:
        odd = not 0.95 <= tokens <= 1.05
        why = f"an event carries {tokens:g} tokens by the server's own count: itl is per event, not per token"
        found.append(check("tokens_per_event", *(("warn", tokens, 1.0, why) if odd else ("ok", tokens))))
    return found


def _server(server: Mapping[str, Any] | None, shares_prefix: bool) -> list[dict[str, Any]]:
    """Judge the server's own counts. Without them nothing is known, and that is said, too."""
    names = ("server_counts", "foreign_traffic", "prefix_cache")
    if not server:
        return [check(name, "unknown", reason="the server's metrics were not read: give engine") for name in names]
    if server.get("restarted"):
        why = "the service was restarted during the run"
        return [check("server_restarted", "fail", True, False, why, REASON_RESTARTED)]
    counts = server.get("counts")
    if not counts:
        return [check(name, "unknown", reason="the server gives no metrics") for name in names]
    return [_missing(counts), _foreign(counts, server.get("in_flight_before")), _cache(counts, shares_prefix)]


def _missing(counts: Mapping[str, Any]) -> dict[str, Any]:
    missing, ours = counts["generated_tokens_missing"], counts["generated_tokens_ours"]
    if missing is None or not ours:
        return check("server_counts", "unknown", reason="the server does not count generated tokens")
    share = round(missing / ours, 4)
    bad = share > FOREIGN_SHARE_MAX
    why = (
        f"the server counts {counts['generated_tokens']:g} tokens where the answers have {ours}; "
        "is engine's address the server that answered?"
    )
    return judged("server_counts", bad, share, FOREIGN_SHARE_MAX, why, REASON_COUNTS_DIFFER)


def _foreign(counts: Mapping[str, Any], in_flight_before: float | None) -> dict[str, Any]:
    tokens, ours = counts["generated_tokens_foreign"], counts["generated_tokens_ours"]
    requests = counts["requests_foreign"]
    if tokens is None and requests is None:
        return check("foreign_traffic", "unknown", reason="the server counts neither requests nor tokens")
    share = max(
        (tokens or 0) / ours if ours else 0.0,
        (requests or 0) / counts["requests_ours"] if counts["requests_ours"] else 0,
    )
    share = round(share, 4)
    bad = share > FOREIGN_SHARE_MAX or bool(in_flight_before)
    why = (
        f"others used the server meanwhile ({requests or 0:g} requests, {tokens or 0:g} tokens beyond ours, "
        f"{in_flight_before or 0:g} requests under way at the start); drain it at the gateway first"
    )
    return judged("foreign_traffic", bad, share, FOREIGN_SHARE_MAX, why, REASON_FOREIGN)


def _cache(counts: Mapping[str, Any], shares_prefix: bool) -> dict[str, Any]:
    share = counts["prefix_cache_hit_share"]
    if share is None:
        return check("prefix_cache", "unknown", reason="the server does not tell how much came from its cache")
    if shares_prefix:
        return check("prefix_cache", "ok", share, None, "the prompts are alike on purpose")
    bad = share > CACHE_HIT_SHARE_MAX
    why = (
        f"{share:.0%} of the prompts came from the server's cache, so they were asked before; "
        "give another seed, or restart the service first"
    )
    return judged("prefix_cache", bad, share, CACHE_HIT_SHARE_MAX, why, REASON_CACHE)
