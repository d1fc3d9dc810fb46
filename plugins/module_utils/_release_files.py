# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Files that survive a power cut: atomic writes, atomic links, a lock with a deadline, a hash-chained journal."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, chained_line, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError


def fsync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: str, text: str, mode: int, group_id: int = -1) -> None:
    """Write a whole file or nothing of it: temporary file, fsync, rename, fsync of the directory."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if group_id >= 0:
                os.fchown(stream.fileno(), -1, group_id)
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_directory(os.path.dirname(path))


def read_text(path: str) -> str | None:
    """Return the text of a file, or None when there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def read_json(path: str) -> dict[str, Any] | None:
    """Return the dictionary in a JSON file, None when there is no such file; raise ReleaseError when it is damaged."""
    text = read_text(path)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ReleaseError(
            f"{path} is damaged: {error}. Look at it, put it right or move it away, and run again."
        ) from error
    if not isinstance(content, dict):
        raise ReleaseError(f"{path} is damaged: it holds no dictionary. Put it right or move it away, and run again.")
    return content


def replace_link(path: str, target: str | None) -> None:
    """Point a symbolic link elsewhere in one step; target None removes it."""
    if target is None:
        with suppress(FileNotFoundError):
            os.unlink(path)
    else:
        temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.tmp")
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.rename(temporary, path)
    fsync_directory(os.path.dirname(path))


@contextmanager
def locked(path: str, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock file for a while; the revert script takes the same one with flock(1)."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout_seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise ReleaseError(
                        f"{path} has been held by another change of this instance for {timeout_seconds:g} s. "
                        "Wait for it to end (fuser -v on that file names it), then run again."
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def append_journal(path: str, record: dict[str, Any], group_id: int = -1) -> dict[str, Any]:
    """Append one line to a journal, chained to the line before it, and return the record with its number.

    A last line without its newline was cut off by a power failure before it counted: it is removed first.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
    with os.fdopen(descriptor, "r+b") as stream:
        content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            stream.seek(len(whole))
            stream.truncate()
        lines = whole.split(b"\n")[:-1]
        previous = sha256_hex(lines[-1]) if lines else CHAIN_START
        numbered = {**record, "seq": len(lines) + 1}
        line, _digest = chained_line(previous, numbered)
        stream.seek(len(whole))
        stream.write(line.encode("utf-8") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
        if group_id >= 0:
            os.fchown(stream.fileno(), -1, group_id)
    return numbered
