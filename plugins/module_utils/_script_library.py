# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A directory with the Python files that a script on a host imports, and no others."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FILE_MODE, DIRECTORY_MODE = 0o644, 0o755
_SUFFIX = ".py"


class LibraryError(Exception):
    """Files that cannot be kept as they are given. The text names the path, what is wrong and the fix."""


@dataclass(frozen=True)
class Differences:
    """What is not as it should be: paths to write and to remove, and "mode SHA-256" of each, before and after."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)


def differences(directory: str, files: Mapping[str, Any]) -> Differences:
    """Return what differs from these files ({path: text}). Raises LibraryError, OSError."""
    _check(files)
    there = {path: _described(os.path.join(directory, path)) for path in _files_below(directory)}
    wanted = {path: _words(FILE_MODE, str(text).encode("utf-8")) for path, text in files.items()}
    written = sorted(path for path, words in wanted.items() if there.get(path) != words)
    removed = sorted(path for path in there if path not in wanted)
    return Differences(
        written,
        removed,
        {path: there[path] for path in [*written, *removed] if path in there},
        {path: wanted[path] for path in written},
    )


def put(directory: str, files: Mapping[str, Any], found: Differences) -> None:
    """Write and remove what differs. Raises OSError."""
    for path in found.written:
        place = os.path.join(directory, path)
        _make_directories(os.path.dirname(place))
        _replace(place, str(files[path]).encode("utf-8"))
    for path in found.removed:
        os.unlink(os.path.join(directory, path))


def _check(files: Mapping[str, Any]) -> None:
    wrong = [
        path
        for path in files
        if os.path.isabs(path) or not path.endswith(_SUFFIX) or os.path.normpath(path) != path or path.startswith("..")
    ]
    if wrong:
        raise LibraryError(f"files: {', '.join(wrong)}: use paths below the directory that end with {_SUFFIX}.")


def _files_below(directory: str) -> list[str]:
    found = []
    for place, _directories, names in os.walk(directory):
        found += [os.path.relpath(os.path.join(place, name), directory) for name in names if name.endswith(_SUFFIX)]
    return found


def _described(path: str) -> str:
    entry = os.lstat(path)
    if not stat.S_ISREG(entry.st_mode):
        return "no file"
    with open(path, "rb") as stream:
        content = stream.read()
    owner = "" if entry.st_uid == os.geteuid() else f"owner {entry.st_uid} "
    return owner + _words(stat.S_IMODE(entry.st_mode), content)


def _words(mode: int, content: bytes) -> str:
    return f"{mode:04o} {hashlib.sha256(content).hexdigest()}"


def _make_directories(path: str) -> None:
    if os.path.isdir(path):
        return
    _make_directories(os.path.dirname(path))
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    os.chmod(path, DIRECTORY_MODE)


def _replace(path: str, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), FILE_MODE)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
