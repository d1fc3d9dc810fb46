# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine vllm: what it accepts, what it refuses, and what it runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import EngineError
from ansible_collections.local_llm.ops.plugins.module_utils._engines._vllm import CONFIG_FILE, Vllm
from ansible_collections.local_llm.ops.plugins.module_utils._engines._vllm_options import OPTIONS, REFUSED_ARGUMENTS

ENGINE = Vllm()
CHECKOUT = Path(__file__).resolve().parents[4]
PATHS = {
    "engine_directory": "/opt/local_llm/engines/vllm/0.32.0",
    "model_directory": "/var/lib/local_llm/models/tiny/r1",
    "instance_directory": "/var/lib/local_llm/instances/chat",
}


def description(**changes: Any) -> dict[str, Any]:
    base = {"model": "tiny", "model_entry": "config.json", "served_name": "chat", "port": 8001, "gpus": "all"}
    return {**base, "config": {}, **changes}


def settings(**config: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ENGINE.render(description(config=config), PATHS)[CONFIG_FILE])
    return found


def arguments(run: str) -> list[str]:
    return shlex.split(run[run.index("\nexec ") :].replace("\\\n", " "))[1:]


def test_it_is_registered() -> None:
    assert get_engine("vllm").name == "vllm"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"max_model_length": 1}, ["config.max_model_length", "1", "'max_model_len'"]),
        ({"max_model_len": "4096"}, ["config.max_model_len", "'4096'", "16 to 16777216"]),
        ({"max_model_len": True}, ["config.max_model_len", "True", "whole number"]),
        ({"gpu_memory_utilization": 90}, ["config.gpu_memory_utilization", "90", "between 0 and 1"]),
        ({"gpu_memory_utilization": "0.9"}, ["config.gpu_memory_utilization", "'0.9'", "without quotes"]),
        ({"gpu_memory_utilization": 1.0}, ["config.gpu_memory_utilization", "1.0", "between 0 and 1"]),
        ({"dtype": "bf16"}, ["config.dtype", "'bf16'", "bfloat16"]),
        ({"load_format": "auto"}, ["config.load_format", "'auto'", "safetensors"]),
        ({"log_level": "DEBUG"}, ["config.log_level", "'DEBUG'", "INFO, WARNING, ERROR"]),
        ({"chat_template": "../x.jinja"}, ["config.chat_template", "'../x.jinja'"]),
        ({"chat_template": "/etc/x"}, ["config.chat_template", "'/etc/x'"]),
        ({"allowed_media_domains": ["http://a.example"]}, ["config.allowed_media_domains", "host name"]),
        ({"max_num_batched_tokens": 64}, ["config.max_num_batched_tokens", "64", "max_num_seqs = 128"]),
        (
            {"max_num_batched_tokens": 2048, "enable_chunked_prefill": False},
            ["config.max_num_batched_tokens", "2048", "max_model_len = 4096", "enable_chunked_prefill"],
        ),
        (["max_model_len"], ["config", "mapping", "config: {}"]),
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
        *REFUSED_ARGUMENTS,
        # An argument cut short, with underscores, with a value, switched off, by its short name, glued to its value.
        "--trust-remote", "--api_key", "--api-key=x", "--no-disable-uvicorn-access-log", "--enable-log-req", "--hos",
        "-n", "-r", "-dpa", "-h", "-n2", "--served_model_name=x", "--profiler-config.dir", "-x",
    ],
)  # fmt: skip
def test_arguments_that_break_a_promise_are_refused(argument: str) -> None:
    messages = ENGINE.validate_config({"extra_arguments": [argument, "x"]})
    assert len(messages) == 1
    assert repr(argument) in messages[0]


@pytest.mark.parametrize(
    ("argument", "key"),
    [("-tp", "tensor_parallel_size"), ("--max-model-len=5", "max_model_len"), ("--no-enforce-eager", "enforce_eager"),
     ("--gpu_memory_utilization", "gpu_memory_utilization"), ("-tp2", "tensor_parallel_size")],
)  # fmt: skip
def test_arguments_that_have_an_option_name_it(argument: str, key: str) -> None:
    assert f"set config.{key} instead" in ENGINE.validate_config({"extra_arguments": [argument, "5"]})[0]


def test_other_arguments_pass_and_come_last() -> None:
    extra = ["--max-num-queued-reqs", "16", "--tokenizer-mode", "hf", "--compilation-config.level", "2", "-1"]
    assert ENGINE.validate_config({"extra_arguments": extra}) == []
    assert arguments(ENGINE.render(description(config={"extra_arguments": extra}), PATHS)["run"])[-7:] == extra


def test_the_completed_configuration_has_every_default_and_is_stable() -> None:
    full = ENGINE.complete_config({"max_model_len": 1024})
    assert full["max_model_len"] == 1024
    assert set(full) == {key for key, option in OPTIONS.items() if option.always_listed}
    assert ENGINE.complete_config(full) == full


def test_the_script_starts_the_engine_safely() -> None:
    rendered = ENGINE.render(description(), PATHS)
    words = arguments(rendered["run"])
    assert words[:3] == [f"{PATHS['engine_directory']}/bin/vllm", "serve", PATHS["model_directory"]]
    # Two words: the engine ignores the form with an equals sign.
    assert words[words.index("--config") + 1] == f"$release/{CONFIG_FILE}"
    assert words[words.index("--host") + 1] == "$LOCAL_LLM_ADDRESS"
    assert words[words.index("--port") + 1] == "8001"
    assert "api-key" not in rendered["run"].lower().replace("vllm_api_key", "")
    assert "cd -P" in rendered["run"]


def test_the_environment_is_private_and_offline() -> None:
    lines = ENGINE.render(description(gpus=[1, 0]), PATHS)["environment"].splitlines()
    assert {
        "VLLM_NO_USAGE_STATS=1", "DO_NOT_TRACK=1", "HF_HUB_OFFLINE=1", "VLLM_SERVER_DEV_MODE=0", "VLLM_PLUGINS=",
        "GLOO_SOCKET_IFNAME=lo", "CUDA_VISIBLE_DEVICES=1,0", "CUDA_DEVICE_ORDER=PCI_BUS_ID", "VLLM_LOGGING_LEVEL=INFO",
    } <= set(lines)  # fmt: skip


def test_compiled_code_stays_per_version_in_the_cache_of_the_instance() -> None:
    run = ENGINE.render(description(), PATHS)["run"]
    assert 'cache="$CACHE_DIRECTORY"/vllm-0.32.0\n' in run
    for name in ("VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        assert f'{name}="$cache/' in run


def test_the_settings_say_what_the_options_say() -> None:
    found = settings(max_model_len=2048, gpu_memory_utilization=0.5, enable_prefix_caching=False, seed=0)
    assert found["max-model-len"] == 2048 and found["gpu-memory-utilization"] == 0.5 and found["seed"] == 0
    assert found["enable-prefix-caching"] is False and found["enable-chunked-prefill"] is True
    assert found["enable-log-requests"] is False and found["disable-uvicorn-access-log"] is True
    assert found["served-model-name"] == ["chat"] and found["load-format"] == "safetensors"
    assert found["allowed-media-domains"] == ["none.invalid"]
    for absent in ("max-num-batched-tokens", "kv-cache-memory-bytes", "quantization", "trust-remote-code", "host"):
        assert absent not in found


def test_tools_template_media_and_code_are_said_in_their_own_way() -> None:
    found = settings(
        tool_call_parser="hermes", chat_template="chat.jinja", allowed_media_domains=["a.example"],
        allow_remote_code_of="tiny",
    )  # fmt: skip
    assert found["enable-auto-tool-choice"] is True and found["tool-call-parser"] == "hermes"
    assert found["chat-template"] == "/var/lib/local_llm/models/tiny/r1/chat.jinja"
    assert found["allowed-media-domains"] == ["a.example"] and found["trust-remote-code"] is True


def test_the_cache_on_a_cpu_is_said_by_environment() -> None:
    rendered = ENGINE.render(description(config={"cpu_kv_cache_gibibytes": 2}, gpus="none"), PATHS)
    assert "VLLM_CPU_KVCACHE_SPACE=2" in rendered["environment"].splitlines()
    assert "cpu" not in rendered[CONFIG_FILE].replace("cpu-offload", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": {"allow_remote_code_of": "other"}}, ["allow_remote_code_of", "'other'", "'tiny'"]),
        ({"config": {"tensor_parallel_size": 4}, "gpus": [0, 1]}, ["tensor_parallel_size", "4", "2 GPUs"]),
        ({"model_entry": "../config.json"}, ["model_entry", "inside the model's directory"]),
        ({"served_name": "a b"}, ["served_name", "'a b'"]),
        ({"config": {"max_model_len": 1}}, ["config.max_model_len"]),
    ],
)
def test_a_description_that_cannot_run_is_refused(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(EngineError) as caught:
        ENGINE.render(description(**changes), PATHS)
    for word in words:
        assert word in str(caught.value)


def test_a_model_in_a_subdirectory_or_without_an_entry_is_found() -> None:
    for entry, place in (("sub/config.json", "r1/sub"), ("", "r1")):
        words = arguments(ENGINE.render(description(model_entry=entry), PATHS)["run"])
        assert words[words.index("serve") + 1] == f"/var/lib/local_llm/models/tiny/{place}"


@pytest.mark.parametrize(
    ("version", "output", "right"),
    [
        ("0.32.0", "0.32.0", True), ("0.32.0", "0.32.0+cpu", True), ("0.32.0-cu129", "0.32.0+cu129", True),
        ("0.32.0", "0.32.1", False), ("0.32", "0.32.0", False), ("newest", "0.32.0", False), ("0.32.0", "", False),
        ("0.33.0rc1", "0.33.0rc1", True), ("0.33.0", "0.33.0rc1", False),
    ],
)  # fmt: skip
def test_a_version_must_be_what_the_engine_says(version: str, output: str, right: bool) -> None:
    assert (ENGINE.version_problem(version, output) == "") is right


def test_the_line_with_the_version_is_found_among_warnings() -> None:
    assert ENGINE.version_line(["Triton is installed, but 3.1 is old.", "0.32.0+cpu"]) == "0.32.0+cpu"


def test_every_flag_that_a_release_says_is_looked_up_at_the_installation() -> None:
    full = settings(**{**ENGINE.complete_config({}), "tool_call_parser": "hermes", "enforce_eager": True})
    assert {f"--{key}" for key in full} - {"--enable-auto-tool-choice"} <= set(ENGINE.required_flags)


def test_the_readme_lists_every_option_with_its_default_and_reason() -> None:
    text = (CHECKOUT / "roles/vllm/README.md").read_text(encoding="utf-8")
    for key, option in OPTIONS.items():
        row = re.search(rf"^\| `{key}` \| .+ \| (.+?) \| (.+) \|$", text, re.MULTILINE)
        assert row, key
        assert row[2] == option.reason, key
        shown = option.default if isinstance(option.default, str) and option.default else json.dumps(option.default)
        assert row[1] == f"`{shown}`", key


def test_the_script_is_the_same_for_the_same_description() -> None:
    first, second = (ENGINE.render(description(config=ENGINE.complete_config({})), PATHS) for _time in range(2))
    assert first == second == ENGINE.render(description(), PATHS)
