# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Who holds a lock that package managers take with fcntl: asked without taking it."""

from __future__ import annotations

import fcntl
import os
import struct

# struct flock of 64-bit Linux: type, whence, start, length, process.
_FLOCK = struct.Struct("hhqqi4x")


def lock_holder(path: str) -> str | None:
    """Return who holds a lock file, None when nobody does or it cannot be told."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(handle, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        kind, _whence, _start, _length, pid = _FLOCK.unpack(answer)
    except (OSError, struct.error):
        return None
    finally:
        os.close(handle)
    if kind == fcntl.F_UNLCK:
        return None
    # Locks of another process namespace have no number here.
    return f"process {pid}" if pid > 0 else "a process that cannot be seen from here"
