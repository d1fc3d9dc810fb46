# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From raw records to figures. Pure: sends nothing, so an old run can be reported anew.

Names and formulae are those of vLLM's benchmark:
ttft    start (before the send) to the first token event; an event that only announces the role does not count.
e2el    start to the last event with choices; usage and [DONE] do not count.
tpot    (e2el - ttft) / (output tokens - 1), per request with at least two tokens. The headline for speed of output.
itl     gaps between token events, pooled over all requests. Trust it only when coalesced_share is near 0.
Added:
normalised_latency   e2el / output tokens, per request.
scheduled_ttft, scheduled_latency   the same as ttft and e2el, counted from when the request was due (open loop only),
                     so that a client or a queue that falls behind cannot hide it.
output_tokens_per_second_per_request   output tokens / e2el: what one user sees, waiting included.
Latencies are of successes only; errors are counted beside them, over all requests issued.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import intervals_of, summarize, wilson
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import INTERRUPTED, TIMEOUT, RequestRecord

# The summaries of a report, and those that have confidence intervals in it.
SUMMARIES = (
    "ttft_seconds",
    "itl_seconds",
    "tpot_seconds",
    "e2el_seconds",
    "normalised_latency_seconds",
    "scheduled_ttft_seconds",
    "scheduled_latency_seconds",
    "output_tokens_per_second_per_request",
)
WITH_INTERVALS = (
    "ttft_seconds",
    "tpot_seconds",
    "e2el_seconds",
    "scheduled_latency_seconds",
    "output_tokens_per_second_per_request",
)
# Statuses with which a server or a gateway turns requests away because it has enough of them.
REJECTIONS = ("http_429", "http_503")


@dataclass(frozen=True)
class RequestLimits:
    """What one request must keep to count as good (goodput), and the share of all issued that must. None: no limit."""

    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    e2el_seconds: float | None = None
    attainment: float = 0.95

    @property
    def given(self) -> dict[str, float]:
        """Return the limits that are set."""
        pairs = {name: getattr(self, name) for name in ("ttft_seconds", "tpot_seconds", "e2el_seconds")}
        return {name: value for name, value in pairs.items() if value is not None}


def tokens_of(record: RequestRecord) -> int:
    """Return the tokens of an answer: the server's count, else one per event."""
    return record.output_tokens if record.output_tokens is not None else record.token_events


def tpot_of(record: RequestRecord) -> float | None:
    """Return the time per output token after the first; None below two tokens."""
    tokens = tokens_of(record)
    if record.e2el_seconds is None or record.ttft_seconds is None or tokens < 2:
        return None
    return (record.e2el_seconds - record.ttft_seconds) / (tokens - 1)


def late(record: RequestRecord) -> float:
    """Return how long after its schedule the request was sent; 0 in a closed loop."""
    return 0.0 if record.scheduled is None else max(0.0, record.started - record.scheduled)


def counted(records: Iterable[RequestRecord]) -> list[RequestRecord]:
    """Return the requests that count: those that a stop from outside cut say nothing about the server."""
    return [record for record in records if record.error != INTERRUPTED]


def samples_of(records: Sequence[RequestRecord]) -> dict[str, list[float]]:
    """Return the values behind every summary, in the order of the requests."""
    good = [record for record in records if record.error is None]
    answered = [record for record in good if record.e2el_seconds is not None]
    due = [record for record in answered if record.scheduled is not None]
    return {
        "ttft_seconds": [record.ttft_seconds for record in good if record.ttft_seconds is not None],
        "itl_seconds": [gap for record in good for gap in record.gaps_seconds],
        "tpot_seconds": [value for record in good if (value := tpot_of(record)) is not None],
        "e2el_seconds": [record.e2el_seconds for record in answered if record.e2el_seconds is not None],
        "normalised_latency_seconds": [
            record.e2el_seconds / tokens_of(record)
            for record in answered
            if record.e2el_seconds is not None and tokens_of(record)
        ],
        "scheduled_ttft_seconds": [
            record.ttft_seconds + late(record) for record in due if record.ttft_seconds is not None
        ],
        "scheduled_latency_seconds": [
            record.e2el_seconds + late(record) for record in due if record.e2el_seconds is not None
        ],
        "output_tokens_per_second_per_request": [
            tokens_of(record) / record.e2el_seconds for record in answered if record.e2el_seconds
        ],
    }


def count_requests(records: Sequence[RequestRecord]) -> dict[str, Any]:
    """Return issued, succeeded, failed, timeouts, and errors by kind."""
    errors = Counter(record.error for record in records if record.error is not None)
    failed = sum(errors.values())
    return {
        "issued": len(records),
        "succeeded": len(records) - failed,
        "failed": failed,
        "timeouts": errors.get(TIMEOUT, 0),
        "errors": dict(sorted(errors.items())),
    }


def figures(records: Sequence[RequestRecord], seconds: float) -> dict[str, Any]:
    """Return counts, summaries and rates of some requests that together took so many seconds."""
    good = [record for record in records if record.error is None]
    samples = samples_of(records)
    tokens = sum(tokens_of(record) for record in good)
    prompts = [record.prompt_tokens for record in good if record.prompt_tokens is not None]
    digits = {"output_tokens_per_second_per_request": 3}
    return {
        "requests": count_requests(records),
        **{name: summarize(samples[name], digits.get(name, 6)) for name in SUMMARIES},
        "output_tokens_total": tokens,
        "prompt_tokens_total": sum(prompts) if good and len(prompts) == len(good) else None,
        "output_tokens_per_second": round(tokens / seconds, 3) if seconds > 0 else None,
        "requests_per_second": round(len(good) / seconds, 3) if seconds > 0 else None,
        "coalesced_share": coalesced_share(good),
    }


def coalesced_share(good: Sequence[RequestRecord]) -> float | None:
    """Return the share of gaps between events that came in one read; None without gaps. Of a long run not every gap is
    kept, but all are counted."""
    gaps = sum(max(0, record.token_events - 1) for record in good)
    return round(sum(record.coalesced_gaps for record in good) / gaps, 4) if gaps else None


def one_piece_share(good: Sequence[RequestRecord]) -> float | None:
    """Return the share of answers of several tokens whose first and last event came together; None without any."""
    several = [record for record in good if tokens_of(record) > 1 and record.e2el_seconds is not None]
    if not several:
        return None
    return sum(record.ttft_seconds == record.e2el_seconds for record in several) / len(several)


def token_source(good: Sequence[RequestRecord]) -> str:
    """Return where the counts of tokens come from: usage of every answer, else events; none without an answer."""
    if not good:
        return "none"
    return "usage" if all(record.output_tokens is not None for record in good) else "events"


def tokens_per_event(good: Sequence[RequestRecord]) -> float | None:
    """Return how many tokens an event carried on average, by the server's own count; None without such a count."""
    told = [record for record in good if record.output_tokens is not None and record.token_events]
    events = sum(record.token_events for record in told)
    return round(sum(record.output_tokens or 0 for record in told) / events, 4) if events else None


def rejections(records: Sequence[RequestRecord]) -> dict[str, Any]:
    """Return how many requests were turned away, and what Retry-After asked for."""
    turned = [record for record in records if record.error in REJECTIONS]
    waits = [record.retry_after_seconds for record in turned if record.retry_after_seconds is not None]
    return {
        "count": len(turned),
        "with_retry_after": len(waits),
        "retry_after_seconds": {"min": min(waits), "max": max(waits)} if waits else None,
    }


def is_good(record: RequestRecord, limits: RequestLimits) -> bool:
    """Tell whether a request succeeded and kept every limit, counted from when it was due."""
    if record.error is not None:
        return False
    values = _limited(record)
    return all(values[name] is not None and values[name] <= limit for name, limit in limits.given.items())


def _limited(record: RequestRecord) -> dict[str, Any]:
    waited = late(record)
    return {
        "ttft_seconds": None if record.ttft_seconds is None else record.ttft_seconds + waited,
        "e2el_seconds": None if record.e2el_seconds is None else record.e2el_seconds + waited,
        # an answer of one token has no time per further token, and breaks no limit of it
        "tpot_seconds": tpot_of(record) if tokens_of(record) > 1 else 0.0,
    }


def attainment(records: Sequence[RequestRecord], seconds: float, limits: RequestLimits) -> dict[str, Any] | None:
    """Return the share of all issued requests that were good; None when nothing was issued or no limit is set."""
    if not records or not limits.given:
        return None
    good = sum(is_good(record, limits) for record in records)
    succeeded = sum(record.error is None for record in records)
    pair = wilson(good, len(records))
    return {
        "share": round(good / len(records), 6),
        "interval": [round(value, 6) for value in pair] if pair else None,
        "good": good,
        "issued": len(records),
        "share_of_successes": round(good / succeeded, 6) if succeeded else None,
        "limits": limits.given,
        "wanted_share": limits.attainment,
        "kept_by_limit": {
            name: round(sum(is_good(record, RequestLimits(**{name: value})) for record in records) / len(records), 6)
            for name, value in limits.given.items()
        },
        "goodput_requests_per_second": round(good / seconds, 4) if seconds > 0 else None,
    }


def intervals(records: Sequence[RequestRecord]) -> dict[str, Any]:
    """Return confidence intervals for the summaries that verdicts rest on."""
    samples = samples_of(records)
    return {name: intervals_of(samples[name]) for name in WITH_INTERVALS}


def span(records: Sequence[RequestRecord]) -> float:
    """Return seconds from the first start to the last end: ramp and drain are inside, as with vLLM."""
    if not records:
        return 0.0
    return max(record.ended for record in records) - min(record.started for record in records)


def request_rows(records: Iterable[RequestRecord]) -> list[list[Any]]:
    """Return one row per request, in the order of their numbers: what two runs of the same prompts are paired by.

    A row is [index, error or null, ttft_seconds, tpot_seconds, e2el_seconds, output tokens]; of a failure, all but the
    first two are null.
    """
    rows: list[list[Any]] = []
    for record in sorted(records, key=lambda item: item.index):
        good = record.error is None
        times = (record.ttft_seconds, tpot_of(record), record.e2el_seconds) if good else (None, None, None)
        kept = [None if value is None else round(value, 6) for value in times]
        rows.append([record.index, record.error, *kept, tokens_of(record) if good else None])
    return rows
