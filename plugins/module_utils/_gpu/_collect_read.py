# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the collectors share: reading small files that may be missing, and finding programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence

# module.run_command, or a stand-in for tests: (arguments) -> (exit status, stdout, stderr).
RunCommand = Callable[[Sequence[str]], tuple[int, str, str]]

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def read_text(*parts: str, limit_bytes: int = 65536) -> str | None:
    """Return a file as text without white space around it; None when it is missing or cannot be read."""
    data = read_bytes(*parts, limit_bytes=limit_bytes)
    return None if data is None else data.decode("utf-8", "replace").strip()


def read_bytes(*parts: str, limit_bytes: int = 65536) -> bytes | None:
    """Return at most the first bytes of a file; None when it is missing or cannot be read.

    One read call: the kernel makes the rest of a long file in /proc only when it is asked for it.
    """
    try:
        handle = os.open(os.path.join(*parts), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(handle, limit_bytes)
    except OSError:
        return None
    finally:
        os.close(handle)


def read_int(*parts: str) -> int | None:
    """Return a file that holds one number, None when it does not."""
    return to_int(read_text(*parts))


def to_int(text: str | None) -> int | None:
    """Return a text as a number, None when it is none."""
    try:
        return int(text) if text else None
    except ValueError:
        return None


def list_directory(*parts: str) -> list[str]:
    """Return the names in a directory in order, none when there is no such directory."""
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except OSError:
        return []


def find_program(name: str) -> str | None:
    """Return the path of a program, also from the directories that a login without root does not search."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
