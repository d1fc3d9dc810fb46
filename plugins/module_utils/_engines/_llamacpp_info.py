# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""llama.cpp's server: what its pages mean. Seen on build b11669 (Debian 0.7.0); older names where they differ."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.module_utils._metrics_text import Sample, parse_metrics, total

NAME = "llamacpp"

# Normalised key -> name on /metrics. /metrics is there only with --metrics, and behind the key when one is set.
# "cached" appeared after the others; the KV cache's ratio went away. A missing name is None, not an error.
METRICS = {
    "requests_running": "llamacpp:requests_processing",
    "requests_waiting": "llamacpp:requests_deferred",
    "prompt_tokens_total": "llamacpp:prompt_tokens_total",
    "prompt_tokens_cached_total": "llamacpp:prompt_tokens_cached_total",
    "prompt_seconds_total": "llamacpp:prompt_seconds_total",
    "generated_tokens_total": "llamacpp:tokens_predicted_total",
    "generation_seconds_total": "llamacpp:tokens_predicted_seconds_total",
    "prompt_tokens_per_second": "llamacpp:prompt_tokens_seconds",
    "generated_tokens_per_second": "llamacpp:predicted_tokens_seconds",
    "kv_cache_used_share": "llamacpp:kv_cache_usage_ratio",
}
COUNTS = frozenset(key for key in METRICS if key.endswith("_total") and "seconds" not in key) | {
    "requests_running",
    "requests_waiting",
}


def probe(fetch: Callable[[str], Answer]) -> dict[str, Any]:
    """Ask /health first and the other pages only when it is ready: a server that loads answers nothing else."""
    status, detail = health(fetch("/health"))
    found: dict[str, Any] = {"status": status, "detail": detail, "version": None, "served_models": [], "metrics": {}}
    if status != "ready":
        return found
    notes = []
    models = fetch("/v1/models")
    found["served_models"] = served_models(models.json()) if models.status == 200 else []
    if not found["served_models"]:
        notes.append(f"/v1/models named no model ({_said(models)})")
    props = fetch("/props")
    if props.status == 200:
        found["version"] = version(props.json())
        slots = _slots(props.json())
        found["metrics"]["requests_max"] = slots
    else:
        notes.append(f"/props gave no version ({_said(props)}; with a key set, give api_key)")
    page = fetch("/metrics")
    if page.status == 200:
        found["metrics"].update(metrics(parse_metrics(page.body.decode("utf-8", "replace"))))
    else:
        notes.append(f"/metrics gave nothing ({_said(page)}; start the server with --metrics, and give api_key)")
    found["detail"] = "; ".join(notes)
    return found


def health(answer: Answer) -> tuple[str, str]:
    """Return (ready, loading or dead; why) for the answer of /health."""
    if answer.status == 200:
        return "ready", ""
    if answer.status == 503:
        return "loading", "the server answers and is still loading its model"
    if answer.status is not None:
        return (
            "dead",
            f"/health answered {answer.status}, which this engine never does; is another program on this port?",
        )
    if answer.error == "timeout":
        return "dead", f"/health: {answer.detail}; the process hangs or the machine is overloaded"
    return "dead", f"/health: {answer.detail}"


def served_models(models: Any) -> list[str]:
    """Return the ids of /v1/models, with their aliases, each once."""
    names: list[str] = []
    data = models.get("data") if isinstance(models, dict) else None
    for entry in data if isinstance(data, list) else []:
        if isinstance(entry, dict):
            aliases = entry.get("aliases")
            for name in [entry.get("id"), *(aliases if isinstance(aliases, list) else [])]:
                if isinstance(name, str) and name and name not in names:
                    names.append(name)
    return names


def version(props: Any) -> str | None:
    """Return the build that runs, such as b11669-Debian. It is the build's number, not the package's version."""
    build = props.get("build_info") if isinstance(props, dict) else None
    return build if isinstance(build, str) and build else None


def metrics(samples: list[Sample]) -> dict[str, float | None]:
    """Return the normalised metrics of this engine; counts are whole numbers."""
    values: dict[str, float | None] = {}
    for key, name in METRICS.items():
        value = total(samples, name)
        values[key] = int(value) if value is not None and key in COUNTS else value
    return values


def _slots(props: Any) -> int | None:
    slots = props.get("total_slots") if isinstance(props, dict) else None
    return slots if isinstance(slots, int) else None


def _said(answer: Answer) -> str:
    return f"HTTP {answer.status}" if answer.status is not None else answer.detail
