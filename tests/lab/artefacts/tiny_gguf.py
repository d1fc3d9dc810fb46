# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a language model of about 2.4 MB with random weights, for the lab.

The model knows nothing. It is a real Llama network in a real GGUF file, so the real engine loads and serves it.
The same seed gives the same bytes. Another seed gives another model, which answers the same prompts differently.

Rows of the output matrix that would give control tokens or bytes outside printable ASCII are zero: every answer is
printable text and runs to the asked number of tokens, so that measurements have a fixed shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

LAYERS = 2
WIDTH = 128
HEADS = 4
FEED_FORWARD = 256
VOCABULARY = 1024
CONTEXT_TOKENS = 8192
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_NORMAL, _CONTROL = 1, 3


def byte_letters() -> list[str]:
    """Return the printable letter that stands for each byte 0..255 in a byte-level BPE vocabulary (as GPT-2 has it)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = []
    spare = 0x100
    for byte in range(256):
        if byte in printable:
            letters.append(chr(byte))
        else:
            letters.append(chr(spare))
            spare += 1
    return letters


def vocabulary() -> tuple[list[str], list[int], list[str], list[bool]]:
    """Return (tokens, their types, merges, whether a token is plain printable text) of the byte-level BPE."""
    letters = byte_letters()
    space = letters[0x20]
    small = "abcdefghijklmnopqrstuvwxyz"
    pairs = [(first, second) for first in small for second in small]
    pairs += [(space, letter) for letter in small + small.upper()]
    pairs += [(first, second) for first in small.upper() for second in small]
    tokens = list(letters)
    printable = [0x20 <= byte < 0x7F for byte in range(256)]
    merges = []
    for first, second in pairs[: VOCABULARY - len(tokens) - len(CONTROL_TOKENS)]:
        tokens.append(first + second)
        merges.append(f"{first} {second}")
        printable.append(True)
    types = [_NORMAL] * len(tokens) + [_CONTROL] * len(CONTROL_TOKENS)
    tokens += CONTROL_TOKENS
    printable += [False] * len(CONTROL_TOKENS)
    return tokens, types, merges, printable


def write_model(path: Path, seed: int) -> None:
    """Write the model that belongs to a seed."""
    import gguf
    import numpy

    tokens, types, merges, printable = vocabulary()
    writer: Any = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(f"lab tiny, seed {seed}")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(VOCABULARY - 3)
    writer.add_eos_token_id(VOCABULARY - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    random = numpy.random.Generator(numpy.random.PCG64(seed))

    def matrix(rows: int, columns: int, scale: float = 1.0) -> Any:
        return (random.standard_normal((rows, columns)) * scale / columns**0.5).astype(numpy.float32)

    ones: Any = numpy.ones(WIDTH, dtype=numpy.float32)
    output = matrix(VOCABULARY, WIDTH, 8.0)
    output[~numpy.array(printable)] = 0.0
    writer.add_tensor("token_embd.weight", matrix(VOCABULARY, WIDTH, 4.0))
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        writer.add_tensor(prefix + "attn_norm.weight", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{prefix}{name}.weight", matrix(WIDTH, WIDTH, 1.5))
        writer.add_tensor(prefix + "ffn_norm.weight", ones)
        writer.add_tensor(prefix + "ffn_gate.weight", matrix(FEED_FORWARD, WIDTH, 1.5))
        writer.add_tensor(prefix + "ffn_up.weight", matrix(FEED_FORWARD, WIDTH, 1.5))
        writer.add_tensor(prefix + "ffn_down.weight", matrix(WIDTH, FEED_FORWARD, 1.5))
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", output)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_truncated(path: Path, whole: Path, share: float = 0.6) -> None:
    """Write the first part of a whole model file: what a broken copy looks like."""
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
