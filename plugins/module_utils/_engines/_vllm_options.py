# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Data about vLLM: the options an instance may set, and the arguments it may not.

Source of flags, defaults and value sets: `vllm serve --help=all` of version 0.32.0; 0.22.0 has the same.
"""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import Option

_NAME = r"[A-Za-z0-9_.-]*"

# 0 and "" mean: say nothing to the engine, it decides.
OPTIONS: dict[str, Option] = {
    "max_model_len": Option(
        "int",
        4096,
        "Tokens of prompt and answer that one request may use. The engine's own default is the whole context of the "
        "model; it does not start when one such request does not fit into the memory that is left.",
        "--max-model-len",
        16,
        16777216,
    ),
    "max_num_seqs": Option(
        "int",
        128,
        "Requests computed at the same time; more wait. The engine's own default depends on the GPU (256 or 1024); a "
        "release shall be the same on every host.",
        "--max-num-seqs",
        1,
        4096,
    ),
    "max_num_batched_tokens": Option(
        "int",
        0,
        "Most tokens computed in one step. More raises throughput and memory, and makes other requests wait longer for "
        "their next token. 0 leaves it to the engine.",
        "--max-num-batched-tokens",
        0,
        1048576,
    ),
    "gpu_memory_utilization": Option(
        "share",
        0.9,
        "Part of each GPU's memory that the engine takes: weights, working memory, and what is left for the cache. The "
        "engine's own default was 0.90 and is 0.92 in newer versions. Several instances on one GPU share it.",
        "--gpu-memory-utilization",
    ),
    "kv_cache_memory_bytes": Option(
        "int",
        0,
        "Bytes of the cache on each GPU, instead of what gpu_memory_utilization leaves. The engine logs a value.",
        "--kv-cache-memory-bytes",
        0,
    ),
    "cpu_kv_cache_gibibytes": Option(
        "int", 0, "Memory for the cache on a host without a GPU. With 0 the engine takes 4 GiB.", "", 0, 4096
    ),
    "tensor_parallel_size": Option(
        "int",
        1,
        "GPUs that share every layer. It must divide the model's attention heads.",
        "--tensor-parallel-size",
        1,
        64,
    ),
    "pipeline_parallel_size": Option(
        "int", 1, "GPUs that take the layers one after the other.", "--pipeline-parallel-size", 1, 64
    ),
    "dtype": Option(
        "str",
        "auto",
        "Number format of the weights in memory. GPUs below compute capability 8.0 need float16.",
        "--dtype",
        choices=("auto", "bfloat16", "float16", "float32"),
    ),
    "kv_cache_dtype": Option(
        "str",
        "auto",
        "Number format of the cache. fp8 halves its size and needs a GPU that knows it.",
        "--kv-cache-dtype",
        choices=("auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2"),
    ),
    "quantization": Option(
        "str",
        "",
        "Method of quantisation. Empty takes the one that the model's files name.",
        "--quantization",
        pattern=_NAME,
    ),
    "enforce_eager": Option(
        "bool",
        False,
        "Run without compilation and CUDA graphs: starts in seconds instead of minutes, and answers slower.",
        "--enforce-eager",
    ),
    "enable_prefix_caching": Option(
        "bool", True, "Reuse the beginning of prompts that were seen before.", "--enable-prefix-caching"
    ),
    "enable_chunked_prefill": Option(
        "bool", True, "Read long prompts in parts, so that other answers go on meanwhile.", "--enable-chunked-prefill"
    ),
    "cpu_offload_gibibytes": Option(
        "int",
        0,
        "Weights of each GPU that stay in host memory, in GiB. Every token then waits for the bus.",
        "--cpu-offload-gb",
        0,
        4096,
    ),
    "load_format": Option(
        "str",
        "safetensors",
        "How weights are read. All of them read safetensors only; the engine's own default also takes pickled files, "
        "which can run code.",
        "--load-format",
        choices=("safetensors", "fastsafetensors", "runai_streamer"),
    ),
    "seed": Option("int", 0, "Seed of the engine's random numbers.", "--seed", 0, 4294967295),
    "generation_config": Option(
        "str",
        "vllm",
        "Where defaults of sampling come from. vllm: the engine's own, the same for every model. auto: the file "
        "generation_config.json of the model.",
        "--generation-config",
        choices=("vllm", "auto"),
    ),
    "chat_template": Option(
        "str",
        "",
        "Path of a chat template inside the model's directory. Empty takes the one of the tokenizer.",
        "--chat-template",
        pattern=r"(?!.*(^|/)\.{1,2}(/|$))([A-Za-z0-9_][A-Za-z0-9_./-]*)?",
    ),
    "chat_template_content_format": Option(
        "str",
        "auto",
        "Whether the template gets a message as a text or as a list of parts.",
        "--chat-template-content-format",
        choices=("auto", "string", "openai"),
    ),
    "tool_call_parser": Option(
        "str",
        "",
        "How calls of tools are read from an answer, such as hermes or llama3_json. Setting it lets the model choose "
        "tools.",
        "--tool-call-parser",
        pattern=_NAME,
    ),
    "reasoning_parser": Option(
        "str",
        "",
        "How the thoughts of a reasoning model are parted from its answer.",
        "--reasoning-parser",
        pattern=_NAME,
    ),
    "allowed_media_domains": Option(
        "list",
        [],
        "Hosts from which the engine may fetch images and the like that a request names. Empty: none, clients send "
        "the data itself. The engine's own default is every host, your private network included.",
        "--allowed-media-domains",
    ),
    "allow_remote_code_of": Option(
        "str",
        "",
        "Name of the model whose own Python code the engine may run, exactly as under `model` of the instance. That "
        "code can do whatever the service can. Empty: none.",
        "--trust-remote-code",
        pattern=_NAME,
    ),
    "shutdown_timeout_seconds": Option(
        "int",
        60,
        "How long running requests may go on when the service stops. The engine's own default, 0, cuts them off. "
        "host_stop_timeout_seconds must be 15 longer, else site and upgrade refuse it.",
        "--shutdown-timeout",
        0,
        3600,
    ),
    "log_level": Option(
        "str",
        "INFO",
        "INFO logs the start, sizes and a line of figures every ten seconds; never a request. DEBUG can log prompts "
        "and is not offered.",
        "",
        choices=("INFO", "WARNING", "ERROR"),
    ),
    "extra_arguments": Option(
        "list",
        [],
        "More arguments for vllm serve, word by word. Those that break a promise of the collection are refused.",
    ),
}

_OPEN = "it opens a way in that no gateway guards"
_PRIVACY = "it can write or show prompts"
_OWN = "the collection sets it"
_FETCH = "it can fetch files that nobody checked; put models in local_llm_models"
_CODE = "it loads code that nobody checked"
_FIND = "health checks and the gateway would not find the engine"
_ONE = "one instance is one engine on one host"
_SECRET = "secrets never stand in arguments"

# Arguments that are refused in extra_arguments, with the reason. Beginnings of them are refused too: the engine
# completes an argument that is cut short. So is the form --no-....
REFUSED_ARGUMENTS: dict[str, str] = {
    **dict.fromkeys(("--host", "--port", "--served-model-name", "--model", "--model-tag", "--config"), _OWN),
    **dict.fromkeys(("--disable-uvicorn-access-log", "--disable-fastapi-docs"), _OWN),
    **dict.fromkeys(("--enable-auto-tool-choice",), "set config.tool_call_parser instead"),
    **dict.fromkeys(("--enable-log-requests", "--enable-log-outputs", "--enable-log-deltas"), _PRIVACY),
    **dict.fromkeys(("--max-log-len",), _PRIVACY),
    **dict.fromkeys(("--log-config-file", "--log-level", "--logging-config", "--uvicorn-log-level"), _PRIVACY),
    **dict.fromkeys(("--log-error-stack", "--profiler-config", "--collect-detailed-traces"), _PRIVACY),
    **dict.fromkeys(("--otlp-traces-endpoint", "--kv-events-config"), "it sends data to another place"),
    **dict.fromkeys(
        ("--allowed-origins", "--allowed-methods", "--allowed-headers", "--allow-credentials", "--tool-server"), _OPEN
    ),
    **dict.fromkeys(
        (
            "--enable-offline-docs", "--enable-tokenizer-info-endpoint", "--enable-scale-out", "--tokens-only",
            "--trust-request-chat-template", "--trust-request-mm-kwargs", "--enable-prompt-embeds",
            "--enable-mm-embeds", "--allowed-local-media-path", "--enable-fault-tolerance", "--enable-elastic-ep",
            "--grpc", "--grpc-port",
        ),
        _OPEN,
    ),
    **dict.fromkeys(
        ("--uds", "--root-path", "--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs", "--ssl-cert-reqs"), _FIND
    ),
    **dict.fromkeys(("--disable-log-stats",), "monitoring reads these figures"),
    **dict.fromkeys(("--api-key",), "keys never stand in arguments; put the key into the instance's credential"),
    **dict.fromkeys(("--hf-token",), _SECRET),
    **dict.fromkeys(("--trust-remote-code",), "set config.allow_remote_code_of instead"),
    **dict.fromkeys(
        (
            "--tokenizer", "--hf-config-path", "--download-dir", "--revision", "--code-revision",
            "--tokenizer-revision", "--config-format", "--spec-model",
        ),
        _FETCH,
    ),
    **dict.fromkeys(
        (
            "--middleware", "--tool-parser-plugin", "--reasoning-parser-plugin", "--logits-processors",
            "--io-processor-plugin", "--worker-cls", "--worker-extension-cls", "--scheduler-cls",
            "--model-class-overrides",
        ),
        _CODE,
    ),
    **dict.fromkeys(
        (
            "--headless", "--nnodes", "--node-rank", "--master-addr", "--master-port", "--data-parallel-address",
            "--data-parallel-rpc-port", "--data-parallel-supervisor-port", "--data-parallel-external-lb",
            "--data-parallel-hybrid-lb", "--data-parallel-multi-port-external-lb", "--device-ids",
        ),
        _ONE,
    ),
    **dict.fromkeys(("--help", "--version"), "the server would print and exit"),
}  # fmt: skip

# Short spellings of arguments, and the long ones that they stand for.
SHORT_ARGUMENTS: dict[str, str] = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-q": "--quantization",
    "-n": "--nnodes",
    "-r": "--node-rank",
    "-dpa": "--data-parallel-address",
    "-dpp": "--data-parallel-rpc-port",
    "-dpe": "--data-parallel-external-lb",
    "-dph": "--data-parallel-hybrid-lb",
    "-dpm": "--data-parallel-multi-port-external-lb",
    "-h": "--help",
    "-v": "--version",
}
