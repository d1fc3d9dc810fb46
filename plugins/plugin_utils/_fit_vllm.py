# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Does a model fit: vLLM. Pure.

vLLM takes a share of each GPU (gpu_memory_utilization), and gives to the cache what weights and overhead leave of it.
It refuses to start when one request of max_model_len does not fit into that cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils import _fit_kv as kv
from ansible_collections.local_llm.ops.plugins.plugin_utils import _fit_overhead as overhead
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_overhead import GIB, gib
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_result import Fit, gpu_bytes

UTILIZATION = 0.92
# On GPUs of at least this size vLLM takes larger batches on its own.
LARGE_GPU_BYTES = 70 * GIB
CPU_CACHE_BYTES = 4 * GIB
CPU_CACHE_OPTION = "cpu_kv_cache_gibibytes"
# Arguments that take memory which is not counted here.
_NOT_COUNTED = ("--speculative-config", "--enable-lora", "--limit-mm-per-prompt", "--enable-dbo")
_EMPTY = (None, "", 0)


def _cache_type(config: Mapping[str, Any], model: Mapping[str, Any]) -> kv.CacheType | None:
    name = str(config.get("kv_cache_dtype") or "auto")
    if name == "fp8_ds_mla":
        return kv.CacheType(Fraction(1), Fraction(1), 0, kv.FP8_DS_MLA_BYTES) if model["mla"] else None
    if name not in kv.VLLM_BYTES:
        return None
    size, per_head = kv.VLLM_BYTES[name]
    if name == "auto" and str(config.get("dtype") or "auto") in ("float32", "float"):
        size = Fraction(4)
    return kv.CacheType(size, size, per_head)


def loaded_bytes(model: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Return the weights in memory: 32-bit weights are loaded in 16 bits unless dtype says otherwise."""
    total, wide = int(model["weights_bytes"]), int(model["dtypes"].get("F32", 0))
    keeps = str(config.get("dtype") or "auto") in ("float32", "float")
    if model["format"] == "safetensors":
        narrow = sum(int(model["dtypes"].get(kind, 0)) for kind in ("BF16", "F16"))
        if keeps and model["quantisation"] is None:
            return total + narrow
        if not keeps and wide * 2 > total:
            return total - wide // 2
    return total


def _defaults(config: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]], tokens: int) -> tuple[int, int]:
    """Return max_num_batched_tokens and max_num_seqs, with what the engine fills in."""
    large = bool(gpus) and all(
        int(gpu["total_bytes"]) >= LARGE_GPU_BYTES and "A100" not in str(gpu.get("name")) for gpu in gpus
    )
    batched = config.get("max_num_batched_tokens")
    if batched in _EMPTY:
        batched = max(2048, 8192 if large else 2048, tokens if config.get("enable_chunked_prefill") is False else 0)
    requests = config.get("max_num_seqs")
    return int(batched or 0), int(requests if requests not in _EMPTY else (1024 if large else 256))


def _number_after(words: Sequence[str], flag: str) -> int | None:
    """Return the number given to a flag, as one word or two."""
    for number, word in enumerate(words):
        value = word[len(flag) + 1 :] if word.startswith(flag + "=") else ""
        if word == flag and number + 1 < len(words):
            value = words[number + 1]
        if value.isdigit() and int(value):
            return int(value)
    return None


def vllm_fit(
    model: Mapping[str, Any],
    config: Mapping[str, Any],
    gpus: Sequence[Mapping[str, Any]],
    ram_total_bytes: int | None,
    fit: Fit,
) -> Fit:
    """Work out one model on one host."""
    fit.weights_bytes = loaded_bytes(model, config)
    cache = _cache_type(config, model)
    if cache is None:
        return fit.unknown(f"The size of kv_cache_dtype {config.get('kv_cache_dtype')!r} is not known for this model.")
    wanted, chosen_by_engine = config.get("max_model_len"), False
    if wanted in (-1, "auto", "-1"):
        wanted, chosen_by_engine = 1, True
    tokens = int(wanted if wanted not in _EMPTY else model["max_context_tokens"] or 0)
    if not tokens:
        return fit.unknown("max_model_len is not set, and the model's files do not say its longest context.")
    tensor, pipeline = int(config.get("tensor_parallel_size") or 1), int(config.get("pipeline_parallel_size") or 1)
    devices = tensor * pipeline
    if gpus and devices > len(gpus):
        fit.fits, fit.place = False, f"{len(gpus)} GPU(s)"
        fit.refused_by = (f"tensor_parallel_size x pipeline_parallel_size = {devices}", f"at most {len(gpus)} GPU(s)")
        fit.reasons.append(
            f"tensor_parallel_size x pipeline_parallel_size = {devices}, but the instance has {len(gpus)} GPU(s)."
        )
        fit.nearest = {"tensor_parallel_size": max(1, len(gpus) // pipeline)} if pipeline <= len(gpus) else None
        return fit
    if model["attention_heads"] and int(model["attention_heads"]) % tensor:
        size = max(n for n in range(1, tensor) if not int(model["attention_heads"]) % n)
        fit.fits, fit.nearest = False, {"tensor_parallel_size": size}
        fit.refused_by = (
            f"tensor_parallel_size = {tensor}",
            f"a divisor of the model's {model['attention_heads']} heads",
        )
        fit.reasons.append(f"{model['attention_heads']} heads cannot be dealt out evenly to {tensor} GPUs.")
        return fit
    used = list(gpus[:devices])
    words = [str(word) for word in config.get("extra_arguments") or []]
    fit.warnings += [f"{word}: its memory is not counted." for word in words if word.split("=")[0] in _NOT_COUNTED]
    batched, requests = _defaults(config, used, tokens)
    shape = kv.vllm_shape(
        model,
        cache,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        batched_tokens=batched,
        block=_number_after(words, "--block-size") or (16 if gpus else 128),
        one_kind="--disable-hybrid-kv-cache-manager" in words,
    )
    each, reason = overhead.vllm_overhead(
        model,
        batched_tokens=batched,
        requests=requests,
        eager=bool(config.get("enforce_eager")),
        devices=devices,
        gpu=bool(gpus),
    )
    fit.reasons.append(reason)
    weights = -(-fit.weights_bytes // devices)
    offloaded = int(config.get("cpu_offload_gibibytes") or 0) * GIB if gpus else 0
    if offloaded:
        fit.reasons.append(f"cpu_offload_gibibytes: up to {gib(offloaded)} of each GPU's weights are in RAM, and slow.")
        weights = max(0, weights - offloaded)
    if gpus:
        room = _gpu_room(config, used, weights + each, fit)
    else:
        room = _cpu_room(config, ram_total_bytes, fit.weights_bytes + each, fit)
    if room is None:
        return fit
    return _answer(model, config, shape, room, weights, each, devices, tokens, chosen_by_engine, fit)


@dataclass(frozen=True)
class _Room:
    """Bytes of one device: for the cache, all that count, what others leave, all there are; and what gives more."""

    budget: int
    capacity: int
    free: int
    total: int
    option: str


def _gpu_room(config: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]], fixed: int, fit: Fit) -> _Room | None:
    smallest = min(gpu_bytes({**gpu, "reserved_bytes": 0}) for gpu in gpus)
    free = min(gpu_bytes(gpu) for gpu in gpus)
    explicit = config.get("kv_cache_memory_bytes")
    if explicit not in _EMPTY:
        fit.reasons.append(f"kv_cache_memory_bytes = {explicit}: it counts instead of gpu_memory_utilization.")
        return _Room(min(int(explicit or 0), free - fixed), free, free, smallest, "kv_cache_memory_bytes")
    share = config.get("gpu_memory_utilization")
    share = UTILIZATION if share in _EMPTY else float(share or 0)
    capacity = math.floor(smallest * share)
    fit.reasons.append(f"The engine may use {share} of {gib(smallest)} on each GPU: {gib(capacity)}.")
    if capacity > free:
        fit.reasons.append(f"Others were promised part of it: {gib(free)} are left. The engine looks at the start.")
        fit.fits = False
    return _Room(min(capacity, free) - fixed, capacity, free, smallest, "gpu_memory_utilization")


def _cpu_room(config: Mapping[str, Any], ram_total_bytes: int | None, fixed: int, fit: Fit) -> _Room | None:
    if not ram_total_bytes:
        fit.unknown("The instance has no GPU, and the host's RAM is not known.")
        return None
    wanted = config.get(CPU_CACHE_OPTION)
    space = CPU_CACHE_BYTES if wanted in _EMPTY else int(wanted or 0) * GIB
    fit.reasons.append(
        f"The cache on a CPU has a fixed size, {gib(space)}{' unless one is set' if wanted in _EMPTY else ''}."
    )
    fit.place = "RAM"
    left = int(ram_total_bytes) - fixed
    if space > left:
        fit.reasons.append(f"Weights, overhead and this cache need {gib(fixed + space)} of RAM.")
        fit.fits = False
    ram = int(ram_total_bytes)
    return _Room(min(space, left), ram, ram, ram, CPU_CACHE_OPTION)


def _answer(
    model: Mapping[str, Any],
    config: Mapping[str, Any],
    shape: kv.KvShape,
    room: _Room,
    weights: int,
    each: int,
    devices: int,
    tokens: int,
    chosen_by_engine: bool,
    fit: Fit,
) -> Fit:
    """Compare one request with the cache, and find the nearest settings that fit."""
    budget, capacity = room.budget, room.capacity
    one = shape.request_bytes(tokens)
    fit.kv_bytes_per_token = shape.bytes_per_token * devices
    fit.kv_cache_bytes = one * devices
    fit.overhead_bytes = each * devices
    fit.needed_bytes = (weights + each + one) * devices
    fit.available_bytes = capacity * devices
    if fit.place != "RAM":
        fit.place = f"{devices} GPU(s)"
    refused = fit.fits is False
    fit.fits = one <= budget and not refused
    fit.concurrent_requests = max(0, budget // one)
    limit = shape.max_tokens(budget)
    longest = model["max_context_tokens"]
    most = min(filter(None, (limit, longest)), default=0) if limit != 0 else 0
    fit.reasons.append(
        f"Weights {gib(weights)} and overhead {gib(each)} leave {gib(budget) if budget > 0 else 'nothing'} for the "
        f"cache on each device: {max(0, budget // one)} requests of {tokens} tokens "
        f"({shape.bytes_per_token} bytes per token there)."
    )
    if chosen_by_engine:
        fit.reasons.append(f"The engine chooses max_model_len itself, about {most or 'none'}.")
    if longest and tokens > longest and not config.get("hf_overrides"):
        fit.fits = False
        fit.refused_by = (f"max_model_len = {tokens}", f"at most {longest}, the model's longest context")
        fit.reasons.append(f"max_model_len = {tokens}: the model has {longest}, and the engine refuses more.")
    fit.note_close()
    if fit.fits:
        return fit
    nearest: dict[str, Any] = {}
    if most and not refused:
        nearest["max_model_len"] = most
    too_long = bool(longest and tokens > longest)
    if (one > budget or refused) and not too_long:
        nearest.update(_nearest_room(weights + each + one, one, room, refused))
    if config.get("quantization") not in _EMPTY and model["quantisation"] is None and "max_model_len" not in nearest:
        return fit.unknown(
            "quantization is set: the engine makes the weights smaller at the start, to an unknown size."
        )
    fit.nearest = nearest or None
    return fit


def _nearest_room(wanted: int, one: int, room: _Room, refused: bool) -> dict[str, Any]:
    """Return the option that gives the cache the room of one request, or takes what others were promised."""
    if room.option == "gpu_memory_utilization":
        most = min(room.free, room.total - overhead.CUDA_CONTEXT_BYTES) * 100 // room.total
        least = -(-wanted * 100 // room.total)
        if least > most:
            return {}
        return {room.option: (most if refused else least) / 100}
    if wanted > room.capacity:
        return {}
    if room.option == "kv_cache_memory_bytes":
        return {room.option: one}
    whole = -(-one // GIB)
    return {room.option: whole} if wanted - one + whole * GIB <= room.capacity else {}
