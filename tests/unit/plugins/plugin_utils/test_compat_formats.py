# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Number formats against GPUs: what the engine would refuse is refused, with what works instead; doubt only warns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine, known_engines
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._gguf_types import FILE_TYPES
from ansible_collections.local_llm.ops.plugins.plugin_utils import _number_formats as formats
from ansible_collections.local_llm.ops.plugins.plugin_utils._compat import compat
from ansible_collections.local_llm.ops.plugins.plugin_utils._compat_formats import format_findings, quantisation_names
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.test_fit import FACTS, GIB, Q4

ROWS = formats.load_number_formats()
DOCUMENT = yaml.safe_load(Path(formats.__file__).with_name("number_formats.yml").read_text(encoding="utf-8"))
# GPUs that people have: name and compute capability.
T4, A100, A10, L4, H100, B200 = "7.5", "8.0", "8.6", "8.9", "9.0", "10.0"


def gpu(capability: str, gib: int = 80) -> dict[str, Any]:
    return {"index": 0, "uuid": "GPU-0", "name": "card", "total_bytes": gib * GIB, "compute_capability": capability}


def ask(
    capability: str | None, quantisation: str | None = None, scheme: str | None = None, **values: Any
) -> list[dict[str, Any]]:
    """Return the findings for a model on one GPU; engine, version and architecture among values, the rest is config."""
    engine, version = values.pop("engine", "vllm"), values.pop("version", "0.33.0")
    base = FACTS if engine == "vllm" else Q4
    model = {**base, "quantisation": quantisation, "quantisation_scheme": scheme}
    model["architecture"] = values.pop("architecture", "llama")
    if quantisation:
        model["dtypes"] = {"I32": 1000}
    config = get_engine(engine).complete_config(values)
    item = {"name": "chat", "engine": engine, "engine_version": version, "config": config}
    return format_findings(item, model, [gpu(capability)] if capability else [])


def worst(found: list[dict[str, Any]]) -> tuple[str, str]:
    """Return status and check of what matters most, attention left out."""
    order = ["fail", "warn", "skip", "ok"]
    found = sorted((item for item in found if item["check"] != "attention"), key=lambda one: order.index(one["status"]))
    return (found[0]["status"], found[0]["check"]) if found else ("ok", "")


WEIGHTS: list[tuple[str, str | None, str, str]] = [
    # quantisation, scheme, GPU, status
    ("awq", None, T4, "ok"),
    ("gptq", None, T4, "ok"),
    ("awq", None, "7.0", "fail"),
    ("fp8", None, "7.0", "fail"),
    ("fp8", None, T4, "warn"),
    ("fp8", None, A100, "warn"),
    ("fp8", None, L4, "ok"),
    ("fp8", None, H100, "ok"),
    ("fp8", "modelopt", T4, "fail"),
    ("fp8", "modelopt", A100, "warn"),
    ("compressed-tensors", "w8a8-fp8", A10, "warn"),
    ("compressed-tensors", "w8a8-fp8", L4, "ok"),
    ("compressed-tensors", "w8a16-fp8", A100, "ok"),
    ("compressed-tensors", "w8a8-int", T4, "ok"),
    ("compressed-tensors", "w8a8-int", B200, "fail"),
    ("compressed-tensors", "w4a16-int", T4, "ok"),
    ("compressed-tensors", "w4a8-fp8", L4, "fail"),
    ("compressed-tensors", "w4a8-fp8", H100, "ok"),
    ("compressed-tensors", "w4a16-int+w8a8-int", B200, "fail"),
    ("compressed-tensors", None, H100, "skip"),
    ("nvfp4", "modelopt", H100, "warn"),
    ("nvfp4", "modelopt", B200, "ok"),
    ("mxfp4", None, T4, "fail"),
    ("mxfp4", None, A100, "ok"),
    ("experts_int8", None, T4, "fail"),
    ("fp_quant", None, H100, "fail"),
    ("bitsandbytes", None, H100, "fail"),
    ("never_heard_of", None, H100, "skip"),
]


@pytest.mark.parametrize(("quantisation", "scheme", "card", "status"), WEIGHTS)
def test_quantised_weights_against_the_gpu(quantisation: str, scheme: str | None, card: str, status: str) -> None:
    found = ask(card, quantisation, scheme)
    assert worst(found)[0] == status, found
    for item in found:
        assert item["status"] in ("ok", "skip") or (item["action"] and item["source"])


@pytest.mark.parametrize(
    ("version", "quantisation", "card", "status"),
    [
        # The same model, by version of the engine.
        ("0.27.1", "bitsandbytes", H100, "warn"),
        ("0.28.0", "bitsandbytes", H100, "fail"),
        ("0.33.0", "nvfp4", T4, "warn"),
        ("0.25.0", "nvfp4", T4, "warn"),
        ("0.33.0+cu129", "mxfp4", T4, "fail"),
        ("0.27.1", "mxfp4", T4, "fail"),
        ("0.27.1", "fp_quant", H100, "skip"),
        ("0.32.0", "fp_quant", H100, "fail"),
        ("my-build", "fp8", H100, "skip"),
        ("0.99.0", "fp8", H100, "skip"),
    ],
)
def test_the_version_of_the_engine_decides(version: str, quantisation: str, card: str, status: str) -> None:
    assert worst(ask(card, quantisation, version=version))[0] == status


def test_what_an_older_version_did_is_not_certain_and_only_warns() -> None:
    assert worst(ask(B200, "compressed-tensors", "w8a8-int", version="0.33.0"))[0] == "fail"
    assert worst(ask(B200, "compressed-tensors", "w8a8-int", version="0.27.1"))[0] == "warn"


def test_a_quantisation_that_the_configuration_asks_for_counts_like_one_of_the_files() -> None:
    assert worst(ask(H100, quantization="bitsandbytes")) == ("fail", "quantisation")
    assert worst(ask(A100, quantization="fp8")) == ("warn", "quantisation")
    assert quantisation_names({"quantisation": "awq"}, {"quantization": "awq"}) == ["awq"]


@pytest.mark.parametrize(
    ("card", "dtype", "architecture", "status", "words"),
    [
        (A100, "bfloat16", "llama", "ok", ""),
        (T4, "bfloat16", "llama", "fail", "Set dtype to float16."),
        (T4, "float16", "llama", "ok", ""),
        (T4, "auto", "llama", "warn", "Set dtype to float16, so that it is said."),
        (A100, "auto", "llama", "ok", ""),
        (H100, "float16", "gemma2", "fail", "Set dtype to bfloat16"),
        (T4, "auto", "gemma3_text", "warn", "twice the memory"),
        (None, "bfloat16", "llama", "ok", ""),
    ],
)
def test_dtype_against_the_gpu(card: str | None, dtype: str, architecture: str, status: str, words: str) -> None:
    found = ask(card, dtype=dtype, architecture=architecture)
    assert worst(found)[0] == status
    assert any(words in item["action"] for item in found) or not words


def test_a_dtype_that_the_quantisation_cannot_compute_in_is_refused() -> None:
    found = ask(H100, "mxfp4", dtype="float16")
    assert [(item["status"], item["action"]) for item in found] == [("fail", "Set dtype to bfloat16.")]


@pytest.mark.parametrize(
    ("engine", "card", "config", "status"),
    [
        ("vllm", T4, {"kv_cache_dtype": "fp8"}, "fail"),
        ("vllm", A100, {"kv_cache_dtype": "fp8_e5m2"}, "warn"),
        ("vllm", L4, {"kv_cache_dtype": "fp8_e4m3"}, "ok"),
        ("vllm", T4, {"kv_cache_dtype": "bfloat16", "dtype": "float16"}, "fail"),
        ("vllm", None, {"kv_cache_dtype": "auto"}, "ok"),
        ("llamacpp", A10, {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, "ok"),
        ("llamacpp", A10, {"cache_type_k": "q5_1", "cache_type_v": "q5_1"}, "warn"),
        ("llamacpp", A10, {"cache_type_k": "q8_0"}, "warn"),
        ("llamacpp", None, {"cache_type_k": "q8_0"}, "ok"),
        ("ollama", A10, {"kv_cache_type": "q8_0"}, "ok"),
    ],
)
def test_cache_types_against_the_gpu(engine: str, card: str | None, config: dict[str, Any], status: str) -> None:
    found = ask(card, None if engine == "vllm" else "Q4_K_M", engine=engine, **config)
    found = [item for item in found if item["check"] == "cache_type" and item["status"] != "skip"]
    assert (found[0]["status"] if found else "ok") == status


@pytest.mark.parametrize("engine", ["llamacpp", "ollama"])
@pytest.mark.parametrize("card", ["6.1", T4, H100, "12.0"])
def test_every_form_of_gguf_runs_on_every_gpu(engine: str, card: str) -> None:
    for name in FILE_TYPES.values():
        assert worst(ask(card, name, engine=engine, version="b11669"))[0] == "ok"


def test_slow_attention_is_told_as_a_fact() -> None:
    found = [item for item in ask(T4, "awq") if item["check"] == "attention"]
    assert [(item["status"], "Triton" in item["observed"]) for item in found] == [("ok", True)]


def test_a_format_without_a_gpu_warns() -> None:
    assert worst(ask(None, "fp8")) == ("warn", "quantisation")
    assert worst(ask(None, "awq")) == ("ok", "")


def test_the_gate_refuses_with_it_and_counts_weights_that_become_twice_as_large() -> None:
    item = {
        "name": "chat",
        "engine": "vllm",
        "engine_version": "0.33.0",
        "model": "m",
        "gpus": "all",
        "config": get_engine("vllm").complete_config({}),
    }
    host = {"gpus": [gpu(T4, 24)], "driver_version": "580.1", "ram_total_bytes": 64 * GIB}
    answer = compat([item], host, {"m": {**FACTS, "quantisation": "mxfp4", "dtypes": {"U8": 1}}}, {})[0]
    assert [entry["check"] for entry in answer["findings"] if entry["status"] == "fail"] == ["quantisation"]
    fits = compat([item], host, {"m": FACTS}, {})[0]
    doubled = compat([item], host, {"m": {**FACTS, "architecture": "glm4"}}, {})[0]
    assert doubled["fit"]["weights_bytes"] == 2 * fits["fit"]["weights_bytes"]


def test_every_source_is_used_and_every_engine_is_one() -> None:
    assert {source for row in ROWS for source in row.source} == set(DOCUMENT["sources"])
    assert {row.engine for row in ROWS} == set(known_engines())


def test_no_two_rows_say_something_about_one_name_in_one_version() -> None:
    for version in ("0.22.0", "0.27.1", "0.28.0", "0.31.0", "0.32.0", "0.33.0", "b11669"):
        seen = [
            (row.engine, row.kind, name)
            for row in ROWS
            if row.holds_for(version)
            for name in row.names
            if name != formats.EVERY
        ]
        assert sorted(seen) == sorted(set(seen))


BROKEN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "schema": (lambda document: document.update(schema=2), "schema"),
    "key": (lambda document: document["rows"][0].update(minimum_compute_capabilty="7.5"), "Did you mean"),
    "capability": (lambda document: document["rows"][0].update(minimum_compute_capability=7.5), "7.5 is not a text"),
    "kind": (lambda document: document["rows"][0].update(kind="wheights"), "is none of weights"),
    "versions": (lambda document: document["rows"][0].update(versions="0.22"), "is no range"),
    "source": (lambda document: document["rows"][0].update(source=["vllm_023"]), "Did you mean vllm_032"),
    "native": (lambda document: document["rows"][0].update(native_compute_capability="9.0"), "below_native"),
    "missing": (lambda document: document["rows"][0].pop("instead"), "instead: it is missing"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_fault_in_the_file_names_row_key_and_fix(case: str) -> None:
    document = yaml.safe_load(yaml.safe_dump(DOCUMENT))
    change, words = BROKEN[case]
    change(document)
    assert any(words in line for line in formats.number_formats_problems(document))


def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f.yml").write_text("schema: 2", encoding="utf-8")
    with pytest.raises(formats.NumberFormatsError, match="schema"):
        formats.load_number_formats(tmp_path / "f.yml")
    with pytest.raises(formats.NumberFormatsError, match="cannot be read"):
        formats.load_number_formats(tmp_path / "nowhere.yml")
