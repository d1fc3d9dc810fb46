# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Data about llama-server: the options an instance may set, and the arguments it may not.

Source of flags, defaults and value sets: `llama-server --help` of version 0.7.0 (build 11669).
"""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import Option

_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")

OPTIONS: dict[str, Option] = {
    "context_tokens": Option(
        "int",
        4096,
        "Tokens of prompt and answer that one request may use. The engine's own default is the whole "
        "context of the model, which can take more memory than the host has.",
        "--ctx-size",
        64,
        4194304,
    ),
    "parallel_requests": Option(
        "int",
        4,
        "Requests answered at the same time. Each has context_tokens of its own, so memory for the cache is "
        "the product of both.",
        "--parallel",
        1,
        256,
    ),
    "batch_tokens": Option(
        "int", 2048, "Most prompt tokens handled in one step. The engine's default.", "--batch-size", 32, 65536
    ),
    "ubatch_tokens": Option(
        "int",
        512,
        "Most tokens computed at once; more needs more memory. The engine's default.",
        "--ubatch-size",
        32,
        65536,
    ),
    "threads": Option(
        "int", 0, "CPU threads that generate. 0 lets the engine take one per physical core.", "--threads", 0, 1024
    ),
    "batch_threads": Option(
        "int", 0, "CPU threads that read prompts. 0 means the same as threads.", "--threads-batch", 0, 1024
    ),
    "http_threads": Option("int", 0, "Threads that serve HTTP. 0 lets the engine choose.", "--threads-http", 0, 1024),
    "gpu_layers": Option(
        "int_or_choice",
        "all",
        "Layers of the model kept in GPU memory. With 'all', a model that does not fit fails at "
        "the start instead of serving slowly from the CPU. Without effect on a host without a GPU.",
        "--gpu-layers",
        0,
        10000,
        ("all", "auto"),
    ),
    "split_mode": Option(
        "str",
        "layer",
        "How several GPUs share a model. The engine's default.",
        "--split-mode",
        choices=("none", "layer", "row"),
    ),
    "main_gpu": Option("int", 0, "The GPU used when split_mode is none.", "--main-gpu", 0, 64),
    "fit_to_memory": Option(
        "bool",
        False,
        "Let the engine lower settings that were not set until they fit. Off, so that one release is the "
        "same on every host; the engine's default is on.",
        "--fit",
    ),
    "cache_type_k": Option(
        "str",
        "f16",
        "Number format of the cache for keys. The engine's default.",
        "--cache-type-k",
        choices=_CACHE_TYPES,
    ),
    "cache_type_v": Option(
        "str",
        "f16",
        "Number format of the cache for values. A quantised one needs flash_attention.",
        "--cache-type-v",
        choices=_CACHE_TYPES,
    ),
    "flash_attention": Option(
        "str", "auto", "Memory-saving attention. The engine's default.", "--flash-attn", choices=("on", "off", "auto")
    ),
    "load_mode": Option(
        "str",
        "auto",
        "How the model file is read. mlock keeps it in memory.",
        "--load-mode",
        choices=("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"),
    ),
    "numa": Option(
        "str",
        "off",
        "Placement on hosts with several memory nodes.",
        "--numa",
        choices=("off", "distribute", "isolate", "numactl"),
    ),
    "continuous_batching": Option(
        "bool", True, "Let requests join a running batch. The engine's default.", "--cont-batching"
    ),
    "prompt_cache": Option(
        "bool",
        True,
        "Reuse the part of the prompt that a slot has seen before. The engine's default.",
        "--cache-prompt",
    ),
    "prompt_cache_ram_mebibytes": Option(
        "int",
        0,
        "Host memory for prompts of idle slots. 0 keeps none. The engine's default is 8192, which comes on top "
        "of the model and is easily forgotten when memory is planned.",
        "--cache-ram",
        0,
        1048576,
    ),
    "warmup": Option(
        "bool", True, "One empty run before the server says it is ready. The engine's default.", "--warmup"
    ),
    "embeddings": Option("bool", False, "Serve embeddings only. Needs an embedding model.", "--embeddings"),
    "chat_template": Option(
        "str",
        "",
        "Name of a built-in chat template. Empty takes the one in the model file.",
        "--chat-template",
        pattern=r"[a-z0-9.-]*",
    ),
    "reasoning_format": Option(
        "str",
        "auto",
        "Where the thoughts of a reasoning model go in an answer. The engine's default.",
        "--reasoning-format",
        choices=("auto", "none", "deepseek", "deepseek-legacy"),
    ),
    "request_timeout_seconds": Option(
        "int",
        600,
        "Longest silence on a connection. The engine's default, 3600, keeps dead connections for an hour.",
        "--timeout",
        5,
        86400,
    ),
    "log_verbosity": Option(
        "int",
        1,
        "0 to 3. 1 logs errors. 2 adds warnings, and of a request that is no valid JSON the place with words of the "
        "prompt. 3 adds about nine lines per request. 4 and more can log prompts, and are not offered.",
        "--log-verbosity",
        0,
        3,
    ),
    "extra_arguments": Option(
        "list",
        [],
        "More arguments for llama-server, word by word. Those that break a promise of the collection are refused.",
    ),
}

_OPEN = "it opens a way in that no gateway guards"
_PRIVACY = "it can write or show prompts"
_OWN = "the collection sets it"
_FETCH = "it downloads a model that nobody checked; put models in local_llm_models"

# Arguments that are refused in extra_arguments: every spelling, with the reason.
REFUSED_ARGUMENTS: dict[str, str] = {
    **dict.fromkeys(
        ("--rpc", "--tools", "--tools-runtime", "--agent", "-ag", "--mcp-servers-config", "--mcp-servers-json"), _OPEN
    ),
    **dict.fromkeys(
        ("--ui", "--webui", "--ui-mcp-proxy", "--webui-mcp-proxy", "--path", "--media-path", "--props", "--reuse-port"),
        _OPEN,
    ),
    **dict.fromkeys(("--cors-origins", "--cors-methods", "--cors-headers", "--cors-credentials"), _OPEN),
    **dict.fromkeys(
        ("--slots", "--slot-save-path", "--log-prompts-dir", "--log-file", "-v", "--verbose", "--log-verbose"), _PRIVACY
    ),
    **dict.fromkeys(
        ("--host", "--port", "-a", "--alias", "-m", "--model", "--no-slots", "--no-ui", "--no-webui", "--metrics"), _OWN
    ),
    **dict.fromkeys(("--offline", "--no-kv-unified", "-no-kvu", "--no-cors-credentials"), _OWN),
    **dict.fromkeys(("--cache-idle-slots", "--no-cache-idle-slots"), "prompt_cache_ram_mebibytes decides it"),
    **dict.fromkeys(
        ("--api-prefix", "--ssl-key-file", "--ssl-cert-file", "--log-disable"),
        "health checks and the gateway would not find the engine",
    ),
    **dict.fromkeys(
        ("-kvu", "--kv-unified", "--kv-unified-per-slot"), "context_tokens would no longer hold for each request"
    ),
    **dict.fromkeys(
        ("--api-key", "--api-key-file"), "keys never stand in arguments; set LLAMA_API_KEY in a file of mode 0600"
    ),
    **dict.fromkeys(("--hf-token", "-hft"), "secrets never stand in arguments"),
    **dict.fromkeys(
        (
            "--model-url",
            "-mu",
            "--mmproj-url",
            "-mmu",
            "--docker-repo",
            "-dr",
            "--hf-repo",
            "-hf",
            "-hfr",
            "--hf-file",
            "-hff",
        ),
        _FETCH,
    ),
    **dict.fromkeys(
        ("--spec-draft-hf", "-hfd", "-hfrd", "--hf-repo-draft", "--hf-repo-v", "-hfv", "-hfrv", "--hf-file-v", "-hffv"),
        _FETCH,
    ),
    **dict.fromkeys(
        ("--models-dir", "--models-preset", "--models-max", "--models-autoload", "--no-models-autoload"),
        "one instance serves one model",
    ),
    **dict.fromkeys(
        ("-h", "--help", "--usage", "--version", "-cl", "--cache-list", "--list-devices", "--completion-bash"),
        "the server would print and exit",
    ),
}
# Presets such as --gpt-oss-20b-default or --fim-qwen-7b-spec.
REFUSED_PATTERN = r"--.+-(default|spec)"
REFUSED_PATTERN_REASON = _FETCH

# Other spellings of the flags that options set.
FLAG_ALIASES: dict[str, str] = {
    "-c": "context_tokens",
    "-np": "parallel_requests",
    "-b": "batch_tokens",
    "-ub": "ubatch_tokens",
    "-t": "threads",
    "-tb": "batch_threads",
    "-ngl": "gpu_layers",
    "--n-gpu-layers": "gpu_layers",
    "-sm": "split_mode",
    "-mg": "main_gpu",
    "-fit": "fit_to_memory",
    "-ctk": "cache_type_k",
    "-ctv": "cache_type_v",
    "-fa": "flash_attention",
    "-lm": "load_mode",
    "-cb": "continuous_batching",
    "-nocb": "continuous_batching",
    "--no-cont-batching": "continuous_batching",
    "--no-cache-prompt": "prompt_cache",
    "-cram": "prompt_cache_ram_mebibytes",
    "--no-warmup": "warmup",
    "--embedding": "embeddings",
    "-to": "request_timeout_seconds",
    "-lv": "log_verbosity",
    "--verbosity": "log_verbosity",
    "--chat-template-file": "chat_template",
}
