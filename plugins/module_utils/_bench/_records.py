# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a run of the load client leaves behind: raw records, one per request, without any text. Nothing is judged here.

Times of a record are seconds since the run's start, durations are seconds. A run's start is `Run.clock_offset` on the
clock of time.time(), so that the runs of several load generators can be laid side by side.

Definitions are vLLM's: ttft from before the send to the first token event (an event that only announces the role is no
token), e2el to the last event with a choice (usage and [DONE] are none), gaps between token events. The time is taken
once per socket read, so that events of one read share a time: their gaps are 0 and counted in `coalesced_gaps`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Kinds of errors beside http_<status>. None is a success.
TIMEOUT = "timeout"  # not finished in time, or silent for too long
CONNECTION = "connection"  # refused, reset or closed before the answer's first byte
TLS = "tls"  # the handshake failed, the certificate is not trusted
STREAM_ERROR = "stream_error"  # the server said inside a stream with status 200 that it failed
BAD_EVENT = "bad_event"  # what came is no HTTP, no event, or no event of this API
ZERO_TOKENS = "zero_tokens"  # an answer that ended well and holds no token
TRUNCATED = "truncated"  # the answer ended or broke off before its end was announced
INTERRUPTED = "interrupted"  # under way when the run was stopped from outside
CLIENT_LIMIT = "client_limit"  # never sent: too many were under way, or no file was left. Not a valid run.


@dataclass(frozen=True)
class RequestRecord:
    """What one request did.

    scheduled  intended send, None in a closed loop. Latency from the schedule is started - scheduled + ttft (or e2el).
    started    actual send; of a request that was never sent (client_limit) its schedule
    user       which user of a closed loop, None in an open one; turn is its place in a conversation, 0 is the first
    retry_after_seconds  what the server asked for in Retry-After, with 429, 503 or any other status
    gaps_seconds  between token events; empty where a long run let them go. token_events - 1 counts them in any case
    token_source  usage: output_tokens is the server's count; events: only the events were counted; none: no token came
    cached_tokens, load_seconds  the server's word on its prefix cache, and on loading the model (Ollama)
    """

    index: int
    stage: int
    user: int | None
    scheduled: float | None
    started: float
    ended: float
    error: str | None
    retry_after_seconds: float | None = None
    ttft_seconds: float | None = None
    e2el_seconds: float | None = None
    gaps_seconds: tuple[float, ...] = ()
    coalesced_gaps: int = 0
    token_events: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    token_source: str = "none"
    cached_tokens: int | None = None
    load_seconds: float | None = None
    turn: int = 0


@dataclass(frozen=True)
class Run:
    """Raw result of one run: every request that was issued, in the order of its number, failed and cut ones too.

    seconds           from the run's start until the last request had ended
    cpu_seconds       of this process during the run
    lateness_seconds  how late the client sent, see lateness_of()
    stage_starts      when each stage that was reached began, seconds since the run's start
    interrupted, gave_up, out_of_time   stopped from outside; the first requests all failed; Limits.max_seconds passed
    started_at        ISO 8601 in UTC; clock_offset is time.time() at the run's start
    """

    records: tuple[RequestRecord, ...]
    seconds: float
    cpu_seconds: float
    lateness_seconds: tuple[float, ...] = ()
    interrupted: bool = False
    gave_up: bool = False
    out_of_time: bool = False
    started_at: str = ""
    clock_offset: float = 0.0
    stage_starts: tuple[float, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Bounds of a run. Requests under way when max_seconds has passed may still end, each within its own timeout.

    request_timeout_seconds  one request, from connecting to its last byte; stalls between events included
    silence_seconds   the longest time without a byte inside one answer; None: only the timeout above counts
    max_in_flight     open loop: requests under way at once; more are recorded as client_limit and not sent
    give_up_after     end when so many requests have ended and not one succeeded (0: never)
    """

    max_seconds: float
    request_timeout_seconds: float = 30.0
    silence_seconds: float | None = None
    max_in_flight: int = 1000
    give_up_after: int = 0


def lateness_of(records: Iterable[RequestRecord]) -> tuple[float, ...]:
    """Return how late each request was sent by the client's own doing: after its schedule in an open loop, in a closed
    one after the answer before it of the same user in the same stage."""
    late = []
    before: dict[tuple[int, int], RequestRecord] = {}
    for record in sorted(records, key=lambda one: one.started):
        if record.error == CLIENT_LIMIT:
            continue
        if record.scheduled is not None:
            late.append(record.started - record.scheduled)
        elif record.user is not None:
            last = before.get((record.user, record.stage))
            if last is not None and last.error is None:  # after a failure it waits on purpose
                late.append(max(0.0, record.started - last.ended))
            before[record.user, record.stage] = record
    return tuple(late)


def closed_plan(users: int, requests: int | None = None, seconds: float | None = None, seed: int = 1) -> dict[str, Any]:
    """Return the load plan of one closed-loop stage."""
    return {"mode": "closed", "stages": [stage(users=users, requests=requests, seconds=seconds)], "seed": seed}


def open_plan(
    rate_per_second: float,
    requests: int | None = None,
    seconds: float | None = None,
    arrivals: str = "poisson",
    seed: int = 1,
) -> dict[str, Any]:
    """Return the load plan of one open-loop stage."""
    one = stage(rate_per_second=rate_per_second, requests=requests, seconds=seconds, arrivals=arrivals)
    return {"mode": "open", "stages": [one], "seed": seed}


def stage(
    users: int | None = None,
    rate_per_second: float | None = None,
    requests: int | None = None,
    seconds: float | None = None,
    arrivals: str = "poisson",
) -> dict[str, Any]:
    """Return one stage of a load plan; it ends at `requests` issued or `seconds`, whichever comes first."""
    return {
        "seconds": seconds,
        "requests": requests,
        "users": users,
        "rate_per_second": rate_per_second,
        "arrivals": arrivals,
    }
