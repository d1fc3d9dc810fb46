# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Reads the header of safetensors files: types and sizes of the tensors, never the weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._json_stream import JsonStream
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError, HeaderReader

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_INDEX_BYTES = 256 << 20
MAX_SHARDS = 10000
INDEX = "model.safetensors.index.json"
# Bits of one element.
TYPE_BITS = {
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
    "F32": 32,
    "I32": 32,
    "U32": 32,
    "F16": 16,
    "BF16": 16,
    "I16": 16,
    "U16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I8": 8,
    "U8": 8,
    "BOOL": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
# Tensors that belong to a quantisation and hold no weights of the model.
_SCALES = ("_scale", "_scale_inv", "_scales", "_zero_point", "_scale_2", ".scales", ".qzeros", ".g_idx")


@dataclass
class SafetensorsHeader:
    """What the headers of all files of a model say."""

    files: list[str] = field(default_factory=list)
    tensors: int = 0
    elements: int = 0
    type_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(self.type_bytes.values())


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _entry(stream: JsonStream, name: str, header: SafetensorsHeader) -> tuple[int, int]:
    """Read one tensor; return where its bytes begin and end."""
    entry = stream.value()
    entry = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    right = isinstance(shape, list) and all(_whole(item) for item in shape)
    if not isinstance(kind, str) or not right or not isinstance(offsets, list) or len(offsets) != 2:
        raise stream.error(f"tensor {name!r} has no dtype, shape or data_offsets")
    if kind not in TYPE_BITS:
        raise stream.error(f"tensor {name!r} has the type {kind!r}, which this collection does not know")
    begin, end = offsets
    elements = 1
    for length in shape or []:
        elements *= length
    if not _whole(begin) or not _whole(end) or begin > end or (end - begin) * 8 != elements * TYPE_BITS[kind]:
        raise stream.error(f"tensor {name!r} of type {kind} and shape {shape} cannot have the data_offsets {offsets}")
    header.tensors += 1
    header.elements += 0 if name.endswith(_SCALES) else elements
    header.type_bytes[kind] = header.type_bytes.get(kind, 0) + end - begin
    return begin, end


def read_part(path: str, header: SafetensorsHeader) -> None:
    """Add what one file holds, and check that the file holds every tensor it lists."""
    with HeaderReader(path, MAX_HEADER_BYTES + 8) as reader:
        length = int.from_bytes(reader.read(8, "the length of the header"), "little")
        if length > MAX_HEADER_BYTES:
            raise reader.error(
                f"the header claims {length} bytes, more than {MAX_HEADER_BYTES}",
                "It is no safetensors file, or damaged: check the entry of the model, or copy the file again.",
                offset=0,
            )
        if length > reader.left:
            raise reader.error(
                f"the header claims {length} bytes, but the file ends after {reader.left} more", offset=0
            )
        data_bytes = reader.left - length
        stream = JsonStream(reader, reader.offset + length)
        covered = furthest = 0
        for name in stream.members():
            if name == "__metadata__":
                stream.value()
                continue
            begin, end = _entry(stream, name, header)
            covered += end - begin
            furthest = max(furthest, end)
        if not stream.at_end():
            raise reader.error("there is more behind the header's JSON text")
        if furthest > data_bytes:
            raise reader.error(
                f"the tensors need {furthest} bytes behind the header, the file has {data_bytes}, "
                f"{furthest - data_bytes} too few"
            )
        if covered != furthest or furthest != data_bytes:
            raise reader.error(
                f"the tensors cover {covered} bytes, the file has {data_bytes} behind the header: "
                "tensors overlap or leave holes"
            )
    header.files.append(os.path.basename(path))


def index_files(path: str) -> list[str]:
    """Return the names of the files that an index names, sorted."""
    names: set[str] = set()
    with HeaderReader(path, MAX_INDEX_BYTES) as reader:
        if reader.size > MAX_INDEX_BYTES:
            raise reader.error(f"the index has {reader.size} bytes, more than {MAX_INDEX_BYTES}")
        stream = JsonStream(reader, reader.size)
        for key in stream.members():
            if key != "weight_map" or not stream.starts_object():
                stream.value()
                continue
            for tensor in stream.members():
                name = stream.value()
                if not isinstance(name, str) or os.path.basename(name) != name or not name.endswith(".safetensors"):
                    raise reader.error(f"weight_map[{tensor!r}] = {name!r} is no name of a safetensors file beside it")
                names.add(name)
                if len(names) > MAX_SHARDS:
                    raise reader.error(f"the index names more than {MAX_SHARDS} files")
        if not names:
            raise reader.error("the index has no weight_map")
    return sorted(names)


def read_safetensors(directory: str, entry: str = "") -> SafetensorsHeader:
    """Read the headers of a model: the file that is named, else those of the index, else all of the directory."""
    index = os.path.join(directory, INDEX)
    if entry.endswith(".safetensors"):
        names = [entry]
    elif os.path.isfile(index):
        names = index_files(index)
    else:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".safetensors"))
    missing = [name for name in names if not os.path.isfile(os.path.join(directory, name))]
    if missing:
        raise HeaderError(
            f"{os.path.join(directory, missing[0])}: is missing; {INDEX} names it "
            f"({len(missing)} of {len(names)} files are missing). Copy it to the others."
        )
    header = SafetensorsHeader()
    for name in names:
        read_part(os.path.join(directory, name), header)
    return header
