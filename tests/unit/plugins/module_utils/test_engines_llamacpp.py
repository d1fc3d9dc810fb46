# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine llamacpp: what it accepts, what it refuses, and what it runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine, known_engines
from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import EngineError, Option, fill_defaults
from ansible_collections.local_llm.ops.plugins.module_utils._engines._llamacpp_options import OPTIONS

ENGINE = get_engine("llamacpp")
CHECKOUT = Path(__file__).resolve().parents[4]
PATHS = {
    "engine_directory": "/opt/local_llm/engines/llamacpp/0.7.0",
    "model_directory": "/var/lib/local_llm/models/tiny/r1",
    "instance_directory": "/var/lib/local_llm/instances/chat",
}


def description(**changes: Any) -> dict[str, Any]:
    base = {"model_entry": "model.gguf", "served_name": "chat", "port": 8001, "gpus": "all", "config": {}}
    return {**base, **changes}


def arguments(run: str) -> list[str]:
    return shlex.split(run[run.index("exec ") :].replace("\\\n", " "))[1:]


def test_unknown_engine_names_the_known_ones() -> None:
    with pytest.raises(EngineError, match=r"'lamacpp'.*Did you mean 'llamacpp'.*Use one of: llamacpp"):
        get_engine("lamacpp")
    assert "llamacpp" in known_engines()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"contex_tokens": 1}, ["config.contex_tokens", "1", "'context_tokens'"]),
        ({"context_tokens": "4096"}, ["config.context_tokens", "'4096'", "64 to 4194304"]),
        ({"context_tokens": True}, ["config.context_tokens", "True", "whole number"]),
        ({"parallel_requests": 0}, ["config.parallel_requests", "0", "1 to 256"]),
        ({"flash_attention": True}, ["config.flash_attention", "True", "in quotes"]),
        ({"cache_type_k": "q8"}, ["config.cache_type_k", "'q8'", "'q8_0'"]),
        ({"gpu_layers": "most"}, ["config.gpu_layers", "'most'", "all, auto"]),
        ({"warmup": "yes"}, ["config.warmup", "'yes'", "true or false"]),
        ({"log_verbosity": 5}, ["config.log_verbosity", "5", "0 to 3"]),
        ({"extra_arguments": "--mlock"}, ["config.extra_arguments", "a list of texts"]),
        ({"extra_arguments": ["--seed", 7]}, ["config.extra_arguments", "quotes"]),
        ({"chat_template": "a b"}, ["config.chat_template", "'a b'"]),
        ({"ubatch_tokens": 4096}, ["config.ubatch_tokens", "4096", "batch_tokens = 2048"]),
        ({"flash_attention": "off", "cache_type_v": "q8_0"}, ["config.cache_type_v", "'q8_0'", "flash_attention"]),
        (["context_tokens"], ["config", "mapping", "config: {}"]),
    ],
)
def test_a_wrong_value_is_named_with_key_value_and_fix(config: Any, words: list[str]) -> None:
    messages = ENGINE.validate_config(config)
    assert len(messages) == 1
    for word in words:
        assert word in messages[0]


@pytest.mark.parametrize(
    "argument",
    [
        "--slots", "--host", "--port", "--api-key", "--api_key", "--api-key-file", "--log-prompts-dir", "--rpc",
        "--tools",
        "--agent", "-ag", "--mcp-servers-json", "--ui", "--webui", "--props", "--slot-save-path", "--media-path",
        "--path",
        "--hf-repo", "-hf", "--hf-token", "--model-url", "--gpt-oss-20b-default", "--fim-qwen-7b-spec", "--models-dir",
        "-m", "--alias", "--host=0.0.0.0", "--cors-origins", "-v", "--log-file", "--ssl-key-file", "--api-prefix",
        "--kv-unified", "-lv", "--version",
    ],
)  # fmt: skip
def test_arguments_that_break_a_promise_are_refused(argument: str) -> None:
    messages = ENGINE.validate_config({"extra_arguments": [argument, "x"]})
    assert len(messages) == 1
    assert argument in messages[0]


@pytest.mark.parametrize(("argument", "key"), [("-c", "context_tokens"), ("--flash-attn", "flash_attention")])
def test_arguments_that_have_an_option_name_it(argument: str, key: str) -> None:
    assert f"set config.{key} instead" in ENGINE.validate_config({"extra_arguments": [argument, "5"]})[0]


def test_other_arguments_and_negative_numbers_pass() -> None:
    extra = ["--seed", "-1", "--temp", "0.2", "--no-mmproj"]
    assert ENGINE.validate_config({"extra_arguments": extra}) == []
    assert arguments(ENGINE.render(description(config={"extra_arguments": extra}), PATHS)["run"])[-7:-2] == extra[-5:]


def test_the_completed_configuration_has_every_default_and_is_stable() -> None:
    # Release ids rest on this: a change of a default or a new key changes the id of every release.
    full = ENGINE.complete_config({"context_tokens": 1024})
    assert full["context_tokens"] == 1024
    assert set(full) == {key for key, option in OPTIONS.items() if option.always_listed}
    assert ENGINE.complete_config(full) == full
    assert full["extra_arguments"] is not OPTIONS["extra_arguments"].default


def test_an_option_that_came_later_stays_out_while_it_has_its_default() -> None:
    options = {"old": Option("int", 1, ""), "new": Option("int", 2, "", always_listed=False)}
    assert fill_defaults(options, {}) == {"old": 1}
    assert fill_defaults(options, {"new": 3}) == {"old": 1, "new": 3}


def test_completing_a_wrong_configuration_raises_with_every_message() -> None:
    with pytest.raises(EngineError, match=r"config\.a .*config\.b "):
        ENGINE.complete_config({"a": 1, "b": 2})


def test_the_script_starts_the_engine_safely() -> None:
    run = ENGINE.render(description(config={"context_tokens": 1024, "parallel_requests": 3}), PATHS)["run"]
    words = arguments(run)
    assert run.startswith("#!/bin/sh\n")
    assert words[0] == "/opt/local_llm/engines/llamacpp/0.7.0/bin/llama-server"
    for flag in ("--no-slots", "--no-ui", "--offline", "--metrics", "--no-cors-credentials"):
        assert flag in words
    assert words[words.index("--port") + 1] == "8001"
    assert words[words.index("--alias") + 1] == "chat"
    assert words[words.index("--ctx-size") + 1] == "3072"  # for all requests together
    assert words[-2:] == ["--host", "$LOCAL_LLM_ADDRESS"]
    assert "api" not in run


def test_every_word_of_the_script_is_quoted() -> None:
    config = {"extra_arguments": ["--grammar", "root ::= 'a' $(touch /tmp/x) `id` \"b\""]}
    words = arguments(ENGINE.render(description(config=config, model_entry="a b/c'd.gguf"), PATHS)["run"])
    assert words[words.index("--grammar") + 1] == config["extra_arguments"][1]
    assert words[words.index("--model") + 1] == "/var/lib/local_llm/models/tiny/r1/a b/c'd.gguf"


@pytest.mark.parametrize(
    ("gpus", "line"),
    [
        ("all", ""),
        ("none", "CUDA_VISIBLE_DEVICES="),
        ([0, 1], "CUDA_VISIBLE_DEVICES=0,1"),
        ("2,3", "CUDA_VISIBLE_DEVICES=2,3"),
    ],
)
def test_the_environment_shows_only_the_gpus_of_the_instance(gpus: Any, line: str) -> None:
    lines = ENGINE.render(description(gpus=gpus), PATHS)["environment"].splitlines()
    assert "HF_HUB_OFFLINE=1" in lines
    assert [entry for entry in lines if entry.startswith("CUDA_VISIBLE")] == ([line] if line else [])


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"gpus": "first"}, "gpus"), ({"model_entry": "../x"}, "model_entry"), ({"served_name": "a;b"}, "served_name")],
)
def test_a_description_that_cannot_run_is_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(EngineError, match=word):
        ENGINE.render(description(**changes), PATHS)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(EngineError, match=r"paths\.model_directory = 'x'"):
        ENGINE.render(description(), {**PATHS, "model_directory": "x"})


def test_rendering_is_the_same_for_the_same_description() -> None:
    first, second = (ENGINE.render(description(config=ENGINE.complete_config({})), PATHS) for _time in range(2))
    assert first == second == ENGINE.render(description(config={}), PATHS)


def test_each_option_has_a_reason_and_a_row_in_the_readme_with_its_default() -> None:
    rows = (CHECKOUT / "roles/llamacpp/README.md").read_text(encoding="utf-8").splitlines()
    for key, option in OPTIONS.items():
        default = (
            {True: "true", False: "false", "": '""'}.get(option.default) if option.kind in ("bool", "str") else None
        )
        wanted = f"| `{default or option.default}` |"
        assert option.reason
        assert any(row.startswith(f"| `{key}` |") and wanted in row for row in rows), f"README row of {key}: {wanted}"
