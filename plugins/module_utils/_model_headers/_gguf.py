# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Reads the header of GGUF files, version 2 and 3: metadata and the list of tensors, never the weights.

Lists such as the vocabulary are stepped over; only their length is kept.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers import _gguf_types as types
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import (
    MAX_READ_BYTES,
    HeaderError,
    HeaderReader,
)

MAX_HEADER_BYTES = 512 << 20
MAX_KEYS = 65536
MAX_TENSORS = 1 << 20
MAX_NAME_BYTES = 65535  # the format's own limit for a key
MAX_KEPT_LIST = 4096  # one number per layer; longer lists are vocabularies
MAX_KEPT_TEXT = 4096
MAX_DIMENSIONS = 4
MAX_DEPTH = 4
MAX_SHARDS = 1000
_U32 = types.VALUE_FORMATS[types.U32]
_U64 = types.VALUE_FORMATS[types.U64]
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
_BAD_WRITER = "The program that wrote the file made a mistake. Take the model from its publisher again."


@dataclass
class GgufHeader:
    """What the header of a file, or of all its parts, says."""

    version: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    list_lengths: dict[str, int] = field(default_factory=dict)
    tensors: int = 0
    parameters: int = 0
    type_bytes: dict[str, int] = field(default_factory=dict)
    vocabulary_rows: int | None = None
    has_output: bool = False
    header_bytes: int = 0

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(self.type_bytes.values())


def _text(reader: HeaderReader, what: str, limit: int) -> str:
    length = reader.unsigned(_U64, f"the length of {what}")
    if length > limit and length <= reader.left:
        raise reader.error(f"{what} is {length} bytes long, more than {limit}", _BAD_WRITER)
    try:
        return reader.read(length, what).decode("utf-8")
    except UnicodeDecodeError:
        raise reader.error(f"{what} is no UTF-8 text") from None


def _skip_list(reader: HeaderReader, key: str, kind: int, count: int, depth: int) -> None:
    """Go over a list without keeping it."""
    if kind in types.VALUE_FORMATS:
        reader.skip(count * types.VALUE_FORMATS[kind].size, f"the list {key} of {count} numbers")
        return
    if depth >= MAX_DEPTH:
        raise reader.error(f"the list {key} has lists inside lists, deeper than {MAX_DEPTH}", _BAD_WRITER)
    smallest = 8 if kind == types.STRING else 12
    if count * smallest > reader.left:
        raise reader.error(f"the list {key} claims {count} entries, but the file ends after {reader.left} more bytes")
    for _number in range(count):
        if kind == types.STRING:
            reader.skip(reader.unsigned(_U64, f"the length of an entry of {key}"), f"an entry of {key}")
        else:
            inner, length = _list_head(reader, key)
            _skip_list(reader, key, inner, length, depth + 1)


def _list_head(reader: HeaderReader, key: str) -> tuple[int, int]:
    kind = reader.unsigned(_U32, f"the type of the list {key}")
    if kind > types.F64:
        raise reader.error(f"the list {key} has entries of the unknown type {kind}")
    return kind, reader.unsigned(_U64, f"the length of the list {key}")


def _value(reader: HeaderReader, header: GgufHeader, key: str) -> None:
    """Read one value; keep it when it is short."""
    kind = reader.unsigned(_U32, f"the type of {key}")
    if kind in types.VALUE_FORMATS:
        number = reader.number(types.VALUE_FORMATS[kind], key)
        header.metadata[key] = bool(number) if kind == types.BOOL else number
    elif kind == types.STRING:
        length = reader.unsigned(_U64, f"the length of {key}")
        if length > MAX_KEPT_TEXT:
            reader.skip(length, key)
            header.list_lengths[key] = length
        else:
            header.metadata[key] = reader.read(length, key).decode("utf-8", "replace")
    elif kind == types.ARRAY:
        kind, count = _list_head(reader, key)
        header.list_lengths[key] = count
        form = types.VALUE_FORMATS.get(kind)
        if form is not None and count <= MAX_KEPT_LIST and count * form.size <= MAX_READ_BYTES:
            data = reader.read(count * form.size, f"the list {key} of {count} numbers")
            header.metadata[key] = [
                bool(item[0]) if kind == types.BOOL else item[0] for item in struct.iter_unpack(form.format, data)
            ]
        else:
            _skip_list(reader, key, kind, count, 1)
    else:
        raise reader.error(f"the value of {key} has the unknown type {kind}")


def _tensor(reader: HeaderReader, header: GgufHeader) -> tuple[str, int, int, int]:
    """Read one entry of the list of tensors; return its name, offset, bytes and the place of the entry."""
    place = reader.offset
    name = _text(reader, "the name of a tensor", MAX_NAME_BYTES)
    dimensions = reader.unsigned(_U32, f"the number of dimensions of tensor {name}")
    if dimensions > MAX_DIMENSIONS:
        raise reader.error(f"tensor {name} claims {dimensions} dimensions, more than {MAX_DIMENSIONS}")
    shape = [reader.unsigned(_U64, f"the shape of tensor {name}") for _number in range(dimensions)]
    kind = reader.unsigned(_U32, f"the type of tensor {name}")
    offset = reader.unsigned(_U64, f"the offset of tensor {name}")
    if kind in types.REMOVED_TENSOR_TYPES:
        raise reader.error(
            f"tensor {name} has the type {types.REMOVED_TENSOR_TYPES[kind]}, which llama.cpp no longer reads",
            "Take a newer conversion of the model, or convert it again.",
        )
    if kind not in types.TENSOR_TYPES:
        raise reader.error(
            f"tensor {name} has the type {kind}, which this collection does not know",
            "The file is damaged, or newer than this collection: compare its SHA-256 with the source.",
        )
    label, block, block_bytes = types.TENSOR_TYPES[kind]
    elements = 1
    for length in shape:
        elements *= length
    if elements >= 1 << 63 or (elements and shape and shape[0] % block):
        raise reader.error(f"tensor {name} of type {label} cannot have the shape {shape}")
    size = elements // block * block_bytes if not elements % block else 0
    header.parameters += elements
    header.type_bytes[label] = header.type_bytes.get(label, 0) + size
    header.has_output = header.has_output or name == "output.weight"
    if name == "token_embd.weight" and len(shape) > 1:
        header.vocabulary_rows = shape[1]
    return name, offset, size, place


def _start(reader: HeaderReader) -> tuple[int, int, int]:
    """Check the first bytes; return version, number of tensors and number of keys."""
    magic = reader.read(4, "the first four bytes")
    if magic not in (b"GGUF", b"FUGG"):
        raise reader.error(
            f"the file begins with {magic!r}, not with b'GGUF'",
            "It is no GGUF file: check the entry of the model, or copy the file again.",
            offset=0,
        )
    version = reader.unsigned(_U32, "the version")
    if magic == b"FUGG" or (version and not version & 0xFFFF):
        raise reader.error(
            "the file is big-endian, which only engines on big-endian machines read",
            "Take the little-endian file of the model, the usual one.",
            offset=4,
        )
    if version not in (2, 3):
        raise reader.error(
            f"the file has GGUF version {version}, this collection reads 2 and 3",
            "Take a newer conversion of the model." if version < 2 else "Update the collection.",
            offset=4,
        )
    tensors = reader.unsigned(_U64, "the number of tensors")
    keys = reader.unsigned(_U64, "the number of keys")
    if keys > MAX_KEYS or keys * 13 > reader.left:
        raise reader.error(
            f"the file claims {keys} keys, it has room for {min(MAX_KEYS, reader.left // 13)}", offset=16
        )
    if tensors > MAX_TENSORS or tensors * 24 > reader.left:
        room = min(MAX_TENSORS, reader.left // 24)
        raise reader.error(f"the file claims {tensors} tensors, it has room for {room}", offset=8)
    return version, tensors, keys


def read_part(path: str) -> GgufHeader:
    """Read the header of one file, and check that the file holds every tensor it lists."""
    header = GgufHeader()
    with HeaderReader(path, MAX_HEADER_BYTES) as reader:
        header.version, header.tensors, keys = _start(reader)
        for _number in range(keys):
            place = reader.offset
            key = _text(reader, "the name of a key", MAX_NAME_BYTES)
            if key in header.metadata or key in header.list_lengths:
                raise reader.error(f"the key {key} is there twice", _BAD_WRITER, offset=place)
            _value(reader, header, key)
        alignment = header.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 20:
            raise reader.error(f"general.alignment is {alignment!r}, it must be a power of two")
        last: tuple[int, str, int, int] = (0, "", 0, 0)
        for _number in range(header.tensors):
            name, offset, size, place = _tensor(reader, header)
            if offset % alignment:
                raise reader.error(f"tensor {name} begins at {offset}, no multiple of {alignment}", offset=place)
            last = max(last, (offset + size, name, size, place))
        header.header_bytes = reader.offset
        start = -(-reader.offset // alignment) * alignment
        if header.tensors and start + last[0] > reader.size:
            raise reader.error(
                f"tensor {last[1]} ends at byte {start + last[0]}, but the file has {reader.size} bytes, "
                f"{start + last[0] - reader.size} too few",
                offset=last[3],
            )
    return header


def shard_paths(path: str) -> list[str]:
    """Return all parts of a model that begins with this file, in order."""
    match = _SHARD.fullmatch(os.path.basename(path))
    if match is None:
        return [path]
    count = int(match.group(3))
    if int(match.group(2)) != 1:
        first = f"{match.group(1)}-00001-of-{match.group(3)}.gguf"
        raise HeaderError(f"{path}: is part {int(match.group(2))} of {count}. Name the first part as entry: {first}.")
    if not 1 <= count <= MAX_SHARDS:
        raise HeaderError(f"{path}: the name says {count} parts. Use a file of 1 to {MAX_SHARDS} parts.")
    directory = os.path.dirname(path)
    return [
        os.path.join(directory, f"{match.group(1)}-{number:05d}-of-{match.group(3)}.gguf")
        for number in range(1, count + 1)
    ]


def read_gguf(path: str) -> GgufHeader:
    """Read the header of a model: one file, or all parts when the name ends in -00001-of-0000N.gguf."""
    paths = shard_paths(path)
    missing = [part for part in paths if not os.path.isfile(part)]
    if missing:
        raise HeaderError(f"{missing[0]}: is missing; the model has {len(paths)} part(s). Copy it to the others.")
    header = read_part(paths[0])
    claimed = header.metadata.get("split.count", 1)
    if claimed not in (len(paths), 0) and (len(paths) > 1 or claimed != 1):
        raise HeaderError(
            f"{path}: the header says split.count = {claimed}, the file's name says {len(paths)} part(s). "
            "Give the files the names that their publisher gave them."
        )
    for number, part in enumerate(paths[1:], start=1):
        other = read_part(part)
        found = (other.metadata.get("split.no"), other.metadata.get("split.count"))
        if found != (number, len(paths)):
            raise HeaderError(
                f"{part}: the header says split.no = {found[0]}, split.count = {found[1]}; expected {number} and "
                f"{len(paths)}. The parts belong to different models, or were renamed: copy all of them again."
            )
        header.tensors += other.tensors
        header.parameters += other.parameters
        header.header_bytes += other.header_bytes
        header.has_output = header.has_output or other.has_output
        header.vocabulary_rows = header.vocabulary_rows or other.vocabulary_rows
        for label, size in other.type_bytes.items():
            header.type_bytes[label] = header.type_bytes.get(label, 0) + size
    wanted = header.metadata.get("split.tensors.count", header.tensors)
    if len(paths) > 1 and wanted != header.tensors:
        raise HeaderError(
            f"{path}: the header says split.tensors.count = {wanted}, all parts together have {header.tensors}. "
            "The parts belong to different models: copy all of them again."
        )
    return header
