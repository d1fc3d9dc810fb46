# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The archive of models on a host: pack a published revision, check what was packed, bring it back.

An archived revision is a directory <archive>/<name>/<revision>/ with manifest.json (that of the model), archive.json
and files/<path>.zst. It is filled under another name, each file read back and compared with the manifest, and appears
in one rename. The plain files go only after that. A run that is cut leaves either the plain files or a whole archive,
and the next run goes on with the first file that is not packed and checked yet.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_progress import Progress
from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import (
    TreeError,
    find_changes,
    list_tree,
    make_directories,
    path_problem,
    publish,
    read_manifest,
    remove_tree,
    room_problem,
    sha256_file,
    used_bytes,
)
from ansible_collections.local_llm.ops.plugins.module_utils._zstd_pipe import RunCommand, packing, unpacking

SCHEMA = 1
RECORD = "archive.json"
PACKED = ".zst"
_FILES = "files"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where one revision lies on the host: published, archived, and what is on its way to either."""

    models: str
    archive: str
    name: str
    revision: str

    @property
    def label(self) -> str:
        return f"model {self.name}, revision {self.revision}"

    @property
    def plain(self) -> str:
        return os.path.join(self.models, self.name, self.revision)

    @property
    def packed(self) -> str:
        return os.path.join(self.archive, self.name, self.revision)

    @property
    def being_packed(self) -> str:
        return os.path.join(self.archive, ".incoming", f"{self.name}@{self.revision}")

    @property
    def being_restored(self) -> str:
        # A name with two @ is none that a download uses.
        return os.path.join(self.models, ".incoming", f"restore@{self.name}@{self.revision}")

    @property
    def plain_trash(self) -> str:
        return os.path.join(self.models, ".incoming", f"{self.name}@{self.revision}.removed")

    @property
    def packed_trash(self) -> str:
        return os.path.join(self.archive, ".incoming", f"{self.name}@{self.revision}.removed")

    def packed_file(self, root: str, path: str) -> str:
        return os.path.join(root, _FILES, path + PACKED)


@dataclass(frozen=True)
class Work:
    """What the work needs from outside. needed: what on this host needs a revision, asked anew before files go."""

    run_command: RunCommand
    needed: Callable[[Place], list[str]]
    say: Callable[[str], None] = lambda _line: None
    pace: Callable[[int], None] = lambda _count: None
    reserve_bytes: int = 1 << 30
    quota_bytes: int = 0
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(timezone.utc))


def iso(moment: datetime) -> str:
    """Return a moment as text, in UTC and whole seconds."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def archive_revision(place: Place, work: Work, last_used_at: str | None = None) -> dict[str, Any]:
    """Move a published revision into the archive. Return what was done, in bytes and files."""
    manifest = checked_manifest(place.plain, place)
    _refuse_needed(place, work, "archived")
    changes, _hashed = find_changes(place.plain, manifest, verify_all=False)
    if changes:
        raise TreeError(
            f"{place.label}: {place.plain} was changed after it was published: {'; '.join(changes[:5])}. "
            "It is not archived. Move the directory away, and bring the model anew when it is needed."
        )
    packed_files = 0
    if os.path.isdir(place.packed):
        _refuse_other_files(place, checked_manifest(place.packed, place), manifest)
        if not _whole_archive(place, manifest, work):
            remove_tree(place.packed, place.packed_trash)
    if not os.path.isdir(place.packed):
        packed_files = _pack(place, manifest, work)
        _publish_archive(place, manifest, work, last_used_at)
    _refuse_needed(place, work, "archived")
    remove_tree(place.plain, place.plain_trash)
    _drop_empty(os.path.dirname(place.plain))
    return {"packed_files": packed_files, "archive_bytes": used_bytes(place.packed), "bytes": _total(manifest)}


def restore_revision(place: Place, work: Work, wanted: dict[str, str], manifest_sha256: str | None) -> dict[str, Any]:
    """Publish an archived revision again; the archive goes after that. wanted: the files that it must have, or none."""
    manifest = wanted_manifest(place, wanted, manifest_sha256)
    unpacked = 0
    if not os.path.isdir(place.plain):
        unpacked = _unpack(place, manifest, work)
        publish(place.being_restored, place.plain, manifest)
    else:
        _refuse_changed_copy(place, manifest)
    remove_tree(place.packed, place.packed_trash)
    _drop_empty(os.path.dirname(place.packed))
    return {"unpacked_files": unpacked, "bytes": _total(manifest)}


def wanted_manifest(place: Place, wanted: dict[str, str], manifest_sha256: str | None) -> dict[str, Any]:
    """Return the manifest of an archived revision; raise WrongArchive when it is not the wanted one."""
    manifest = checked_manifest(place.packed, place)
    found = manifest["manifest_sha256"]
    if (wanted and manifest["files"] != wanted) or (manifest_sha256 and found != manifest_sha256):
        raise WrongArchive(
            f"{place.label}: the archive {place.packed} has other files than the inventory (manifest {found}). "
            "A revision never changes: give the new files a new revision."
        )
    return manifest


def delete_archived(place: Place, work: Work) -> None:
    """Delete a revision from the archive, unless something on this host needs it and has no other copy."""
    if not os.path.isdir(place.plain):
        _refuse_needed(place, work, "deleted")
    else:
        _refuse_changed_copy(place, checked_manifest(place.packed, place))
    remove_tree(place.packed, place.packed_trash)
    _drop_empty(os.path.dirname(place.packed))


class WrongArchive(TreeError):
    """The archive of this revision holds other files than wanted."""


def checked_manifest(root: str, place: Place) -> dict[str, Any]:
    """Return the manifest of a published or archived revision; raise TreeError when it cannot lead the work."""
    manifest = read_manifest(root)
    problems = [f"{path!r} {path_problem(path)}" for path in manifest["files"] if path_problem(path)]
    if not isinstance(manifest.get("sizes"), dict) or set(manifest["sizes"]) != set(manifest["files"]):
        problems.append("it has no size for every file")
    if manifest.get("links"):
        problems.append("it has links, which models have not")
    if manifest.get("manifest_sha256") != sha256_hex(canonical_json(manifest["files"])):
        problems.append("its manifest_sha256 is not that of its files")
    if problems:
        raise TreeError(f"{place.label}: {root}/manifest.json: {problems[0]}. Move {root} away and bring it anew.")
    return manifest


def read_record(packed: str) -> dict[str, Any]:
    """Return archive.json of an archived revision; empty when it cannot be read."""
    try:
        with open(os.path.join(packed, RECORD), encoding="utf-8") as stream:
            record = json.load(stream)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and record.get("schema") == SCHEMA else {}


def _refuse_other_files(place: Place, packed: dict[str, Any], published: dict[str, Any]) -> None:
    """Refuse to take one for a copy of the other when they are not."""
    if packed["files"] != published["files"]:
        raise WrongArchive(
            f"{place.label}: {place.packed} has other files than {place.plain}. A revision never changes, so one of "
            "both is not what its name says: look at their manifest.json, and move the wrong one away."
        )


def _refuse_changed_copy(place: Place, packed: dict[str, Any]) -> None:
    """Refuse to let the archive go when the published files are not the same, whole."""
    published = checked_manifest(place.plain, place)
    _refuse_other_files(place, packed, published)
    changes, _hashed = find_changes(place.plain, published, verify_all=False)
    if changes:
        raise TreeError(
            f"{place.label}: {place.plain} was changed after it was published: {changes[0]}. So its archive stays. "
            "Move the directory away, then run again."
        )


def _total(manifest: dict[str, Any]) -> int:
    return sum(int(size) for size in manifest["sizes"].values())


def _refuse_needed(place: Place, work: Work, what: str) -> None:
    users = work.needed(place)
    if users:
        raise TreeError(
            f"{place.label}: still needed by {'; '.join(users)}, so it is not {what}. "
            "Move these instances to another release first."
        )


def _progress(place: Place, manifest: dict[str, Any], work: Work, verb: str, passes: int = 1) -> Progress:
    return Progress(f"{verb} {place.label}", len(manifest["files"]), passes * _total(manifest), work.say)


def _pack(place: Place, manifest: dict[str, Any], work: Work) -> int:
    """Pack every file that is not packed and checked yet; return how many that were."""
    if read_record(place.being_packed).get("manifest_sha256") != manifest["manifest_sha256"]:
        # Left by a cut run over other files of the same name.
        shutil.rmtree(place.being_packed, ignore_errors=True)
    there = {path: place.packed_file(place.being_packed, path) for path in manifest["files"]}
    missing = sorted(path for path, target in there.items() if not os.path.isfile(target))
    needed = sum(int(manifest["sizes"][path]) for path in missing)
    problem = room_problem(place.archive, needed, 0, work.reserve_bytes, 0)
    if problem:
        raise TreeError(f"{place.label}: the archive {problem}")
    make_directories(place.being_packed)
    begun = {"schema": SCHEMA, "manifest_sha256": manifest["manifest_sha256"]}
    write_json_atomic(os.path.join(place.being_packed, RECORD), begun, 0o644)
    progress = _progress(place, manifest, work, "packing and reading back", passes=2)
    for path in manifest["files"]:
        if path not in missing:
            progress.there(2 * int(manifest["sizes"][path]))
            progress.file_done()
    for path in missing:
        target = there[path]
        make_directories(os.path.dirname(target))
        wanted, source = manifest["files"][path], os.path.join(place.plain, path)
        if _pack_file(source, target + ".part", work, progress) != wanted:
            os.unlink(target + ".part")
            raise TreeError(
                f"{place.label}: {source} is not what was published (SHA-256). It is not archived. "
                "Move the directory away, and bring the model anew when it is needed."
            )
        # What was packed is unpacked again; only what comes out right counts.
        if _packed_sha256(target + ".part", work, progress) != wanted:
            os.unlink(target + ".part")
            raise TreeError(f"{place.label}: {target} reads back other bytes. Check the disk of this host; run again.")
        os.rename(target + ".part", target)
        progress.file_done()
    progress.tell()
    return len(missing)


def _pump(source: io.FileIO, sink: io.FileIO | None, work: Work, progress: Progress) -> str:
    """Read a stream to its end, write it on where there is a sink, and return the SHA-256 of what came."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    while count := source.readinto(buffer):
        block = buffer[:count]
        digest.update(block)
        while sink is not None and block:
            block = block[sink.write(block) :]
        progress.received(count)
        work.pace(count)
    return digest.hexdigest()


def _pack_file(source: str, target: str, work: Work, progress: Progress) -> str:
    with open(source, "rb", buffering=0) as plain, packing(work.run_command, target) as packer:
        return _pump(plain, packer, work, progress)


def _packed_sha256(packed: str, work: Work, progress: Progress) -> str:
    with unpacking(work.run_command, packed) as stream:
        return _pump(stream, None, work, progress)


def _whole_archive(place: Place, manifest: dict[str, Any], work: Work) -> bool:
    """Tell whether the archive of a revision that is also published holds the same, every file read back."""
    progress = _progress(place, manifest, work, "reading back")
    try:
        return all(
            _packed_sha256(place.packed_file(place.packed, path), work, progress) == wanted
            for path, wanted in manifest["files"].items()
        )
    except TreeError:
        return False


def _publish_archive(place: Place, manifest: dict[str, Any], work: Work, last_used_at: str | None) -> None:
    files, _links, _others = list_tree(os.path.join(place.being_packed, _FILES))
    for name in set(files) - {path + PACKED for path in manifest["files"]}:
        os.unlink(os.path.join(place.being_packed, _FILES, name))
    record = {
        "schema": SCHEMA,
        "manifest_sha256": manifest["manifest_sha256"],
        "archived_at": iso(work.clock()),
        "published_at": iso(datetime.fromtimestamp(os.stat(place.plain).st_mtime, timezone.utc)),
        "last_used_at": last_used_at,
        "bytes": _total(manifest),
    }
    write_json_atomic(os.path.join(place.being_packed, RECORD), record, 0o644)
    publish(place.being_packed, place.packed, manifest)


def _unpack(place: Place, manifest: dict[str, Any], work: Work) -> int:
    """Unpack and check every file; return how many. What an earlier run left whole is hashed, not unpacked again."""
    root = place.being_restored
    there = sum(
        int(size)
        for path, size in manifest["sizes"].items()
        if os.path.isfile(os.path.join(root, path)) and os.path.getsize(os.path.join(root, path)) == size
    )
    quota = work.quota_bytes
    if quota and place.packed.startswith(place.models.rstrip("/") + "/"):
        # The archive of this revision goes afterwards, so it does not count.
        quota += used_bytes(place.packed)
    problem = room_problem(place.models, _total(manifest), there, work.reserve_bytes, quota)
    if problem:
        raise TreeError(f"{place.label}: {problem}")
    progress = _progress(place, manifest, work, "restoring")
    unpacked = 0
    for path, wanted in sorted(manifest["files"].items()):
        target = os.path.join(root, path)
        make_directories(os.path.dirname(target))
        if os.path.isfile(target) and sha256_file(target) == wanted:
            progress.there(int(manifest["sizes"][path]))
        else:
            _unpack_file(place, path, wanted, target, work, progress)
            unpacked += 1
        progress.file_done()
    files, links, _others = list_tree(root)
    for name in (set(files) | set(links)) - set(manifest["files"]):
        os.unlink(os.path.join(root, name))
    progress.tell()
    return unpacked


def _unpack_file(place: Place, path: str, wanted: str, target: str, work: Work, progress: Progress) -> None:
    packed = place.packed_file(place.packed, path)
    with open(target + ".part", "wb", buffering=0) as plain:
        with unpacking(work.run_command, packed) as stream:
            came = _pump(stream, plain, work, progress)
        os.fsync(plain.fileno())
    if came != wanted:
        os.unlink(target + ".part")
        raise TreeError(
            f"{place.label}: {packed} holds other bytes than its manifest says. Nothing was published. Delete this "
            "archive (model_store, state deleted) and bring the model from its source."
        )
    os.rename(target + ".part", target)


def _drop_empty(directory: str) -> None:
    """Remove the directory of a name that has no revision left."""
    with suppress(OSError):
        os.rmdir(directory)


def remove_leftover(path: str) -> None:
    """Delete what a cut run left in a place for arrivals."""
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
