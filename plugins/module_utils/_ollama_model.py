# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Keeping a model on an Ollama server: fetched by tag, held to a digest, the old one kept under a rollback name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._engines._ollama_info import spill
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_client import Client, OllamaError
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_store import (
    ModelName,
    OllamaStoreError,
    manifest_blobs,
    rollback_name,
)
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import sha256_file

MAX_PROGRESS = 50
# A model that stays for ever expires in some 290 years.
_PINNED_YEARS = 10


@dataclass(frozen=True)
class Wish:
    """What a task asks for."""

    name: ModelName
    digest: str | None = None
    keep_rollback: bool = True
    remove_rollback: bool = False
    preload: bool = False
    keep_alive_seconds: int = -1
    models_directory: str | None = None


@dataclass
class Outcome:
    """What was found and done, or would be done."""

    changed: bool = False
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    rollback: str | None = None
    removed: list[str] = field(default_factory=list)
    verified_blobs: int = 0
    loaded: dict[str, Any] | None = None
    spill: str = ""
    warnings: list[str] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)


class Progress:
    """The last line of each step of a fetch, so that a long fetch has a short report."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, Any]] = {}

    def line(self, line: dict[str, Any]) -> None:
        status = str(line.get("status", ""))[:200]
        if status and (status in self._steps or len(self._steps) < MAX_PROGRESS):
            counts = {key: line[key] for key in ("total", "completed") if isinstance(line.get(key), int)}
            self._steps[status] = {"status": status, **counts}

    def steps(self) -> list[dict[str, Any]]:
        return list(self._steps.values())


def damaged_blobs(directory: str, name: ModelName, digest: str | None) -> tuple[list[str], int]:
    """Return (paths of blobs that are missing or not what their name says, number of blobs looked at).

    With a digest, the manifest on the disk must have it.
    """
    path = os.path.join(directory, name.manifest_path)
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            text = stream.read()
    except OSError as error:
        raise OllamaError(
            f"models_directory = {directory!r}: {path} cannot be read ({error.strerror}). Give the directory that the "
            "server has as OLLAMA_MODELS."
        ) from error
    if digest is not None and sha256_hex(text) != digest:
        raise OllamaError(
            f"models_directory = {directory!r}: {path} has the digest {sha256_hex(text)}, the server says {digest}. "
            "Give the directory that the server has as OLLAMA_MODELS."
        )
    bad = []
    blobs = manifest_blobs(text)
    for hexdigits, size in sorted(blobs.items()):
        blob = os.path.join(directory, "blobs", f"sha256-{hexdigits}")
        if not os.path.isfile(blob) or os.path.getsize(blob) != size or sha256_file(blob) != hexdigits:
            bad.append(blob)
    return bad, len(blobs)


def is_pinned(expires_at: Any, now: datetime) -> bool:
    """Tell whether a model in memory stays there for ever."""
    text = str(expires_at)
    return text[:4].isdigit() and int(text[:4]) > now.year + _PINNED_YEARS


def present(client: Client, wish: Wish, check_mode: bool) -> Outcome:
    """Make the server have the model under its name, with the wanted digest."""
    out = Outcome()
    known = client.digests()
    old = known.get(wish.name.short)
    out.before = {"digest": old}
    bad: list[str] = []
    if old is not None and wish.models_directory is not None:
        bad, out.verified_blobs = damaged_blobs(wish.models_directory, wish.name, old)
    moves = old is not None and wish.digest is not None and old != wish.digest
    current = old
    if old is None or moves or bad:
        out.changed = True
        current = wish.digest or old
        if moves and wish.keep_rollback and old is not None:
            out.rollback = rollback_name(wish.name, old).short
        if not check_mode:
            current = _fetch(client, wish, old, known, bad, out)
    out.after = {"digest": current}
    if out.rollback:
        out.after["rollback"] = out.rollback
    if bad:
        out.before["damaged_blobs"] = [os.path.basename(path) for path in bad]
    _preload(client, wish, current, check_mode, out)
    return out


def _fetch(client: Client, wish: Wish, old: str | None, known: dict[str, str], bad: list[str], out: Outcome) -> str:
    """Fetch the model; return its digest. When it is not the wanted one, the name goes back to what it was."""
    name = wish.name.short
    moves = old is not None and wish.digest is not None and old != wish.digest
    kept = rollback_name(wish.name, old).short if moves and old is not None else None
    made = kept is not None and known.get(kept) != old
    if kept is not None and made:
        # The server deletes the old layers as soon as nothing names them.
        client.copy(name, kept)
    _remove_damaged(name, bad)
    same = next((other for other in sorted(known) if known[other] == wish.digest), None)
    try:
        if same is not None and not bad:
            client.copy(same, name)  # the way back to a content that was kept needs no network
            out.progress = [{"status": f"copied {same}"}]
        else:
            _pull(client, wish, out)
    except OllamaError:
        if kept is not None and made:
            client.delete(kept)
        raise
    found = client.digests().get(name)
    if found is None:
        raise OllamaError(
            f"model {name}: the server fetched it and does not list it: a file may be damaged from an earlier fetch. "
            "Give models_directory, so that its files are looked at."
        )
    if wish.digest is not None and found != wish.digest:
        _go_back(client, name, old, kept, made)
        left = f"{name} is again what it was ({old[:12]})." if old else f"{name} was removed again."
        raise OllamaError(
            f"model {name}: the registry's tag has the digest {found}, wanted is {wish.digest}. The tag was moved, or "
            f"digest is wrong. {left} Check the new content, then correct digest."
        )
    if wish.models_directory is not None:
        _check_blobs(wish, found, out)
    if kept is not None and not wish.keep_rollback:
        client.delete(kept)
    return found


def _check_blobs(wish: Wish, digest: str, out: Outcome) -> None:
    """Look at the files of the model; raise OllamaError when one is damaged."""
    worse, out.verified_blobs = damaged_blobs(str(wish.models_directory), wish.name, digest)
    if worse:
        raise OllamaError(
            f"model {wish.name.short}: {worse[0]} is not what its name says, also after fetching it again. Look at the "
            "disk."
        )


def _pull(client: Client, wish: Wish, out: Outcome) -> None:
    """Fetch the model, and once more when damaged files of an earlier fetch are among it.

    After a fetch with several wrong files the server removes only the first one. It takes the others for good the next
    time, because it does not look at files that are there.
    """
    progress = Progress()
    try:
        client.pull(wish.name.short, progress.line)
        if wish.models_directory is not None:
            bad, _count = damaged_blobs(wish.models_directory, wish.name, None)
            if bad:
                _remove_damaged(wish.name.short, bad)
                client.pull(wish.name.short, progress.line)
    finally:
        out.progress = progress.steps()


def _remove_damaged(name: str, bad: list[str]) -> None:
    """Remove damaged blobs: the server takes a blob that is there for a good one."""
    for path in bad:
        try:
            if os.path.lexists(path):
                os.unlink(path)
        except OSError as error:
            raise OllamaError(
                f"model {name}: {path} is damaged and cannot be removed ({error.strerror}). Run the task as root on "
                "the host of the server."
            ) from error


def _go_back(client: Client, name: str, old: str | None, kept: str | None, made: bool) -> None:
    if old is None or kept is None:
        client.delete(name)
        return
    client.copy(kept, name)
    if client.digests().get(name) != old:
        raise OllamaError(f"model {name}: could not be set back to {old}. It is kept as {kept}; copy it by hand.")
    if made:
        client.delete(kept)


def _preload(client: Client, wish: Wish, digest: str | None, check_mode: bool, out: Outcome) -> None:
    if not wish.preload:
        return
    name = wish.name.short
    loaded = client.loaded(name)
    now = datetime.now(timezone.utc)
    there = (
        loaded is not None
        and str(loaded.get("digest", "")).replace("sha256:", "") == digest
        and (wish.keep_alive_seconds >= 0 or is_pinned(loaded.get("expires_at"), now))
    )
    out.before["loaded"], out.after["loaded"] = there, True
    if not there:
        out.changed = True
        if check_mode:
            return
        client.load(name, wish.keep_alive_seconds)
        loaded = client.loaded(name)
        if loaded is None:
            raise OllamaError(f"model {name}: is not in memory after it was loaded. Look at the log of the server.")
    out.loaded = {key: (loaded or {}).get(key) for key in ("size", "size_vram", "expires_at", "context_length")}
    text = spill(loaded or {})
    if text:
        out.spill = text
        out.warnings.append(text)


def absent(client: Client, wish: Wish, check_mode: bool) -> Outcome:
    """Remove a name, and with remove_rollback the old contents that were kept beside it."""
    out = Outcome()
    known = client.digests()
    name, old = wish.name.short, known.get(wish.name.short)
    out.before, out.after = {"digest": old}, {"digest": None}
    if old is not None and wish.digest is not None and old != wish.digest:
        out.after = {"digest": old}
        out.warnings.append(
            f"model {name}: has the digest {old}, not {wish.digest}, and stays. Leave digest out to remove any content."
        )
    elif old is not None:
        out.removed.append(name)
    if wish.remove_rollback:
        front = wish.name.with_tag("prev-").short
        out.removed += sorted(other for other in known if other.startswith(front))
    out.changed = bool(out.removed)
    for other in [] if check_mode else out.removed:
        client.delete(other)
    if out.removed and not check_mode:
        left = [other for other in out.removed if other in client.digests()]
        if left:
            raise OllamaError(f"model {left[0]}: is still listed after it was removed. Look at the log of the server.")
    return out


def read_wish(parse: Callable[[str], ModelName], params: dict[str, Any], digest: str | None) -> Wish:
    """Return the wish that a module's options make."""
    if params["keep_alive_seconds"] < -1 or (params["preload"] and params["keep_alive_seconds"] == 0):
        raise OllamaStoreError(
            f"keep_alive_seconds = {params['keep_alive_seconds']}: use -1 to keep the model in memory for ever, or a "
            "number of seconds above 0."
        )
    return Wish(
        name=parse(params["name"]),
        digest=digest,
        keep_rollback=params["keep_rollback"],
        remove_rollback=params["remove_rollback"],
        preload=params["preload"],
        keep_alive_seconds=params["keep_alive_seconds"],
        models_directory=params["models_directory"],
    )
