# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Directories that are published once and never changed: engine versions and model revisions.

Such a directory has a manifest.json with the SHA-256 and size of every file. It is filled under another name and
appears in one rename. The manifest is its youngest file, so that a later check hashes only files that changed after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from typing import Any

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20


class TreeError(Exception):
    """A directory that must not be used as it is. The text names the path, what was found and the fix."""


class WrongFileError(TreeError):
    """A whole file came and is another one."""


def sha256_file(path: str, pace: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file as 64 hex digits. pace is called with the size of every block and may wait."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
            if pace is not None:
                pace(count)
    return digest.hexdigest()


def path_problem(path: str) -> str:
    """Return why a relative path of a manifest cannot be used, or an empty text."""
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        return "must be a path inside the directory, without '..'"
    return f"{MANIFEST} is the name of the manifest itself" if path == MANIFEST else ""


def list_tree(root: str) -> tuple[list[str], dict[str, str], list[str]]:
    """Return (files, {link: target}, anything else) below a directory as relative paths, without the manifest."""
    files, links, others = [], {}, []
    for directory, names, leaves in os.walk(root):
        for name in names + leaves:
            full = os.path.join(directory, name)
            path = os.path.relpath(full, root)
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                links[path] = os.readlink(full)
            elif stat.S_ISREG(mode):
                files.append(path)
            elif not stat.S_ISDIR(mode):
                others.append(path)
    return sorted(path for path in files if path != MANIFEST), links, sorted(others)


def read_manifest(root: str) -> dict[str, Any]:
    """Return the manifest of a published directory."""
    path = os.path.join(root, MANIFEST)
    try:
        with open(path, encoding="utf-8") as stream:
            manifest = json.load(stream)
    except FileNotFoundError:
        raise TreeError(
            f"{root} exists without {MANIFEST}. It was not made by this collection: move it away."
        ) from None
    except ValueError as error:
        raise TreeError(f"{path} is not JSON ({error}). Move {root} away and run again.") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != 1 or not isinstance(manifest.get("files"), dict):
        raise TreeError(f"{path} has not schema 1. It was made by another version: move {root} away and run again.")
    return manifest


def find_changes(
    root: str, manifest: dict[str, Any], verify_all: bool, pace: Callable[[int], None] | None = None
) -> tuple[list[str], int]:
    """Compare a published directory with its manifest; return (one text per difference, number of files hashed).

    A file is hashed when verify_all is true, or when its inode changed after the manifest was written.
    pace is called with the size of every block that is hashed and may wait.
    """
    files, links, others = list_tree(root)
    wanted, sizes = manifest["files"], manifest.get("sizes", {})
    wanted_links = manifest.get("links", {})
    changes = [f"{path}: missing" for path in sorted(set(wanted) - set(files))]
    changes += [f"{path}: not in the manifest" for path in sorted((set(files) - set(wanted)) | set(others))]
    for path in sorted(set(links) | set(wanted_links)):
        if links.get(path) != wanted_links.get(path):
            changes.append(f"{path}: link to {links.get(path)!r} instead of {wanted_links.get(path)!r}")
    limit = os.stat(os.path.join(root, MANIFEST)).st_ctime_ns
    hashed = 0
    for path in sorted(set(wanted) & set(files)):
        full = os.path.join(root, path)
        status = os.stat(full)
        if path in sizes and status.st_size != sizes[path]:
            changes.append(f"{path}: {status.st_size} bytes instead of {sizes[path]}")
        elif verify_all or max(status.st_ctime_ns, status.st_mtime_ns) > limit:
            hashed += 1
            found = sha256_file(full, pace)
            if found != wanted[path]:
                changes.append(f"{path}: SHA-256 {found} instead of {wanted[path]}")
    return changes, hashed


def mark_checked(root: str) -> None:
    """Make the manifest the youngest file again, after every file was found right."""
    os.utime(os.path.join(root, MANIFEST))


def free_bytes(path: str) -> int:
    """Return the bytes that root may still write on the file system of a path, or of its nearest parent that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def used_bytes(root: str) -> int:
    """Return the bytes of all files below a directory, also of those that are still arriving."""
    total = 0
    for directory, _names, leaves in os.walk(root):
        for name in leaves:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(directory, name)).st_size
    return total


def room_problem(root: str, wanted_bytes: int, there_bytes: int, reserve_bytes: int, quota_bytes: int) -> str:
    """Return why files of wanted_bytes must not come below a directory, or an empty text.

    there_bytes of them have arrived in an earlier run. quota_bytes: of all files below root; 0: no limit.
    """
    missing = max(0, wanted_bytes - there_bytes)
    if quota_bytes:
        used = used_bytes(root)
        if used + missing > quota_bytes:
            return (
                f"needs {missing} bytes more in {root}, where {used} bytes are used; the quota is {quota_bytes}, "
                f"{used + missing - quota_bytes} too few. Remove old files there, or raise the quota."
            )
    needed, free = missing + reserve_bytes, free_bytes(root)
    if free < needed:
        return (
            f"needs {needed} bytes in {root} ({reserve_bytes} of them stay free), only {free} are free, "
            f"{needed - free} too few. Remove old models, or give the directory a larger file system."
        )
    return ""


def make_directories(path: str) -> None:
    """Make a directory and its missing parents, open to every reader whatever the umask is."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        os.mkdir(directory)
        os.chmod(directory, 0o755)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def measure(root: str) -> dict[str, Any]:
    """Return files, sizes and links of a directory, as a manifest has them; raise TreeError on devices and the like."""
    files, links, others = list_tree(root)
    if others:
        raise TreeError(f"{os.path.join(root, others[0])} is neither file, directory nor link. Take it out.")
    sizes = {path: os.stat(os.path.join(root, path)).st_size for path in files}
    return {"files": {path: sha256_file(os.path.join(root, path)) for path in files}, "sizes": sizes, "links": links}


def publish(incoming: str, final: str, manifest: dict[str, Any]) -> None:
    """Give a filled directory its owner, modes and manifest, write it to the disk and rename it into place."""
    owner = os.geteuid() == 0
    for directory, names, leaves in os.walk(incoming):
        for name in [*names, *leaves]:
            full = os.path.join(directory, name)
            if owner:
                os.chown(full, 0, 0, follow_symlinks=False)
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                continue
            os.chmod(full, 0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644)
            if stat.S_ISREG(mode):
                _sync(full)
        _sync(directory)
    path = os.path.join(incoming, MANIFEST)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(manifest, stream, sort_keys=True, indent=1, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(path, 0o644)
    if owner:
        os.chown(incoming, 0, 0)
    os.chmod(incoming, 0o755)
    make_directories(os.path.dirname(final))
    _sync(incoming)
    os.rename(incoming, final)
    _sync(os.path.dirname(final))
    # The directory above may have been made just now.
    _sync(os.path.dirname(os.path.dirname(final)))


def remove_tree(path: str, trash: str) -> None:
    """Take a published directory out of sight in one rename, then delete it."""
    make_directories(os.path.dirname(trash))
    shutil.rmtree(trash, ignore_errors=True)
    os.rename(path, trash)
    # A power cut must not find it half deleted under its name.
    _sync(os.path.dirname(path))
    _sync(os.path.dirname(trash))
    shutil.rmtree(trash)
