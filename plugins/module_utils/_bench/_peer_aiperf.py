# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""AIPerf's `aiperf profile`: its configuration file, and its records in JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import INTERRUPTED, RequestRecord

TOOL = "aiperf"
TESTED = ("0.13.0",)
CONFIG = "aiperf.yaml"
ARTIFACTS = "artifacts"
RESULT = f"{ARTIFACTS}/profile_export.jsonl"
_TYPES = {"openai_chat": "chat", "openai_completions": "completions"}


def command(ask: PeerAsk) -> Command:
    """Return how it is started. Its configuration (JSON is YAML) only names the variable that holds the key."""
    if ask.rate_per_second is None:
        phase: dict[str, Any] = {"type": "concurrency", "concurrency": ask.users, "requests": ask.requests}
    else:
        phase = {"type": ask.arrivals, "rate": ask.rate_per_second, "requests": ask.requests}
    body: dict[str, Any] = {"temperature": 0, **ask.extra_body}
    if ask.ignore_eos:
        body["ignore_eos"] = True
    endpoint: dict[str, Any] = {
        "url": ask.url,
        "type": _TYPES[ask.api],
        "streaming": True,
        "timeout": ask.request_timeout_seconds,
        "use_server_token_count": True,
        "extra": body,
    }
    # Else a tokenizer in a directory is not loaded.
    environment = {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "", "DO_NOT_TRACK": "1"}
    if ask.api_key:
        endpoint["api_key"] = "${OPENAI_API_KEY}"
        environment["OPENAI_API_KEY"] = ask.api_key
    config = {
        "schemaVersion": "2.0",
        "randomSeed": ask.seed,
        "benchmark": {
            "model": ask.model,
            "endpoint": endpoint,
            "tokenizer": {"name": ask.tokenizer},
            "gpu_telemetry": {"enabled": False},
            "server_metrics": {"enabled": False},
            "artifacts": {"dir": f"{ask.directory}/{ARTIFACTS}", "summary": ["json"], "records": ["jsonl"]},
            "dataset": {
                "type": "synthetic",
                "entries": ask.requests,
                "prompts": {"isl": ask.prompt_tokens, "osl": ask.output_tokens},
            },
            "profiling": phase,
        },
    }
    argv = (ask.program, "profile", "--config", f"{ask.directory}/{CONFIG}", "--ui", "none")
    return Command(argv, environment, RESULT, {CONFIG: json.dumps(config)})


def parse(text: str, ask: PeerAsk) -> PeerRecords:
    """Return the records of its lines, in the order in which they were sent."""
    lines = [read_json(line, TOOL, f"a line of {RESULT}") for line in text.splitlines() if line.strip()]
    try:
        lines = [line for line in lines if line["metadata"]["benchmark_phase"] != "warmup"]
        lines.sort(key=lambda line: line["metadata"]["request_start_ns"])
        if not lines:
            return PeerRecords((), None)
        open_loop = ask.rate_per_second is not None
        first = "credit_issued_ns" if open_loop else "request_start_ns"
        begin = min(line["metadata"][first] for line in lines)
        records = [_record(number, line, begin, open_loop) for number, line in enumerate(lines)]
    except (KeyError, TypeError) as exc:
        why = f"{TOOL}: {RESULT} is not as expected ({type(exc).__name__}: {exc})"
        raise PeerError(f"{why}; use one of {', '.join(TESTED)}") from exc
    return PeerRecords(tuple(records), begin / 1e9)


def _record(number: int, line: Mapping[str, Any], begin: int, open_loop: bool) -> RequestRecord:
    about, metrics, failure = line["metadata"], line.get("metrics") or {}, line.get("error")
    started = (about["request_start_ns"] - begin) / 1e9
    due = (about["credit_issued_ns"] - begin) / 1e9 if open_loop else None
    ended = (about["request_end_ns"] - begin) / 1e9
    ttft, latency = _value(metrics, "time_to_first_token"), _value(metrics, "request_latency")
    error = None
    if about.get("was_cancelled"):
        error = INTERRUPTED
    elif failure or ttft is None or latency is None:
        failure = failure or {}
        code = failure.get("code")
        words = f"{failure.get('type') or ''} {failure.get('message') or ''}"
        error = error_kind(words, code if isinstance(code, int) else None)
    if error is not None or ttft is None or latency is None:
        return RequestRecord(number, 0, None, due, started, ended, error)
    gaps = tuple(gap / 1000 for gap in _value(metrics, "inter_chunk_latency") or ())
    prompt, output = _value(metrics, "usage_prompt_tokens"), _value(metrics, "usage_completion_tokens")
    return RequestRecord(
        number,
        0,
        None,
        due,
        started,
        ended,
        None,
        ttft_seconds=ttft / 1000,
        e2el_seconds=latency / 1000,
        gaps_seconds=gaps,
        coalesced_gaps=coalesced(gaps),
        token_events=len(gaps) + 1,
        prompt_tokens=None if prompt is None else int(prompt),
        output_tokens=None if output is None else int(output),
        token_source="events" if output is None else "usage",
    )


def _value(metrics: Mapping[str, Any], name: str) -> Any:
    """Return a metric in its own unit, or None."""
    entry = metrics.get(name)
    return entry["value"] if entry else None
