# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The engine vllm: checks a configuration and renders what an instance runs.

A release has a file engine.yaml, which the engine reads with the two words `--config FILE`; the engine ignores the form
with an equals sign without a word. Its content is JSON, which YAML readers read: no text of a user can change its
structure.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._engines import _vllm_failures
from ansible_collections.local_llm.ops.plugins.module_utils._engines import _vllm_options as data
from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import (
    EngineError,
    Option,
    check_options,
    environment_text,
    fill_defaults,
    shell_lines,
    visible_gpus,
)

CONFIG_FILE = "engine.yaml"
# Set for every instance: no line per request, no pages that describe the server, no telling of version and layout.
_FIXED: dict[str, Any] = {
    "disable-uvicorn-access-log": True,
    "disable-fastapi-docs": True,
    "enable-log-requests": False,
    "fingerprint-mode": "none",
}
# A name that cannot exist: with an empty list the engine would fetch from everywhere.
_NO_MEDIA = "none.invalid"
# Said to the engine even when they are false: its own default is true.
_ALWAYS_SAID = ("enable_prefix_caching", "enable_chunked_prefill")
# Rendered in another way than as `flag: value`.
_SPECIAL = (
    "allow_remote_code_of",
    "allowed_media_domains",
    "chat_template",
    "cpu_kv_cache_gibibytes",
    "extra_arguments",
    "log_level",
    "tool_call_parser",
)
# seed 0 and a shutdown timeout of 0 are values like any other.
_ZERO_COUNTS = ("seed", "shutdown_timeout_seconds")
_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    # What the processes of one engine tell each other stays on this host; else they listen on its private address.
    "GLOO_SOCKET_IFNAME": "lo",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "LC_ALL": "C.UTF-8",
    "NCCL_SOCKET_IFNAME": "lo",
    "NO_COLOR": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONUNBUFFERED": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    "VLLM_NO_USAGE_STATS": "1",
    # Unset, the engine loads every plugin that is installed.
    "VLLM_PLUGINS": "",
    "VLLM_SERVER_DEV_MODE": "0",
}
_HEADER = """#!/bin/sh
# Written by local_llm.ops as part of a release. A change here breaks the release id: edit the inventory.
set -eu
: "${LOCAL_LLM_ADDRESS:?is not set: the unit reads it from host.env of the instance}"
: "${CACHE_DIRECTORY:?is not set: the unit sets it to the cache directory of the instance}"
# This very release, whatever `current` points to a moment later.
release=$(cd -P "$(dirname "$0")" && pwd)
"""
_CACHES = """# What was compiled stays here over restarts; another version of the engine has a directory of its own.
mkdir -p "$cache"
export VLLM_CACHE_ROOT="$cache/vllm" TORCHINDUCTOR_CACHE_DIR="$cache/inductor" TRITON_CACHE_DIR="$cache/triton"
export FLASHINFER_WORKSPACE_BASE="$cache" CUDA_CACHE_PATH="$cache/cuda" VLLM_CONFIG_ROOT="$cache/config"
# The optional key of clients: from the service manager into the environment, never into the arguments.
if [ -r "${CREDENTIALS_DIRECTORY:-/nonexistent}/api_key" ]; then
  VLLM_API_KEY=$(cat "$CREDENTIALS_DIRECTORY/api_key")
  export VLLM_API_KEY
fi
"""
_NEEDED_PATHS = ("engine_directory", "model_directory", "instance_directory")


def _refusal(argument: str) -> str:
    """Return why an extra argument is refused, or an empty text."""
    name = argument.split("=", 1)[0].split(".", 1)[0]
    if not name.startswith("-") or re.fullmatch(r"-\d+(\.\d+)?", argument):
        return ""
    name = data.SHORT_ARGUMENTS.get(name, name)
    if not name.startswith("--"):
        # -tp2 is -tp 2 to the engine.
        glued = [flag for short, flag in data.SHORT_ARGUMENTS.items() if re.fullmatch(short + r"\S+", name)]
        name = glued[0] if glued else name
    name = name.replace("_", "-")
    positive = "--" + name[len("--no-") :] if name.startswith("--no-") else name
    flags = {option.flag: f"set config.{key} instead" for key, option in data.OPTIONS.items() if option.flag}
    for flag, reason in {**flags, **data.REFUSED_ARGUMENTS}.items():
        if flag == positive or (len(positive) > 2 and flag.startswith(positive) and positive not in flags):
            return reason
    return "" if (name.startswith("--") and len(name) > 2) or name.startswith("-dp") else "no argument that is known"


class Vllm:
    """vLLM, version 0.22.0 or newer."""

    name: str = "vllm"
    options: dict[str, Option] = data.OPTIONS
    entry: str = "bin/vllm"
    health_path: str = "/health"
    install_methods: tuple[str, ...] = ("venv",)
    version_arguments: tuple[str, ...] = ("--version",)
    help_arguments: tuple[str, ...] = ("serve", "--help=all")
    # Printed by an engine that would start and then fail.
    broken_pattern: str = r"Failed to import from vllm\._C\w*: (.*)"
    # What every release says. An installed engine must know all of it; looked up in its own help.
    required_flags: tuple[str, ...] = (
        "--host",
        "--port",
        "--config",
        "--served-model-name",
        *(f"--{flag}" for flag in _FIXED),
        "--no-enable-log-requests",
        "--no-enable-prefix-caching",
        "--no-enable-chunked-prefill",
        *sorted(
            option.flag
            for key, option in data.OPTIONS.items()
            if option.flag and key not in ("kv_cache_memory_bytes", "allow_remote_code_of")
        ),
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
        domains = config.get("allowed_media_domains", [])
        for domain in domains if isinstance(domains, list) else []:
            if isinstance(domain, str) and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", domain):
                messages.append(
                    f"config.allowed_media_domains = {domain!r}: must be a host name without scheme, port and path. "
                    "Write it as in media.example.com."
                )
        if messages:
            return messages
        full = fill_defaults(data.OPTIONS, config)
        batched = full["max_num_batched_tokens"]
        if batched and batched < full["max_num_seqs"]:
            messages.append(
                f"config.max_num_batched_tokens = {batched}: is less than max_num_seqs = {full['max_num_seqs']}. "
                "Raise it, lower max_num_seqs, or set it to 0."
            )
        if batched and not full["enable_chunked_prefill"] and batched < full["max_model_len"]:
            messages.append(
                f"config.max_num_batched_tokens = {batched}: without chunked prefill a whole prompt of max_model_len = "
                f"{full['max_model_len']} must fit into one step. Set enable_chunked_prefill to true, or raise it."
            )
        return messages

    def complete_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with every default filled in."""
        messages = self.validate_config(config)
        if messages:
            raise EngineError(" ".join(messages))
        return fill_defaults(data.OPTIONS, config)

    def version_line(self, lines: list[str]) -> str:
        """Return the line with the version; warnings of libraries come before it."""
        return next((line.strip() for line in lines if re.fullmatch(r"v?\d+(\.\d+)+\S*", line.strip())), "")

    def version_problem(self, version: str, output: str) -> str:
        """Return why an engine that printed this must not be installed under the version, or an empty text."""
        found = re.search(r"\d+(\.\d+)+[^\s+]*", output)
        wanted = re.match(r"v?(\d+(?:\.\d+)+(?:(?:a|b|rc|\.post|\.dev)\d+)*)", version)
        if found and wanted and found[0] == wanted[1]:
            return ""
        return (
            f"the engine says it is {output or 'nothing'}. Correct the pinned version, or call the version "
            f"{found[0] if found else 'as the engine says'}, with a suffix after - or + if you need one"
        )

    def _settings(self, description: dict[str, Any], model: str) -> dict[str, Any]:
        """Return what engine.yaml says."""
        config = self.complete_config(description["config"])
        settings: dict[str, Any] = {**_FIXED, "served-model-name": [description["served_name"]]}
        for key, value in config.items():
            flag = data.OPTIONS[key].flag[2:]
            if key in _SPECIAL or (value in ("", 0) and not isinstance(value, bool) and key not in _ZERO_COUNTS):
                continue
            if value is False and key not in _ALWAYS_SAID:
                continue
            settings[flag] = value
        settings["allowed-media-domains"] = config["allowed_media_domains"] or [_NO_MEDIA]
        if config["chat_template"]:
            settings["chat-template"] = f"{model}/{config['chat_template']}"
        if config["tool_call_parser"]:
            settings.update({"tool-call-parser": config["tool_call_parser"], "enable-auto-tool-choice": True})
        if config["allow_remote_code_of"]:
            settings["trust-remote-code"] = True
        return settings

    def _check(self, description: dict[str, Any], paths: dict[str, str]) -> None:
        for key in _NEEDED_PATHS:
            if not str(paths.get(key, "")).startswith("/"):
                raise EngineError(f"paths.{key} = {paths.get(key)!r}: must be an absolute path.")
        entry, served = str(description["model_entry"]), str(description["served_name"])
        if entry.startswith("/") or ".." in entry.split("/"):
            raise EngineError(
                f"model_entry = {entry!r}: must be a path inside the model's directory, such as 'config.json'."
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/-]*", served):
            raise EngineError(f"served_name = {served!r}: use letters, digits and . _ : / - only.")
        config, gpus = self.complete_config(description["config"]), description["gpus"]
        needed = config["tensor_parallel_size"] * config["pipeline_parallel_size"]
        if isinstance(gpus, list) and gpus and needed > len(gpus):
            raise EngineError(
                f"config.tensor_parallel_size x pipeline_parallel_size = {needed}: the instance has {len(gpus)} GPUs "
                f"({gpus}). Lower the sizes, or give it more GPUs."
            )
        allowed = config["allow_remote_code_of"]
        if allowed and allowed != description["model"]:
            raise EngineError(
                f"config.allow_remote_code_of = {allowed!r}: the instance's model is {description['model']!r}. "
                "Name that model if its code shall run, or take the key out."
            )

    def render(self, description: dict[str, Any], paths: dict[str, str]) -> dict[str, str]:
        """Return script, environment and engine.yaml of a release."""
        self._check(description, paths)
        config = self.complete_config(description["config"])
        engine = paths["engine_directory"]
        # The engine reads a directory; the entry is a file in it.
        model = posixpath.join(paths["model_directory"], posixpath.dirname(str(description["model_entry"])))
        model = model.rstrip("/")
        version = posixpath.basename(engine.rstrip("/"))
        cache = shell_lines([f"vllm-{version}"])
        command = shell_lines([f"{engine}/{self.entry}", "serve", model, "--port", str(int(description["port"]))])
        extra = shell_lines(list(config.get("extra_arguments", [])))
        run = (
            f'{_HEADER}cache="$CACHE_DIRECTORY"/{cache}\n{_CACHES}'
            f"PATH={shell_lines([f'{engine}/bin'])}:$PATH\n"
            "export PATH\n"
            f'exec {command} \\\n  --config "$release/{CONFIG_FILE}" \\\n  --host "$LOCAL_LLM_ADDRESS"'
            f"{' ' + chr(92) + chr(10) + '  ' + extra if extra else ''}\n"
        )
        variables = {**_ENVIRONMENT, "VLLM_LOGGING_LEVEL": config["log_level"]}
        if config["cpu_kv_cache_gibibytes"]:
            variables["VLLM_CPU_KVCACHE_SPACE"] = str(config["cpu_kv_cache_gibibytes"])
        gpus = visible_gpus(description["gpus"])
        if gpus is not None:
            variables.update({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpus})
        settings = json.dumps(self._settings(description, model), indent=1, sort_keys=True, ensure_ascii=True)
        return {"run": run, "environment": environment_text(variables), CONFIG_FILE: settings + "\n"}

    def failure_cause(self, lines: Sequence[str]) -> str:
        """Return what the log lines of a start that failed say about the cause, and the fix; empty when nothing."""
        return _vllm_failures.cause(lines)


ENGINE = Vllm()
