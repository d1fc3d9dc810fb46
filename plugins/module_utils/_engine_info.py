# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a running model server says about itself, in one shape for all engines.

An engine is one file in _engines with NAME and probe(); add it to ENGINES and it is known everywhere.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._engines import _llamacpp_info, _ollama_info, _vllm_info
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer, request

Fetch = Callable[[str], Answer]

ENGINES: dict[str, Callable[[Fetch], dict[str, Any]]] = {
    _llamacpp_info.NAME: _llamacpp_info.probe,
    _ollama_info.NAME: _ollama_info.probe,
    _vllm_info.NAME: _vllm_info.probe,
}

# Engines that open their port only when the model is loaded: (host, port) -> whether a process here is to serve there.
LOADING_HERE: dict[str, Callable[[str, int], bool]] = {_vllm_info.NAME: _vllm_info.loading_here}

# The normalised dictionary: every engine gives every key, None where it does not tell.
METRIC_KEYS = (
    "requests_running",
    "requests_waiting",
    "requests_max",
    "requests_finished_total",
    "prompt_tokens_total",
    "prompt_tokens_cached_total",
    "prompt_seconds_total",
    "generated_tokens_total",
    "generation_seconds_total",
    "prompt_tokens_per_second",
    "generated_tokens_per_second",
    "kv_cache_used_share",
    "preemptions_total",
    "ttft_seconds_sum",
    "ttft_seconds_count",
)


class UnknownEngine(ValueError):
    """The engine has no file in _engines."""


def engine_info(engine: str, endpoint: Endpoint, timeout_seconds: float) -> dict[str, Any]:
    """Return engine, version, status, detail, served_models, queue_depth, in_flight and metrics.

    `status` is ready, loading or dead. All requests together take at most timeout_seconds.
    """
    end = time.perf_counter() + timeout_seconds
    info = collect(engine, lambda path: request(endpoint, path, end - time.perf_counter()))
    loading_here = LOADING_HERE.get(engine)
    closed = info["status"] == "dead" and "ConnectionRefusedError" in info["detail"]
    if closed and loading_here and loading_here(endpoint.host, endpoint.port):
        info.update(status="loading", detail=f"its process runs and loads the model ({info['detail']})")
    return info


def collect(engine: str, fetch: Fetch) -> dict[str, Any]:
    """Ask through `fetch` (path -> Answer) and return the normalised information."""
    probe = ENGINES.get(engine)
    if probe is None:
        raise UnknownEngine(f"engine: {engine!r} is not known; use one of: {', '.join(sorted(ENGINES))}")
    found = probe(fetch)
    metrics: dict[str, float | None] = {key: found["metrics"].get(key) for key in METRIC_KEYS}
    return {
        "engine": engine,
        "version": found["version"],
        "status": found["status"],
        "detail": found["detail"],
        "served_models": found["served_models"],
        "queue_depth": metrics["requests_waiting"],
        "in_flight": metrics["requests_running"],
        "metrics": metrics,
    }
