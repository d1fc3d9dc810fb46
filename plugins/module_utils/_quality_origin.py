# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Where an answer came from, as far as that decides its words: engine, version, model files, number formats.

Two releases with the same origin must answer word for word alike. With another origin they need not: another engine
sums in another order, and a greedy choice between two near-equal words falls the other way.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex

_KEYS = ("engine", "engine_version", "model", "model_revision", "model_manifest_sha256", "model_entry")
# What a report may say of an origin.
TOLD_KEYS = ("engine", "engine_version", "model", "model_revision")

# Options that do not change the words of one answer at a time: room, queues, times, logs. All others count as part of
# the origin, also those that nobody has thought of yet. A unit test holds the names equal to the engines' own.
WORDLESS_OPTIONS: dict[str, tuple[str, ...]] = {
    "llamacpp": (
        "context_tokens", "parallel_requests", "http_threads", "fit_to_memory", "load_mode", "numa",
        "continuous_batching", "prompt_cache", "prompt_cache_ram_mebibytes", "warmup", "request_timeout_seconds",
        "log_verbosity",
    ),
    "vllm": (
        "max_model_len", "max_num_seqs", "gpu_memory_utilization", "kv_cache_memory_bytes", "cpu_kv_cache_gibibytes",
        "allowed_media_domains", "shutdown_timeout_seconds", "log_level",
    ),
    "ollama": (
        "context_tokens", "parallel_requests", "max_queue", "max_loaded_models", "keep_alive_seconds",
        "load_timeout_seconds",
    ),
}  # fmt: skip


def origin_of(description: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the origin of a release's answers, None when the release is not known."""
    if not description:
        return None
    wordless = WORDLESS_OPTIONS.get(str(description.get("engine")), ())
    config = {key: value for key, value in (description.get("config") or {}).items() if key not in wordless}
    return {**{key: description.get(key) for key in _KEYS}, "config": config}


def origin_id(origin: dict[str, Any]) -> str:
    """Return the name under which the answers of an origin are stored."""
    return sha256_hex(canonical_json(origin))[:12]


def told(origin: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what a report says of an origin."""
    return {key: origin.get(key) for key in TOLD_KEYS} if origin else None


def compare_mode(wanted: str, asked: dict[str, Any] | None, recorded: dict[str, Any] | None) -> str:
    """Return exact or checks: whether the words must be those that were recorded.

    With auto they must, unless it is known that the answers come from different origins.
    """
    if wanted != "auto":
        return wanted
    return "checks" if asked is not None and recorded is not None and asked != recorded else "exact"
