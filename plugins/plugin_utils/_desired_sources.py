# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Check where the bits come from: models and engine artefacts, and their files on the controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector, names
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import (
    ARTIFACT_FIELDS,
    MODEL_FIELDS,
    RELATIVE_PATH,
    check_object,
    check_sha256,
)


class Files(Protocol):
    """Where files of the controller are looked at."""

    def is_dir(self, path: str) -> bool: ...
    def size_bytes(self, path: str) -> int | None: ...
    def sha256(self, path: str) -> str: ...


def model_entry(model: Mapping[str, Any]) -> str:
    """Return the file that an engine opens: the entry, or the only file."""
    return str(model.get("entry") or next(iter(model["files"])))


def check_models(value: Any, out: Collector) -> dict[str, dict[str, Any] | None] | None:
    """Return the models by name; None stands for an error that was reported, of one model or of all."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        out.fail("type", "local_llm_models", value, "a mapping", "Write a mapping of model name to its description.")
        return None
    return {name: _check_model(f"local_llm_models.{name}", model, out) for name, model in value.items()}


def _check_model(path: str, model: Any, out: Collector) -> dict[str, Any] | None:
    if not isinstance(model, dict):
        out.fail("type", path, model, "a mapping", f"Write {path} as a mapping with source, path, revision and files.")
        return None
    filled = _check_variant(path, model, "source", MODEL_FIELDS, out)
    if filled is None:
        return None
    usable = True
    if not filled["path"].startswith("/"):
        action = "Write the whole path from /, for example with {{ inventory_dir }} in front."
        out.fail("path", f"{path}.path", filled["path"], "a path from /", action)
        usable = False
    if not filled["files"]:
        out.fail("files", f"{path}.files", filled["files"], "at least one file", "List each file with its SHA-256.")
        return None
    for name, digest in filled["files"].items():
        if not RELATIVE_PATH.fits(name):
            out.fail("name", f"{path}.files", name, RELATIVE_PATH.words, "Name the file relative to the model's path.")
            usable = False
        usable = check_sha256(f"{path}.files[{name}]", digest, out.fail) and usable
    entry = filled["entry"]
    if entry is None and len(filled["files"]) > 1:
        action = f"Add entry: the file that the engine opens, one of {names(sorted(filled['files']))}."
        out.fail("missing_key", f"{path}.entry", "missing", "one of the files", action)
        usable = False
    elif entry is not None and entry not in filled["files"]:
        near = nearest(entry, filled["files"])
        action = f"Did you mean {near}?" if near else f"Name one of {names(sorted(filled['files']))}."
        out.fail("entry", f"{path}.entry", entry, "one of the files", action)
        usable = False
    return filled if usable else None


def _check_variant(
    path: str, value: dict[str, Any], selector: str, variants: Mapping[str, Any], out: Collector
) -> dict[str, Any] | None:
    """Check an object whose keys depend on one of its keys."""
    kind = value.get(selector)
    if kind is None:
        action = f"Add {selector}: one of {', '.join(variants)}."
        out.fail("missing_key", f"{path}.{selector}", "missing", f"one of {', '.join(variants)}", action)
        return None
    if not isinstance(kind, str) or kind not in variants:
        near = nearest(str(kind), variants)
        action = f"Did you mean {near}?" if near else f"Choose one of {', '.join(variants)}."
        out.fail("choice", f"{path}.{selector}", kind, f"one of {', '.join(variants)}", action)
        return None
    return check_object(path, value, variants[kind], out.fail)


def check_artifacts(variable: str, value: Any, out: Collector) -> dict[str, dict[str, Any] | None] | None:
    if value is None:
        return {}
    if not isinstance(value, dict):
        out.fail("type", variable, value, "a mapping", "Write a mapping of engine version to its artefact.")
        return None
    result: dict[str, dict[str, Any] | None] = {}
    for version, artifact in value.items():
        path = f"{variable}[{version}]"
        if not isinstance(artifact, dict):
            out.fail("type", path, artifact, "a mapping", f"Write {path} as a mapping with the key method.")
            result[version] = None
            continue
        filled = _check_variant(path, artifact, "method", ARTIFACT_FIELDS, out)
        if filled is not None and "sha256" in filled:
            digests = filled["sha256"]
            if not digests:
                action = "Add one SHA-256 per architecture, for example x86_64."
                out.fail("sha256", f"{path}.sha256", digests, "one SHA-256 per architecture", action)
                filled = None
            elif [arch for arch, item in digests.items() if not check_sha256(f"{path}.sha256[{arch}]", item, out.fail)]:
                filled = None
        result[version] = filled
    return result


def is_url(src: str) -> bool:
    """Tell whether an artefact comes over the network."""
    return "://" in src


def check_archive(path: str, artifact: dict[str, Any], files: Files, out: Collector) -> None:
    src = artifact["src"]
    if is_url(src):
        if not src.startswith(("https://", "http://")):
            out.fail("src", f"{path}.src", src, "http:// or https:// or a path", "Use an http address or a path.")
        return
    if not src.startswith("/"):
        action = "Write the whole path from /, for example with {{ inventory_dir }} in front."
        out.fail("src", f"{path}.src", src, "a path from / or an http address", action)
    elif files.size_bytes(src) is None:
        out.fail(
            "missing_file", f"{path}.src", src, "a file on the controller", "Put the archive there, or mend the path."
        )
    else:
        digest = files.sha256(src)
        if digest not in artifact["sha256"].values():
            action = "Fetch the archive again; if it is the right one, correct sha256 in the inventory."
            listed = f"as the inventory lists: {', '.join(artifact['sha256'].values())}"
            out.fail("wrong_sha256", f"{path}.src", f"the file {src} has SHA-256 {digest}", listed, action)


def check_model_use(
    path: str, instance: dict[str, Any], models: dict[str, dict[str, Any] | None] | None, files: Files, out: Collector
) -> None:
    name = instance["model"]
    if models is None:
        return
    if name not in models:
        near = nearest(name, models)
        action = (
            f"Did you mean {near}?"
            if near
            else f"Add {name} to local_llm_models, or choose one of {names(sorted(models))}."
        )
        out.fail(
            "model",
            f"{path}.model",
            name,
            "a key of local_llm_models",
            action if models else f"Add {name} to local_llm_models.",
        )
        return
    model = models[name]
    if model is None:
        return
    where = f"local_llm_models.{name}"
    root = model["path"]
    if not files.is_dir(root):
        action = "Put the model there, or mend the path."
        out.fail("missing_file", f"{where}.path", root, "a directory on the controller", action)
        return
    for file_name, wanted in model["files"].items():
        full = f"{root.rstrip('/')}/{file_name}"
        if files.size_bytes(full) is None:
            action = f"Put the file into {root}, or take it out of {where}.files."
            out.fail("missing_file", f"{where}.files[{file_name}]", full, "a file that can be read", action)
            continue
        digest = files.sha256(full)
        if digest != wanted:
            action = "Fetch the file again; if it is the right one, write its SHA-256 and a new revision."
            observed = f"the file {full} has SHA-256 {digest}"
            out.fail("wrong_sha256", f"{where}.files[{file_name}]", observed, f"the inventory's {wanted}", action)
