# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Data about Ollama: the options an instance may set.

Ollama is set by environment variables. Source of names, defaults and value sets: Ollama's documentation and its list in
'ollama serve --help', version 0.32.
"""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import Option

# For a variable of the environment, `flag` has its name.
OPTIONS: dict[str, Option] = {
    "context_tokens": Option(
        "int",
        4096,
        "Tokens of prompt and answer that one request may use. The engine's own default follows the GPU memory and can "
        "be 262144, which takes that memory.",
        "OLLAMA_CONTEXT_LENGTH",
        256,
        4194304,
    ),
    "parallel_requests": Option(
        "int",
        4,
        "Requests answered at the same time. Each has context_tokens of its own. The engine's default is 1.",
        "OLLAMA_NUM_PARALLEL",
        1,
        256,
    ),
    "max_queue": Option(
        "int",
        64,
        "Requests that may wait inside the engine; the next gets 503. The gateway queues, so a short queue here is "
        "enough. The engine's default is 512.",
        "OLLAMA_MAX_QUEUE",
        1,
        100000,
    ),
    "max_loaded_models": Option(
        "int",
        1,
        "Models in memory at the same time. An instance has one model.",
        "OLLAMA_MAX_LOADED_MODELS",
        1,
        16,
    ),
    "keep_alive_seconds": Option(
        "int",
        -1,
        "How long the model stays in memory after a request. -1: for ever, so that no user waits for a load. The "
        "engine's default is 300. With any other value an idle instance is no longer proven to have its model loaded.",
        "OLLAMA_KEEP_ALIVE",
        -1,
        2592000,
    ),
    "load_timeout_seconds": Option(
        "int",
        300,
        "How long a load may stand still before the engine gives it up. The engine's default.",
        "OLLAMA_LOAD_TIMEOUT",
        10,
        86400,
    ),
    "flash_attention": Option(
        "str",
        "auto",
        "Memory-saving attention. The engine's default.",
        "OLLAMA_FLASH_ATTENTION",
        choices=("auto", "on", "off"),
    ),
    "kv_cache_type": Option(
        "str",
        "f16",
        "Number format of the cache. A quantised one needs flash_attention.",
        "OLLAMA_KV_CACHE_TYPE",
        choices=("f16", "q8_0", "q4_0"),
    ),
    "gpu_overhead_bytes": Option(
        "int", 0, "Memory that stays free on every GPU.", "OLLAMA_GPU_OVERHEAD", 0, 1099511627776
    ),
    "sched_spread": Option(
        "bool",
        False,
        "Spread the model over all GPUs, even when one would do. The engine's default is off.",
        "OLLAMA_SCHED_SPREAD",
    ),
    "llm_library": Option(
        "str",
        "",
        "GPU library to use, such as cuda_v13. Empty lets the engine choose.",
        "OLLAMA_LLM_LIBRARY",
        pattern=r"[A-Za-z0-9_]{0,40}",
    ),
    "gpu_layers": Option(
        "int_or_choice",
        "auto",
        "Layers of the model in GPU memory. 'auto' puts there what fits, and the rest runs slowly on the CPU: llm_info "
        "then says 'spill'. Only with a GGUF model.",
        "",
        0,
        10000,
        choices=("auto",),
    ),
    "embeddings": Option(
        "bool",
        False,
        "The model makes embeddings. The engine loads such a model only for a text, and the start then sends one word.",
    ),
    "template": Option(
        "str",
        "",
        "Prompt template in Ollama's template language. Empty takes the chat template of the GGUF file, which needs an "
        "Ollama that runs llama-server. Only with a GGUF model. In YAML, mark it !unsafe.",
    ),
    "stop": Option("list", [], "Texts that end an answer, on top of the model's own. Only with a GGUF model."),
    "model_family": Option(
        "str",
        "",
        "Family as Ollama names it, such as gptoss; some families are treated specially. Only with a GGUF model.",
        pattern=r"[A-Za-z0-9_.-]{0,60}",
    ),
    "renderer": Option(
        "str",
        "",
        "Built-in prompt renderer, such as gemma4. 'ollama create' sets it for some families. Only with a GGUF model.",
        pattern=r"[A-Za-z0-9_.-]{0,60}",
    ),
    "parser": Option(
        "str",
        "",
        "Built-in parser of answers, such as gemma4. Only with a GGUF model.",
        pattern=r"[A-Za-z0-9_.-]{0,60}",
    ),
}

# What describes a model that is one GGUF file; a copied store has all of it inside.
GGUF_ONLY = ("gpu_layers", "template", "stop", "model_family", "renderer", "parser")

# Nothing listens there: a request to fetch a model ends at once, instead of bringing one that nobody checked.
NOWHERE = "http://127.0.0.1:9"

# Set for every instance, whatever the configuration says.
FIXED: dict[str, str] = {
    "OLLAMA_NO_CLOUD": "1",  # no model and no search outside this host
    "OLLAMA_NOPRUNE": "1",  # the store is read-only, and nothing may be cleaned up in it
    "OLLAMA_DEBUG": "0",  # its trace level writes prompts
    "OLLAMA_DEBUG_LOG_REQUESTS": "0",  # writes the body of every request
    "OLLAMA_NOHISTORY": "1",
    "OLLAMA_ORIGINS": "http://localhost",  # adds no web page to the built-in local ones
    "OLLAMA_REMOTES": "localhost",
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "GIN_MODE": "release",
    "LC_ALL": "C.UTF-8",
}
