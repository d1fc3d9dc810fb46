# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory fit: what fits, what does not, the nearest setting that does (exactly), and when there is no answer."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.module_utils._findings import FINDING_KEYS
from ansible_collections.local_llm.ops.plugins.plugin_utils import _fit_kv as kv
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit import fit

MIB, GIB = 1 << 20, 1 << 30
FACTS: dict[str, Any] = {  # Llama 3.1 8B
    "schema": 1,
    "format": "safetensors",
    "architecture": "llama",
    "parameters": 8_030_261_248,
    "weights_bytes": 16_060_522_496,
    "dtypes": {"BF16": 16_060_522_496},
    "quantisation": None,
    "quantisation_scheme": None,
    "layers": 32,
    "attention_heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "value_head_dim": 128,
    "hidden_size": 4096,
    "vocabulary_size": 128256,
    "max_context_tokens": 131072,
    "sliding_window_tokens": None,
    "sliding_window_layers": None,
    "mla": None,
    "experts": None,
    "tied_embeddings": False,
    "needs_remote_code": False,
    "unsafe_files": [],
    "unknown": [],
}
Q4 = {
    **FACTS,
    "format": "gguf",
    "weights_bytes": 4_920_000_000,
    "quantisation": "Q4_K_M",
    "dtypes": {"Q4_K": 4_920_000_000},
}
SLIDING = {**Q4, "sliding_window_tokens": 1024, "sliding_window_layers": 24}
MLA = {**Q4, "mla": {"kv_lora_rank": 512, "rope_head_dim": 64}}
KEYS = {
    "status",
    "weights_bytes",
    "kv_bytes_per_token",
    "kv_cache_bytes",
    "overhead_bytes",
    "needed_bytes",
    "available_bytes",
    "concurrent_requests",
    "nearest",
    "reasons",
    "findings",
}


def gpus(*gib: float, name: str = "x") -> list[dict[str, Any]]:
    return [{"name": name, "total_bytes": int(size * GIB), "compute_capability": "8.9"} for size in gib]


def llamacpp(**config: Any) -> dict[str, Any]:
    return get_engine("llamacpp").complete_config(config)


def check(
    model: dict[str, Any], engine: str, config: dict[str, Any], devices: list[dict[str, Any]], ram: int | None = None
) -> dict[str, Any]:
    result = fit(model, engine, config, devices, {}, ram)
    assert set(result) == KEYS
    assert all(set(item) == set(FINDING_KEYS) for item in result["findings"])
    status = {"fits": "ok", "does_not_fit": "fail", "unknown": "skip"}[result["status"]]
    assert result["findings"][0]["status"] == status
    if result["status"] == "fits":
        assert result["nearest"] is None
    return result


# The shape of the cache


@pytest.mark.parametrize("shape", [
    kv.KvShape(1000),
    kv.KvShape(1000, block=256),
    kv.KvShape(1000, 3000, 1024 + 512, 256),
    kv.KvShape(7, 3, 1000, 16, 1),
    kv.KvShape(0, 5, 100, 16, 1),
    kv.KvShape(3, 0, 0, 128, 1),
])  # fmt: skip
def test_the_most_tokens_are_exact(shape: kv.KvShape) -> None:
    random.seed(1)
    for _number in range(300):
        budget = random.randrange(0, shape.request_bytes(4096) * 2)
        most = shape.max_tokens(budget)
        if most is None:
            assert shape.request_bytes(10**9) <= budget
            continue
        assert most == 0 or shape.request_bytes(most) <= budget
        assert shape.request_bytes(most + 1) > budget


@pytest.mark.parametrize(
    ("cache", "per_token"),
    [("f32", 262144), ("f16", 131072), ("bf16", 131072), ("q8_0", 69632), ("q4_0", 36864), ("q5_1", 49152)],
)
def test_the_cache_type_decides_the_bytes_of_a_token(cache: str, per_token: int) -> None:
    result = check(Q4, "llamacpp", llamacpp(cache_type_k=cache, cache_type_v=cache), gpus(80))
    assert result["kv_bytes_per_token"] == per_token


def test_a_compressed_cache_has_no_values_and_is_on_every_gpu() -> None:
    assert check(MLA, "llamacpp", llamacpp(), gpus(80))["kv_bytes_per_token"] == 32 * 576 * 2
    result = check(MLA, "vllm", {"max_model_len": 4096, "tensor_parallel_size": 2}, gpus(80, 80))
    assert result["kv_bytes_per_token"] == 2 * 32 * 576 * 2
    result = check(MLA, "vllm", {"max_model_len": 4096, "kv_cache_dtype": "fp8_ds_mla"}, gpus(80))
    assert result["kv_bytes_per_token"] == 32 * 656


def test_heads_per_layer_are_summed() -> None:
    assert check({**Q4, "kv_heads": [8] * 16 + [2] * 16}, "llamacpp", llamacpp(), gpus(80))["kv_bytes_per_token"] == (
        16 * (8 + 2) * 128 * 2 * 2
    )


# llama.cpp


def test_llamacpp_needs_context_times_requests() -> None:
    result = check(Q4, "llamacpp", llamacpp(context_tokens=8192, parallel_requests=4), gpus(24))
    assert result["status"] == "fits"
    assert result["kv_cache_bytes"] == 4 * GIB
    assert result["needed_bytes"] == result["weights_bytes"] + result["kv_cache_bytes"] + result["overhead_bytes"]
    assert any("4 requests of 8192 tokens" in reason for reason in result["reasons"])


def test_llamacpp_cells_come_in_256() -> None:
    result = check(Q4, "llamacpp", llamacpp(context_tokens=1000, parallel_requests=1), gpus(24))
    assert result["kv_cache_bytes"] == 1024 * 131072


@pytest.mark.parametrize("model", [Q4, SLIDING, MLA], ids=["plain", "sliding", "mla"])
@pytest.mark.parametrize("devices", [gpus(12), gpus(8, 12), gpus(6, 6, 6)], ids=["one", "two", "three"])
def test_the_nearest_settings_of_llamacpp_fit_and_no_larger_ones_do(
    model: dict[str, Any], devices: list[dict[str, Any]]
) -> None:
    config = llamacpp(context_tokens=1048576, parallel_requests=4)
    result = check(model, "llamacpp", config, devices)
    assert result["status"] == "does_not_fit"
    context = result["nearest"]["context_tokens"]
    assert fit(model, "llamacpp", {**config, "context_tokens": context}, devices)["status"] == "fits"
    assert fit(model, "llamacpp", {**config, "context_tokens": context + 1}, devices)["status"] == "does_not_fit"
    config = {**config, "context_tokens": 16384, "parallel_requests": 64}
    result = check(model, "llamacpp", config, devices)
    requests = result["nearest"]["parallel_requests"]
    assert fit(model, "llamacpp", {**config, "parallel_requests": requests}, devices)["status"] == "fits"
    assert fit(model, "llamacpp", {**config, "parallel_requests": requests + 1}, devices)["status"] == "does_not_fit"
    assert "each alone is enough" in result["findings"][0]["action"]


def test_when_one_setting_is_not_enough_both_are_named() -> None:
    result = check(Q4, "llamacpp", llamacpp(context_tokens=131072, parallel_requests=256), gpus(9))
    assert result["nearest"] is None
    assert any("It takes both settings: parallel_requests 1 and context_tokens" in text for text in result["reasons"])


def test_weights_alone_too_large_have_no_nearest_setting() -> None:
    result = check(FACTS, "llamacpp", llamacpp(), gpus(12))
    assert (result["status"], result["nearest"]) == ("does_not_fit", None)
    assert "smaller quantisation" in result["findings"][0]["action"]


def test_sliding_layers_keep_their_window_and_one_batch() -> None:
    config = llamacpp(context_tokens=131072, parallel_requests=1)
    result = check(SLIDING, "llamacpp", config, gpus(80))
    assert result["kv_cache_bytes"] == 131072 * 8 * 4096 + 1536 * 24 * 4096
    whole = check(SLIDING, "llamacpp", llamacpp(**{**config, "extra_arguments": ["--swa-full"]}), gpus(80))
    assert whole["kv_cache_bytes"] == 16 * GIB
    quantised = llamacpp(**{**config, "cache_type_k": "q8_0", "cache_type_v": "q8_0"})
    assert check(SLIDING, "llamacpp", quantised, gpus(80))["kv_cache_bytes"] == 131072 * 8 * 2176 + 1536 * 24 * 2176


def test_without_flash_attention_the_scores_of_all_heads_count() -> None:
    on = check(Q4, "llamacpp", llamacpp(flash_attention="on"), gpus(80))
    off = check(Q4, "llamacpp", llamacpp(flash_attention="off"), gpus(80))
    assert off["overhead_bytes"] - on["overhead_bytes"] == 4096 * 512 * (32 * 4 + 4 - 2)


def test_layers_in_ram_do_not_count_on_the_gpu() -> None:
    half = check(FACTS, "llamacpp", llamacpp(gpu_layers=16), gpus(12))
    assert half["status"] == "fits"
    assert any("16 of 32 layers stay in RAM" in reason for reason in half["reasons"])
    assert check(FACTS, "llamacpp", llamacpp(gpu_layers=0), gpus(12), 64 * GIB)["available_bytes"] == 64 * GIB
    automatic = check(FACTS, "llamacpp", llamacpp(gpu_layers="auto"), gpus(12))
    assert "would still start" in automatic["findings"][1]["observed"]


def test_split_modes_count_the_gpu_that_is_fullest() -> None:
    none = llamacpp(split_mode="none", main_gpu=1)
    assert check(Q4, "llamacpp", none, gpus(80, 4))["status"] == "does_not_fit"
    row = llamacpp(split_mode="row", context_tokens=32768, parallel_requests=1)
    assert check(Q4, "llamacpp", row, gpus(8, 8))["status"] == "fits"
    assert check(Q4, "llamacpp", {**row, "parallel_requests": 2}, gpus(8, 80))["status"] == "does_not_fit"
    assert check(Q4, "llamacpp", llamacpp(split_mode="none", main_gpu=3), gpus(80))["status"] == "unknown"


def test_on_a_cpu_the_ram_counts() -> None:
    config = llamacpp(context_tokens=4096, parallel_requests=1)
    assert check(Q4, "llamacpp", config, [], 16 * GIB)["status"] == "fits"
    result = check(Q4, "llamacpp", {**config, "context_tokens": 131072}, [], 16 * GIB)
    assert 4096 < result["nearest"]["context_tokens"] < 131072
    assert check(Q4, "llamacpp", config, [])["status"] == "unknown"
    more = check(Q4, "llamacpp", {**config, "prompt_cache_ram_mebibytes": 8192}, [], 16 * GIB)
    assert more["needed_bytes"] - check(Q4, "llamacpp", config, [], 16 * GIB)["needed_bytes"] == 8 * GIB


def test_a_context_beyond_the_model_and_a_tight_fit_are_warnings() -> None:
    result = check(Q4, "llamacpp", llamacpp(context_tokens=262144, parallel_requests=1), gpus(80))
    assert result["status"] == "fits"
    assert "made for 131072 tokens" in result["findings"][1]["observed"]
    most = check(Q4, "llamacpp", llamacpp(context_tokens=131072), gpus(12))["nearest"]["context_tokens"]
    tight = check(Q4, "llamacpp", llamacpp(context_tokens=most), gpus(12))
    assert "the start may still fail" in tight["findings"][1]["observed"]


def test_memory_promised_to_others_is_not_there() -> None:
    mine = [{**gpus(12)[0], "reserved_bytes": 8 * GIB}]
    assert check(Q4, "llamacpp", llamacpp(), mine)["status"] == "does_not_fit"
    result = check(
        Q4, "vllm", {"max_model_len": 2048, "max_num_seqs": 32}, [{**gpus(24)[0], "reserved_bytes": 4 * GIB}]
    )
    assert result["status"] == "does_not_fit"
    share = result["nearest"]["gpu_memory_utilization"]
    assert 0.8 < share < 0.84
    again = {"max_model_len": 2048, "max_num_seqs": 32, "gpu_memory_utilization": share}
    assert check(Q4, "vllm", again, [{**gpus(24)[0], "reserved_bytes": 4 * GIB}])["status"] == "fits"


# Ollama


def test_ollama_counts_its_own_options_and_says_that_it_spills() -> None:
    config = {"context_tokens": 8192, "parallel_requests": 4, "kv_cache_type": "q8_0", "flash_attention": "auto"}
    result = check(Q4, "ollama", config, gpus(24))
    assert result["kv_cache_bytes"] == 4 * 8192 * 69632
    result = check(Q4, "ollama", config, gpus(6))
    assert result["status"] == "does_not_fit"
    assert "several times slower" in result["findings"][-1]["observed"]
    reserve = check(Q4, "ollama", {**config, "gpu_overhead_bytes": GIB}, gpus(24))
    assert reserve["overhead_bytes"] - check(Q4, "ollama", config, gpus(24))["overhead_bytes"] == GIB


@pytest.mark.parametrize(("size", "tokens"), [(12, 4096), (24, 32768), (80, 131072)])
def test_ollama_chooses_a_context_by_memory_when_none_is_set(size: int, tokens: int) -> None:
    result = check(Q4, "ollama", {"num_ctx": 0, "num_parallel": 1}, gpus(size))
    assert result["kv_cache_bytes"] == tokens * 131072
    assert any(f"the engine takes {tokens} tokens" in reason for reason in result["reasons"])


# vLLM


def test_vllm_must_hold_one_request_and_says_how_many_fit() -> None:
    config = {"max_model_len": 8192, "gpu_memory_utilization": 0.9, "max_num_seqs": 64}
    result = check(FACTS, "vllm", config, gpus(48))
    assert (result["status"], result["kv_cache_bytes"]) == ("fits", GIB)
    left = result["available_bytes"] - result["weights_bytes"] - result["overhead_bytes"]
    assert result["concurrent_requests"] == left // GIB > 10


def test_the_nearest_settings_of_vllm_fit_and_no_larger_ones_do() -> None:
    devices = gpus(24)
    config = {"max_model_len": 131072, "gpu_memory_utilization": 0.9, "max_num_seqs": 64}
    result = check(FACTS, "vllm", config, devices)
    assert (result["status"], result["concurrent_requests"]) == ("does_not_fit", 0)
    assert set(result["nearest"]) == {"max_model_len"}
    most = result["nearest"]["max_model_len"]
    assert fit(FACTS, "vllm", {**config, "max_model_len": most}, devices)["status"] == "fits"
    assert fit(FACTS, "vllm", {**config, "max_model_len": most + 1}, devices)["status"] == "does_not_fit"
    config["gpu_memory_utilization"] = 0.8
    config["max_model_len"] = 20000
    result = check(FACTS, "vllm", config, devices)
    share = result["nearest"]["gpu_memory_utilization"]
    assert fit(FACTS, "vllm", {**config, "gpu_memory_utilization": share}, devices)["status"] == "fits"
    smaller = {**config, "gpu_memory_utilization": round(share - 0.01, 2)}
    assert fit(FACTS, "vllm", smaller, devices)["status"] == "does_not_fit"


def test_vllm_groups_layers_and_caps_sliding_ones() -> None:
    # 10 full and 52 sliding layers, as Gemma 3 27B: 6 groups of 10 for the sliding ones, 8 of them padding.
    model = {**FACTS, "layers": 62, "sliding_window_tokens": 1024, "sliding_window_layers": 52}
    config = {"max_model_len": 32768, "max_num_batched_tokens": 2048, "max_num_seqs": 64}
    result = check(model, "vllm", config, gpus(80))
    assert result["kv_cache_bytes"] == (32768 * 10 + (3072 + 16) * 60) * 4096
    plain = check(model, "vllm", {**config, "extra_arguments": ["--disable-hybrid-kv-cache-manager"]}, gpus(80))
    assert plain["kv_cache_bytes"] == 32768 * 62 * 4096


def test_vllm_deals_weights_and_heads_to_gpus() -> None:
    config = {"max_model_len": 8192, "tensor_parallel_size": 2, "max_num_seqs": 64}
    result = check(FACTS, "vllm", config, gpus(24, 24))
    assert (result["status"], result["kv_bytes_per_token"]) == ("fits", 131072)
    sixteen = check(FACTS, "vllm", {**config, "tensor_parallel_size": 16}, gpus(*[24] * 16))
    assert sixteen["kv_bytes_per_token"] == 2 * 131072
    few = check(FACTS, "vllm", {**config, "tensor_parallel_size": 4}, gpus(24, 24))
    assert (few["status"], few["nearest"]) == ("does_not_fit", {"tensor_parallel_size": 2})
    uneven = check({**FACTS, "attention_heads": 28}, "vllm", {**config, "tensor_parallel_size": 8}, gpus(*[24] * 8))
    assert (uneven["status"], uneven["nearest"]) == ("does_not_fit", {"tensor_parallel_size": 7})
    pipeline = {"max_model_len": 8192, "pipeline_parallel_size": 2, "max_num_seqs": 64}
    assert check(FACTS, "vllm", pipeline, gpus(24, 24))["kv_bytes_per_token"] == 131072


def test_vllm_takes_the_context_of_the_model_when_none_is_set_and_refuses_more() -> None:
    assert check(FACTS, "vllm", {"max_model_len": None, "max_num_seqs": 64}, gpus(80))["kv_cache_bytes"] == 16 * GIB
    assert check({**FACTS, "max_context_tokens": None}, "vllm", {}, gpus(80))["status"] == "unknown"
    result = check(FACTS, "vllm", {"max_model_len": 200000, "max_num_seqs": 64}, gpus(80))
    assert (result["status"], result["nearest"]) == ("does_not_fit", {"max_model_len": 131072})
    (told,) = (item for item in result["findings"] if item["status"] == "fail")
    assert told["observed"] == "max_model_len = 200000" and "at most 131072" in told["expected"]
    chosen = check(FACTS, "vllm", {"max_model_len": -1, "max_num_seqs": 64}, gpus(24))
    assert chosen["status"] == "fits"
    assert any("chooses max_model_len itself" in reason for reason in chosen["reasons"])


def test_vllm_cache_types_and_a_cache_of_fixed_size() -> None:
    config = {"max_model_len": 8192, "max_num_seqs": 64}
    assert check(FACTS, "vllm", {**config, "kv_cache_dtype": "fp8"}, gpus(48))["kv_bytes_per_token"] == 65536
    scaled = check(FACTS, "vllm", {**config, "kv_cache_dtype": "int8_per_token_head"}, gpus(48))
    assert scaled["kv_bytes_per_token"] == 65536 + 32 * 2 * 8 * 4
    assert check(FACTS, "vllm", {**config, "kv_cache_dtype": "nvfp4"}, gpus(48))["status"] == "unknown"
    fixed = check(FACTS, "vllm", {**config, "kv_cache_memory_bytes": GIB // 2}, gpus(48))
    assert fixed["nearest"] == {"max_model_len": 4096, "kv_cache_memory_bytes": GIB}
    assert check(FACTS, "vllm", {**config, "kv_cache_memory_bytes": GIB}, gpus(48))["status"] == "fits"


def test_vllm_loads_32_bit_weights_in_16_bits() -> None:
    wide = {**FACTS, "weights_bytes": 32 * GIB, "dtypes": {"F32": 32 * GIB}}
    config = {"max_model_len": 8192, "max_num_seqs": 64}
    assert check(wide, "vllm", config, gpus(48))["weights_bytes"] == 16 * GIB
    assert check(wide, "vllm", {**config, "dtype": "float32"}, gpus(48))["weights_bytes"] == 32 * GIB


def test_vllm_that_quantises_at_the_start_is_not_refused_on_a_guess() -> None:
    config = {"max_model_len": 8192, "max_num_seqs": 64, "quantization": "fp8"}
    assert check(FACTS, "vllm", config, gpus(16))["status"] == "unknown"
    assert check(FACTS, "vllm", config, gpus(48))["status"] == "fits"


def test_vllm_on_a_cpu_has_a_cache_of_fixed_size() -> None:
    small = {**FACTS, "weights_bytes": GIB, "layers": 16, "hidden_size": 2048}
    config = {"max_model_len": 32768, "max_num_seqs": 16}
    assert check(small, "vllm", config, [], 16 * GIB)["status"] == "fits"
    longer = check(small, "vllm", {**config, "max_model_len": 131072}, [], 32 * GIB)
    assert longer["nearest"] == {"max_model_len": 65536, "cpu_kv_cache_gibibytes": 8}
    assert check(small, "vllm", config, [], 6 * GIB)["status"] == "does_not_fit"
    assert check(small, "vllm", config, [])["status"] == "unknown"


def test_vllm_counts_what_stays_in_ram_and_says_what_it_does_not_count() -> None:
    config = {"max_model_len": 8192, "max_num_seqs": 64}
    assert check(FACTS, "vllm", config, gpus(16))["status"] == "does_not_fit"
    assert check(FACTS, "vllm", {**config, "cpu_offload_gibibytes": 6}, gpus(16))["status"] == "fits"
    blocks = {**config, "max_model_len": 100, "extra_arguments": ["--block-size", "64", "--enable-lora"]}
    result = check(FACTS, "vllm", blocks, gpus(48))
    assert result["kv_cache_bytes"] == 128 * 131072
    assert result["findings"][1]["observed"] == "--enable-lora: its memory is not counted."


def test_a_gpu_that_the_engine_does_not_run_on_is_a_finding() -> None:
    devices = [{"name": "V100", "total_bytes": 32 * GIB, "compute_capability": "7.0"}]
    findings = fit(Q4, "vllm", {"max_model_len": 4096}, devices, {"minimum_compute_capability": "7.5"})["findings"]
    assert [(item["check"], item["status"]) for item in findings] == [
        ("memory_fit", "ok"),
        ("compute_capability", "fail"),
    ]
    assert len(fit(Q4, "vllm", {"max_model_len": 4096}, devices, {})["findings"]) == 1


def test_the_options_of_the_engines_are_the_ones_that_are_counted() -> None:
    for engine in ("llamacpp", "ollama", "vllm"):
        config = get_engine(engine).complete_config({})
        result = check(Q4, engine, config, gpus(80))
        assert result["status"] == "fits"
        for option in ("context_tokens", "parallel_requests"):
            small = {"context_tokens": 4000000, "parallel_requests": 256}.get(option)
            if option in config:
                assert option in (check(Q4, engine, {**config, option: small}, gpus(40))["nearest"] or {})
    config = {**get_engine("vllm").complete_config({}), "max_model_len": 131072, "gpu_memory_utilization": 0.5}
    assert set(check(Q4, "vllm", config, gpus(40))["nearest"]) == {"max_model_len", "gpu_memory_utilization"}


# No answer


@pytest.mark.parametrize("engine", ["llamacpp", "ollama", "vllm"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unknown": ["some layers keep a recurrent state"], "kv_heads": None}, "some layers keep a recurrent state"),
        ({"layers": None}, "do not say layers"),
        ({"kv_heads": None}, "do not say kv_heads"),
        ({"weights_bytes": None}, "do not say weights_bytes"),
        ({"hidden_size": None}, "do not say hidden_size"),
        ({"vocabulary_size": None}, "do not say vocabulary_size"),
        ({"sliding_window_tokens": 512}, "not known which layers have a sliding window"),
    ],
)
def test_a_missing_fact_is_no_answer_and_no_guess(engine: str, change: dict[str, Any], words: str) -> None:
    config = {"context_tokens": 4096, "parallel_requests": 1, "max_model_len": 4096}
    result = check({**Q4, **change}, engine, config, gpus(80))
    assert result["status"] == "unknown"
    assert words in " ".join(result["reasons"])
    assert (result["needed_bytes"], result["nearest"]) == (None, None)


def test_an_unknown_engine_or_gpu_is_no_answer() -> None:
    assert "'sglang' is not known" in check(Q4, "sglang", {}, gpus(80))["reasons"][0]
    result = check(Q4, "llamacpp", llamacpp(), [{"name": "L4", "total_bytes": None}])
    assert result["reasons"] == ["The memory of GPU 0 (L4) is not known."]
