# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Check where the bits come from: models and engine artefacts, and their files on the controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_http import url_problem
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import (
    allow_problem,
    config_problem,
    is_config,
    name_problem,
)
from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.module_utils._release import manifest_digest
from ansible_collections.local_llm.ops.plugins.module_utils._venv_build import venv_problems
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector, names
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_model_fields import MODEL_FIELDS
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import (
    ARTIFACT_FIELDS,
    RELATIVE_PATH,
    check_object,
    check_sha256,
)


class Files(Protocol):
    """Where files of the controller are looked at."""

    def is_dir(self, path: str) -> bool: ...
    def size_bytes(self, path: str) -> int | None: ...
    def sha256(self, path: str) -> str: ...
    def text(self, path: str) -> str: ...


def model_entry(model: Mapping[str, Any]) -> str:
    """Return the file that an engine opens: the entry, or the only file. An empty text stands for the directory."""
    files = model.get("files") or {}
    return str(model.get("entry") or (next(iter(files)) if len(files) == 1 else ""))


def model_digest(model: Mapping[str, Any]) -> str:
    """Return the digest of a model's manifest. It does not depend on where the files come from."""
    return manifest_digest(model["files"]) if model.get("files") else str(model["manifest_sha256"])


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
    usable = _check_place(path, filled, out)
    if not filled["files"]:
        if filled.get("manifest_sha256"):
            return filled if usable else None
        expected, action = "at least one file", "List each file with its SHA-256."
        if filled["source"] != "directory":
            action = "List each file with its SHA-256, or pin all of them with manifest_sha256. See docs/models.md."
        out.fail("files", f"{path}.files", filled["files"], expected, action)
        return None
    for name, digest in filled["files"].items():
        if not RELATIVE_PATH.fits(name):
            out.fail("name", f"{path}.files", name, RELATIVE_PATH.words, "Name the file relative to the model's path.")
            usable = False
        elif name_problem(name, filled["allow"]):
            observed = f"{name}, which {name_problem(name, filled['allow'])}"
            action = f"Leave it out. When you have read it and trust it: allow: [{name}]"
            out.fail("unsafe_file", f"{path}.files", observed, "files that run no code", action)
            usable = False
        usable = check_sha256(f"{path}.files[{name}]", digest, out.fail) and usable
    entry = filled["entry"]
    pinned = filled.get("manifest_sha256")
    if usable and pinned and pinned != manifest_digest(filled["files"]):
        action = f"Correct files, or write {manifest_digest(filled['files'])}; one of both keys is enough."
        out.fail("wrong_sha256", f"{path}.manifest_sha256", pinned, "the digest of files", action)
        usable = False
    if entry is None and len(filled["files"]) > 1 and "config.json" not in filled["files"]:
        action = f"Add entry: the file that the engine opens, one of {names(sorted(filled['files']))}."
        out.fail("missing_key", f"{path}.entry", "missing", "one of the files", action)
        usable = False
    elif entry is not None and entry not in filled["files"]:
        near = nearest(entry, filled["files"])
        action = f"Did you mean {near}?" if near else f"Name one of {names(sorted(filled['files']))}."
        out.fail("entry", f"{path}.entry", entry, "one of the files", action)
        usable = False
    return filled if usable else None


def _check_place(path: str, model: dict[str, Any], out: Collector) -> bool:
    """Check where a model comes from, and what it may hold."""
    usable = True
    if model["source"] == "directory" and not model["path"].startswith("/"):
        action = "Write the whole path from /, for example with {{ inventory_dir }} in front."
        out.fail("path", f"{path}.path", model["path"], "a path from /", action)
        usable = False
    for key in ("url", "endpoint"):
        problem = url_problem(model[key]) if model.get(key) else ""
        if problem:
            words = "an address that begins with https:// or http://, without password and query"
            out.fail("url", f"{path}.{key}", problem.split(": ")[0].removeprefix("url = "), words, "Correct it.")
            usable = False
    problem = allow_problem(model["allow"])
    if problem:
        action = "Name the files, for example modeling_x.py."
        out.fail("allow", f"{path}.allow", model["allow"], "names of files, or auto_map", action)
        usable = False
    return usable


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


def check_artifacts(
    variable: str, value: Any, out: Collector, methods: Sequence[str] = ("archive", "package")
) -> dict[str, dict[str, Any] | None] | None:
    """Return the artefacts of an engine by version; None stands for an error that was reported."""
    variants = {method: fields for method, fields in ARTIFACT_FIELDS.items() if method in methods}
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
        filled = _check_variant(path, artifact, "method", variants, out)
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


def check_venv(path: str, artifact: dict[str, Any], files: Files, out: Collector) -> None:
    """Report what is not pinned in the description of a Python environment."""
    lock, text = artifact["lock_file"], None
    if lock and not lock.startswith("/"):
        action = "Write the whole path from /, for example with {{ inventory_dir }} in front."
        out.fail("lock_file", f"{path}.lock_file", lock, "a path from /", action)
        return
    if lock and files.size_bytes(lock) is None:
        action = "Put the lock file there, or mend the path."
        out.fail("missing_file", f"{path}.lock_file", lock, "a file on the controller", action)
        return
    if lock:
        text = files.text(lock)
    for where, value, fix in venv_problems(path, artifact, text):
        out.fail("unpinned", where, value, "exact versions, or a lock file with hashes", fix)


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
    if instance["engine"] == "llamacpp" and not model_entry(model):
        action = "Add entry: the GGUF file that the engine opens."
        out.fail("missing_key", f"{where}.entry", "missing", "a GGUF file of the model", action)
        return
    # What comes over the network is looked at when it comes, before any service is touched.
    if model["source"] != "directory":
        return
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
        elif is_config(file_name):
            problem = config_problem(file_name, files.text(full).encode(), model["allow"])
            if problem:
                what, _dot, fix = problem.partition(". ")
                out.fail("remote_code", f"{where}.files[{file_name}]", what, "no code of the model's own", fix)
