# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What an engine needs besides weights and cache: estimates, each with its reason and source. Pure.

They lean to the safe side. The parts that engines print (compute buffers, activations) follow their logs; see the
tests for published logs they are held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MIB = 1 << 20
GIB = 1 << 30

# What the driver keeps of a GPU's total before any program sees it: 0.41 GiB of an RTX 3090, 0.43 of an H100, 0.57 of
# an L40S (the total of nvidia-smi against the one that engines print).
DRIVER_BYTES = 600 * MIB
# What the CUDA context and the libraries keep on a GPU before the engine asks for anything.
CUDA_CONTEXT_BYTES = 512 * MIB
# llama-server without its buffers.
GGML_PROCESS_BYTES = 256 * MIB
# vLLM's process on a CPU: Python, torch and compiled code.
VLLM_CPU_PROCESS_BYTES = 3 * GIB
# What stays for the operating system on a host without a GPU.
SYSTEM_BYTES = 512 * MIB
# vLLM: memory of CUDA libraries inside its own share, the graphs, and the communication of several GPUs.
VLLM_LIBRARIES_BYTES = 600 * MIB
VLLM_GRAPHS_BYTES = 768 * MIB
VLLM_COMMUNICATION_BYTES = 1 * GIB
# Bytes of activations per token and unit of width while a batch of prompts is read; from vLLM's profiling logs.
VLLM_ACTIVATION_BYTES = 25
# Bytes per token of the vocabulary and request while tokens are drawn: 32-bit scores and their sorted copies.
VLLM_SAMPLER_BYTES = 12


def gib(count: int) -> str:
    """Return bytes as text for people."""
    return f"{count / GIB:.2f} GiB" if abs(count) >= GIB else f"{count / MIB:.0f} MiB"


def ggml_batch_bytes(model: Mapping[str, Any], batch_tokens: int) -> int:
    """Return the compute buffer of llama.cpp that does not depend on the context: scores and width of one batch."""
    return batch_tokens * ((model["vocabulary_size"] or 0) + model["hidden_size"]) * 4


def ggml_context_bytes(model: Mapping[str, Any], batch_tokens: int, flash: bool, copies: int) -> int:
    """Return the bytes of the compute buffer per token of one request's context: the mask.

    The mask is in 16 bits with flash attention, in 32 without; then the scores of every head come on top. Several GPUs
    keep several copies of the mask.
    """
    return batch_tokens * (2 * copies if flash else 4 * copies + 4 * int(model["attention_heads"] or 0))


def ggml_gpu_overhead(model: Mapping[str, Any], batch_tokens: int) -> tuple[int, str]:
    """Return the overhead on each GPU without the part that grows with the context, and its reason."""
    batch = ggml_batch_bytes(model, batch_tokens)
    return CUDA_CONTEXT_BYTES + batch, (
        f"Overhead on each GPU: {gib(CUDA_CONTEXT_BYTES)} for the CUDA context, and a compute buffer for "
        f"{batch_tokens} tokens at once: {gib(batch)}, and more with the context (the mask)."
    )


def ggml_cpu_overhead(model: Mapping[str, Any], batch_tokens: int, cache_ram_bytes: int) -> tuple[int, str]:
    """Return the overhead on a host without a GPU, and its reason."""
    batch = ggml_batch_bytes(model, batch_tokens)
    total = SYSTEM_BYTES + GGML_PROCESS_BYTES + batch + cache_ram_bytes
    prompts = f", {gib(cache_ram_bytes)} for the prompt cache in RAM" if cache_ram_bytes else ""
    return total, (
        f"Overhead in RAM: {gib(SYSTEM_BYTES)} for the system, {gib(GGML_PROCESS_BYTES)} for the process, a compute "
        f"buffer of {gib(batch)}{prompts}."
    )


def vllm_overhead(
    model: Mapping[str, Any], *, batched_tokens: int, requests: int, eager: bool, devices: int, gpu: bool
) -> tuple[int, str]:
    """Return what one device needs besides weights and cache, and its reason."""
    activations = batched_tokens * model["hidden_size"] * VLLM_ACTIVATION_BYTES
    sampler = requests * (model["vocabulary_size"] or 0) * VLLM_SAMPLER_BYTES
    work = (
        f"{gib(activations)} for {batched_tokens} tokens at once, {gib(sampler)} to draw tokens for {requests} requests"
    )
    if not gpu:
        total = SYSTEM_BYTES + VLLM_CPU_PROCESS_BYTES + activations + sampler
        return total, (
            f"Overhead in RAM (an estimate): {gib(SYSTEM_BYTES)} for the system, {gib(VLLM_CPU_PROCESS_BYTES)} for the "
            f"process, {work}."
        )
    graphs = 0 if eager else VLLM_GRAPHS_BYTES
    communication = VLLM_COMMUNICATION_BYTES if devices > 1 else 0
    parts = [f"{gib(VLLM_LIBRARIES_BYTES)} for CUDA libraries", work]
    parts += [f"{gib(graphs)} for CUDA graphs"] if graphs else []
    parts += [f"{gib(communication)} to talk to the other GPUs"] if communication else []
    return VLLM_LIBRARIES_BYTES + graphs + communication + activations + sampler, (
        f"Overhead on each GPU (an estimate; the engine measures its own at the start): {', '.join(parts)}."
    )
