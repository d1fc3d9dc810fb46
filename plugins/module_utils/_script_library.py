# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A directory of Python files on a host, brought to exactly the wanted ones. What Python compiled is left alone."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755


def differences(directory: str, files: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return (what must be written, what must go), as paths below the directory."""
    write = sorted(path for path, text in files.items() if not _is_right(os.path.join(directory, path), text))
    return write, sorted(set(_python_files(directory)) - set(files))


def apply(directory: str, files: Mapping[str, str], write: list[str], remove: list[str]) -> None:
    """Write and remove. Each file is whole whenever it is read."""
    for path in write:
        place = os.path.join(directory, path)
        _make_directories(os.path.dirname(place))
        handle, temporary = tempfile.mkstemp(prefix=".library-", dir=os.path.dirname(place))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(files[path])
                os.fchmod(stream.fileno(), FILE_MODE)
            os.replace(temporary, place)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    for path in remove:
        os.unlink(os.path.join(directory, path))
        # The last one of its directory takes that with it.
        with suppress(OSError):
            os.removedirs(os.path.dirname(os.path.join(directory, path)))


def _is_right(path: str, text: str) -> bool:
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != FILE_MODE or found.st_uid != os.geteuid():
            return False
        with open(path, encoding="utf-8") as stream:
            return stream.read() == text
    except (OSError, UnicodeDecodeError):
        return False


def _python_files(directory: str) -> Iterator[str]:
    for place, _directories, names in os.walk(directory):
        for name in names:
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(place, name), directory)


def _make_directories(path: str) -> None:
    """Make a directory and those above it, for everybody to read whatever the umask is."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for one in reversed(missing):
        os.mkdir(one)
        os.chmod(one, DIRECTORY_MODE)
