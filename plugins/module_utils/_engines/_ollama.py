# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The engine ollama: checks a configuration and renders what an instance runs.

A release serves exactly the model that its description names. Ollama serves what its store has, so the start script
makes a store with one model in the private directory of the instance: a manifest under the served name, and links to
the verified, read-only files of the published model. The store is made anew at every start, in milliseconds, without
network and without Python, and its directories are read-only for requests that would change it.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._engines import _ollama_options as data
from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import (
    EngineError,
    Option,
    check_options,
    environment_text,
    fill_defaults,
    visible_gpus,
)
from ansible_collections.local_llm.ops.plugins.module_utils._health_ask import Ask
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_store import (
    ModelName,
    OllamaStoreError,
    config_blob,
    extra_blobs,
    manifest_format,
    parse_name,
)

_HEADER = """#!/bin/sh
# Written by local_llm.ops as part of a release. A change here breaks the release id: edit the inventory.
set -eu
: "${LOCAL_LLM_ADDRESS:?is not set: the unit reads it from host.env of the instance}"
: "${HOME:?is not set: the unit sets it to the cache directory of the instance}"
fail() { echo "local_llm: $*" >&2; exit 1; }
"""
# Makes the store beside the old one, then puts it in place.
_STORE_BEGIN = """store=$HOME/ollama-models
for old in "$store" "$store.new"; do
  if [ -e "$old" ]; then chmod -R u+w "$old"; rm -rf "$old"; fi
done
mkdir -p "$store.new/blobs" "$(dirname "$store.new/$manifest")"
"""
_STORE_END = """find "$store.new" -type d -exec chmod a-w {} +
mv "$store.new" "$store"
export OLLAMA_MODELS="$store"
"""
_GGUF = """[ -f "$model/$entry" ] || fail "$model/$entry is missing: install the model again"
pattern=$(printf '%s' "$entry" | sed 's/[].[*^$|\\\\]/\\\\&/g')
digest=$(sed -n "s|^ *\\"$pattern\\": \\"\\([0-9a-f]\\{64\\}\\)\\",\\{0,1\\}\\$|\\1|p" "$model/manifest.json")
[ "${#digest}" -eq 64 ] || fail "$model/manifest.json has no SHA-256 of $entry: install the model again"
size=$(stat -L -c %s "$model/$entry")
ln -s "$model/$entry" "$store.new/blobs/sha256-$digest"
"""
_COPIED = """[ -f "$model/$entry" ] || fail "$model/$entry is missing: install the model again"
cat "$model/$entry" > "$store.new/$manifest"
for digest in $(grep -o 'sha256:[0-9a-f]\\{64\\}' "$model/$entry" | cut -d : -f 2 | sort -u); do
  grep -q "\\"blobs/sha256-$digest\\": \\"$digest\\"" "$model/manifest.json" ||
    fail "blobs/sha256-$digest of $entry is not in files of the model, or not with that SHA-256: correct files"
  ln -s "$model/blobs/sha256-$digest" "$store.new/blobs/sha256-$digest"
done
"""
# The model goes into memory at once, so that the health request can tell when it is there. Not a child of the server.
_PRELOAD = """preload() {
  tries=0
  until "$ollama" ls; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || exit 1
    sleep 0.1
  done > /dev/null 2>&1
  "$ollama" run "$name" "$word" > /dev/null 2> "$HOME/preload.log" || {
    echo "local_llm: the model could not be loaded: $(tr -dc '[:print:]' < "$HOME/preload.log" | tail -c 500)" >&2
  }
}
(preload < /dev/null &)
exec "$ollama" serve
"""
_NEEDED_PATHS = ("engine_directory", "model_directory", "instance_directory")


def _environment(config: dict[str, Any]) -> dict[str, str]:
    """Return what the configuration sets in the environment."""
    variables = {}
    for key, value in config.items():
        name = data.OPTIONS[key].flag
        if not name:
            continue
        if isinstance(value, bool):
            variables[name] = "1" if value else "0"
        elif key == "flash_attention":
            if value != "auto":
                variables[name] = "1" if value == "on" else "0"
        elif key in ("keep_alive_seconds", "load_timeout_seconds"):
            variables[name] = "-1" if value < 0 else f"{value}s"
        elif value != "":
            variables[name] = str(value)
    return variables


def _parameters(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that stand in the model's own layer."""
    parameters: dict[str, Any] = {}
    if config["gpu_layers"] != "auto":
        parameters["num_gpu"] = config["gpu_layers"]
    if config["stop"]:
        parameters["stop"] = list(config["stop"])
    return parameters


def _put(text: str, path: str) -> str:
    return f'printf %s {shlex.quote(text)} > "{path}"\n'


class Ollama:
    """Ollama 0.17.1 or newer."""

    name: str = "ollama"
    options: dict[str, Option] = data.OPTIONS
    entry: str = "bin/ollama"
    health_path: str = "/api/version"
    version_arguments: tuple[str, ...] = ("--version",)
    help_arguments: tuple[str, ...] = ("run", "--help")
    # An installed engine must know all of these; looked up in its own help.
    required_flags: tuple[str, ...] = ("--keepalive",)
    install_methods: tuple[str, ...] = ("archive",)

    def version_line(self, lines: list[str]) -> str:
        """Return the program's own version among what --version printed; a running server's comes first there."""
        for words in ("client version is ", "ollama version is "):
            for line in lines:
                if words in line:
                    return "ollama " + line.partition(words)[2].strip()
        return lines[0] if lines else ""

    def version_problem(self, version: str, said: str) -> str:
        """Return why the program must not stand under this name, or an empty text."""
        named, own = (re.search(r"\d+(\.\d+)+", text) for text in (version, said))
        if named and own and named.group() == own.group():
            return ""
        return (
            f"the program says it is {said!r}, and the name of the version must begin with that number. Correct the "
            "name, or src and sha256"
        )

    def ready_status(self, description: dict[str, Any], ask: Ask) -> int | None:
        """Return 200 when the model is in memory, else what the server said; 503 while it loads.

        /api/ps lists a model that is still loading, too. A request without a prompt is answered when it is loaded; it
        is sent only when the start script's own has begun the load, because a request that is given up ends its load.
        """
        config = self.complete_config(description["config"])
        if config["keep_alive_seconds"] < 0:
            status, body = ask("GET", "/api/ps", None)
            if status != 200 or b'"size_vram"' not in body:
                return 503 if status == 200 else status
        model = served_name(str(description["served_name"])).short
        if config["embeddings"]:
            status, _body = ask("POST", "/api/embed", {"model": model, "input": []})
        else:
            status, _body = ask("POST", "/api/generate", {"model": model, "stream": False})
        return 503 if status == 0 else status

    def validate_config(self, config: Any) -> list[str]:
        """Return what is wrong with the configuration; every message has the key, the value and the fix."""
        messages = check_options(data.OPTIONS, config)
        if messages:
            return messages
        full = fill_defaults(data.OPTIONS, config)
        if full["keep_alive_seconds"] == 0:
            messages.append(
                "config.keep_alive_seconds = 0: would unload the model after every request. "
                "Use -1 to keep it, or a number of seconds."
            )
        if full["flash_attention"] == "off" and full["kv_cache_type"] != "f16":
            messages.append(
                f"config.kv_cache_type = {full['kv_cache_type']!r}: a quantised cache needs flash attention. "
                "Set flash_attention to 'auto' or 'on', or kv_cache_type to 'f16'."
            )
        for key in ("template", "stop"):
            texts = full[key] if isinstance(full[key], list) else [full[key]]
            if any(re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text) for text in texts):
                messages.append(f"config.{key}: has control characters. Take them out.")
        return messages

    def complete_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with every default filled in."""
        messages = self.validate_config(config)
        if messages:
            raise EngineError(" ".join(messages))
        return fill_defaults(data.OPTIONS, config)

    def _store(self, entry: str, config: dict[str, Any]) -> str:
        """Return the lines that fill the new store."""
        if entry.startswith("manifests/"):
            wrong = [key for key in data.GGUF_ONLY if config[key] != data.OPTIONS[key].default]
            if wrong:
                raise EngineError(
                    f"config.{wrong[0]}: the model is a copied store of Ollama, which has this inside. Take it out."
                )
            return _COPIED
        if not entry.endswith(".gguf"):
            raise EngineError(
                f"model_entry = {entry!r}: Ollama serves a .gguf file, or a copied store with the entry "
                "manifests/<host>/<namespace>/<model>/<tag>. Name such a file as entry of the model."
            )
        if re.search(r"-\d{5}-of-\d{5}\.gguf$", entry):
            raise EngineError(
                f"model_entry = {entry!r}: is one part of several. Join them with 'llama-gguf-split --merge', and give "
                "the joined file a new revision."
            )
        config_layer = config_blob(config["model_family"], config["renderer"], config["parser"])
        extra = extra_blobs(config["template"], _parameters(config))
        lines = _GGUF
        for blob in [config_layer, *extra]:
            lines += _put(blob.text, f"$store.new/blobs/sha256-{blob.digest}")
        form = shlex.quote(manifest_format(config_layer, extra).replace("\n", "\\n"))
        return lines + f'printf {form} "$digest" "$size" > "$store.new/$manifest"\n'

    def render(self, description: dict[str, Any], paths: dict[str, str]) -> dict[str, str]:
        """Return the script and the environment of a release."""
        for key in _NEEDED_PATHS:
            if not str(paths.get(key, "")).startswith("/"):
                raise EngineError(f"paths.{key} = {paths.get(key)!r}: must be an absolute path.")
        config = self.complete_config(description["config"])
        entry = str(description["model_entry"])
        if not entry or entry.startswith("/") or ".." in entry.split("/"):
            raise EngineError(
                f"model_entry = {entry!r}: must be a path inside the model's directory, such as 'model.gguf'."
            )
        name = served_name(str(description["served_name"]))
        words = {
            "ollama": f"{paths['engine_directory']}/{self.entry}",
            "model": paths["model_directory"],
            "entry": entry,
            "name": name.short,
            "manifest": name.manifest_path,
            "word": "ready" if config["embeddings"] else "",
        }
        port = int(description["port"])
        run = _HEADER + "".join(f"{key}={shlex.quote(value)}\n" for key, value in words.items())
        run += _STORE_BEGIN + self._store(entry, config) + _STORE_END
        # An IPv6 address needs brackets before a port.
        run += 'case "$LOCAL_LLM_ADDRESS" in *:*) host="[$LOCAL_LLM_ADDRESS]" ;; *) host=$LOCAL_LLM_ADDRESS ;; esac\n'
        run += f'export OLLAMA_HOST="$host:{port}" NO_PROXY="localhost,127.0.0.1,::1,$LOCAL_LLM_ADDRESS"\n' + _PRELOAD
        variables = {**data.FIXED, **_environment(config)}
        gpus = visible_gpus(description["gpus"])
        if gpus == "":
            # Ollama takes an empty list for no list; a number that no GPU has hides them all.
            variables.update({"CUDA_VISIBLE_DEVICES": "-1", "GGML_VK_VISIBLE_DEVICES": "-1", "OLLAMA_VULKAN": "0"})
        elif gpus is not None:
            variables.update({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpus})
        return {"run": run, "environment": environment_text(variables)}


def served_name(text: str) -> ModelName:
    """Return the name under which Ollama serves; raise EngineError when Ollama does not take it."""
    try:
        name = parse_name(text)
    except OllamaStoreError as error:
        raise EngineError(f"served_name = {text!r}: {error}") from error
    if name.tag == "cloud" or name.tag.endswith("-cloud"):
        raise EngineError(f"served_name = {text!r}: Ollama takes such a tag for a model outside. Use another tag.")
    return name


ENGINE = Ollama()
