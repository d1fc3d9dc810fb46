# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From the header of a GGUF model to the facts about the model."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers import _gguf_types as types
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._gguf import GgufHeader
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError

# Keys under the architecture's name, and what they mean for the cache. What cannot be counted is not guessed.
_NOT_COUNTED = (
    ("ssm.", "some layers keep a recurrent state besides or instead of a cache of keys and values"),
    ("wkv.", "the layers keep a recurrent state instead of a cache of keys and values"),
    ("shortconv.", "some layers keep a convolution state instead of a cache of keys and values"),
    ("attention.indexer.", "sparse attention keeps an index besides the cache of keys and values"),
    ("attention.key_length_swa", "sliding layers have heads of another size than the others"),
    ("attention.shared_kv_layers", "some layers share one cache"),
    ("decoder_block_count", "the model has an encoder and a decoder"),
)


def _number(value: Any) -> int | None:
    """Return a whole number; the largest one of a list that has one per layer."""
    if isinstance(value, list):
        numbers = [item for item in value if isinstance(item, int)]
        return max(numbers) if numbers else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _among(value: Any, plain: set[Any]) -> bool:
    """Return whether a value, or every one of a list, is among the plain ones."""
    values = value if isinstance(value, list) else [value]
    return all(item in plain for item in values)


def _quantisation(header: GgufHeader) -> str | None:
    file_type = header.metadata.get("general.file_type")
    name = types.FILE_TYPES.get(file_type) if isinstance(file_type, int) else None
    if name is None and header.type_bytes:
        name = max(header.type_bytes, key=lambda label: header.type_bytes[label])
    return None if name in types.NOT_QUANTISED else name


def _sliding(architecture: str, get: Any, layers: int | None) -> tuple[int | None, int | None, str]:
    """Return the window, how many layers have it, and why that is not known."""
    window = _number(get("attention.sliding_window"))
    if not window or layers is None or types.SLIDING_PATTERNS.get(architecture) == 0:
        return None, None, ""
    pattern = get("attention.sliding_window_pattern")
    if isinstance(pattern, list):
        if len(pattern) != layers:
            return window, None, f"attention.sliding_window_pattern has {len(pattern)} entries for {layers} layers"
        return window, sum(1 for item in pattern if item), ""
    period = _number(pattern) or types.SLIDING_PATTERNS.get(architecture)
    if not period:
        return window, None, f"which layers of {architecture} have the sliding window is not written in the file"
    return window, sum(1 for layer in range(layers) if layer % period < period - 1), ""


def gguf_facts(header: GgufHeader, path: str) -> dict[str, Any]:
    """Return the facts that the header gives; null where it does not say."""
    metadata = header.metadata
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise HeaderError(f"{path}: general.architecture is missing. It is no language model: check the entry.")
    kind = metadata.get("general.type", "model")
    if kind not in ("model", "") or architecture == "clip":
        raise HeaderError(
            f"{path}: holds {'an image projector' if architecture == 'clip' else repr(kind)}, not a language model. "
            "Name the file of the model itself as entry."
        )

    def get(key: str) -> Any:
        return metadata.get(f"{architecture}.{key}")

    unknown = []
    for prefix, reason in _NOT_COUNTED:
        full = f"{architecture}.{prefix}"
        plain = {0} | ({get("attention.key_length")} if prefix.endswith("_swa") else set())
        if any(key.startswith(full) and not _among(value, plain) for key, value in metadata.items()):
            unknown.append(reason)
    if get("attention.causal") is False:
        unknown.append("the model is no text generator: its attention is not causal")
    layers, heads = _number(get("block_count")), _number(get("attention.head_count"))
    hidden = _number(get("embedding_length"))
    kv_heads: Any = get("attention.head_count_kv")
    if isinstance(kv_heads, list):
        if layers is not None and len(kv_heads) != layers:
            unknown.append(f"attention.head_count_kv has {len(kv_heads)} entries for {layers} layers")
        kv_heads = kv_heads[0] if len(set(kv_heads)) == 1 else kv_heads
    elif kv_heads is None:
        kv_heads = heads
    head_dim = _number(get("attention.key_length")) or (hidden // heads if hidden and heads else None)
    value_dim = _number(get("attention.value_length")) or head_dim
    mla = None
    rank, rope = _number(get("attention.kv_lora_rank")), _number(get("rope.dimension_count"))
    if get("attention.key_length_mla") is not None:
        if rank and rope:
            mla = {"kv_lora_rank": rank, "rope_head_dim": rope}
            head_dim = _number(get("attention.key_length_mla"))
            value_dim = _number(get("attention.value_length_mla")) or head_dim
        else:
            unknown.append("the file compresses its cache, but does not say to what size")
    window, sliding_layers, reason = _sliding(architecture, get, layers)
    unknown += [reason] if reason else []
    if sliding_layers and isinstance(kv_heads, list):
        unknown.append("sliding layers and full layers have different numbers of heads")
    vocabulary = _number(get("vocab_size")) or header.list_lengths.get("tokenizer.ggml.tokens")
    return {
        "format": "gguf",
        "architecture": architecture,
        "parameters": header.parameters,
        "weights_bytes": header.weights_bytes,
        "dtypes": dict(sorted(header.type_bytes.items())),
        "quantisation": _quantisation(header),
        "quantisation_scheme": None,
        "layers": layers,
        "attention_heads": heads,
        "kv_heads": None if unknown else kv_heads,
        "head_dim": head_dim,
        "value_head_dim": value_dim,
        "hidden_size": hidden,
        "vocabulary_size": vocabulary or header.vocabulary_rows,
        "max_context_tokens": _number(get("context_length")),
        "sliding_window_tokens": window,
        "sliding_window_layers": sliding_layers,
        "mla": mla,
        "experts": _number(get("expert_count")) or None,
        "tied_embeddings": not header.has_output,
        "unknown": unknown,
    }
