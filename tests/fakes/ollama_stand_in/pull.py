# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""STAND-IN for Ollama: fetching a model from a registry, with the states that the real stream has.

As with the real one: an error comes inside the stream with status 200, blobs that are on disk are not hashed again, and
the old layers of a tag that moved are deleted at once unless OLLAMA_NOPRUNE is set.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .store import Store, StoreError, digest_of, layer_digests, split_name

TRIES = 3
Tell = Callable[[dict[str, Any]], None]


class PullError(Exception):
    """What stands as error in the stream."""


def _get(host: str, path: str, offset: int = 0) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(host, timeout=30)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    connection.request("GET", path, headers=headers)
    return connection, connection.getresponse()


def _manifest(host: str, path: str) -> tuple[dict[str, Any], bytes]:
    try:
        connection, response = _get(host, path)
        content = response.read()
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise PullError(f'pull model manifest: Get "http://{host}{path}": {error}') from error
    if response.status == 404:
        raise PullError("pull model manifest: file does not exist")
    if response.status >= 400:
        raise PullError(f"pull model manifest: {response.status}: {content.decode(errors='replace')}")
    try:
        return json.loads(content), content
    except ValueError as error:
        first = content.decode(errors="replace")[:1]
        raise PullError(f"pull model manifest: invalid character '{first}' looking for beginning of value") from error


def _fetch(host: str, path: str, target: Path, layer: dict[str, Any], tell: Tell) -> None:
    """Bring one blob; a cut connection goes on where it stopped."""
    part = target.with_name(target.name + "-partial")
    status = f"pulling {layer['digest'][7:19]}"
    total = layer["size"]
    reason = ""
    for _number in range(TRIES):
        done = part.stat().st_size if part.exists() else 0
        try:
            connection, response = _get(host, path, done)
            if response.status not in (200, 206):
                raise PullError(f"{response.status}: {response.read().decode(errors='replace')}")
            with part.open("ab") as stream:
                while done < total and (block := response.read1(1 << 18)):
                    stream.write(block)
                    done += len(block)
                    tell({"status": status, "digest": layer["digest"], "total": total, "completed": done})
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            continue
        if done >= total:
            part.replace(target)
            return
        reason = "unexpected EOF"
    raise PullError(f"max retries exceeded: {reason}")


def pull(store: Store, name: str, insecure: bool, tell: Tell) -> None:
    """Bring a model and tell the states; raise PullError."""
    host, namespace, model, tag = split_name(name)
    old: set[str] = set()
    with suppress(FileNotFoundError):
        old = layer_digests(store.manifest(name)[0])
    tell({"status": "pulling manifest"})
    if not insecure:
        raise PullError(f'pull model manifest: Get "https://{host}/": the stand-in speaks http only (insecure)')
    manifest, content = _manifest(host, f"/v2/{namespace}/{model}/manifests/{tag}")
    layers = [*manifest["layers"], manifest["config"]]
    fetched = []
    for layer in layers:
        try:
            target = store.blob(layer["digest"])
        except StoreError as error:
            raise PullError(str(error)) from error
        if target.exists():
            size = target.stat().st_size
            status = f"pulling {layer['digest'][7:19]}"
            tell({"status": status, "digest": layer["digest"], "total": size, "completed": size})
            continue
        _fetch(host, f"/v2/{namespace}/{model}/blobs/{layer['digest']}", target, layer, tell)
        fetched.append(layer["digest"])
    tell({"status": "verifying sha256 digest"})
    for digest in fetched:
        found = digest_of(store.blob(digest))
        if found != digest:
            store.blob(digest).unlink()
            raise PullError(f"digest mismatch, file must be downloaded again: want {digest}, got {found}")
    tell({"status": "writing manifest"})
    store.write_manifest(name, content)
    if store.prune_allowed and old:
        tell({"status": "removing unused layers"})
        store.remove_unused(old)
    tell({"status": "success"})
