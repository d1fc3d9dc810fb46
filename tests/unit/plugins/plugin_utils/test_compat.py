# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compatibility gate: everything that would not work is said, for every instance, and nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.plugin_utils._compat import chosen_gpus, compat
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import gate_facts
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.test_fit import FACTS, GIB, Q4

MODELS = {"full": FACTS, "small": Q4, "small-st": {**Q4, "format": "safetensors"}}
VLLM_FACTS: dict[str, Any] = {"cuda": {"major": 13, "minimum_driver": "580"}, "minimum_compute_capability": "7.5"}


def gpu(index: int, gib: int = 24, capability: str = "8.9") -> dict[str, Any]:
    return {
        "index": index,
        "uuid": f"GPU-{index}{index}",
        "name": "L4",
        "total_bytes": gib * GIB,
        "compute_capability": capability,
    }


def instance(name: str, engine: str, model: str, gpus: Any = "all", **config: Any) -> dict[str, Any]:
    return {
        "name": name,
        "engine": engine,
        "model": model,
        "gpus": gpus,
        "config": get_engine(engine).complete_config(config),
    }


def host(*gpus: dict[str, Any], driver: str | None = "580.95.05", ram: int | None = 64 * GIB) -> dict[str, Any]:
    return {"gpus": list(gpus), "driver_version": driver, "ram_total_bytes": ram}


def failed(result: dict[str, Any]) -> list[str]:
    return [entry["check"] for entry in result["findings"] if entry["status"] == "fail"]


@pytest.mark.parametrize(
    ("wanted", "found", "missing"),
    [
        ("all", [0, 1], []),
        ("none", [], []),
        ([], [], []),
        ("1", [1], []),
        ("1,0", [1, 0], []),
        ([0], [0], []),
        (["GPU-11"], [1], []),
        ([0, 7], [0], ["7"]),
    ],
)
def test_gpus_are_chosen_as_the_inventory_names_them(wanted: Any, found: list[int], missing: list[str]) -> None:
    gpus, unknown = chosen_gpus(wanted, [gpu(0), gpu(1)])
    assert [item["index"] for item in gpus] == found
    assert unknown == missing


def test_what_works_has_no_failure() -> None:
    items = [instance("a", "vllm", "full", [0]), instance("b", "llamacpp", "small", [1])]
    results = compat(items, host(gpu(0), gpu(1)), MODELS, {"vllm": VLLM_FACTS})
    assert [item["status"] for item in results] == ["fits", "fits"]
    assert [failed(item) for item in results] == [[], []]
    assert results[0]["findings"][0]["subject"].startswith("a: llama with vllm")


def test_instances_on_one_gpu_share_it() -> None:
    alone = compat([instance("a", "llamacpp", "small")], host(gpu(0)), MODELS, {})
    assert alone[0]["status"] == "fits"
    items = [instance("a", "llamacpp", "small"), instance("b", "vllm", "small-st")]
    assert [failed(item) for item in compat(items, host(gpu(0)), MODELS, {})] == [["memory_fit"], ["memory_fit"]]
    items[1]["config"]["gpu_memory_utilization"] = 0.55
    assert [item["status"] for item in compat(items, host(gpu(0)), MODELS, {})] == ["fits", "fits"]
    assert [item["status"] for item in compat(items, host(gpu(0), gpu(1)), MODELS, {})] == ["fits", "fits"]


def test_instances_without_a_gpu_share_the_ram() -> None:
    items = [instance("a", "llamacpp", "small", "none"), instance("b", "llamacpp", "small", "none")]
    assert [item["status"] for item in compat(items, host(ram=64 * GIB), MODELS, {})] == ["fits", "fits"]
    assert [failed(item) for item in compat(items, host(ram=12 * GIB), MODELS, {})] == [["memory_fit"], ["memory_fit"]]
    assert compat(items[:1], host(ram=12 * GIB), MODELS, {})[0]["status"] == "fits"


@pytest.mark.parametrize(
    ("item", "where", "check", "words"),
    [
        (instance("a", "vllm", "full", [3]), host(gpu(0)), "gpu", "GPU 3"),
        (instance("a", "vllm", "small"), host(gpu(0)), "model_format", "safetensors"),
        (instance("a", "llamacpp", "full"), host(gpu(0)), "model_format", "gguf"),
        (instance("a", "vllm", "full"), host(gpu(0), driver="570.1"), "driver", "at least 580"),
        (instance("a", "vllm", "full"), host(gpu(0, 80, "7.0")), "compute_capability", "at least 7.5"),
        (instance("a", "vllm", "full", dtype="bfloat16"), host(gpu(0, 80, "7.5")), "dtype", "8.0"),
        (instance("a", "vllm", "full"), host(gpu(0, 12)), "memory_fit", "at most"),
    ],
)
def test_each_thing_that_does_not_work_is_one_failure(
    item: dict[str, Any], where: dict[str, Any], check: str, words: str
) -> None:
    result = compat([item], where, MODELS, {"vllm": VLLM_FACTS})[0]
    assert result["status"] == "does_not_fit"
    assert failed(result) == [check]
    entry = next(entry for entry in result["findings"] if entry["status"] == "fail")
    assert words in str(entry["expected"])
    assert entry["action"]


def test_a_model_with_code_of_its_own_is_refused_unless_it_is_allowed() -> None:
    models = {"full": {**FACTS, "needs_remote_code": True}}
    item = instance("a", "vllm", "full")
    assert failed(compat([item], host(gpu(0)), models, {})[0]) == ["remote_code"]
    item["config"]["allow_remote_code_of"] = "0" * 40
    assert failed(compat([item], host(gpu(0)), models, {})[0]) == []


def test_a_model_with_files_that_can_run_code_is_refused_unless_they_are_allowed_by_name() -> None:
    models = {"small": {**Q4, "unsafe_files": ["modeling_x.py", "extra/weights.bin"]}}
    item = instance("a", "llamacpp", "small")
    result = compat([item], host(gpu(0)), models, {})[0]
    assert failed(result) == ["unsafe_files"]
    assert "modeling_x.py" in result["findings"][0]["observed"]
    allowed = compat([{**item, "allow": ["modeling_x.py", "extra/*.bin"]}], host(gpu(0)), models, {})[0]
    assert failed(allowed) == []
    # Of a directory of the controller only the listed files go to the hosts.
    assert failed(compat([{**item, "files": ["m.gguf"]}], host(gpu(0)), models, {})[0]) == []


def test_code_of_a_model_is_refused_also_where_the_gpus_cannot_be_read() -> None:
    models = {"small": {**Q4, "unsafe_files": ["run.py"]}, "good": Q4}
    blind = {**host(), "gpus_unknown": "the GPUs cannot be read: timeout"}
    assert failed(compat([instance("a", "llamacpp", "small")], blind, models, {})[0]) == ["unsafe_files"]
    result = compat([instance("a", "llamacpp", "good")], blind, models, {})[0]
    assert (result["status"], failed(result)) == ("unknown", [])


def test_code_that_a_model_names_may_be_allowed_by_name_too() -> None:
    models = {"full": {**FACTS, "needs_remote_code": True}}
    item = {**instance("a", "vllm", "full"), "allow": ["auto_map"]}
    assert failed(compat([item], host(gpu(0)), models, {})[0]) == []
    assert failed(compat([instance("a", "llamacpp", "full")], host(gpu(0)), models, {})[0]) == ["model_format"]


VLLM_NOW, VLLM_129, VLLM_OLD = "0.33.0", "0.33.0+cu129", "0.15.0"
DRIVERS: list[tuple[str, str, str, str, str]] = [
    # engine, version, driver, compute capability, what comes of it
    ("vllm", VLLM_NOW, "535.274.02", "8.0", "fail"),
    ("vllm", VLLM_NOW, "550.163.01", "8.0", "fail"),
    ("vllm", VLLM_NOW, "570.195.03", "9.0", "fail"),
    ("vllm", VLLM_NOW, "580.95.05", "9.0", "ok"),
    ("vllm", "0.22.0", "570.195.03", "9.0", "fail"),
    ("vllm", "0.22.0", "580.65.06", "9.0", "ok"),
    # A build for CUDA 12 runs on every driver of CUDA 12.
    ("vllm", VLLM_129, "535.274.02", "8.0", "ok"),
    ("vllm", VLLM_129, "515.105.01", "8.0", "fail"),
    ("vllm", "0.33.0+cpu", "535.274.02", "8.0", "ok"),
    # What is not certain, or not known, refuses nothing.
    ("vllm", VLLM_OLD, "515.105.01", "8.0", "ok"),
    ("vllm", "0.99.0", "535.274.02", "8.0", "ok"),
    ("ollama", "0.32.15", "535.274.02", "8.0", "fail"),
    ("ollama", "0.32.15", "550.163.01", "8.0", "ok"),
    ("ollama", "0.32.15", "550.163.01", "6.1", "fail"),
    ("ollama", "0.32.15", "570.195.03", "6.1", "ok"),
    ("llamacpp", "0.7.0", "470.256.02", "6.1", "ok"),
]


@pytest.mark.parametrize(("engine", "version", "driver", "card", "outcome"), DRIVERS)
def test_driver_and_build_of_the_engine(engine: str, version: str, driver: str, card: str, outcome: str) -> None:
    item = {**instance("a", engine, "full" if engine == "vllm" else "small"), "engine_version": version}
    facts = {"a": gate_facts(engine, version)}
    found = compat([item], host(gpu(0, 80, card), driver=driver), MODELS, facts)[0]["findings"]
    drivers = [entry for entry in found if entry["check"] == "driver"]
    assert [entry["status"] for entry in drivers] == ([] if outcome == "ok" else [outcome])
    for entry in drivers:
        assert "cuda-compat" in entry["action"] and entry["observed"] == driver


def test_what_is_not_known_is_said_and_does_not_fail() -> None:
    result = compat([instance("a", "llamacpp", "other")], host(gpu(0)), MODELS, {})[0]
    assert (result["status"], failed(result)) == ("unknown", [])
    result = compat([instance("a", "vllm", "full")], host(gpu(0), driver=None), MODELS, {"vllm": VLLM_FACTS})[0]
    assert (result["status"], result["findings"][0]["status"]) == ("fits", "skip")
    result = compat([instance("a", "llamacpp", "small")], host(ram=None), MODELS, {})[0]
    assert (result["status"], failed(result)) == ("unknown", [])


def test_facts_of_an_instance_go_before_those_of_its_engine() -> None:
    facts: dict[str, Any] = {"vllm": VLLM_FACTS, "a": {"cuda": {"minimum_driver": "600"}}}
    results = compat([instance("a", "vllm", "full")], host(gpu(0)), MODELS, facts)
    assert failed(results[0]) == ["driver"]
