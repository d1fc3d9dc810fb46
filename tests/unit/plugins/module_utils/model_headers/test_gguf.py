# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of GGUF files: right ones give every fact, wrong ones a message, and none costs memory."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers import _gguf, _gguf_types
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._gguf_facts import gguf_facts
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_facts import model_facts
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.model_headers.model_files import (
    ARRAY,
    STRING,
    U32,
    gguf_bytes,
    pair,
    tensor,
    text,
    value,
    write_gguf,
)

gguf = pytest.importorskip("gguf")
CHECKOUT = Path(__file__).resolve().parents[5]

LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 8192,
    "llama.embedding_length": 256,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
}
ARCHITECTURE = value("general.architecture", "llama")


def facts(path: Path) -> dict[str, Any]:
    return gguf_facts(_gguf.read_gguf(str(path)), str(path))


def header_facts(tmp_path: Path, architecture: str, **keys: Any) -> dict[str, Any]:
    """Return the facts of a model of 8 layers with more keys, written with _ for . and __ for _."""
    metadata = {key.replace("llama", architecture): item for key, item in LLAMA.items()}
    metadata.update({"general.architecture": architecture, f"{architecture}.block_count": 8})
    metadata.update({f"{architecture}.{key.replace('__', '.')}": item for key, item in keys.items()})
    write_gguf(tmp_path / "m.gguf", metadata, [("token_embd.weight", [256, 100], 0)])
    return facts(tmp_path / "m.gguf")


def test_the_sizes_of_all_tensor_types_are_those_of_ggml() -> None:
    theirs = {int(kind): (kind.name, *size) for kind, size in gguf.GGML_QUANT_SIZES.items()}
    assert theirs == _gguf_types.TENSOR_TYPES


def test_the_names_of_file_types_are_those_of_llama_cpp() -> None:
    theirs = {int(kind): kind.name.replace("MOSTLY_", "").replace("ALL_", "") for kind in gguf.LlamaFileType}
    ours = {**_gguf_types.FILE_TYPES, 38: "MXFP4_MOE", 1024: "GUESSED"}
    assert ours == theirs


def test_the_lab_model_is_read_like_the_reference_reader_does(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    spec = importlib.util.spec_from_file_location("tiny_gguf", CHECKOUT / "tests/lab/artefacts/tiny_gguf.py")
    assert spec is not None
    assert spec.loader is not None
    tiny_gguf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny_gguf)
    path = tmp_path / "model.gguf"
    tiny_gguf.write_model(path, 1)
    ours = _gguf.read_gguf(str(path))
    theirs = gguf.GGUFReader(str(path))
    assert ours.tensors == len(theirs.tensors)
    assert ours.parameters == sum(int(item.n_elements) for item in theirs.tensors)
    assert ours.weights_bytes == sum(int(item.n_bytes) for item in theirs.tensors)
    assert -(-ours.header_bytes // 32) * 32 == theirs.data_offset
    for name, item in theirs.fields.items():
        if name.startswith("GGUF."):
            continue
        if name in ours.metadata:
            assert ours.metadata[name] == item.contents(), name
        else:
            assert ours.list_lengths[name] == len(item.data), name
    assert model_facts(str(tmp_path)) == {
        "schema": 1,
        "format": "gguf",
        "architecture": "llama",
        "parameters": 590464,
        "weights_bytes": 590464 * 4,
        "dtypes": {"F32": 590464 * 4},
        "quantisation": None,
        "quantisation_scheme": None,
        "layers": tiny_gguf.LAYERS,
        "attention_heads": tiny_gguf.HEADS,
        "kv_heads": tiny_gguf.HEADS,
        "head_dim": tiny_gguf.WIDTH // tiny_gguf.HEADS,
        "value_head_dim": tiny_gguf.WIDTH // tiny_gguf.HEADS,
        "hidden_size": tiny_gguf.WIDTH,
        "vocabulary_size": tiny_gguf.VOCABULARY,
        "max_context_tokens": tiny_gguf.CONTEXT_TOKENS,
        "sliding_window_tokens": None,
        "sliding_window_layers": None,
        "mla": None,
        "experts": None,
        "tied_embeddings": False,
        "needs_remote_code": False,
        "unsafe_files": [],
        "unknown": [],
    }
    tiny_gguf.write_truncated(tmp_path / "cut.gguf", path)
    with pytest.raises(HeaderError, match=r"cut\.gguf: at byte \d+: tensor output\.weight ends at byte 2386976"):
        _gguf.read_gguf(str(tmp_path / "cut.gguf"))


def test_every_type_of_value_is_read_like_the_reference_writer_writes_it(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    wanted: dict[str, Any] = {"general.architecture": "llama"}
    numbers = {"uint8": 200, "int8": -5, "uint16": 60000, "int16": -600, "uint32": 1 << 31, "int32": -(1 << 30)}
    numbers.update({"uint64": 1 << 63, "int64": -(1 << 62)})
    for kind, number in {**numbers, "float32": 0.5, "float64": 0.1, "bool": True, "string": "Grüße"}.items():
        getattr(writer, f"add_{kind}")(f"llama.{kind}", number)
        wanted[f"llama.{kind}"] = number
    for key, content in {"ints": [1, 2, 3], "floats": [0.5, 1.5], "flags": [True, False]}.items():
        writer.add_array(f"llama.{key}", content)
        wanted[f"llama.{key}"] = content
    writer.add_array("llama.texts", ["a", "bb", ""])
    writer.add_array("llama.nested", [[1, 2], [3]])
    writer.add_tensor("a.weight", numpy.zeros((3, 32), dtype=numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = _gguf.read_gguf(str(tmp_path / "m.gguf"))
    assert header.metadata == wanted
    assert header.list_lengths["llama.texts"] == 3
    assert header.list_lengths["llama.nested"] == 2
    assert header.type_bytes == {"F16": 192}


def test_tensors_of_every_type_are_counted_in_blocks(tmp_path: Path) -> None:
    tensors = [(f"t{kind}", [512, 3], kind) for kind in _gguf_types.TENSOR_TYPES]
    write_gguf(tmp_path / "m.gguf", LLAMA, tensors)
    header = _gguf.read_gguf(str(tmp_path / "m.gguf"))
    wanted = {name: 512 * 3 // block * size for name, block, size in _gguf_types.TENSOR_TYPES.values()}
    assert header.type_bytes == wanted
    assert header.parameters == 1536 * len(tensors)


@pytest.mark.parametrize(
    ("file_type", "kinds", "name"),
    [
        (15, {12: 10, 14: 1}, "Q4_K_M"),
        (7, {8: 5}, "Q8_0"),
        (1, {1: 5}, None),
        (None, {12: 10, 14: 1, 0: 1}, "Q4_K"),
        (1024 + 15, {14: 9, 12: 1}, "Q6_K"),
        (None, {30: 3}, None),
        (9999, {23: 30, 0: 1}, "IQ4_XS"),
    ],
)
def test_the_quantisation_has_a_name(
    tmp_path: Path, file_type: int | None, kinds: dict[int, int], name: str | None
) -> None:
    metadata = LLAMA if file_type is None else {**LLAMA, "general.file_type": file_type}
    write_gguf(tmp_path / "m.gguf", metadata, [(f"t{kind}", [256, rows], kind) for kind, rows in kinds.items()])
    assert facts(tmp_path / "m.gguf")["quantisation"] == name


@pytest.mark.parametrize(
    ("architecture", "keys", "window", "layers"),
    [
        ("llama", {}, None, None),
        ("gemma2", {"attention__sliding_window": 4096}, 4096, 4),
        ("gemma3", {"attention__sliding_window": 1024}, 1024, 7),
        ("gpt-oss", {"attention__sliding_window": 128}, 128, 4),
        ("phi3", {"attention__sliding_window": 2047}, None, None),
        (
            "new",
            {"attention__sliding_window": 512, "attention__sliding_window_pattern": [True] * 6 + [False] * 2},
            512,
            6,
        ),
        ("new", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 4}, 512, 6),
    ],
)
def test_sliding_layers_are_counted(
    tmp_path: Path, architecture: str, keys: dict[str, Any], window: Any, layers: Any
) -> None:
    found = header_facts(tmp_path, architecture, **keys)
    assert (found["sliding_window_tokens"], found["sliding_window_layers"]) == (window, layers)
    assert found["unknown"] == []


@pytest.mark.parametrize(
    ("architecture", "keys", "word"),
    [
        ("new", {"attention__sliding_window": 512}, "which layers of new have the sliding window"),
        ("jamba", {"ssm__state_size": 16}, "recurrent state"),
        ("rwkv7", {"wkv__head_size": 64}, "recurrent state"),
        ("gemma4", {"attention__key_length": 256, "attention__key_length_swa": 128}, "heads of another size"),
        ("gemma3n", {"attention__shared_kv_layers": 3}, "share one cache"),
        ("deci", {"attention__head_count_kv": [1, 2, 3]}, "3 entries for 8 layers"),
    ],
)
def test_a_cache_that_cannot_be_counted_is_said_and_not_guessed(
    tmp_path: Path, architecture: str, keys: dict[str, Any], word: str
) -> None:
    found = header_facts(tmp_path, architecture, **keys)
    assert found["kv_heads"] is None
    assert word in " ".join(found["unknown"])


def test_heads_per_layer_and_compressed_caches(tmp_path: Path) -> None:
    assert (
        header_facts(tmp_path, "deci", attention__head_count_kv=[1, 2, 3, 4, 4, 4, 4, 4])["kv_heads"]
        == [1, 2, 3] + [4] * 5
    )
    assert header_facts(tmp_path, "llama", attention__head_count_kv=[4] * 8)["kv_heads"] == 4
    old = {"attention__key_length": 192, "attention__value_length": 128, "attention__kv_lora_rank": 512}
    found = header_facts(tmp_path, "deepseek2", **old, rope__dimension_count=64)
    assert (found["mla"], found["head_dim"], found["value_head_dim"]) == (None, 192, 128)
    found = header_facts(tmp_path, "deepseek2", **old, rope__dimension_count=64, attention__key_length_mla=192)
    assert (found["mla"], found["head_dim"]) == ({"kv_lora_rank": 512, "rope_head_dim": 64}, 192)


def test_parts_are_one_model(tmp_path: Path) -> None:
    for number in range(3):
        split = {"split.no": number, "split.count": 3, "split.tensors.count": 3}
        write_gguf(
            tmp_path / f"m-{number + 1:05d}-of-00003.gguf",
            {**(LLAMA if number == 0 else {}), **split},
            [(f"t{number}", [256, 4], 12)],
        )
    found = model_facts(str(tmp_path))
    assert (found["parameters"], found["weights_bytes"]) == (3 * 1024, 3 * 4 * 144)
    with pytest.raises(HeaderError, match=r"part 2 of 3\. Name the first part as entry: m-00001-of-00003\.gguf"):
        model_facts(str(tmp_path), "m-00002-of-00003.gguf")
    (tmp_path / "m-00003-of-00003.gguf").rename(tmp_path / "m-00002-of-00003.gguf")
    with pytest.raises(HeaderError, match=r"m-00003-of-00003\.gguf: is missing; the model has 3 part"):
        model_facts(str(tmp_path))
    (tmp_path / "m-00003-of-00003.gguf").write_bytes((tmp_path / "m-00002-of-00003.gguf").read_bytes())
    with pytest.raises(HeaderError, match=r"split\.no = 2, split\.count = 3; expected 1 and 3"):
        model_facts(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the first four bytes needs 4 bytes, but the file ends"),
        (b"<!DOCTYPE html><html>", "begins with b'<!DO', not with b'GGUF'"),
        (b"GGUF\x03\x00", "at byte 4: the version needs 4 bytes, but the file ends after 2 more"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(64), "big-endian"),
        (gguf_bytes([], [], magic=b"FUGG"), "big-endian"),
        (gguf_bytes([], [], version=1), "GGUF version 1, this collection reads 2 and 3. Take a newer conversion"),
        (gguf_bytes([], [], version=4), "GGUF version 4, this collection reads 2 and 3. Update"),
        (gguf_bytes([ARCHITECTURE], [], key_count=1 << 60), f"the file claims {1 << 60} keys"),
        (gguf_bytes([ARCHITECTURE], [], tensor_count=1 << 60), f"the file claims {1 << 60} tensors"),
        (gguf_bytes([struct.pack("<Q", 1 << 62) + b"x" * 40], []), f"the name of a key needs {1 << 62} bytes"),
        (
            gguf_bytes([pair("k", STRING, struct.pack("<Q", 1 << 40))], []),
            "k needs 1099511627776 bytes, but the file ends",
        ),
        (
            gguf_bytes([pair("k", ARRAY, struct.pack("<IQ", U32, 1 << 61))], []),
            f"the list k of {1 << 61} numbers needs",
        ),
        (
            gguf_bytes([pair("k", ARRAY, struct.pack("<IQ", STRING, 1 << 61))], []),
            f"the list k claims {1 << 61} entries",
        ),
        (gguf_bytes([pair("k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 20)], []), "lists inside lists"),
        (gguf_bytes([pair("k", ARRAY, struct.pack("<IQ", 99, 1))], []), "entries of the unknown type 99"),
        (gguf_bytes([pair("k", 99, b"12345678")], []), "the value of k has the unknown type 99"),
        (gguf_bytes([ARCHITECTURE, ARCHITECTURE], []), "the key general.architecture is there twice"),
        (gguf_bytes([b"\x02" + bytes(7) + b"\xff\xfe" + b"1" * 8], []), "no UTF-8"),
        (gguf_bytes([value("general.alignment", 33)], []), "general.alignment is 33"),
        (gguf_bytes([ARCHITECTURE], [tensor("t", [1] * 9, 0, 0)]), "tensor t claims 9 dimensions"),
        (gguf_bytes([ARCHITECTURE], [tensor("t", [32], 31, 0)]), "Q4_0_4_4, which llama.cpp no longer reads"),
        (gguf_bytes([ARCHITECTURE], [tensor("t", [32], 77, 0)]), "tensor t has the type 77"),
        (gguf_bytes([ARCHITECTURE], [tensor("t", [33], 12, 0)]), "tensor t of type Q4_K cannot have the shape [33]"),
        (gguf_bytes([ARCHITECTURE], [tensor("t", [1 << 40, 1 << 40], 0, 0)]), "cannot have the shape"),
        (gguf_bytes([ARCHITECTURE], [tensor("t", [32], 0, 7)]), "tensor t begins at 7, no multiple of 32"),
        (gguf_bytes([ARCHITECTURE], [tensor("t", [32], 0, 1 << 50)]), "tensor t ends at byte"),
        (gguf_bytes([value("general.name", "x")], []), "general.architecture is missing"),
        (gguf_bytes([value("general.architecture", "clip")], []), "image projector"),
        (gguf_bytes([ARCHITECTURE, value("general.type", "adapter")], []), "'adapter', not a language model"),
    ],
)
def test_a_wrong_file_is_named_with_place_and_fix(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(HeaderError) as caught:
        facts(tmp_path / "bad.gguf")
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"{tmp_path}/bad.gguf: ")
    assert message.endswith(".")


def test_a_file_cut_anywhere_in_its_header_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", {**LLAMA, "llama.list": [1, 2, 3]}, [("a", [256, 4], 12), ("b", [32], 0)])
    whole = (tmp_path / "m.gguf").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(HeaderError):
            facts(tmp_path / "cut.gguf")


def test_flipped_bytes_never_lead_to_another_kind_of_error(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", {**LLAMA, "llama.list": [1, 2, 3]}, [("a", [256, 4], 12), ("b", [32], 0)])
    whole = (tmp_path / "m.gguf").read_bytes()
    tracemalloc.start()
    for place in range(0, len(whole) - 704):
        for flip in (0xFF, 0x80, 0x01):
            (tmp_path / "bad.gguf").write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                facts(tmp_path / "bad.gguf")
            except HeaderError:
                continue
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_huge_lists_are_stepped_over_in_little_memory(tmp_path: Path) -> None:
    tokens = struct.pack("<IQ", STRING, 300_000) + text("a token of some letters") * 300_000
    numbers = struct.pack("<IQ", U32, 5_000_000) + bytes(20_000_000)
    pairs = [ARCHITECTURE, pair("tokenizer.ggml.tokens", ARRAY, tokens), pair("tokenizer.ggml.scores", ARRAY, numbers)]
    pairs.append(pair("tokenizer.chat_template", STRING, text("x" * 3_000_000)))
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(pairs, []))
    program = f"""
import resource, sys
from {_gguf.__name__} import read_gguf
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
header = read_gguf(sys.argv[1])
print(header.list_lengths["tokenizer.ggml.tokens"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = next(Path(path) for path in sys.path if (Path(path) / "ansible_collections/local_llm/ops").is_dir())
    output = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "m.gguf")],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root)},
    ).stdout.split()
    assert output[0] == "300000"
    assert int(output[1]) < 4096  # KiB
