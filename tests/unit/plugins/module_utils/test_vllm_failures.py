# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed start of vLLM logged becomes a cause with its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._engines._vllm_failures import cause

RECORDED = Path(__file__).parents[2] / "fixtures" / "vllm_0.32.0" / "failures"
LAST = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kvbig", ["too little memory for the cache", "13.7 of 15.34 GiB", "900.0 GiB", "cpu_kv_cache_gibibytes"]),
        ("trunc", ["damaged", "incomplete metadata, file not fully covered)"]),
        ("quant", ["failed while it loaded: RuntimeError: _C::static_scaled_fp8_quant()"]),
    ],
)
def test_recorded_logs_name_their_cause(name: str, words: list[str]) -> None:
    found = cause((RECORDED / f"{name}.txt").read_text(encoding="utf-8").splitlines())
    for word in words:
        assert word in found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "ValueError: To serve at least one request with the model's max seq len (131072), (16.00 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (9.31 GiB). Based on the available memory, the "
            "estimated maximum model length is 76256. Try increasing `gpu_memory_utilization`",
            ["max_model_len = 131072", "16.00 GiB", "9.31 GiB", "config.max_model_len to 76256"],
        ),
        (
            "ValueError: To serve at least one request with the models's max seq len (8192), (1.00 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (0.50 GiB). Try increasing",
            [],
        ),
        ("ValueError: No available memory for the cache blocks. Try increasing", ["leave nothing for the cache"]),
        (
            "ValueError: Free memory on device cuda:1 (3.1/79.1 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 71.2 GiB).",
            ["another process holds memory of GPU cuda:1", "3.1 of 79.1 GiB", "nvidia-smi"],
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", ["GPU's memory ran out"]),
        ("RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy", ["max_num_seqs"]),
        ("RuntimeError: The NVIDIA driver on your system is too old (found version 12020)", ["driver is too old"]),
        ("Failed to initialize NVML: Driver/library version mismatch", ["Restart the host"]),
        ("CUDA error: no kernel image is available for execution on the device", ["compute capability 7.5"]),
        (
            "Quantization scheme is not supported for the current GPU. Min capability: 89. Current capability: 75.",
            ["compute capability 75, 89 is needed"],
        ),
        (
            "Value error, User-specified max_model_len (20000) is greater than the derived max_model_len "
            "(max_position_embeddings=8192.0 or model_max_length=None",
            ["max_model_len = 20000", "config.max_model_len to 8192 or less"],
        ),
        (
            "Value error, Total number of attention heads (32) must be divisible by tensor parallel size (3).",
            ["attention heads (32)", "config.tensor_parallel_size"],
        ),
        ("KeyError: 'invalid tool call parser: nothere (chose from { a,b })'", ["tool call parser nothere"]),
        ("OSError: [Errno 98] Address already in use", ["another program has the port", "ss -ltnp"]),
        ("vllm: error: unrecognized arguments: --no-such-flag", ["does not know --no-such-flag"]),
        (
            "Failed to import from vllm._C: ImportError('libnuma.so.1: cannot open shared object file: No such')",
            ["lacks the system library libnuma.so.1", "vllm_system_packages"],
        ),
        ("ERROR Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down", ["VllmWorker-1", "-9"]),
        ("EngineCore encountered a fatal error.", ["died while it served"]),
        ("The repository x contains custom code which must be executed to", ["allow_remote_code_of"]),
        ("Bfloat16 is only supported on GPUs with compute capability of at least 8.0", ["'float16'"]),
        ("ValidationError: 1 validation error for ModelConfig max_model_len Input should be at least 1 [type=x",
         ["max_model_len Input should be at least 1"]),
        (LAST, ["the cause stands before this"]),
        ("INFO Application startup complete", []),
    ],
)  # fmt: skip
def test_known_lines_name_cause_and_fix(line: str, words: list[str]) -> None:
    found = cause(
        [f"2026-11-21T10:51:29+0000 gpu1 run[931]: (EngineCore pid=7) ERROR 11-21 10:26:49 [core.py:9] {line}"]
    )
    assert bool(found) == bool(words)
    for word in words:
        assert word in found


def test_a_message_that_goes_over_several_lines_is_put_together() -> None:
    lines = ["(Worker pid=1) ERROR 11-21 10:26:49 [a.py:1] Free memory on device cuda:0",
             "(Worker pid=1) ERROR 11-21 10:26:49 [a.py:1] (1.0/80.0 GiB) on startup is less", LAST]  # fmt: skip
    assert "1.0 of 80.0 GiB" in cause(lines)


def test_nothing_known_gives_nothing() -> None:
    assert cause([]) == ""
