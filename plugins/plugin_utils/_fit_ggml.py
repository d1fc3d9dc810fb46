# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Does a model fit: llama.cpp, and Ollama, which runs on the same library. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils import _fit_kv as kv
from ansible_collections.local_llm.ops.plugins.plugin_utils import _fit_overhead as overhead
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_overhead import GIB, MIB, gib
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_result import Fit, gpu_bytes

# Ollama chooses a context by the memory of all GPUs when none is set: (from this many bytes, tokens).
OLLAMA_CONTEXTS = ((47 * GIB, 262144), (23 * GIB, 32768), (0, 4096))
_SPILLS = "The engine would still start: it would keep part of the model in RAM, which is several times slower."


@dataclass(frozen=True)
class Settings:
    """The settings of an engine on ggml that decide about memory, with the names that users give them."""

    context_name: str
    parallel_name: str
    context_tokens: int
    parallel: int
    key_type: str = "f16"
    value_type: str = "f16"
    batch_tokens: int = 512
    flash: bool = True
    full_window: bool = False
    gpu_layers: Any = "all"
    split_mode: str = "layer"
    main_gpu: int = 0
    cache_ram_bytes: int = 0
    gpu_reserve_bytes: int = 0
    spills: bool = False


@dataclass(frozen=True)
class Room:
    """Where weights and cache go: bytes for both together, and what was taken off before."""

    place: str
    devices: int
    available_bytes: int
    overhead_bytes: int
    # Of weights and cache, `whole` in `part` may be used: layers cannot be cut.
    whole: int = 1
    part: int = 1

    @property
    def budget_bytes(self) -> int:
        """Bytes for weights, cache and what grows with the context."""
        return max(0, self.available_bytes - self.overhead_bytes) * self.whole // self.part


def llamacpp_settings(config: Mapping[str, Any]) -> Settings:
    """Return the settings of llama.cpp from a completed configuration."""
    extra = config.get("extra_arguments") or []
    return Settings(
        "context_tokens",
        "parallel_requests",
        int(config["context_tokens"]),
        int(config["parallel_requests"]),
        config.get("cache_type_k", "f16"),
        config.get("cache_type_v", "f16"),
        int(config.get("ubatch_tokens", 512)),
        config.get("flash_attention", "auto") != "off",
        "--swa-full" in extra,
        config.get("gpu_layers", "all"),
        config.get("split_mode", "layer"),
        int(config.get("main_gpu", 0)),
        int(config.get("prompt_cache_ram_mebibytes") or 0) * MIB,
        spills=config.get("gpu_layers") == "auto",
    )


def ollama_settings(
    config: Mapping[str, Any], model: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]
) -> tuple[Settings, str]:
    """Return the settings of Ollama, and a word about a context that it chooses itself."""
    context_name = "num_ctx" if "num_ctx" in config else "context_tokens"
    parallel_name = "num_parallel" if "num_parallel" in config else "parallel_requests"
    tokens, word = int(config.get(context_name) or 0), ""
    if not tokens:
        total = sum(int(gpu["total_bytes"]) for gpu in gpus)
        tokens = next(count for least, count in OLLAMA_CONTEXTS if total >= least)
        tokens = min(tokens, model["max_context_tokens"] or tokens)
        word = f"{context_name} is not set: with {gib(total)} of GPU memory the engine takes {tokens} tokens."
    cache = str(config.get("kv_cache_type") or "f16")
    return Settings(
        context_name,
        parallel_name,
        tokens,
        int(config.get(parallel_name) or 1),
        cache,
        cache,
        int(config.get("num_batch") or 512),
        config.get("flash_attention") not in (False, "off"),
        gpu_layers=config.get("gpu_layers", "auto"),
        gpu_reserve_bytes=int(config.get("gpu_overhead_bytes") or 0),
        spills=True,
    ), word


def _gpu_room(
    model: Mapping[str, Any], settings: Settings, gpus: Sequence[Mapping[str, Any]], fit: Fit
) -> tuple[Room, int]:
    """Return the room on the GPUs, and the weights that do not count there."""
    each, reason = overhead.ggml_gpu_overhead(model, settings.batch_tokens)
    each += settings.gpu_reserve_bytes
    fit.reasons.append(reason)
    sizes = [gpu_bytes(gpu) for gpu in gpus]
    if settings.split_mode == "none" or len(sizes) == 1:
        number = settings.main_gpu if settings.split_mode == "none" else 0
        return Room(f"GPU {number}", 1, sizes[number], each), 0
    count = len(sizes)
    if settings.split_mode == "row":
        fit.reasons.append(f"split_mode row: the cache is on GPU {settings.main_gpu} alone, the weights on all.")
        elsewhere = fit.weights_bytes - -(-fit.weights_bytes // count) if fit.weights_bytes else 0
        return Room(f"GPU {settings.main_gpu}", 1, sizes[settings.main_gpu], each), elsewhere
    fit.reasons.append(f"Layers are not cut: each of the {count} GPUs may hold one layer more than its share.")
    layers = int(model["layers"])
    return Room(f"{count} GPUs", count, sum(sizes), each * count, layers, layers + count - 1), 0


def ggml_fit(
    model: Mapping[str, Any],
    settings: Settings,
    gpus: Sequence[Mapping[str, Any]],
    ram_total_bytes: int | None,
    fit: Fit,
) -> Fit:
    """Work out one model on one host."""
    fit.weights_bytes = int(model["weights_bytes"])
    for kind in (settings.key_type, settings.value_type):
        if kind not in kv.GGML_BYTES:
            return fit.unknown(f"The size of the cache type {kind!r} is not known.")
    shape = kv.ggml_shape(model, settings.key_type, settings.value_type, settings.batch_tokens, settings.full_window)
    layers = int(model["layers"])
    on_gpu = layers if not isinstance(settings.gpu_layers, int) else min(layers, settings.gpu_layers)
    elsewhere = 0
    if gpus and on_gpu:
        if settings.split_mode != "layer" and settings.main_gpu >= len(gpus):
            return fit.unknown(f"main_gpu = {settings.main_gpu}: the instance has {len(gpus)} GPU(s).")
        room, elsewhere = _gpu_room(model, settings, gpus, fit)
        if on_gpu < layers:
            fit.reasons.append(
                f"gpu_layers = {settings.gpu_layers}: {layers - on_gpu} of {layers} layers stay in RAM, which is slow."
            )
            elsewhere += (fit.weights_bytes - elsewhere) * (layers - on_gpu) // layers
            shape = replace(
                shape,
                full_bytes=-(-shape.full_bytes * on_gpu // layers),
                sliding_bytes=-(-shape.sliding_bytes * on_gpu // layers),
            )
    elif ram_total_bytes:
        total, reason = overhead.ggml_cpu_overhead(model, settings.batch_tokens, settings.cache_ram_bytes)
        fit.reasons.append(reason)
        room = Room("RAM", 1, int(ram_total_bytes), total)
    else:
        return fit.unknown("The instance has no GPU, and the host's RAM is not known.")
    _answer(model, settings, room, shape, elsewhere, fit)
    if gpus and on_gpu and settings.cache_ram_bytes:
        fit.reasons.append(f"The prompt cache takes up to {gib(settings.cache_ram_bytes)} of RAM besides.")
    if fit.fits is False and settings.spills and room.place != "RAM":
        fit.warnings.append(_SPILLS)
    return fit


def _answer(
    model: Mapping[str, Any], settings: Settings, room: Room, shape: kv.KvShape, elsewhere: int, fit: Fit
) -> None:
    """Compare what is needed with the room, and find the nearest settings that fit."""
    tokens, parallel = settings.context_tokens, settings.parallel
    per_context = room.devices * overhead.ggml_context_bytes(
        model, settings.batch_tokens, settings.flash, 4 if room.devices > 1 else 1
    )
    weights = int(fit.weights_bytes or 0) - elsewhere

    def everything(requests: int) -> kv.KvShape:
        """Cache of all requests, and the buffers that grow with the context of one."""
        return replace(
            shape, full_bytes=shape.full_bytes * requests + per_context, sliding_bytes=shape.sliding_bytes * requests
        )

    cache = shape.request_bytes(tokens) * parallel
    growing = everything(parallel).request_bytes(tokens) - cache
    fit.place = room.place
    fit.kv_bytes_per_token = shape.bytes_per_token
    fit.kv_cache_bytes = cache
    fit.overhead_bytes = room.overhead_bytes + growing
    used = weights + cache + growing
    fit.needed_bytes = room.overhead_bytes + -(-used * room.part // room.whole)
    fit.available_bytes = room.available_bytes
    fit.fits = used <= room.budget_bytes
    fit.reasons.append(
        f"Weights {gib(weights)}, cache {gib(cache)} ({parallel} requests of {tokens} tokens, "
        f"{shape.bytes_per_token} bytes per token), together with the overhead {gib(fit.needed_bytes)} of "
        f"{gib(room.available_bytes)}."
    )
    if shape.sliding_bytes:
        fit.reasons.append(f"Sliding layers keep at most {shape.window_tokens} tokens of a request.")
    longest = model["max_context_tokens"]
    if longest and tokens > longest:
        fit.warnings.append(
            f"{settings.context_name} = {tokens}: the model was made for {longest} tokens and answers badly beyond."
        )
    fit.note_close()
    if fit.fits:
        return
    budget = room.budget_bytes - weights
    nearest: dict[str, Any] = {}
    most = everything(parallel).max_tokens(budget)
    if most:
        nearest[settings.context_name] = most
    buffers = everything(0).request_bytes(tokens)
    requests = (budget - buffers) // shape.request_bytes(tokens)
    if 1 <= requests < parallel:
        nearest[settings.parallel_name] = requests
    if not nearest and parallel > 1:
        most = everything(1).max_tokens(budget)
        if most:
            fit.warnings.append(
                f"It takes both settings: {settings.parallel_name} 1 and {settings.context_name} {most}."
            )
    fit.nearest = nearest or None
