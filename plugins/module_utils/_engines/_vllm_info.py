# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""vLLM's server: what its pages mean. Seen on version 0.32.0; older names where they differ."""

from __future__ import annotations

import os
import socket
from typing import Any, Callable

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.module_utils._metrics_text import Sample, parse_metrics, total

NAME = "vllm"

# Normalised key -> names on /metrics, the newest first. A missing name is None, not an error. prompt_seconds_total and
# generation_seconds_total are seconds of an engine; this one tells seconds of requests, which overlap, so it has none.
METRICS: dict[str, tuple[str, ...]] = {
    "requests_running": ("vllm:num_requests_running",),
    "requests_waiting": ("vllm:num_requests_waiting",),
    "requests_finished_total": ("vllm:request_success_total",),
    "prompt_tokens_total": ("vllm:prompt_tokens_total",),
    "prompt_tokens_cached_total": ("vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total"),
    "generated_tokens_total": ("vllm:generation_tokens_total",),
    "preemptions_total": ("vllm:num_preemptions_total",),
    "ttft_seconds_sum": ("vllm:time_to_first_token_seconds_sum",),
    "ttft_seconds_count": ("vllm:time_to_first_token_seconds_count",),
    "kv_cache_used_share": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
}
COUNTS = frozenset(key for key in METRICS if key.endswith(("_total", "_count"))) | {
    "requests_running",
    "requests_waiting",
}


def probe(fetch: Callable[[str], Answer]) -> dict[str, Any]:
    """Ask /health first and the other pages only when it is ready."""
    status, detail = health(fetch("/health"))
    found: dict[str, Any] = {"status": status, "detail": detail, "version": None, "served_models": [], "metrics": {}}
    if status != "ready":
        return found
    notes = []
    page = fetch("/version")
    found["version"] = version(page.json()) if page.status == 200 else None
    if found["version"] is None:
        notes.append(f"/version gave none ({_said(page)})")
    models = fetch("/v1/models")
    found["served_models"] = served_models(models.json()) if models.status == 200 else []
    if not found["served_models"]:
        notes.append(f"/v1/models named no model ({_said(models)}; with a key set, give api_key)")
    page = fetch("/metrics")
    if page.status == 200:
        found["metrics"] = metrics(parse_metrics(page.body.decode("utf-8", "replace")))
    else:
        notes.append(f"/metrics gave nothing ({_said(page)})")
    found["detail"] = "; ".join(notes)
    return found


def health(answer: Answer) -> tuple[str, str]:
    """Return (ready, loading or dead; why) for the answer of /health.

    The engine opens its port only when the model is loaded: a closed port alone does not tell loading from dead.
    """
    if answer.status == 200:
        return "ready", ""
    if answer.status == 503:
        return "dead", "the engine behind the server has died; the server ends by itself and is started again"
    if answer.status is not None:
        return (
            "dead",
            f"/health answered {answer.status}, which this engine never does; is another program on this port?",
        )
    if answer.error == "timeout":
        return "dead", f"/health: {answer.detail}; the process hangs or the machine is overloaded"
    return "dead", f"/health: {answer.detail}"


def loading_here(host: str, port: int, proc: str = "/proc") -> bool:
    """Tell whether a process of this machine was started to serve there. Its port stays closed while it loads."""
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe_socket:
            probe_socket.bind(address)  # works for an address of this machine only
        processes = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return False
    for process in processes:
        try:
            with open(os.path.join(proc, process, "cmdline"), "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"serve" in words and any(word.endswith(b"/bin/vllm") for word in words[:3]):
            at = words.index(b"--port") + 1 if b"--port" in words else len(words)
            if words[at : at + 1] == [str(port).encode("ascii")]:
                return True
    return False


def served_models(models: Any) -> list[str]:
    """Return the ids of /v1/models, each once."""
    names: list[str] = []
    data = models.get("data") if isinstance(models, dict) else None
    for entry in data if isinstance(data, list) else []:
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and name and name not in names:
            names.append(name)
    return names


def version(page: Any) -> str | None:
    """Return the version that runs, such as 0.32.0."""
    found = page.get("version") if isinstance(page, dict) else None
    return found if isinstance(found, str) and found else None


def metrics(samples: list[Sample]) -> dict[str, float | None]:
    """Return the normalised metrics of this engine; counts are whole numbers."""
    values: dict[str, float | None] = {}
    for key, names in METRICS.items():
        value = next((found for found in (total(samples, name) for name in names) if found is not None), None)
        values[key] = int(value) if value is not None and key in COUNTS else value
    return values


def _said(answer: Answer) -> str:
    return f"HTTP {answer.status}" if answer.status is not None else answer.detail
