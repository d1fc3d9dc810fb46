# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a language model of about 3 MB with random weights as a directory with safetensors, for the lab.

The same network, vocabulary and chat template as tiny_gguf.py, in the form that vLLM reads. The same seed gives the
same bytes; every answer is printable text and runs to the asked number of tokens.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from . import tiny_gguf as tiny

HEAD_BYTES_MULTIPLE = 8
FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def config() -> dict[str, Any]:
    """Return config.json."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": tiny.WIDTH,
        "intermediate_size": tiny.FEED_FORWARD,
        "num_hidden_layers": tiny.LAYERS,
        "num_attention_heads": tiny.HEADS,
        "num_key_value_heads": tiny.HEADS,
        "head_dim": tiny.WIDTH // tiny.HEADS,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": tiny.CONTEXT_TOKENS,
        "vocab_size": tiny.VOCABULARY,
        "bos_token_id": tiny.VOCABULARY - 3,
        "eos_token_id": tiny.VOCABULARY - 1,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }


def tokenizer() -> dict[str, Any]:
    """Return tokenizer.json: a byte-level BPE."""
    tokens, _types, merges, _printable = tiny.vocabulary()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": tokens.index(text), "content": text, **flags} for text in tiny.CONTROL_TOKENS],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {text: number for number, text in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def tensors(seed: int) -> dict[str, Any]:
    """Return the weights by name."""
    import numpy

    *_others, printable = tiny.vocabulary()
    random = numpy.random.Generator(numpy.random.PCG64(seed))

    def matrix(rows: int, columns: int, scale: float = 1.0) -> Any:
        return (random.standard_normal((rows, columns)) * scale / columns**0.5).astype(numpy.float32)

    ones: Any = numpy.ones(tiny.WIDTH, dtype=numpy.float32)
    output = matrix(tiny.VOCABULARY, tiny.WIDTH, 8.0)
    output[~numpy.array(printable)] = 0.0
    found = {"model.embed_tokens.weight": matrix(tiny.VOCABULARY, tiny.WIDTH, 4.0)}
    for layer in range(tiny.LAYERS):
        prefix = f"model.layers.{layer}."
        found[prefix + "input_layernorm.weight"] = ones
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            found[f"{prefix}self_attn.{name}.weight"] = matrix(tiny.WIDTH, tiny.WIDTH, 1.5)
        found[prefix + "post_attention_layernorm.weight"] = ones
        found[prefix + "mlp.gate_proj.weight"] = matrix(tiny.FEED_FORWARD, tiny.WIDTH, 1.5)
        found[prefix + "mlp.up_proj.weight"] = matrix(tiny.FEED_FORWARD, tiny.WIDTH, 1.5)
        found[prefix + "mlp.down_proj.weight"] = matrix(tiny.WIDTH, tiny.FEED_FORWARD, 1.5)
    found["model.norm.weight"] = ones
    found["lm_head.weight"] = output
    return found


def safetensors_bytes(weights: dict[str, Any]) -> bytes:
    """Return a safetensors file: the length of the header, the header as JSON, the numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name in sorted(weights):
        data = weights[name].tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(weights[name].shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % HEAD_BYTES_MULTIPLE)
    return struct.pack("<Q", len(text)) + text + body


def write_model(directory: Path, seed: int) -> None:
    """Write the directory of the model that belongs to a seed."""
    directory.mkdir(parents=True, exist_ok=True)
    chat = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tiny.CONTROL_TOKENS[0],
        "eos_token": tiny.CONTROL_TOKENS[-1],
        "model_max_length": tiny.CONTEXT_TOKENS,
        "chat_template": tiny.CHAT_TEMPLATE,
    }
    texts = {
        "config.json": config(),
        "generation_config.json": {"bos_token_id": tiny.VOCABULARY - 3, "eos_token_id": tiny.VOCABULARY - 1},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": chat,
    }
    for name, content in texts.items():
        (directory / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (directory / "model.safetensors").write_bytes(safetensors_bytes(tensors(seed)))
