# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of safetensors files: right ones give sizes, wrong ones a message, and a header of 100 MB little memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers import _safetensors
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.model_headers.model_files import (
    write_safetensors,
)

TWO = {"a.weight": ("BF16", [4, 8]), "b.weight": ("F32", [3])}


def read(tmp_path: Path) -> _safetensors.SafetensorsHeader:
    return _safetensors.read_safetensors(str(tmp_path))


def write_raw(path: Path, header: Any, data: int = 0, length: int | None = None) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(data))


def entry(kind: str = "BF16", shape: Any = (2, 2), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"t": {"dtype": kind, "shape": shape, "data_offsets": offsets}}


def test_types_sizes_and_numbers_of_one_file(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", TWO)
    header = read(tmp_path)
    assert (header.type_bytes, header.elements, header.tensors) == ({"BF16": 64, "F32": 12}, 35, 2)
    assert header.weights_bytes == 76


def test_the_parts_of_the_index_are_one_model_and_other_files_are_not_part_of_it(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-00001-of-00002.safetensors", {"a": ("BF16", [4])})
    write_safetensors(tmp_path / "model-00002-of-00002.safetensors", {"b": ("BF16", [8])})
    write_safetensors(tmp_path / "consolidated.safetensors", {"c": ("BF16", [1000])})
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = {"metadata": {"total_size": 24}, "weight_map": names}
    (tmp_path / _safetensors.INDEX).write_text(json.dumps(index))
    assert read(tmp_path).weights_bytes == 24
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(HeaderError, match=r"model-00002-of-00002\.safetensors: is missing; .* \(1 of 2 files"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"metadata": {}}, "the index has no weight_map"),
        ({"weight_map": {}}, "the index has no weight_map"),
        ({"weight_map": {"a": "../secret.safetensors"}}, "no name of a safetensors file beside it"),
        ({"weight_map": {"a": "model.bin"}}, "no name of a safetensors file beside it"),
        ([1], "where '{' must stand"),
    ],
)
def test_a_wrong_index_is_named(tmp_path: Path, index: Any, words: str) -> None:
    (tmp_path / _safetensors.INDEX).write_text(json.dumps(index))
    with pytest.raises(HeaderError) as caught:
        read(tmp_path)
    assert words in str(caught.value)
    assert _safetensors.INDEX in str(caught.value)


@pytest.mark.parametrize(
    ("header", "data", "length", "words"),
    [
        (b"", 0, 1 << 62, f"the header claims {1 << 62} bytes, more than 100000000"),
        (b"{}", 0, 99, "the header claims 99 bytes, but the file ends after 2 more"),
        (b"<html>", 0, None, "has '<' where '{' must stand"),
        (b"{", 0, None, "the JSON text"),
        (b'{"a" 1}', 0, None, "has '1' where ':' must stand"),
        (b'{"\xff\xfe": 1}', 0, None, "no UTF-8"),
        (b"{1: 2}", 0, None, "where a key must stand"),
        (b"{} x", 0, None, "there is more behind"),
        (b'{"t": ' + b"9" * 9000 + b"}", 0, None, "a number without end"),
        (b'{"t": ' + b"[" * 200000, 0, None, "the JSON text"),
        ({"t": 5}, 0, None, "tensor 't' has no dtype, shape or data_offsets"),
        (entry(shape=[2, -2]), 8, None, "has no dtype, shape"),
        (entry(shape=[2, True]), 8, None, "has no dtype, shape"),
        (entry(kind="Q4"), 8, None, "tensor 't' has the type 'Q4'"),
        (entry(shape=[2, 3]), 8, None, "tensor 't' of type BF16 and shape [2, 3] cannot have the data_offsets [0, 8]"),
        (entry(offsets=[8, 0]), 8, None, "cannot have the data_offsets [8, 0]"),
        (entry(), 7, None, "the tensors need 8 bytes behind the header, the file has 7, 1 too few"),
        (entry(), 9, None, "the tensors cover 8 bytes, the file has 9"),
        (entry(offsets=[4, 12]), 12, None, "overlap or leave holes"),
    ],
)
def test_a_wrong_file_is_named_with_place_and_fix(
    tmp_path: Path, header: Any, data: int, length: int | None, words: str
) -> None:
    write_raw(tmp_path / "bad.safetensors", header, data, length)
    with pytest.raises(HeaderError) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"{tmp_path}/bad.safetensors: at byte ")


def test_a_file_cut_anywhere_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m.safetensors", TWO)
    whole = (tmp_path / "m.safetensors").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "m.safetensors").write_bytes(whole[:length])
        with pytest.raises(HeaderError):
            read(tmp_path)


def test_flipped_bytes_never_lead_to_another_kind_of_error(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m.safetensors", TWO)
    whole = (tmp_path / "m.safetensors").read_bytes()
    for place in range(len(whole) - 76):
        for flip in (0xFF, 0x80, 0x01, 0x10):
            content = whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
            (tmp_path / "m.safetensors").write_bytes(content)
            try:
                read(tmp_path)
            except HeaderError:
                continue


def test_a_large_header_needs_little_memory(tmp_path: Path) -> None:
    parts, begin = [], 0
    for number in range(150_000):
        name = f"model.layers.{number}.mlp.experts.some_long_name_of_a_tensor.weight"
        parts.append(f'"{name}":{{"dtype":"F8_E4M3","shape":[2,4],"data_offsets":[{begin},{begin + 8}]}}')
        begin += 8
    raw = ("{" + ",".join(parts) + "}").encode()
    with (tmp_path / "m.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + begin)
    program = f"""
import resource, sys
from {_safetensors.__name__} import read_safetensors
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
header = read_safetensors(sys.argv[1])
print(header.tensors, header.weights_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = next(Path(path) for path in sys.path if (Path(path) / "ansible_collections/local_llm/ops").is_dir())
    output = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root)},
    ).stdout.split()
    assert output[:2] == ["150000", "1200000"]
    assert int(output[2]) < 8192  # KiB
