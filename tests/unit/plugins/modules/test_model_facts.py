# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are the model, what else lies beside them, and the module around it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_facts import FACT_KEYS, model_facts
from ansible_collections.local_llm.ops.plugins.modules import model_facts as module
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.model_headers.model_files import (
    write_gguf,
    write_safetensors,
)

CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "vocab_size": 10,
    "max_position_embeddings": 512,
}
TENSORS = {"a.weight": ("BF16", [4, 8])}


def gguf(path: Path) -> None:
    write_gguf(path, {"general.architecture": "llama"}, [("a", [32, 4], 0)])


def safetensors(tmp_path: Path, **config: Any) -> None:
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **config}))


def test_facts_have_the_same_keys_for_both_formats(tmp_path: Path) -> None:
    safetensors(tmp_path)
    gguf(tmp_path / "m.gguf")
    first, second = model_facts(str(tmp_path), "model.safetensors"), model_facts(str(tmp_path), "m.gguf")
    assert tuple(first) == tuple(second) == FACT_KEYS
    assert (first["format"], first["weights_bytes"], first["parameters"], first["layers"]) == ("safetensors", 64, 32, 2)


@pytest.mark.parametrize("named", ["", "model.safetensors", "config.json"])
def test_a_safetensors_model_can_be_named_in_three_ways(tmp_path: Path, named: str) -> None:
    safetensors(tmp_path)
    assert model_facts(str(tmp_path), named) == model_facts(str(tmp_path / named))


def test_a_gguf_model_can_be_named_or_found(tmp_path: Path) -> None:
    gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "mmproj-m.gguf", {"general.architecture": "clip"}, [])
    assert model_facts(str(tmp_path)) == model_facts(str(tmp_path / "m.gguf")) == model_facts(str(tmp_path), "m.gguf")


@pytest.mark.parametrize(
    ("files", "entry", "words"),
    [
        ([], "", "has no GGUF and no safetensors file"),
        (["a.gguf", "b.gguf"], "", "has 2 GGUF models. Name one as entry: a.gguf, b.gguf"),
        (["a.gguf", "b.safetensors"], "", "has GGUF and safetensors files. Name the one to serve as entry"),
        (["a.gguf"], "b.gguf", "b.gguf: is not there"),
        (["a.gguf"], "../a.gguf", "must be a path inside"),
        (["a.gguf"], "/etc/passwd", "must be a path inside"),
        (["a.bin"], "a.bin", "is neither GGUF nor safetensors"),
    ],
)
def test_what_cannot_be_chosen_is_said(tmp_path: Path, files: list[str], entry: str, words: str) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"x" * 8)
    with pytest.raises(ValueError, match=words.replace(".", r"\.").replace("(", r"\(")):
        model_facts(str(tmp_path), entry)


def test_files_that_can_run_code_are_listed(tmp_path: Path) -> None:
    safetensors(tmp_path)
    (tmp_path / "original").mkdir()
    names = ["modeling_x.py", "pytorch_model.bin", "original/consolidated.00.pth", "x.PKL", "tf_model.h5", "rng.pt"]
    for name in [*names, "README.md", "tokenizer.model", "chat_template.jinja", "vocab.txt", "merges.txt"]:
        (tmp_path / name).write_bytes(b"")
    assert model_facts(str(tmp_path))["unsafe_files"] == sorted(names)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_code_of_the_models_own_is_noticed_in_every_configuration(tmp_path: Path, name: str) -> None:
    safetensors(tmp_path)
    assert model_facts(str(tmp_path))["needs_remote_code"] is False
    content = json.loads((tmp_path / name).read_text()) if (tmp_path / name).exists() else {}
    content["text_config" if name == "config.json" else "x"] = {**CONFIG, "auto_map": {"AutoModel": "modeling_x.X"}}
    (tmp_path / name).write_text(json.dumps(content))
    assert model_facts(str(tmp_path))["needs_remote_code"] is True


def test_parameters_are_counted_only_where_one_number_is_one_parameter(tmp_path: Path) -> None:
    safetensors(tmp_path, quantization_config={"quant_method": "awq"})
    assert model_facts(str(tmp_path))["parameters"] is None
    safetensors(tmp_path, quantization_config={"quant_method": "fp8"})
    scales = {"a.weight": ("F8_E4M3", [4, 8]), "a.weight_scale_inv": ("F32", [1, 1])}
    write_safetensors(tmp_path / "model.safetensors", scales)
    facts = model_facts(str(tmp_path))
    assert (facts["parameters"], facts["quantisation"], facts["dtypes"]) == (32, "fp8", {"F32": 4, "F8_E4M3": 32})


def test_modelopt_keeps_its_quantisation_in_a_file_of_its_own(tmp_path: Path) -> None:
    safetensors(tmp_path)
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    assert model_facts(str(tmp_path))["quantisation"] == "fp8"


def test_without_config_json_the_sizes_are_known_and_the_rest_is_not(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    facts = model_facts(str(tmp_path))
    assert (facts["weights_bytes"], facts["layers"], facts["kv_heads"]) == (64, None, None)
    assert "config.json is missing" in facts["unknown"][0]


def test_broken_json_is_named(tmp_path: Path) -> None:
    safetensors(tmp_path)
    (tmp_path / "config.json").write_text("<html>")
    with pytest.raises(ValueError, match=r"config\.json: is no JSON"):
        model_facts(str(tmp_path))
    (tmp_path / "config.json").write_text("[" * 100000)
    with pytest.raises(ValueError, match=r"config\.json: is no JSON"):
        model_facts(str(tmp_path))
    (tmp_path / "config.json").write_bytes(b" " * ((8 << 20) + 1))
    with pytest.raises(ValueError, match=r"config\.json: is larger than 8388608 bytes"):
        model_facts(str(tmp_path))


def test_what_is_no_file_and_no_directory_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: cannot be read"):
        model_facts(str(tmp_path), "pipe")


def call(capsys: pytest.CaptureFixture[str], **args: Any) -> dict[str, Any]:
    with patch_module_args(args), pytest.raises(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_the_module_returns_facts_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gguf(tmp_path / "m.gguf")
    for check in (False, True):
        result = call(capsys, path=str(tmp_path), entry="m.gguf", _ansible_check_mode=check)
        assert result["changed"] is False
        assert result["facts"] == model_facts(str(tmp_path))


def test_the_module_fails_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    result = call(capsys, path=str(tmp_path))
    assert result["failed"] is True
    assert "m.gguf: at byte 4: the version needs 4 bytes" in result["msg"]


def test_the_documentation_names_every_fact() -> None:
    import yaml

    contains = yaml.safe_load(module.RETURN)["facts"]["contains"]
    assert tuple(contains) == FACT_KEYS
