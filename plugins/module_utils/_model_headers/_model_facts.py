# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The facts about a model in a directory or a file, read from headers only."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._gguf import read_gguf
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._gguf_facts import gguf_facts
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_config import config_facts
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._safetensors import INDEX, read_safetensors

MAX_JSON_BYTES = 8 << 20
MAX_FILES = 20000
# Files that can run code when they are loaded, or hold weights in a form that can.
UNSAFE_ENDINGS = (
    ".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz",
    ".h5", ".hdf5", ".keras", ".msgpack", ".mar", ".sh",
)  # fmt: skip
_REMOTE_CODE_FILES = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "generation_config.json",
)
# Every key that facts have, in their order. `value_head_dim` and `unknown` say more than the engines' contract asks.
FACT_KEYS = (
    "schema", "format", "architecture", "parameters", "weights_bytes", "dtypes", "quantisation",
    "quantisation_scheme", "layers",
    "attention_heads", "kv_heads", "head_dim", "value_head_dim", "hidden_size", "vocabulary_size",
    "max_context_tokens", "sliding_window_tokens", "sliding_window_layers", "mla", "experts", "tied_embeddings",
    "needs_remote_code", "unsafe_files", "unknown",
)  # fmt: skip
# Quantisations that pack several weights into one element: elements of tensors are not parameters.
_UNPACKED = (None, "fp8", "bf16")


def read_json(path: str) -> dict[str, Any]:
    """Return a small JSON object."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise HeaderError(
                f"{path}: is larger than {MAX_JSON_BYTES} bytes. Take the model from its publisher again."
            )
        content = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise HeaderError(f"{path}: cannot be read ({error.strerror}). Check who may read it.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, HeaderError):
            raise
        raise HeaderError(f"{path}: is no JSON ({error}). Copy the file again.") from None
    if not isinstance(content, dict):
        raise HeaderError(f"{path}: is no JSON object. Copy the file again.")
    return content


def list_files(directory: str) -> list[str]:
    """Return the paths of all files below a directory, sorted."""
    found: list[str] = []
    for root, directories, names in os.walk(directory):
        directories.sort()
        found += [os.path.relpath(os.path.join(root, name), directory) for name in names]
        if len(found) > MAX_FILES:
            raise HeaderError(f"{directory}: has more than {MAX_FILES} files. Give the directory of one model.")
    return sorted(found)


def remote_code(directory: str) -> bool:
    """Return whether a configuration of the model names code of its own (auto_map)."""
    for name in _REMOTE_CODE_FILES:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and _has_auto_map(read_json(path)):
            return True
    return False


def _has_auto_map(content: Any, depth: int = 0) -> bool:
    if isinstance(content, dict) and depth < 8:
        return bool(content.get("auto_map")) or any(_has_auto_map(item, depth + 1) for item in content.values())
    return False


def choose(path: str, entry: str) -> tuple[str, str, str]:
    """Return (format, directory, name of the file in it or "") for what the user named."""
    if os.path.isabs(entry) or ".." in entry.split("/"):
        raise HeaderError(f"entry = {entry!r}: must be a path inside {path}.")
    full = os.path.join(path, entry) if entry else path
    if not os.path.exists(full):
        raise HeaderError(f"{full}: is not there. Check path and entry of the model.")
    if os.path.isfile(full):
        directory, name = os.path.split(full)
        if name.endswith(".gguf"):
            return "gguf", directory, name
        if name.endswith(".safetensors"):
            return "safetensors", directory, "" if os.path.isfile(os.path.join(directory, INDEX)) else name
        if name.endswith(".json"):
            return choose(directory, "")
        with open(full, "rb") as file:
            if file.read(4) == b"GGUF":
                return "gguf", directory, name
        raise HeaderError(f"{full}: is neither GGUF nor safetensors. Name such a file, or their directory.")
    names = sorted(name for name in os.listdir(full) if os.path.isfile(os.path.join(full, name)))
    gguf = [name for name in names if name.endswith(".gguf")]
    models = [name for name in gguf if "mmproj" not in name.lower() and not _later_part(name)]
    safetensors = [name for name in names if name.endswith(".safetensors") or name == INDEX]
    if gguf and safetensors:
        raise HeaderError(f"{full}: has GGUF and safetensors files. Name the one to serve as entry, such as {gguf[0]}.")
    if len(models) > 1:
        raise HeaderError(f"{full}: has {len(models)} GGUF models. Name one as entry: {', '.join(models[:5])}.")
    if gguf:
        return "gguf", full, (models or gguf)[0]
    if safetensors:
        return "safetensors", full, ""
    raise HeaderError(f"{full}: has no GGUF and no safetensors file. Check path and entry of the model.")


def _later_part(name: str) -> bool:
    stem = name[: -len(".gguf")]
    return stem[-9:-5] == "-of-" and stem[-5:].isdigit() and not stem[:-9].endswith("-00001")


def _safetensors_facts(directory: str, name: str) -> dict[str, Any]:
    config_path = os.path.join(directory, "config.json")
    has_config = os.path.isfile(config_path)
    facts = config_facts(read_json(config_path) if has_config else {})
    if not has_config:
        facts["unknown"] = [f"{config_path} is missing: layers and heads are not known"]
    header = read_safetensors(directory, name)
    quantiser = os.path.join(directory, "hf_quant_config.json")
    if facts["quantisation"] is None and os.path.isfile(quantiser):
        details = read_json(quantiser).get("quantization")
        if isinstance(details, dict) and details.get("quant_algo"):
            facts.update(quantisation=str(details["quant_algo"]).lower(), quantisation_scheme="modelopt")
    facts.update(
        format="safetensors",
        parameters=header.elements if facts["quantisation"] in _UNPACKED else None,
        weights_bytes=header.weights_bytes,
        dtypes=dict(sorted(header.type_bytes.items())),
    )
    return facts


def model_facts(path: str, entry: str = "") -> dict[str, Any]:
    """Return the facts about a model; raise HeaderError (a ValueError) when its files cannot be used."""
    path = path.rstrip("/") or "/"
    try:
        kind, directory, name = choose(path, entry)
        if kind == "gguf":
            full = os.path.join(directory, name)
            facts = gguf_facts(read_gguf(full), full)
        else:
            facts = _safetensors_facts(directory, name)
        root = path if os.path.isdir(path) else directory
        facts.update(
            schema=1,
            needs_remote_code=remote_code(directory),
            unsafe_files=[file for file in list_files(root) if file.lower().endswith(UNSAFE_ENDINGS)],
        )
    except OSError as error:
        raise HeaderError(
            f"{error.filename or path}: cannot be read ({error.strerror}). Check who may read it."
        ) from None
    return {key: facts[key] for key in FACT_KEYS}
