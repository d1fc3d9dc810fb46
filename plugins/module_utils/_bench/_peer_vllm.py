# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""vLLM's `vllm bench serve`: its command line, and its result file of --save-detailed."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_common import (
    Command,
    PeerAsk,
    PeerError,
    PeerRecords,
    coalesced,
    error_kind,
    read_json,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import RequestRecord

TOOL = "vllm_bench"
TESTED = ("0.32.0",)
RESULT = "vllm.json"
_ROUTES = {
    "openai_chat": ("openai-chat", "/v1/chat/completions"),
    "openai_completions": ("openai", "/v1/completions"),
}
_LISTS = ("start_times", "ttfts", "itls", "latencies", "input_lens", "output_lens", "errors")


def command(ask: PeerAsk) -> Command:
    """Return how it is started. It reads the key from OPENAI_API_KEY."""
    backend, route = _ROUTES[ask.api]
    argv = [ask.program, "bench", "serve", "--backend", backend, "--base-url", ask.url, "--endpoint", route]
    argv += ["--model", ask.model, "--tokenizer", ask.tokenizer, "--dataset-name", "random"]
    argv += ["--random-input-len", str(ask.prompt_tokens), "--random-output-len", str(ask.output_tokens)]
    argv += ["--num-prompts", str(ask.requests), "--seed", str(ask.seed), "--temperature", "0"]
    argv += ["--num-warmups", "0", "--ready-check-timeout-sec", "0", "--disable-tqdm"]
    argv += ["--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result", "--save-detailed"]
    argv += ["--result-dir", ask.directory, "--result-filename", RESULT]
    if ask.rate_per_second is None:
        argv += ["--max-concurrency", str(ask.users)]
    else:
        argv += ["--request-rate", f"{ask.rate_per_second:g}", "--burstiness", "1.0"]
    if ask.ignore_eos:
        argv.append("--ignore-eos")
    if ask.extra_body:
        argv += ["--extra-body", json.dumps(ask.extra_body, sort_keys=True)]
    environment = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if ask.api_key:
        environment["OPENAI_API_KEY"] = ask.api_key
    return Command(tuple(argv), environment, RESULT)


def parse(text: str, _ask: PeerAsk) -> PeerRecords:
    """Return the records of a result file. It does not say when a request was due, and starts at no date."""
    found = read_json(text, TOOL, RESULT)
    lists = [found.get(name) if isinstance(found, dict) else None for name in _LISTS]
    if not all(isinstance(values, list) for values in lists) or len({len(values) for values in lists if values}) > 1:
        raise PeerError(f"{TOOL}: {RESULT} lacks one of {', '.join(_LISTS)}; use one of {', '.join(TESTED)}")
    rows: list[tuple[Any, ...]] = sorted(zip(*[values or [] for values in lists]), key=lambda row: row[0])
    begin = rows[0][0] if rows else 0.0
    return PeerRecords(tuple(_record(number, begin, *row) for number, row in enumerate(rows)), None)


def _record(
    number: int,
    begin: float,
    start: float,
    ttft: float,
    gaps: list[float],
    latency: float,
    prompt: int,
    tokens: int,
    error: str,
) -> RequestRecord:
    started = start - begin
    if error or not ttft:
        # how long it lasted is not said of a failure
        return RequestRecord(number, 0, None, None, started, started, error_kind(error))
    return RequestRecord(
        number,
        0,
        None,
        None,
        started,
        started + latency,
        None,
        ttft_seconds=ttft,
        e2el_seconds=latency,
        gaps_seconds=tuple(gaps),
        coalesced_gaps=coalesced(gaps),
        token_events=len(gaps) + 1,
        prompt_tokens=prompt,
        output_tokens=tokens,
        token_source="usage",
    )
