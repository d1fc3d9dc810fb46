# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From raw records of a run to the benchmark report. Sends nothing, so an old run can be reported anew.

Definitions (those of vLLM's benchmark unless said):
ttft    start (before the send) to the first token event; an event that only announces the role does not count.
e2el    start to the last event with choices; usage and [DONE] do not count.
tpot    (e2el - ttft) / (output tokens - 1), per request with at least two tokens. The headline for speed of output.
itl     gaps between token events, pooled over all requests. Trust it only when coalesced_share is near 0.
output_tokens_per_second_per_request   output tokens / e2el: what one user sees, waiting included.
Latencies are of successes only; errors are counted beside them, over all requests issued.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._http_stream import RequestRecord
from ansible_collections.local_llm.ops.plugins.module_utils._load import Run
from ansible_collections.local_llm.ops.plugins.module_utils._percentiles import MIN_SAMPLES, summarize
from ansible_collections.local_llm.ops.plugins.module_utils._workload import Workload, describe

TOOL_VERSION = "builtin/1"

# Above this share of one core the client itself may be what is measured: all its threads share one interpreter.
CLIENT_CPU_SHARE_MAX = 0.8

# First words of the invalid reasons; the verdict reads them.
REASON_ALL_FAILED = "all_failed"
REASON_TOO_FEW = "too_few_samples"
REASON_CLIENT_LIMITED = "client_limited"
REASON_INTERRUPTED = "interrupted"
REASON_GAVE_UP = "gave_up"

_HINTS = {
    "connection": "nothing answers at this address: check that the service runs, and url",
    "timeout": "the server answers too late or hangs: look at its log, or raise request_timeout_seconds",
    "http_401": "the key is missing or wrong: check api_key",
    "http_403": "the key may not do this: check api_key and the gateway's allow-list",
    "http_404": "the path or the model is not known there: check url, api and model",
    "http_400": "the server refuses the request: check model, and that prompt and output fit its context length",
    "http_429": "the server or the gateway sheds load: fewer users, or a longer queue",
    "http_503": "the server is still loading, or the gateway has no server for it: look at llm_info",
    "stream_error": "the server failed in the middle of an answer: look at its log",
    "truncated": "the stream ended before its end was announced: look for a crash in the server's log",
    "zero_tokens": "the server answered with 200 and no token: the engine behind it may be dead",
}


def tokens_of(record: RequestRecord) -> int:
    """Return the output tokens of a success: the server's usage, or the number of token events without one."""
    return record.output_tokens if record.output_tokens is not None else record.token_events


def build_report(workload: Workload, run: Run, started_at: str) -> dict[str, Any]:
    """Return the benchmark report of a run. `started_at` is ISO 8601 in UTC."""
    good = [record for record in run.records if record.error is None]
    errors = Counter(record.error for record in run.records if record.error is not None)
    ttft = [record.ttft_seconds for record in good if record.ttft_seconds is not None]
    e2el = [record.e2el_seconds for record in good if record.e2el_seconds is not None]
    tpot = [
        (record.e2el_seconds - record.ttft_seconds) / (tokens_of(record) - 1)
        for record in good
        if record.e2el_seconds is not None and record.ttft_seconds is not None and tokens_of(record) > 1
    ]
    gaps = [gap for record in good for gap in record.gaps_seconds]
    speeds = [tokens_of(record) / record.e2el_seconds for record in good if record.e2el_seconds]
    duration = _duration(run)
    output_tokens = sum(tokens_of(record) for record in good)
    prompt_counts = [record.prompt_tokens for record in good if record.prompt_tokens is not None]
    cpu_share = run.cpu_seconds / run.seconds if run.seconds > 0 else 0.0
    invalid = _invalid_reasons(run, len(good), errors, cpu_share)
    return {
        "schema": 1,
        "kind": "benchmark",
        "engine_version_tool": TOOL_VERSION,
        "workload": describe(workload),
        "started_at": started_at,
        "duration_seconds": round(duration, 6),
        "requests": {
            "issued": len(run.records),
            "succeeded": len(good),
            "failed": len(run.records) - len(good),
            "timeouts": errors.get("timeout", 0),
            "errors": dict(sorted(errors.items())),
        },
        "ttft_seconds": summarize(ttft),
        "itl_seconds": summarize(gaps),
        "tpot_seconds": summarize(tpot),
        "e2el_seconds": summarize(e2el),
        "output_tokens_total": output_tokens,
        "prompt_tokens_total": sum(prompt_counts) if good and len(prompt_counts) == len(good) else None,
        "output_tokens_per_second": round(output_tokens / duration, 3) if duration > 0 else None,
        "requests_per_second": round(len(good) / duration, 3) if duration > 0 else None,
        "output_tokens_per_second_per_request": summarize(speeds, digits=3),
        "token_source": _token_source(good),
        "coalesced_share": round(sum(record.coalesced_gaps for record in good) / len(gaps), 4) if gaps else None,
        "client": {"cpu_seconds": round(run.cpu_seconds, 3), "cpu_share_of_one_core": round(cpu_share, 3)},
        "out_of_time": run.out_of_time,
        "valid": not invalid,
        "invalid_reasons": invalid,
        "samples": {
            "ttft_seconds": [round(value, 6) for value in ttft],
            "e2el_seconds": [round(value, 6) for value in e2el],
            "tpot_seconds": [round(value, 6) for value in tpot],
        },
    }


def _duration(run: Run) -> float:
    """Return seconds from the first start to the last end: ramp and drain are inside, as with vLLM."""
    if not run.records:
        return 0.0
    return max(record.started + record.seconds for record in run.records) - min(
        record.started for record in run.records
    )


def _token_source(good: list[RequestRecord]) -> str:
    if not good:
        return "none"
    return "usage" if all(record.output_tokens is not None for record in good) else "events"


def _invalid_reasons(run: Run, successes: int, errors: Counter[str], cpu_share: float) -> list[str]:
    reasons = []
    if run.interrupted:
        reasons.append(f"{REASON_INTERRUPTED}: stopped from outside after {len(run.records)} requests")
    if not successes and run.records:
        reasons.append(f"{REASON_ALL_FAILED}: {error_sentence(dict(errors))}")
    if run.gave_up:
        reasons.append(f"{REASON_GAVE_UP}: the first {len(run.records)} requests all failed, so no more were sent")
    if successes and successes < MIN_SAMPLES["p50"]:
        reasons.append(f"{REASON_TOO_FEW}: {successes} successes, and a p50 needs {MIN_SAMPLES['p50']}")
    if not run.records and not run.interrupted:
        reasons.append(f"{REASON_TOO_FEW}: no request was sent within the time allowed")
    if successes and cpu_share > CLIENT_CPU_SHARE_MAX:
        reasons.append(
            f"{REASON_CLIENT_LIMITED}: the client used {cpu_share:.0%} of a core, above {CLIENT_CPU_SHARE_MAX:.0%}; "
            "use fewer users, or run it from an idle machine"
        )
    return reasons


def error_sentence(errors: dict[str, int]) -> str:
    """Return the kinds of errors with their counts and, for the most frequent one, what to look at."""
    if not errors:
        return "no errors"
    ordered = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    counts = ", ".join(f"{count} x {kind}" for kind, count in ordered)
    hint = _HINTS.get(ordered[0][0], "the server fails: look at its log" if ordered[0][0].startswith("http_5") else "")
    return f"{counts}; {hint}" if hint else counts
