# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The engine llamacpp: checks a configuration and renders what an instance runs."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._engines import _llamacpp_options as data
from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import (
    EngineError,
    Option,
    check_options,
    environment_text,
    fill_defaults,
    shell_lines,
    visible_gpus,
)

# Set for every instance, whatever the configuration says. A server that opens no page, shows no prompts, asks no
# network and answers no foreign web page.
_FIXED_FLAGS = ("--no-slots", "--no-ui", "--metrics", "--offline", "--no-kv-unified", "--no-cors-credentials")
_SWITCHES = {  # option -> (argument when true, argument when false)
    "continuous_batching": ("--cont-batching", "--no-cont-batching"),
    "prompt_cache": ("--cache-prompt", "--no-cache-prompt"),
    "warmup": ("--warmup", "--no-warmup"),
    "embeddings": ("--embeddings", ""),
}
_ON_OFF = ("fit_to_memory",)
_LEFT_OUT: dict[str, Any] = {  # option -> value that means: do not say anything to the engine
    "threads": 0,
    "batch_threads": 0,
    "http_threads": 0,
    "split_mode": "layer",
    "main_gpu": 0,
    "numa": "off",
    "chat_template": "",
}
_HEADER = """#!/bin/sh
# Written by local_llm.ops as part of a release. A change here breaks the release id: edit the inventory.
set -eu
"""
_NEEDED_PATHS = ("engine_directory", "model_directory", "instance_directory")


def _refusal(argument: str) -> str:
    """Return why an extra argument is refused, or an empty text."""
    name = argument.split("=", 1)[0]
    if not name.startswith("-") or re.fullmatch(r"-\d+(\.\d+)?", name):
        return ""
    if name.startswith("--"):
        name = name.replace("_", "-")  # as llama-server does
    for key, option in data.OPTIONS.items():
        if name == option.flag or data.FLAG_ALIASES.get(name) == key:
            return f"set config.{key} instead"
    if name in data.REFUSED_ARGUMENTS:
        return data.REFUSED_ARGUMENTS[name]
    return data.REFUSED_PATTERN_REASON if re.fullmatch(data.REFUSED_PATTERN, name) else ""


class LlamaCpp:
    """llama-server of llama.cpp, version 0.7.0 or newer."""

    name: str = "llamacpp"
    options: dict[str, Option] = data.OPTIONS
    entry: str = "bin/llama-server"
    health_path: str = "/health"
    version_arguments: tuple[str, ...] = ("--version",)
    help_arguments: tuple[str, ...] = ("--help",)
    # An installed engine must know all of these; looked up in its own --help.
    required_flags: tuple[str, ...] = (
        *_FIXED_FLAGS,
        "--host",
        "--port",
        "--alias",
        "--model",
        "--cors-origins",
        "--no-cache-idle-slots",
        *(option.flag for option in data.OPTIONS.values() if option.flag),
    )

    def validate_config(self, config: Any) -> list[str]:
        """Return what is wrong with the configuration; every message has the key, the value and the fix."""
        messages = check_options(data.OPTIONS, config)
        if not isinstance(config, dict):
            return messages
        extra = config.get("extra_arguments", [])
        for argument in extra if isinstance(extra, list) else []:
            refusal = _refusal(argument) if isinstance(argument, str) else ""
            if refusal:
                messages.append(f"config.extra_arguments = {argument!r}: refused, {refusal}. Take it out of the list.")
            if isinstance(argument, str) and re.search(r"[\x00-\x1f\x7f]", argument):
                messages.append(f"config.extra_arguments = {argument!r}: has control characters. Take them out.")
        if messages:
            return messages
        full = fill_defaults(data.OPTIONS, config)
        if full["ubatch_tokens"] > full["batch_tokens"]:
            messages.append(
                f"config.ubatch_tokens = {full['ubatch_tokens']}: is more than batch_tokens = {full['batch_tokens']}. "
                "Lower it, or raise batch_tokens."
            )
        if full["flash_attention"] == "off" and full["cache_type_v"] not in ("f32", "f16", "bf16"):
            messages.append(
                f"config.cache_type_v = {full['cache_type_v']!r}: a quantised cache for values needs flash attention. "
                "Set flash_attention to 'auto' or 'on', or cache_type_v to 'f16'."
            )
        return messages

    def complete_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with every default filled in."""
        messages = self.validate_config(config)
        if messages:
            raise EngineError(" ".join(messages))
        return fill_defaults(data.OPTIONS, config)

    def _arguments(self, config: dict[str, Any]) -> list[str]:
        words: list[str] = []
        for key, value in config.items():
            option = data.OPTIONS[key]
            if key in _SWITCHES:
                word = _SWITCHES[key][0 if value else 1]
                words += [word] if word else []
            elif key in _ON_OFF:
                words += [option.flag, "on" if value else "off"]
            elif key == "context_tokens":
                # The engine's --ctx-size is for all slots together; ours is for one request.
                words += [option.flag, str(value * config["parallel_requests"])]
            elif key == "extra_arguments" or value == _LEFT_OUT.get(key, object()):
                continue
            else:
                words += [option.flag, str(value)]
        if config["prompt_cache_ram_mebibytes"] == 0:
            words.append("--no-cache-idle-slots")  # it would need that memory
        return words + config.get("extra_arguments", [])

    def render(self, description: dict[str, Any], paths: dict[str, str]) -> dict[str, str]:
        """Return the script and the environment of a release."""
        for key in _NEEDED_PATHS:
            if not str(paths.get(key, "")).startswith("/"):
                raise EngineError(f"paths.{key} = {paths.get(key)!r}: must be an absolute path.")
        config = self.complete_config(description["config"])
        entry, model = str(description["model_entry"]), str(description["served_name"])
        if not entry or entry.startswith("/") or ".." in entry.split("/"):
            raise EngineError(
                f"model_entry = {entry!r}: must be a path inside the model's directory, such as 'model.gguf'."
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/-]*", model):
            raise EngineError(f"served_name = {model!r}: use letters, digits and . _ : / - only.")
        command = [f"{paths['engine_directory']}/{self.entry}", "--model", f"{paths['model_directory']}/{entry}"]
        command += [
            "--alias",
            model,
            "--port",
            str(int(description["port"])),
            *_FIXED_FLAGS,
            "--cors-origins",
            "localhost",
        ]
        command += self._arguments(config)
        run = (
            f"{_HEADER}"
            ': "${LOCAL_LLM_ADDRESS:?is not set: the unit reads it from host.env of the instance}"\n'
            f'exec {shell_lines(command)} \\\n  --host "$LOCAL_LLM_ADDRESS"\n'
        )
        variables = {"HF_HUB_OFFLINE": "1", "LC_ALL": "C.UTF-8"}
        gpus = visible_gpus(description["gpus"])
        if gpus is not None:
            variables.update({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpus})
        return {"run": run, "environment": environment_text(variables)}


ENGINE = LlamaCpp()
