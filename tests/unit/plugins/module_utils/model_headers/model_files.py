# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small writers of model files for tests: right ones, and wrong ones on purpose. Weights are holes in the file."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

U32, BOOL, STRING, ARRAY, U64 = 4, 7, 8, 9, 10


def text(value: str) -> bytes:
    """Return a GGUF string."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, data: bytes) -> bytes:
    """Return a key with its value."""
    return text(key) + struct.pack("<I", kind) + data


def value(key: str, content: Any) -> bytes:
    """Return a key with a text, a number, or a list of numbers or truth values."""
    if isinstance(content, str):
        return pair(key, STRING, text(content))
    if isinstance(content, list):
        form, kind = ("?", BOOL) if isinstance(content[0], bool) else ("I", U32)
        head = struct.pack("<IQ", kind, len(content))
        return pair(key, ARRAY, head + struct.pack(f"<{len(content)}{form}", *content))
    return pair(key, U32, struct.pack("<I", content))


def tensor(name: str, shape: list[int], kind: int, offset: int) -> bytes:
    """Return an entry of the list of tensors."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf_bytes(
    pairs: list[bytes], tensors: list[bytes], *, version: int = 3, magic: bytes = b"GGUF", **counts: int
) -> bytes:
    """Return a header; counts may lie (tensor_count, key_count)."""
    tensor_count, key_count = counts.get("tensor_count", len(tensors)), counts.get("key_count", len(pairs))
    return magic + struct.pack("<IQQ", version, tensor_count, key_count) + b"".join(pairs) + b"".join(tensors)


def write_gguf(
    path: Path, metadata: dict[str, Any], tensors: list[tuple[str, list[int], int]], missing: int = 0
) -> None:
    """Write a whole file; the weights are a hole. `missing` bytes are left out at the end."""
    from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._gguf_types import TENSOR_TYPES

    entries, offset, end = [], 0, 0
    for name, shape, kind in tensors:
        _label, block, size = TENSOR_TYPES[kind]
        entries.append(tensor(name, shape, kind, offset))
        end = offset + math.prod(shape) // block * size
        offset = -(-end // 32) * 32
    header = gguf_bytes([value(key, item) for key, item in metadata.items()], entries)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(-(-len(header) // 32) * 32 + end - missing)


def safetensors_header(tensors: dict[str, tuple[str, list[int]]]) -> tuple[dict[str, Any], int]:
    """Return the header of these tensors (name: type, shape), and the bytes behind it."""
    bits = {"F32": 32, "BF16": 16, "F16": 16, "F8_E4M3": 8, "U8": 8, "I32": 32}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (kind, shape) in tensors.items():
        begin, end = end, end + math.prod(shape) * bits[kind] // 8
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    return header, end


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int]]], missing: int = 0) -> None:
    """Write a whole file; the weights are a hole."""
    header, end = safetensors_header(tensors)
    data = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(data)) + data)
        file.truncate(8 + len(data) + end - missing)
