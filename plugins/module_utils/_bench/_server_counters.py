# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The server's own counters before and after a run, and what they say about ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import tokens_of
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import RequestRecord
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._engine_info import engine_info

# What only ever rises while a server runs.
COUNTERS = (
    "requests_finished_total",
    "prompt_tokens_total",
    "prompt_tokens_cached_total",
    "generated_tokens_total",
    "preemptions_total",
    "ttft_seconds_sum",
    "ttft_seconds_count",
)
GAUGES = ("requests_running", "requests_waiting", "kv_cache_used_share")
ASK_SECONDS = 3.0
# A server counts a request a moment after its last byte.
SETTLE_SECONDS = 2.0
_SETTLE_STEP_SECONDS = 0.2

Metrics = Mapping[str, Any]


def read_metrics(engine: str, endpoint: Endpoint) -> dict[str, Any] | None:
    """Return the normalised metrics of a server and its version; None when it gives none (Ollama has none)."""
    info = engine_info(engine, endpoint, ASK_SECONDS)
    values = {name: info["metrics"].get(name) for name in (*COUNTERS, *GAUGES)}
    if all(value is None for value in values.values()):
        return None
    return {**values, "version": info["version"]}


def read_settled(
    read: Callable[[], dict[str, Any] | None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any] | None:
    """Return the metrics once nothing runs or waits and the count stands still, or those after SETTLE_SECONDS."""
    end = clock() + SETTLE_SECONDS
    before = read()
    while before is not None and clock() < end:
        sleep(_SETTLE_STEP_SECONDS)
        now = read()
        busy = now is not None and ((now["requests_running"] or 0) + (now["requests_waiting"] or 0)) > 0
        if not busy and now is not None and now["generated_tokens_total"] == before["generated_tokens_total"]:
            return now
        before = now
    return before


def rise(before: Metrics | None, after: Metrics | None) -> dict[str, Any] | None:
    """Return by how much each counter rose; None for one that the server lacks. None when a page is missing."""
    if before is None or after is None:
        return None
    found: dict[str, Any] = {}
    for name in COUNTERS:
        first, last = before.get(name), after.get(name)
        found[name] = None if first is None or last is None else round(last - first, 6)
    return found


def went_back(delta: Metrics | None) -> bool:
    """Tell whether a counter fell: the server was started anew meanwhile."""
    return any(value is not None and value < 0 for value in (delta or {}).values())


def compare_counts(delta: Metrics | None, records: Sequence[RequestRecord]) -> dict[str, Any] | None:
    """Return the server's counts beside ours; `foreign_*` is what the server did beyond what we can account for.

    Of a failed request it is not known how many tokens the server made, so the longest answer seen is allowed for each.
    """
    if delta is None:
        return None
    good = [record for record in records if record.error is None]
    failed = len(records) - len(good)
    tokens = sum(tokens_of(record) for record in good)
    slack = failed * max((tokens_of(record) for record in good), default=0)
    requests = delta.get("requests_finished_total")
    generated = delta.get("generated_tokens_total")
    prompts, cached = delta.get("prompt_tokens_total"), delta.get("prompt_tokens_cached_total")
    return {
        "requests": requests,
        "requests_ours": len(good),
        "requests_foreign": None if requests is None else max(0, requests - len(records)),
        "generated_tokens": generated,
        "generated_tokens_ours": tokens,
        "generated_tokens_foreign": None if generated is None else max(0, generated - tokens - slack),
        "generated_tokens_missing": None if generated is None else max(0, tokens - generated),
        "prefix_cache_hit_share": _cache_share(prompts, cached, good),
    }


def _cache_share(prompts: float | None, cached: float | None, good: Sequence[RequestRecord]) -> float | None:
    """Return the share of prompt tokens that the server had in its cache, by its counters or by what answers said."""
    if prompts and cached is not None:
        return round(min(1.0, cached / prompts), 4)
    told = [record for record in good if record.cached_tokens is not None and record.prompt_tokens]
    if not told:
        return None
    return round(
        sum(record.cached_tokens or 0 for record in told) / sum(record.prompt_tokens or 0 for record in told), 4
    )


def mean_ttft(delta: Metrics | None) -> float | None:
    """Return the server's own mean time to first token over the run; None when it does not tell."""
    if not delta or not delta.get("ttft_seconds_count") or delta.get("ttft_seconds_sum") is None:
        return None
    return round(delta["ttft_seconds_sum"] / delta["ttft_seconds_count"], 6)
