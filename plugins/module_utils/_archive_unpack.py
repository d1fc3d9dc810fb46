# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Unpack a tar archive into a new directory, and nowhere else."""

from __future__ import annotations

import os
import posixpath
import shutil
import tarfile

from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import MANIFEST, TreeError


def _inside(path: str) -> bool:
    clean = posixpath.normpath(path)
    return not clean.startswith("/") and clean != ".." and not clean.startswith("../")


def member_problem(member: tarfile.TarInfo) -> str:
    """Return why a member of an archive is refused, or an empty text."""
    if not _inside(member.name):
        return "leads out of the directory"
    if posixpath.normpath(member.name) == MANIFEST:
        return "has the name of the manifest"
    if member.issym():
        target = posixpath.join(posixpath.dirname(member.name), member.linkname)
        return "" if not member.linkname.startswith("/") and _inside(target) else "is a link that leads out"
    if member.islnk():
        return "" if _inside(member.linkname) else "is a link that leads out"
    return "" if member.isfile() or member.isdir() else "is neither file, directory nor link"


def unpacked_bytes(archive: str) -> int:
    """Return how many bytes the files of an archive have."""
    with _opened(archive) as tar:
        return sum(member.size for member in tar if member.isfile())


def unpack(archive: str, target: str) -> None:
    """Unpack an archive into a directory that is made here. Owners and special mode bits are not taken over."""
    os.makedirs(target, mode=0o700)
    with _opened(archive) as tar:
        for member in tar:
            problem = member_problem(member)
            if problem:
                raise TreeError(f"{archive}: member {member.name!r} {problem}. Do not use this archive.")
            path = os.path.join(target, posixpath.normpath(member.name))
            home = os.path.realpath(target)
            if os.path.commonpath([home, os.path.realpath(os.path.dirname(path))]) != home:
                raise TreeError(f"{archive}: member {member.name!r} would be written through a link. Do not use it.")
            if member.isdir():
                os.makedirs(path, mode=0o755, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            if os.path.lexists(path):
                raise TreeError(f"{archive}: member {member.name!r} occurs twice. Do not use this archive.")
            if member.issym():
                os.symlink(member.linkname, path)
                continue
            source = tar.extractfile(member)
            if source is None:
                raise TreeError(f"{archive}: member {member.name!r} cannot be read. Fetch the archive again.")
            with source, open(path, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            os.chmod(path, 0o755 if member.mode & 0o100 else 0o644)


def _opened(archive: str) -> tarfile.TarFile:
    try:
        return tarfile.open(archive, "r:*")
    except tarfile.TarError as error:
        raise TreeError(f"{archive} is not a tar archive ({error}). Pack the engine as .tar.gz or .tar.xz.") from None
