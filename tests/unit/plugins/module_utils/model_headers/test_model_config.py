# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config.json of the families of models: what they say, what they leave to defaults, and what cannot be counted."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_config import config_facts

BASE: dict[str, Any] = {
    "num_hidden_layers": 8,
    "hidden_size": 1024,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 32768,
}


def config(family: str, **keys: Any) -> dict[str, Any]:
    return {**BASE, "model_type": family, **keys}


def compressed(
    form: str = "", weights: tuple[int, str] = (8, "int"), inputs: tuple[int, str] | None = None
) -> dict[str, Any]:
    """Return a configuration as compressed-tensors writes it, with one group of layers."""
    group: dict[str, Any] = {"weights": {"num_bits": weights[0], "type": weights[1]}, "input_activations": None}
    if inputs:
        group["input_activations"] = {"num_bits": inputs[0], "type": inputs[1]}
    return {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": form,
            "config_groups": {"group_0": group},
        }
    }


def test_the_plain_facts() -> None:
    facts = config_facts(config("llama", tie_word_embeddings=False))
    assert facts == {
        "architecture": "llama",
        "quantisation": None,
        "quantisation_scheme": None,
        "layers": 8,
        "attention_heads": 8,
        "kv_heads": 2,
        "head_dim": 128,
        "value_head_dim": 128,
        "hidden_size": 1024,
        "vocabulary_size": 1000,
        "max_context_tokens": 32768,
        "sliding_window_tokens": None,
        "sliding_window_layers": None,
        "mla": None,
        "experts": None,
        "tied_embeddings": False,
        "unknown": [],
    }


@pytest.mark.parametrize(
    ("keys", "key", "value"),
    [
        ({"head_dim": 256}, "head_dim", 256),
        ({"head_dim": None}, "head_dim", 128),
        ({"num_key_value_heads": None}, "kv_heads", 8),
        ({"num_key_value_heads": None, "multi_query": True}, "kv_heads", 1),
        ({"num_key_value_heads": [2] * 8}, "kv_heads", 2),
        ({"num_key_value_heads": [2] * 4 + [1] * 4}, "kv_heads", [2] * 4 + [1] * 4),
        ({"num_local_experts": 8}, "experts", 8),
        ({"n_routed_experts": 256}, "experts", 256),
        ({"quantization_config": {"quant_method": "awq"}}, "quantisation", "awq"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "quantisation", "nvfp4"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "quantisation", "mxfp4"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, "quantisation_scheme", "modelopt"),
        (compressed(weights=(8, "float"), inputs=(8, "float")), "quantisation_scheme", "w8a8-fp8"),
        (compressed(weights=(8, "float"), inputs=None), "quantisation_scheme", "w8a16-fp8"),
        (compressed(weights=(8, "int"), inputs=(8, "int")), "quantisation_scheme", "w8a8-int"),
        (compressed(weights=(4, "int"), inputs=None), "quantisation_scheme", "w4a16-int"),
        (compressed(weights=(4, "int"), inputs=(8, "float")), "quantisation_scheme", "w4a8-fp8"),
        (compressed("nvfp4-pack-quantized", (4, "float"), (4, "float")), "quantisation_scheme", "nvfp4"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": 4}}}},
            "quantisation_scheme",
            None,
        ),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "max_context_tokens", 32768),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "max_context_tokens", 131072),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "max_context_tokens", 131072),
        ({"rope_scaling": {"type": "longrope"}}, "max_context_tokens", 32768),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, "max_context_tokens", 32768),
        ({"max_position_embeddings": None}, "max_context_tokens", None),
    ],
)
def test_one_key_decides_one_fact(keys: dict[str, Any], key: str, value: Any) -> None:
    facts = config_facts(config("llama", **keys))
    assert facts[key] == value
    assert facts["unknown"] == []


def test_yarn_stretches_the_original_context_and_not_the_stretched_one() -> None:
    rope = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}
    assert (
        config_facts(config("deepseek_v3", max_position_embeddings=163840, rope_scaling=rope))["max_context_tokens"]
        == 163840
    )


@pytest.mark.parametrize(
    ("family", "keys", "window", "layers"),
    [
        ("mistral", {"sliding_window": 4096}, 4096, 8),
        ("mistral", {"sliding_window": None}, None, None),
        ("mixtral", {"sliding_window": None}, None, None),
        ("phi3", {"sliding_window": 2047}, 2047, 8),
        ("qwen2", {"sliding_window": 131072, "use_sliding_window": False, "max_window_layers": 4}, None, None),
        ("qwen2", {"sliding_window": 4096, "max_window_layers": 4}, None, None),
        ("qwen2", {"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 6}, 4096, 2),
        ("qwen3", {"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 8}, None, None),
        ("gemma2", {}, 4096, 4),
        ("gemma2", {"num_hidden_layers": 7}, 4096, 4),
        ("gemma3_text", {"sliding_window": 1024, "sliding_window_pattern": 6}, 1024, 7),
        ("gpt_oss", {}, 128, 4),
        ("gpt_oss", {"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 4}, 128, 4),
        ("new", {"sliding_window": 64, "layer_types": ["full_attention"] * 8}, None, None),
    ],
)
def test_sliding_layers_are_counted(family: str, keys: dict[str, Any], window: Any, layers: Any) -> None:
    facts = config_facts(config(family, **keys))
    assert (facts["sliding_window_tokens"], facts["sliding_window_layers"]) == (window, layers)
    assert facts["unknown"] == []


def test_gemma3_leaves_its_heads_to_defaults_and_its_text_is_a_part() -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "sliding_window": 1024}
    text["rope_scaling"] = {"factor": 8.0, "rope_type": "linear"}
    facts = config_facts({"model_type": "gemma3", "text_config": text, "vision_config": {"num_hidden_layers": 27}})
    assert (facts["layers"], facts["attention_heads"], facts["kv_heads"], facts["head_dim"]) == (34, 8, 4, 256)
    assert (facts["sliding_window_layers"], facts["max_context_tokens"], facts["tied_embeddings"]) == (29, 131072, True)


def test_a_compressed_cache_has_its_own_sizes() -> None:
    mla = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    facts = config_facts(config("deepseek_v3", **mla))
    assert facts["mla"] == {"kv_lora_rank": 512, "rope_head_dim": 64}
    assert (facts["head_dim"], facts["value_head_dim"]) == (192, 128)
    assert "forms of their own" in config_facts(config("minicpm3", **mla))["unknown"][0]


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"layer_types": ["linear_attention", "full_attention"] * 4}, "of the kind linear_attention"),
        ({"mamba_d_state": 128}, "recurrent state"),
        ({"is_encoder_decoder": True}, "encoder and a decoder"),
        ({"num_kv_shared_layers": 10}, "share one cache"),
        ({"head_dim": 256, "global_head_dim": 512}, "heads of another size"),
        ({"index_topk": 2048}, "keeps an index"),
        ({"sliding_window": 512}, "which layers of new"),
        ({"block_configs": [{}]}, "differ from each other"),
        ({"num_key_value_heads": [1, 2]}, "2 entries for 8 layers"),
    ],
)
def test_a_cache_that_cannot_be_counted_is_said_and_not_guessed(keys: dict[str, Any], word: str) -> None:
    facts = config_facts(config("new", **keys))
    assert facts["kv_heads"] is None
    assert word in " ".join(facts["unknown"])


def test_an_empty_configuration_says_nothing() -> None:
    facts = config_facts({})
    assert {key for key, value in facts.items() if value not in (None, [])} == set()
