# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the module model_artifact does for a state, from its options to its result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_bring import PARTS, Order, bring, is_marked
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_fetch import Item, Pace, fetch, lock
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_http import (
    Access,
    SourceError,
    can_connect,
    join_url,
    read_small,
    shown,
    url_problem,
)
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_hub import DEFAULT_ENDPOINT, Repository, file_url
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_manifest import (
    ask_sizes,
    check_digest,
    directory_manifest,
    document,
    forget_stored,
    hub_manifest,
    load_stored,
    store,
)
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_progress import Progress
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import (
    CONFIG_MAX_BYTES,
    DEFAULT_INCLUDE,
    ArtifactError,
    config_file_problem,
    digest_problem,
    is_config,
    paths_problem,
    repo_problem,
    revision_problem,
)
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import MANIFEST, room_problem, sha256_file

Params = dict[str, Any]
# A controller that cannot be reached shall not keep a host waiting for the whole timeout.
_CONNECT_SECONDS = 10.0


def _access(params: Params) -> Access:
    return Access(params["token"], params["timeout_seconds"], params["use_proxy"], params["ca_path"])


def _repository(params: Params) -> Repository:
    endpoint = (params["endpoint"] or DEFAULT_ENDPOINT).rstrip("/")
    problem = repo_problem(params["repo"]) or revision_problem(params["revision"]) or url_problem(endpoint)
    if problem:
        raise ArtifactError(f"model {params['name']}: {problem}")
    return Repository(params["repo"], params["revision"], endpoint)


def _urls(params: Params, paths: list[str]) -> dict[str, str]:
    """Return the address of every file."""
    if params["source"] == "hf":
        where = _repository(params)
        return {path: file_url(where, path) for path in paths}
    problem = url_problem(params["url"])
    if problem:
        raise ArtifactError(f"model {params['name']}: {problem}")
    named = {path: params["files"].get(path, path) if params["url_layout"] == "sha256" else path for path in paths}
    return {path: join_url(params["url"], name) for path, name in named.items()}


def _pinned(params: Params) -> str | None:
    """Return the digest that the manifest must have, when that is known."""
    return params["manifest_sha256"] or (sha256_hex(canonical_json(params["files"])) if params["files"] else None)


def known_result(params: Params) -> dict[str, Any] | None:
    """Return the module's result when everything is on this machine already, without asking anybody; None when not."""
    if params["state"] == "manifest":
        pinned, kept = _pinned(params), params["manifest_directory"]
        if not pinned or not kept or load_stored(kept, pinned) is None:
            return None
        return _make_manifest(params, pinned, lambda _text: None, False)
    if params["state"] != "fetched" or params["directory_layout"] != "sha256" or not params["files"]:
        return None
    if not all(is_marked(params["directory"], digest) for digest in params["files"].values()):
        return None
    return fetch_files(params, lambda _text: None, True)


def make_manifest(params: Params, say: Callable[[str], None], check_mode: bool) -> dict[str, Any]:
    """Return the manifest of a source as the module's result; keep it when there is a place for it.

    Of many processes that want the same manifest, one asks the source; the others wait and find it kept.
    """
    pinned, kept = _pinned(params), params["manifest_directory"]
    if check_mode or not pinned or not kept:
        return _make_manifest(params, pinned, say, check_mode)
    os.makedirs(kept, mode=0o700, exist_ok=True)
    with lock(os.path.join(kept, f"{sha256_hex(pinned)[:16]}.lock")):
        return _make_manifest(params, pinned, say, check_mode)


def _make_manifest(params: Params, pinned: str | None, say: Callable[[str], None], check_mode: bool) -> dict[str, Any]:
    label = f"model {params['name']}"
    include = params["include"] or list(DEFAULT_INCLUDE)
    exclude, allow = params["exclude"], params["allow"]
    if params["source"] == "hf":
        where = _repository(params)
    kept = params["manifest_directory"]
    left_out: list[str] = []
    known = load_stored(kept, pinned) if kept and pinned else None
    if known is not None:
        problem = paths_problem(known["files"], allow)
        if problem:
            raise ArtifactError(f"{label}: {problem}")
        manifest = known
    elif params["source"] == "hf" and not params["files"]:
        manifest, left_out = hub_manifest(where, include, exclude, allow, _access(params))
    elif params["source"] == "directory":
        pace = Pace(params["bytes_per_second"])
        manifest, left_out = directory_manifest(params["path"], include, exclude, allow, pace.take)
    elif params["source"] in ("hf", "http"):
        manifest = _http_manifest(params, label, say, check_mode)
    else:
        raise ArtifactError(f"{label}: source = {params['source']!r} has no manifest. Use hf, http or directory.")
    check_digest(manifest, params["manifest_sha256"], label)
    keep = bool(kept) and known is None
    if keep and not check_mode:
        store(kept, manifest)
    changed = keep or (known is None and params["source"] == "http" and bool(params["paths"]) and not params["files"])
    after = {"manifest_sha256": manifest["manifest_sha256"]} if changed else {}
    return {
        "changed": changed,
        "left_out": left_out,
        "definition": _definition(params, manifest),
        "diff": {"before": {}, "after": after},
        **{key: manifest[key] for key in ("files", "sizes", "total_bytes", "manifest_sha256")},
    }


def _definition(params: Params, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what belongs into local_llm_models."""
    source = params["source"]
    keys = {"hf": ("repo", "revision", "endpoint"), "http": ("url", "revision"), "directory": ("path", "revision")}
    chosen = {key: params[key] for key in keys[source] if params[key]}
    if source != "hf":
        chosen.setdefault("revision", manifest["manifest_sha256"][:12])
    lists = {key: params[key] for key in ("include", "exclude", "allow") if params[key] and source == "hf"}
    if params["allow"]:
        lists["allow"] = params["allow"]
    pin = {"manifest_sha256": manifest["manifest_sha256"]}
    return {"source": source, **chosen, **lists, **(pin if source == "hf" else {"files": manifest["files"]})}


def _http_manifest(params: Params, label: str, say: Callable[[str], None], check_mode: bool) -> dict[str, Any]:
    """Return the manifest of files on a server: with digests given only the sizes are asked, else all is fetched."""
    if not params["files"] and not params["paths"]:
        return _published_manifest(params, label)
    paths = sorted(params["files"] or params["paths"])
    problem = paths_problem(paths, params["allow"]) or digest_problem(params["files"])
    if problem:
        raise ArtifactError(f"{label}: {problem}")
    urls = _urls(params, paths)
    sizes = {path: int(size) for path, size in params["sizes"].items() if path in urls}
    sizes.update(ask_sizes({path: url for path, url in urls.items() if path not in sizes}, _access(params)))
    source = {"source": params["source"], "from": shown(params["url"]) if params["url"] else params["repo"]}
    if params["files"]:
        return document(source, params["files"], sizes)
    if check_mode or not params["directory"]:
        raise ArtifactError(f"{label}: the files must be fetched to hash them. Give directory, and no check mode.")
    return document(source, _fetch_unknown(params, label, urls, sizes, say), sizes)


def _published_manifest(params: Params, label: str) -> dict[str, Any]:
    """Return the manifest that lies beside files which this collection published; it counts for what its pin says."""
    problem = url_problem(params["url"])
    if problem:
        raise ArtifactError(f"{label}: {problem}")
    url = join_url(params["url"], MANIFEST)
    try:
        value = json.loads(read_small(url, _access(params), CONFIG_MAX_BYTES))
        files, sizes = dict(value["files"]), {path: int(size) for path, size in value["sizes"].items()}
    except SourceError as error:
        raise ArtifactError(f"{label}: {error} Without {MANIFEST} there, list files or paths.") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ArtifactError(
            f"{label}: {shown(url)} is no manifest of this collection. List the files with their SHA-256 instead."
        ) from None
    problem = digest_problem(files) or paths_problem(files, params["allow"])
    if problem or set(files) != set(sizes):
        raise ArtifactError(f"{label}: {shown(url)}: {problem or 'files and sizes differ. Publish the model anew.'}")
    return document({"source": "http", "from": shown(params["url"])}, files, sizes)


def _fetch_unknown(
    params: Params, label: str, urls: dict[str, str], sizes: dict[str, int], say: Callable[[str], None]
) -> dict[str, str]:
    """Bring files whose digest nobody knows into a cache, and return the digests."""
    root = params["directory"]
    parts = os.path.join(root, PARTS)
    problem = room_problem(root, sum(sizes.values()), 0, params["reserve_bytes"], params["quota_bytes"])
    if problem:
        raise ArtifactError(f"{label}: {problem}")
    os.makedirs(parts, mode=0o700, exist_ok=True)
    progress = Progress(label, len(urls), sum(sizes.values()), say, params["progress_path"])
    pace = Pace(params["bytes_per_second"])
    files = {}
    with lock(os.path.join(parts, "manifest.lock")):
        for path in sorted(urls, key=lambda name: (not is_config(name), sizes[name], name)):
            item = Item(path, urls[path], lambda digest: os.path.join(root, digest), None, sizes[path])
            files[path] = fetch(item, parts, _access(params), progress, pace, params["retries"]).sha256
            full = os.path.join(root, files[path])
            if sha256_file(full) != files[path]:
                raise ArtifactError(f"{label}: {full} reads back different bytes. Check the disk of this machine.")
            problem = config_file_problem(path, full, params["allow"]) if is_config(path) else ""
            if problem:
                raise ArtifactError(f"{label}: {problem}")
            progress.file_done()
    return files


def fetch_files(params: Params, say: Callable[[str], None], check_mode: bool) -> dict[str, Any]:
    """Bring the files of a model into a directory; return the module's result."""
    label = f"model {params['name']}"
    if params["source"] not in ("hf", "http"):
        raise ArtifactError(
            f"{label}: source = {params['source']!r} cannot be fetched here. Use hf or http; controller works only in "
            "a task of Ansible, where the action of this module serves the files."
        )
    if params["allow_unreachable"] and not can_connect(params["url"], _CONNECT_SECONDS):
        missing = sorted(params["files"])
        return {**_nothing(params), "reachable": False, "missing_files": missing}
    order = Order(
        label=label,
        files=params["files"],
        urls=_urls(params, list(params["files"])),
        directory=params["directory"],
        sizes=params["sizes"],
        by_digest=params["directory_layout"] == "sha256",
        allow=tuple(params["allow"]),
        access=_access(params),
        bytes_per_second=params["bytes_per_second"],
        retries=params["retries"],
        reserve_bytes=params["reserve_bytes"],
        quota_bytes=params["quota_bytes"],
        progress_path=params["progress_path"],
    )
    try:
        came = bring(order, say, check_mode)
    except ArtifactError:
        # Sizes are what a source said. One that was wrong shall be asked again and not be believed for ever.
        if params["manifest_directory"] and not check_mode:
            forget_stored(params["manifest_directory"], sha256_hex(canonical_json(params["files"])))
        raise
    names = came["missing_files"] if check_mode else came["fetched_files"]
    diff = {"before": {}, "after": {path: params["files"][path] for path in names}}
    return {**_nothing(params), **came, "changed": bool(names), "diff": diff}


def _nothing(params: Params) -> dict[str, Any]:
    return {
        "changed": False,
        "reachable": True,
        "fetched_files": [],
        "missing_files": [],
        "received_bytes": 0,
        "resumed_bytes": 0,
        "sizes": params["sizes"],
    }
