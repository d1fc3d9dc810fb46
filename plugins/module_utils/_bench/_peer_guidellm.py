# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""GuideLLM's `guidellm run` (its command line since 0.7): its scenario file, and its JSON result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_common import (
    Command,
    PeerAsk,
    PeerError,
    PeerRecords,
    error_kind,
    read_json,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import INTERRUPTED, RequestRecord

TOOL = "guidellm"
TESTED = ("0.8.1",)
RESULT = "guidellm.json"
SCENARIO = "scenario.json"
_ROUTES = {"openai_chat": "/v1/chat/completions", "openai_completions": "/v1/completions"}


def command(ask: PeerAsk) -> Command:
    """Return how it is started. Its settings read the key from the environment."""
    if ask.rate_per_second is None:
        profile: dict[str, Any] = {"kind": "concurrent", "streams": ask.users}
    else:
        profile = {"kind": ask.arrivals, "rate": ask.rate_per_second}
    spec = {
        "backend": {
            "kind": "openai_http",
            "target": ask.url,
            "model": ask.model,
            "request_format": _ROUTES[ask.api],
            "timeout": ask.request_timeout_seconds,
            "verify": True,
            "follow_redirects": False,
            "validate_backend": False,
            "extras": {"body": {"temperature": 0, **ask.extra_body}},
        },
        "tokenizer": {"kind": "huggingface_auto", "model": ask.tokenizer},
        "data": [{"kind": "synthetic_text", "prompt_tokens": ask.prompt_tokens, "output_tokens": ask.output_tokens}],
        "profile": profile,
        "constraints": [{"kind": "max_requests", "count": ask.requests}],
        "seed": {"kind": "static", "value": ask.seed},
        "outputs": [{"kind": "json", "path": f"{ask.directory}/{RESULT}"}],
    }
    environment = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    if ask.api_key:
        environment["GUIDELLM__SPEC__BACKEND__API_KEY"] = ask.api_key
    argv = (ask.program, "run", "--config", f"{ask.directory}/{SCENARIO}", "--disable-console")
    return Command(argv, environment, RESULT, {SCENARIO: json.dumps({"spec": spec})})


def parse(text: str, ask: PeerAsk) -> PeerRecords:
    """Return the records of a result file, in the order in which they were sent."""
    found = read_json(text, TOOL, RESULT)
    try:
        kinds = found["benchmarks"][0]["requests"]
        entries = [(kind, entry) for kind in ("successful", "errored", "incomplete") for entry in kinds[kind] or []]
        entries = [pair for pair in entries if pair[1]["info"]["timings"]["request_start"] is not None]
        entries.sort(key=lambda pair: pair[1]["info"]["timings"]["request_start"])
        if not entries:
            return PeerRecords((), None)
        open_loop = ask.rate_per_second is not None
        begin = min(_begin(entry["info"]["timings"], open_loop) for _kind, entry in entries)
        records = [_record(number, kind, entry, begin, open_loop) for number, (kind, entry) in enumerate(entries)]
    except (KeyError, IndexError, TypeError) as exc:
        why = f"{TOOL}: {RESULT} is not as expected ({type(exc).__name__}: {exc})"
        raise PeerError(f"{why}; use one of {', '.join(TESTED)}") from exc
    return PeerRecords(tuple(records), begin)


def _begin(times: Mapping[str, Any], open_loop: bool) -> float:
    due = times["targeted_start"] if open_loop else None
    started: float = times["request_start"]
    return started if due is None else min(due, started)


def _record(number: int, kind: str, entry: Mapping[str, Any], begin: float, open_loop: bool) -> RequestRecord:
    times = entry["info"]["timings"]
    start, first, last = times["request_start"], times["first_token_iteration"], times["last_token_iteration"]
    due = times["targeted_start"] if open_loop else None
    error = None
    if kind == "incomplete":
        error = INTERRUPTED
    elif kind == "errored" or first is None or last is None:
        error = error_kind(str(entry["info"].get("error") or ""))
    good = error is None
    return RequestRecord(
        number,
        0,
        None,
        None if due is None else due - begin,
        start - begin,
        (times["request_end"] or start) - begin,
        error,
        ttft_seconds=first - start if good else None,
        e2el_seconds=last - start if good else None,
        prompt_tokens=entry["prompt_tokens"] if good else None,
        output_tokens=entry["output_tokens"] if good else None,
        token_source="usage" if good else "none",
        cached_tokens=entry["cached_tokens"] if good else None,
    )
