# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How many bytes the cache of keys and values takes, and how many tokens fit into some bytes. Pure, exact.

Facts are those of module_utils/_model_headers. A layer keeps one key and one value per token and head; a sliding layer
keeps no more tokens than its window and what the engine works on at once; a model with MLA keeps one compressed vector
per token and layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

# Bytes per element. Quantised types of ggml: bytes of a block over the elements of a block.
GGML_BYTES = {
    "f32": Fraction(4),
    "f16": Fraction(2),
    "bf16": Fraction(2),
    "q8_0": Fraction(34, 32),
    "q4_0": Fraction(18, 32),
    "q4_1": Fraction(20, 32),
    "iq4_nl": Fraction(18, 32),
    "q5_0": Fraction(22, 32),
    "q5_1": Fraction(24, 32),
}
# vLLM: (bytes per element, more bytes per head for scales).
VLLM_BYTES = {
    "auto": (Fraction(2), 0),
    "bfloat16": (Fraction(2), 0),
    "float16": (Fraction(2), 0),
    "half": (Fraction(2), 0),
    "fp8": (Fraction(1), 0),
    "fp8_e4m3": (Fraction(1), 0),
    "fp8_e5m2": (Fraction(1), 0),
    "fp8_inc": (Fraction(1), 0),
    "int8_per_token_head": (Fraction(1), 4),
    "fp8_per_token_head": (Fraction(1), 4),
}
# vLLM's layout of a DeepSeek cache in 8 bits: 512 values of 1 byte, 4 scales of 4 bytes, 64 values of 2 bytes.
FP8_DS_MLA_BYTES = 656


@dataclass(frozen=True)
class CacheType:
    """The number format of the cache."""

    key_bytes: Fraction
    value_bytes: Fraction
    head_bytes: int = 0
    mla_layer_bytes: int | None = None


@dataclass(frozen=True)
class KvShape:
    """The cache of one request on one device.

    A request of n tokens takes n, rounded up to `block`, times `full_bytes`; and for the sliding layers the smaller of
    n and `window_tokens`, rounded up to `block`, plus `window_blocks` blocks, times `sliding_bytes`.
    """

    full_bytes: int
    sliding_bytes: int = 0
    window_tokens: int = 0
    block: int = 1
    window_blocks: int = 0

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token while it is inside every window."""
        return self.full_bytes + self.sliding_bytes

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.block)

    def request_bytes(self, tokens: int) -> int:
        """Return the bytes of one request of this many tokens."""
        blocks = self._blocks(tokens)
        window = min(blocks, self._blocks(self.window_tokens)) + self.window_blocks
        return (blocks * self.full_bytes + window * self.sliding_bytes) * self.block

    def max_tokens(self, budget_bytes: int) -> int | None:
        """Return the most tokens that one request may have within the budget; None for no limit."""
        share = budget_bytes // self.block - self.window_blocks * self.sliding_bytes  # for one token of every block
        if share < self.bytes_per_token:
            return 0
        window = self._blocks(self.window_tokens)
        if self.sliding_bytes:
            if share // self.bytes_per_token < window:
                return share // self.bytes_per_token * self.block
            share -= window * self.sliding_bytes
        return share // self.full_bytes * self.block if self.full_bytes else None


def missing_facts(model: Mapping[str, Any]) -> list[str]:
    """Return why the cache of a model cannot be counted; empty when it can."""
    reasons = [f"The cache cannot be counted: {reason}." for reason in model.get("unknown") or []]
    if not reasons:
        needed = ("layers",) if model.get("mla") else ("layers", "kv_heads", "head_dim")
        reasons = [
            f"The cache cannot be counted: the model's files do not say {key}." for key in needed if not model.get(key)
        ]
        if model.get("sliding_window_tokens") and model.get("sliding_window_layers") is None:
            reasons.append("The cache cannot be counted: it is not known which layers have a sliding window.")
    return reasons


def _heads_on_device(heads: int, tensor_parallel: int) -> int:
    """Heads are dealt out over the devices; with fewer heads than devices each device keeps a copy of one."""
    return max(1, -(-heads // tensor_parallel)) if heads else 0


def layer_bytes(model: Mapping[str, Any], cache: CacheType, tensor_parallel: int = 1) -> list[int]:
    """Return the bytes that one token takes in each layer, on one device."""
    if model["mla"]:
        if cache.mla_layer_bytes is not None:
            return [cache.mla_layer_bytes] * int(model["layers"])
        width = model["mla"]["kv_lora_rank"] + model["mla"]["rope_head_dim"]
        return [math.ceil(width * cache.key_bytes)] * int(model["layers"])
    heads = model["kv_heads"]
    per_layer = heads if isinstance(heads, (list, tuple)) else [heads] * int(model["layers"])
    key_dim = model["head_dim"]
    value_dim = model.get("value_head_dim") or key_dim
    sizes = []
    for count in per_layer:
        count = _heads_on_device(int(count), tensor_parallel)
        keys = math.ceil(count * key_dim * cache.key_bytes)
        values = math.ceil(count * value_dim * cache.value_bytes)
        sizes.append(keys + values + 2 * count * cache.head_bytes)
    return sizes


def kv_bytes_per_token(model: Mapping[str, Any], cache: CacheType) -> int:
    """Return the bytes of one token in the whole model, while it is inside every window."""
    return sum(layer_bytes(model, cache))


def ggml_shape(
    model: Mapping[str, Any], key_type: str, value_type: str, batch_tokens: int, full_window: bool
) -> KvShape:
    """Return the cache of one request in llama.cpp and what is built on it.

    Cells come in 256. A sliding layer keeps its window and one batch. The compressed cache of MLA has keys only.
    """
    cache = CacheType(GGML_BYTES[key_type], GGML_BYTES[value_type])
    sizes = layer_bytes(model, cache)
    sliding = min(int(model["sliding_window_layers"] or 0), len(sizes)) if not full_window else 0
    if not sliding:
        return KvShape(sum(sizes), block=256)
    window = int(model["sliding_window_tokens"]) + batch_tokens
    return KvShape(sizes[0] * (len(sizes) - sliding), sizes[0] * sliding, window, 256)


def vllm_shape(
    model: Mapping[str, Any],
    cache: CacheType,
    *,
    tensor_parallel: int,
    pipeline_parallel: int,
    batched_tokens: int,
    block: int,
    one_kind: bool,
) -> KvShape:
    """Return the cache of one request in vLLM on the device that has most layers.

    Full and sliding layers share blocks: layers are grouped in equal groups, the last ones padded. `one_kind` is for an
    engine told to treat sliding layers as full ones.
    """
    sizes = layer_bytes(model, cache, tensor_parallel)
    sizes.sort(reverse=True)
    on_device = -(-len(sizes) // pipeline_parallel)
    sliding = int(model["sliding_window_layers"] or 0)
    if not sliding or (one_kind and sliding < len(sizes)):
        return KvShape(sum(sizes[:on_device]), block=block)
    sliding = min(on_device, -(-sliding // pipeline_parallel))
    full = on_device - sliding
    if full:
        group = min(full, sliding)
        if max(full, sliding) < group * 1.25:
            group = max(full, sliding)
        full, sliding = -(-full // group) * group, -(-sliding // group) * group
    window = int(model["sliding_window_tokens"]) - 1 + batched_tokens
    return KvShape(full * sizes[0], sliding * sizes[0], window, block, 1)
