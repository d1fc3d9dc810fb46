# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory fit against published figures of well-known models.

Files with the shapes of the real tensors are written (their weights are holes), read like any model, and the results
held against what publishers and logs of engines say. Each figure has its source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_facts import model_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils import _fit_overhead as overhead
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit import fit
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_kv import GGML_BYTES, CacheType, kv_bytes_per_token
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.model_headers.model_files import (
    write_gguf,
    write_safetensors,
)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BF16 = CacheType(GGML_BYTES["bf16"], GGML_BYTES["bf16"])

# What config.json of the models on the Hugging Face Hub says, as far as it matters here.
LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
}  # fmt: skip
LLAMA_70B = {
    **LLAMA_8B, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
}  # fmt: skip
QWEN_7B = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 32768,
    "tie_word_embeddings": False, "sliding_window": 131072, "use_sliding_window": False, "max_window_layers": 28,
}  # fmt: skip
MISTRAL_7B = {
    "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32768, "max_position_embeddings": 32768,
    "tie_word_embeddings": False, "sliding_window": None,
}  # fmt: skip
MIXTRAL = {**MISTRAL_7B, "model_type": "mixtral", "vocab_size": 32000, "num_local_experts": 8}
GEMMA2_9B = {
    "model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336, "num_hidden_layers": 42,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "vocab_size": 256000,
    "max_position_embeddings": 8192, "sliding_window": 4096,
}  # fmt: skip
MISTRAL_SMALL_24B = {
    **MISTRAL_7B, "hidden_size": 5120, "intermediate_size": 32768, "num_hidden_layers": 40, "head_dim": 128,
    "vocab_size": 131072,
}  # fmt: skip
QWEN_32B = {
    **QWEN_7B, "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40,
    "num_key_value_heads": 8, "max_window_layers": 64,
}  # fmt: skip
QWEN_72B = {
    **QWEN_7B, "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "max_window_layers": 80,
}  # fmt: skip
LLAMA_405B = {
    **LLAMA_8B, "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126, "num_attention_heads": 128,
}  # fmt: skip
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "vocab_size": 129280, "max_position_embeddings": 163840, "kv_lora_rank": 512,
    "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "n_routed_experts": 256,
    "quantization_config": {"quant_method": "fp8"},
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
}  # fmt: skip


def shapes(config: dict[str, Any]) -> dict[str, tuple[str, list[int]]]:
    """Return the tensors of a model of the Llama kind."""
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    tensors: dict[str, list[int]] = {
        "model.embed_tokens.weight": [config["vocab_size"], width],
        "model.norm.weight": [width],
    }
    if config.get("tie_word_embeddings") is False:
        tensors["lm_head.weight"] = [config["vocab_size"], width]
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        tensors.update(
            {f"{prefix}norm{number}": [width] for number in range(4 if config["model_type"] == "gemma2" else 2)}
        )
        tensors.update({f"{prefix}q": [queries, width], f"{prefix}k": [keys, width], f"{prefix}v": [keys, width]})
        tensors[f"{prefix}o"] = [width, queries]
        if config["model_type"] == "qwen2":
            tensors.update({f"{prefix}q.bias": [queries], f"{prefix}k.bias": [keys], f"{prefix}v.bias": [keys]})
        experts = config.get("num_local_experts") or 1
        if experts > 1:
            tensors[f"{prefix}gate"] = [experts, width]
        for expert in range(experts):
            tensors.update({f"{prefix}{expert}.w{number}": [inner, width] for number in range(3)})
    return {name: ("BF16", shape) for name, shape in tensors.items()}


def facts_of(
    tmp_path: Path, config: dict[str, Any], tensors: dict[str, tuple[str, list[int]]] | None = None
) -> dict[str, Any]:
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_safetensors(tmp_path / "model.safetensors", tensors or {"a": ("BF16", [1])})
    return model_facts(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "total_size"),
    [
        # metadata.total_size of model.safetensors.index.json of each model.
        (LLAMA_8B, 16_060_522_496),
        (LLAMA_70B, 141_107_412_992),
        (QWEN_7B, 15_231_233_024),
        (MISTRAL_7B, 14_496_047_104),
        (MIXTRAL, 93_405_585_408),
        (GEMMA2_9B, 18_483_411_968),
    ],
    ids=["Llama-3.1-8B", "Llama-3.1-70B", "Qwen2.5-7B", "Mistral-7B-v0.3", "Mixtral-8x7B-v0.1", "gemma-2-9b"],
)
def test_weights_have_the_published_size(tmp_path: Path, config: dict[str, Any], total_size: int) -> None:
    facts = facts_of(tmp_path, config, shapes(config))
    assert facts["weights_bytes"] == total_size
    assert facts["parameters"] == total_size // 2
    assert facts["unknown"] == []


@pytest.mark.parametrize(
    ("config", "per_token"),
    [
        # 2 x 32 layers x 8 heads x 128 x 2 bytes = 128 KiB; published as such for Llama 3 8B, for instance in
        # https://news.future-shock.ai/the-weight-of-remembering/
        (LLAMA_8B, 128 * KIB),
        (LLAMA_70B, 320 * KIB),
        # Log of llama.cpp, 28 layers with n_embd_k_gqa = 512: KV self size 112.00 MiB for 2048 tokens,
        # https://github.com/JamePeng/llama-cpp-python/pull/1
        (QWEN_7B, 112 * MIB // 2048),
        (MISTRAL_7B, 128 * KIB),
        # Log of llama.cpp with Mixtral-8x7B: KV self size 64.00 MiB for 512 tokens,
        # https://github.com/ggml-org/llama.cpp/pull/4957
        (MIXTRAL, 64 * MIB // 512),
        # n_layer 42, n_embd_k_gqa 2048, n_embd_v_gqa 2048: https://github.com/ggml-org/llama.cpp/issues/8490
        (GEMMA2_9B, 42 * (2048 + 2048) * 2),
        # Table 1 of "Insights into DeepSeek-V3", https://arxiv.org/abs/2505.09343: 70.272, 327.680 and 516.096 KB.
        (DEEPSEEK_V3, 70_272),
        (QWEN_72B, 327_680),
        (LLAMA_405B, 516_096),
    ],
    ids=["Llama-3.1-8B", "Llama-3.1-70B", "Qwen2.5-7B", "Mistral-7B-v0.3", "Mixtral", "gemma-2-9b", "DeepSeek-V3",
         "Qwen2.5-72B", "Llama-3.1-405B"],
)  # fmt: skip
def test_a_token_takes_the_published_bytes_in_the_cache(tmp_path: Path, config: dict[str, Any], per_token: int) -> None:
    assert kv_bytes_per_token(facts_of(tmp_path, config), BF16) == per_token


def test_deepseek_takes_the_published_cache_for_its_whole_context(tmp_path: Path) -> None:
    # 10.72 GiB for 160k tokens: https://provide.ai/the-exact-kv-cache-usage-of-deepseek-v4/; 2196.00 MiB for 32768
    # tokens: log in https://github.com/ikawrakow/ik_llama.cpp/pull/235
    per_token = kv_bytes_per_token(facts_of(tmp_path, DEEPSEEK_V3), BF16)
    assert round(per_token * 163840 / GIB, 2) == 10.72
    assert per_token * 32768 == 2196 * MIB


def test_a_q4_k_m_file_has_the_published_size(tmp_path: Path) -> None:
    # Log of llama.cpp, Llama 3.1 8B: 66 tensors f32, 193 q4_K, 33 q6_K, model size = 4.58 GiB (4.89 BPW),
    # https://github.com/abetlen/llama-cpp-python/issues/1693 (types), and every file of that kind since.
    q4, q6 = 12, 14
    tensors = [("token_embd.weight", [4096, 128256], q4), ("output.weight", [4096, 128256], q6)]
    tensors += [("output_norm.weight", [4096], 0), ("rope_freqs.weight", [64], 0)]
    for layer in range(32):
        better = q6 if layer % 2 else q4
        for name, shape, kind in (
            ("attn_q", [4096, 4096], q4), ("attn_k", [4096, 1024], q4), ("attn_v", [4096, 1024], better),
            ("attn_output", [4096, 4096], q4), ("ffn_gate", [4096, 14336], q4), ("ffn_up", [4096, 14336], q4),
            ("ffn_down", [14336, 4096], better), ("attn_norm", [4096], 0), ("ffn_norm", [4096], 0),
        ):  # fmt: skip
            tensors.append((f"blk.{layer}.{name}.weight", shape, kind))
    metadata = {
        "general.architecture": "llama", "general.file_type": 15, "llama.block_count": 32, "llama.vocab_size": 128256,
        "llama.embedding_length": 4096, "llama.attention.head_count": 32, "llama.attention.head_count_kv": 8,
        "llama.context_length": 131072,
    }  # fmt: skip
    write_gguf(tmp_path / "m.gguf", metadata, tensors)
    facts = model_facts(str(tmp_path))
    assert [sum(kind == wanted for _name, _shape, kind in tensors) for wanted in (0, q4, q6)] == [66, 193, 33]
    assert round(facts["weights_bytes"] / GIB, 2) == 4.58
    assert round(facts["weights_bytes"] * 8 / facts["parameters"], 2) == 4.89
    assert (facts["quantisation"], facts["parameters"]) == ("Q4_K_M", 8_030_261_312)


def test_the_compute_buffer_of_llama_cpp_is_the_one_it_logs(tmp_path: Path) -> None:
    # CUDA0 compute buffer size = 304 MiB with flash attention and 512 tokens at once:
    # https://github.com/JamePeng/llama-cpp-python/pull/1 (Qwen2.5-7B)
    assert overhead.ggml_batch_bytes(facts_of(tmp_path, QWEN_7B), 512) == 304 * MIB


@pytest.mark.parametrize(
    ("config", "tensor_parallel", "available_gib", "tokens"),
    [
        # Available KV cache memory, and GPU KV cache size in tokens, as vLLM logs them.
        # Mistral-Small-24B on 2 GPUs: https://github.com/vllm-project/vllm/pull/20420
        (MISTRAL_SMALL_24B, 2, 16.20, 212_352),
        # Qwen2.5-32B on 2 GPUs, 3947 blocks of 16: https://github.com/vllm-project/vllm/issues/15815
        (QWEN_32B, 2, 7.71, 3947 * 16),
        # Llama-3.1-8B on 1 GPU, 1952 blocks of 16: https://github.com/vllm-project/vllm/issues/10517
        (LLAMA_8B, 1, 3.81, 1952 * 16),
    ],
    ids=["Mistral-Small-24B", "Qwen2.5-32B", "Llama-3.1-8B"],
)
def test_tokens_in_the_cache_are_what_vllm_logs(
    tmp_path: Path, config: dict[str, Any], tensor_parallel: int, available_gib: float, tokens: int
) -> None:
    gpus = [{"name": "x", "total_bytes": 80 * GIB}] * tensor_parallel
    settings = {"tensor_parallel_size": tensor_parallel, "max_model_len": 8192}
    result = fit(facts_of(tmp_path, config), "vllm", settings, gpus)
    per_gpu = result["kv_bytes_per_token"] // tensor_parallel
    assert abs(available_gib * GIB / per_gpu - tokens) <= 0.005 * GIB / per_gpu + 16


@pytest.mark.parametrize(
    ("config", "gpu_mib", "settings", "engine_gib", "difference_gib"),
    [
        # The memory that vLLM itself found for its cache; (GPU memory as nvidia-smi names it).
        # Meta-Llama-3-8B, 80 GB: https://github.com/vllm-project/vllm/pull/10511
        (
            LLAMA_8B,
            81559,
            {"gpu_memory_utilization": 0.9, "max_num_batched_tokens": 8192, "max_num_seqs": 256},
            53.29,
            1,
        ),
        # Llama-3.1-8B on an RTX 3090: https://github.com/vllm-project/vllm/issues/10517
        (
            LLAMA_8B,
            24576,
            {"gpu_memory_utilization": 0.9, "max_num_batched_tokens": 20000, "max_num_seqs": 256},
            3.81,
            1.5,
        ),
        # Qwen2.5-32B on two L40S: https://github.com/vllm-project/vllm/issues/15815
        (
            QWEN_32B,
            46068,
            {
                "gpu_memory_utilization": 0.9,
                "max_num_batched_tokens": 10000,
                "max_num_seqs": 256,
                "tensor_parallel_size": 2,
            },
            7.71,
            2.5,
        ),
    ],
    ids=["8B on H100", "8B on RTX 3090", "32B on 2 L40S"],
)
def test_the_cache_memory_is_near_the_one_that_vllm_measured(
    tmp_path: Path,
    config: dict[str, Any],
    gpu_mib: int,
    settings: dict[str, Any],
    engine_gib: float,
    difference_gib: float,
) -> None:
    gpus = [{"name": "x", "total_bytes": gpu_mib * MIB}] * settings.get("tensor_parallel_size", 1)
    result = fit(facts_of(tmp_path, config, shapes(config)), "vllm", {**settings, "max_model_len": 4096}, gpus)
    for_cache = (result["available_bytes"] - result["needed_bytes"] + result["kv_cache_bytes"]) / len(gpus) / GIB
    assert engine_gib - difference_gib < for_cache < engine_gib + 0.6


@pytest.mark.parametrize(
    ("architecture", "settings", "cache_mib", "buffer_mib"),
    [
        # What llama-server 0.7.0 (b11669) logged on a CPU for models of 8 layers, 4 heads, 2 heads in the cache, each
        # 32 wide, window 512, vocabulary 1024, ubatch 256: the sum of "KV buffer size", and "compute buffer size".
        ("llama", {"context_tokens": 6144, "parallel_requests": 4}, 48.00, 4.38),
        (
            "llama",
            {"context_tokens": 6144, "parallel_requests": 4, "cache_type_k": "q8_0", "cache_type_v": "q8_0"},
            25.50,
            4.38,
        ),
        ("llama", {"context_tokens": 24576, "parallel_requests": 1}, 48.00, 13.38),
        ("llama", {"context_tokens": 24576, "parallel_requests": 1, "ubatch_tokens": 512}, 48.00, 26.77),
        ("llama", {"context_tokens": 24576, "parallel_requests": 1, "flash_attention": "off"}, 48.00, 120.88),
        ("llama", {"context_tokens": 6144, "parallel_requests": 4, "flash_attention": "off"}, 48.00, 30.88),
        ("gemma2", {"context_tokens": 6144, "parallel_requests": 4}, 24.00 + 3.00, 4.76),
        (
            "gemma2",
            {"context_tokens": 6144, "parallel_requests": 4, "cache_type_k": "q8_0", "cache_type_v": "q8_0"},
            12.75 + 1.59,
            4.76,
        ),
        ("gemma3", {"context_tokens": 6144, "parallel_requests": 4}, 6.00 + 5.25, 4.76),
        (
            "gemma3",
            {"context_tokens": 6144, "parallel_requests": 4, "cache_type_k": "q8_0", "cache_type_v": "q8_0"},
            3.19 + 2.79,
            4.76,
        ),
    ],
)
def test_cache_and_compute_buffer_are_what_llama_server_logged(
    tmp_path: Path, architecture: str, settings: dict[str, Any], cache_mib: float, buffer_mib: float
) -> None:
    keys: dict[str, Any] = {
        "block_count": 8, "context_length": 8192, "embedding_length": 128, "attention.head_count": 4,
        "attention.head_count_kv": 2, "attention.key_length": 32, "attention.value_length": 32, "vocab_size": 1024,
        **({} if architecture == "llama" else {"attention.sliding_window": 512}),
    }  # fmt: skip
    metadata = {"general.architecture": architecture, **{f"{architecture}.{key}": item for key, item in keys.items()}}
    write_gguf(tmp_path / "m.gguf", metadata, [("token_embd.weight", [128, 1024], 0)])
    config = {"ubatch_tokens": 256, "flash_attention": "on", **settings}
    result = fit(model_facts(str(tmp_path)), "llamacpp", config, [], None, GIB)
    assert abs(result["kv_cache_bytes"] / MIB - cache_mib) < 0.011
    buffer = (result["overhead_bytes"] - overhead.SYSTEM_BYTES - overhead.GGML_PROCESS_BYTES) / MIB
    assert abs(buffer - buffer_mib) < 0.7


@pytest.mark.parametrize(("tokens", "concurrency"), [(1024, 1024), (8192, 128)])
def test_concurrent_requests_are_what_vllm_logged_on_a_cpu(tmp_path: Path, tokens: int, concurrency: int) -> None:
    # vLLM 0.32.0, VLLM_CPU_KVCACHE_SPACE=1, a model of 2 layers with 4 heads 32 wide, saved in 32 bits and run in 16:
    # "CPU KV cache size: 1,048,576 tokens, Maximum concurrency for 1,024 tokens per request: 1024.00x", 8,192: 128.00x.
    config = {
        "model_type": "llama", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 32,
        "num_key_value_heads": 4, "vocab_size": 1024, "max_position_embeddings": 8192, "torch_dtype": "float32",
    }  # fmt: skip
    facts = facts_of(tmp_path, config, {"a": ("F32", [590464])})
    settings = {"max_model_len": tokens, "cpu_kv_cache_gibibytes": 1, "max_num_seqs": 4}
    result = fit(facts, "vllm", settings, [], None, 8 * GIB)
    assert result["concurrent_requests"] == concurrency
    assert GIB // result["kv_bytes_per_token"] == 1_048_576
    assert result["weights_bytes"] == 590464 * 2
