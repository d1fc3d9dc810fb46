# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Manifests of models: {path: SHA-256} with sizes, made once on the controller and kept under their digest."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_http import (
    Access,
    Answer,
    SourceError,
    open_source,
    shown,
)
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_hub import (
    HubFile,
    Repository,
    list_files,
    read_file,
)
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import (
    ArtifactError,
    config_file_problem,
    config_problem,
    is_config,
    paths_problem,
    select_paths,
)
from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import list_tree, sha256_file

SCHEMA = 1


def document(source: Mapping[str, Any], files: Mapping[str, str], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return a manifest. Its digest is over the files alone: the same bytes from elsewhere have the same digest."""
    return {
        "schema": SCHEMA,
        "source": dict(source),
        "files": dict(sorted(files.items())),
        "sizes": dict(sorted(sizes.items())),
        "total_bytes": sum(sizes.values()),
        "manifest_sha256": sha256_hex(canonical_json(dict(files))),
    }


def load_stored(directory: str, manifest_sha256: str) -> dict[str, Any] | None:
    """Return the manifest with a digest when it was made before; one that is not right counts as none."""
    try:
        with open(os.path.join(directory, f"{manifest_sha256}.json"), encoding="utf-8") as stream:
            value = json.load(stream)
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or not isinstance(value.get("files"), dict):
        return None
    right = sha256_hex(canonical_json(value["files"])) == manifest_sha256
    return value if right and isinstance(value.get("sizes"), dict) else None


def store(directory: str, manifest: Mapping[str, Any]) -> None:
    """Keep a manifest under its digest."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    write_json_atomic(os.path.join(directory, f"{manifest['manifest_sha256']}.json"), dict(manifest), 0o600)


def forget_stored(directory: str, manifest_sha256: str) -> None:
    """Keep a manifest no longer."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, f"{manifest_sha256}.json"))


def check_digest(manifest: Mapping[str, Any], wanted: str | None, label: str) -> None:
    """Raise ArtifactError when a manifest is not the pinned one."""
    found = manifest["manifest_sha256"]
    if wanted and found != wanted:
        raise ArtifactError(
            f"{label}: its manifest has the digest {found}, wanted is manifest_sha256 = {wanted}. Either the "
            "repository, include or exclude differ from what was pinned, or manifest_sha256 is wrong. When you have "
            f"looked at the files and trust them, write manifest_sha256: {found}"
        )


def _choose(paths: Iterable[str], include: list[str], exclude: list[str], allow: list[str], label: str) -> list[str]:
    chosen = select_paths(paths, include, exclude)
    if not chosen:
        raise ArtifactError(f"{label}: no file fits include = {include} and exclude = {exclude}. Correct the patterns.")
    problem = paths_problem(chosen, allow)
    if problem:
        raise ArtifactError(f"{label}: {problem}")
    return chosen


def hub_manifest(
    where: Repository, include: list[str], exclude: list[str], allow: list[str], access: Access
) -> tuple[dict[str, Any], list[str]]:
    """Return (manifest, files left out) of a repository. Large files are not fetched: the hub tells their SHA-256."""
    listing = {item.path: item for item in list_files(where, access.token)}
    chosen = _choose(listing, include, exclude, allow, where.label())
    files = {path: _hub_digest(where, listing[path], allow, access) for path in chosen}
    sizes = {path: listing[path].size for path in chosen}
    source = {"source": "hf", "repo": where.repo, "revision": where.revision}
    return document(source, files, sizes), sorted(set(listing) - set(chosen))


def _hub_digest(where: Repository, item: HubFile, allow: list[str], access: Access) -> str:
    if item.sha256 is not None and not is_config(item.path):
        return item.sha256
    try:
        content = read_file(where, item, access)
    except SourceError as error:
        raise ArtifactError(f"{where.label()}: {item.path}: {error}") from None
    problem = config_problem(item.path, content, allow) if is_config(item.path) else ""
    if problem:
        raise ArtifactError(f"{where.label()}: {problem}")
    return sha256_hex(content)


def directory_manifest(
    path: str, include: list[str], exclude: list[str], allow: list[str], pace: Callable[[int], None] | None
) -> tuple[dict[str, Any], list[str]]:
    """Return (manifest, files left out) of a directory on the controller."""
    if not os.path.isdir(path):
        raise ArtifactError(f"path = {path}: is no directory on this machine. Correct path.")
    paths, links, others = list_tree(path)
    chosen = _choose(paths, include, exclude, allow, path)
    for name in chosen:
        problem = config_file_problem(name, os.path.join(path, name), allow) if is_config(name) else ""
        if problem:
            raise ArtifactError(f"{path}: {problem}")
    files = {name: sha256_file(os.path.join(path, name), pace) for name in chosen}
    sizes = {name: os.path.getsize(os.path.join(path, name)) for name in chosen}
    manifest = document({"source": "directory", "path": path}, files, sizes)
    return manifest, sorted((set(paths) | set(links) | set(others)) - set(chosen))


def _open_first_byte(url: str, access: Access) -> Answer:
    """Ask for one byte: of a whole file megabytes would be under way before it is closed again."""
    try:
        return open_source(url, access, most=1)
    except SourceError as error:
        if not error.range_refused:
            raise
    return open_source(url, access)  # an empty file has no first byte


def ask_sizes(urls: Mapping[str, str], access: Access) -> dict[str, int]:
    """Return the sizes that a server announces for files, without fetching them."""
    sizes = {}
    for path, url in urls.items():
        try:
            answer = _open_first_byte(url, access)
        except SourceError as error:
            raise ArtifactError(f"{path}: {error}") from None
        answer.stream.close()
        if answer.content_type == "text/html":
            raise ArtifactError(
                f"{path}: {shown(url)} answers with a web page (text/html) instead of the file. Check the address."
            )
        if answer.total_bytes is None:
            raise ArtifactError(f"{path}: {shown(url)} does not tell the size of the file. Give sizes, or a mirror.")
        sizes[path] = answer.total_bytes
    return sizes
