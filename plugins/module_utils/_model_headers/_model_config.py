# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From the config.json of a model to the facts about the model. Pure.

Names and defaults follow the configuration classes of transformers. What cannot be counted is not guessed: then
kv_heads is null, and `unknown` says why.
"""

from __future__ import annotations

from typing import Any

# What a configuration class of transformers fills in when config.json does not say it.
_GEMMA = {"head_dim": 256}
_GEMMA3 = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma": _GEMMA,
    "gemma2": {**_GEMMA, "sliding_window": 4096, "vocab_size": 256000},
    "gemma3_text": _GEMMA3,
    "gemma3": _GEMMA3,
    "gpt_oss": {"sliding_window": 128},
}
_TIED = ("gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2")
# Every n-th layer is full, the others slide; counted as transformers does it.
_EVERY_SECOND = ("gemma2", "gpt_oss")
_PERIODS = ("gemma3", "gemma3_text", "cohere2")
_ALL_SLIDE = ("mistral", "mixtral", "phi3", "phimoe", "ministral", "starcoder2", "mistral3_text")
_OPT_IN = ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_vl", "qwen2_5_vl")
# MLA in the weights, but engines keep whole heads in their cache.
_MLA_NOT_CACHED = ("minicpm3",)
_KEEPS_CONTEXT = ("su", "longrope", "llama3", "default", "mrope", "proportional")
_STATE_KEYS = (
    "linear_attn_config",
    "mamba_d_state",
    "mamba_n_heads",
    "mamba_num_heads",
    "ssm_state_size",
    "ssm_cfg",
    "linear_num_value_heads",
    "layers_block_type",
    "hybrid_override_pattern",
    "attn_layer_period",
)


def _int(config: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def text_part(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that describes the language model, with the class's defaults filled in."""
    part = config
    for name in ("text_config", "llm_config", "language_config", "thinker_config"):
        inner = part.get(name)
        if isinstance(inner, dict):
            part = {**{key: config[key] for key in ("model_type", "torch_dtype", "dtype") if key in config}, **inner}
            break
    given = {key: value for key, value in part.items() if value is not None or key == "sliding_window"}
    return {**_DEFAULTS.get(str(part.get("model_type", "")), {}), **given}


def _sliding(part: dict[str, Any], family: str, layers: int | None) -> tuple[int | None, int | None, str]:
    """Return the window, how many layers have it, and why that is not known."""
    window = _int(part, "sliding_window")
    kinds = part.get("layer_types")
    if layers is None or not window or part.get("use_sliding_window") is False:
        return None, None, ""
    if isinstance(kinds, list):
        if len(kinds) < layers:
            return window, None, f"layer_types has {len(kinds)} entries for {layers} layers"
        count = kinds[:layers].count("sliding_attention")
        return (window, count, "") if count else (None, None, "")
    if family in _OPT_IN:
        if not part.get("use_sliding_window"):
            return None, None, ""
        first = _int(part, "max_window_layers")
        if first is None:
            return window, None, "use_sliding_window is set, but max_window_layers is missing"
        return (window, layers - first, "") if first < layers else (None, None, "")
    if family in _EVERY_SECOND:
        return window, (layers + 1) // 2, ""
    if family in _PERIODS:
        period = _int(part, "sliding_window_pattern", "_sliding_window_pattern") or 4
        return window, layers - layers // period, ""
    if family in _ALL_SLIDE:
        return window, layers, ""
    return window, None, f"which layers of {family or 'this model'} have the sliding window is not in config.json"


def max_context(part: dict[str, Any], family: str) -> int | None:
    """Return the longest context the model was made for, with the stretching of its position embeddings."""
    longest = _int(part, "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length")
    rope = part.get("rope_scaling") or part.get("rope_parameters")
    if longest is None or not isinstance(rope, dict) or "gemma3" in family:
        return longest
    kind = rope.get("rope_type", rope.get("type", "default"))
    factor = rope.get("factor", 1)
    if kind in _KEEPS_CONTEXT or not isinstance(kind, str) or not isinstance(factor, (int, float)) or factor < 1:
        return longest
    original = _int(rope, "original_max_position_embeddings")
    return int((original if kind == "yarn" and original else longest) * factor)


def quantisation(config: dict[str, Any], part: dict[str, Any]) -> str | None:
    """Return the name of the quantisation, or None."""
    for place in (config, part):
        for key in ("quantization_config", "compression_config"):
            found = place.get(key)
            if isinstance(found, dict):
                method = found.get("quant_method") or found.get("quant_algo") or "unnamed"
                algorithm = found.get("quant_algo")
                return str(algorithm if method == "modelopt" and algorithm else method).lower()
    return None


def quantisation_scheme(config: dict[str, Any], part: dict[str, Any]) -> str | None:
    """Return the form of a quantisation that has several (w8a8-fp8, modelopt); several in a model with + between."""
    for place in (config, part):
        for key in ("quantization_config", "compression_config"):
            found = place.get(key)
            if not isinstance(found, dict):
                continue
            if found.get("quant_method") == "modelopt" and found.get("quant_algo"):
                return "modelopt"
            groups = found.get("config_groups")
            if found.get("quant_method") == "compressed-tensors" and isinstance(groups, dict):
                forms = {_form(group, str(found.get("format") or "")) for group in groups.values()}
                return None if None in forms or not forms else "+".join(sorted(str(form) for form in forms))
    return None


def _form(group: Any, file_format: str) -> str | None:
    """Return how one group of layers is quantised: bits of weights and activations, and the kind of numbers."""
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        return None
    named = str(group.get("format") or file_format)
    for prefix in ("nvfp4", "mxfp4", "mxfp8"):
        if named.startswith(prefix):
            return prefix
    inputs = group.get("input_activations")
    bits, kind = weights.get("num_bits"), weights.get("type", "int")
    input_bits, input_kind = 16, kind
    if isinstance(inputs, dict):
        input_bits, input_kind = inputs.get("num_bits", 16), inputs.get("type", "int")
    if not isinstance(bits, int) or not isinstance(input_bits, int):
        return None
    numbers = "fp8" if "float" in (kind, input_kind) else "int"
    return f"w{bits}a{input_bits}-{numbers}"


def _not_counted(config: dict[str, Any], part: dict[str, Any]) -> list[str]:
    """Return why the cache of this model cannot be counted from these facts."""
    reasons = []
    kinds = part.get("layer_types")
    strange = (
        sorted({str(kind) for kind in kinds} - {"full_attention", "sliding_attention"})
        if isinstance(kinds, list)
        else []
    )
    if strange:
        reasons.append(f"some layers are of the kind {', '.join(strange)}")
    elif any(part.get(key) for key in _STATE_KEYS):
        reasons.append("some layers keep a recurrent state instead of a cache of keys and values")
    if config.get("is_encoder_decoder"):
        reasons.append("the model has an encoder and a decoder")
    if part.get("num_kv_shared_layers"):
        reasons.append("some layers share one cache")
    if part.get("global_head_dim") not in (None, part.get("head_dim")):
        reasons.append("full layers have heads of another size than the others")
    if part.get("index_topk"):
        reasons.append("sparse attention keeps an index besides the cache of keys and values")
    if part.get("attention_chunk_size") and not strange:
        reasons.append("some layers attend to chunks")
    if part.get("block_configs") or part.get("num_key_value_heads_per_layer"):
        reasons.append("the layers differ from each other")
    return reasons


def config_facts(config: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that config.json gives; null where it does not say."""
    part = text_part(config)
    family = str(part.get("model_type") or config.get("model_type") or "")
    unknown = _not_counted(config, part)
    layers = _int(part, "num_hidden_layers", "n_layer", "num_layers", "n_layers")
    heads = _int(part, "num_attention_heads", "n_head", "n_heads")
    hidden = _int(part, "hidden_size", "n_embd", "d_model")
    kv_heads: Any = part.get("num_key_value_heads")
    if not isinstance(kv_heads, (int, list)):
        kv_heads = _int(part, "num_kv_heads", "multi_query_group_num", "n_head_kv")
    if kv_heads is None:
        kv_heads = 1 if part.get("multi_query") else heads
    if isinstance(kv_heads, list):
        if len(kv_heads) != layers:
            unknown.append(f"num_key_value_heads has {len(kv_heads)} entries for {layers} layers")
        kv_heads = kv_heads[0] if len(set(kv_heads)) == 1 else kv_heads
    head_dim = _int(part, "head_dim", "kv_channels") or (hidden // heads if hidden and heads else None)
    value_dim = _int(part, "v_head_dim") or head_dim
    mla, rank, rope_dim = None, _int(part, "kv_lora_rank"), _int(part, "qk_rope_head_dim")
    if rank and rope_dim:
        head_dim = (_int(part, "qk_nope_head_dim") or 0) + rope_dim
        if family in _MLA_NOT_CACHED:
            unknown.append(f"engines keep the cache of {family} in forms of their own")
        else:
            mla = {"kv_lora_rank": rank, "rope_head_dim": rope_dim}
    window, sliding_layers, reason = _sliding(part, family, layers)
    unknown += [reason] if reason else []
    if sliding_layers and isinstance(kv_heads, list):
        unknown.append("sliding layers and full layers may have different numbers of heads")
    tied = part.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return {
        "architecture": family or None,
        "quantisation": quantisation(config, part),
        "quantisation_scheme": quantisation_scheme(config, part),
        "layers": layers,
        "attention_heads": heads,
        "kv_heads": None if unknown else kv_heads,
        "head_dim": head_dim,
        "value_head_dim": value_dim,
        "hidden_size": hidden,
        "vocabulary_size": _int(part, "vocab_size") or _int(config, "vocab_size"),
        "max_context_tokens": max_context(part, family),
        "sliding_window_tokens": window,
        "sliding_window_layers": sliding_layers,
        "mla": mla,
        "experts": _int(part, "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
        "tied_embeddings": tied if isinstance(tied, bool) else (True if family in _TIED else None),
        "unknown": unknown,
    }
