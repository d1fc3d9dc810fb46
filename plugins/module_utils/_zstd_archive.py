# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Archives packed with zstd. Python reads them from version 3.14 on; until then the program zstd unpacks them first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError

_MAGIC = b"\x28\xb5\x2f\xfd"
RunCommand = Callable[..., tuple[int, str, str]]


def is_zstd(archive: str) -> bool:
    """Tell whether a file begins as zstd files do."""
    with open(archive, "rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


@contextmanager
def plain_tar(run_command: RunCommand, archive: str) -> Iterator[str]:
    """Give the path of an archive that Python can read; what had to be unpacked for that is removed afterwards."""
    if not is_zstd(archive):
        yield archive
        return
    plain = archive + ".tar"
    try:
        try:
            command = ["zstd", "--decompress", "--quiet", "--force", archive, "-o", plain]
            code, _out, err = run_command(command, handle_exceptions=False)
        except OSError as error:
            raise TreeError(f"{archive} is packed with zstd, and the program zstd does not run ({error}). "
                            "Install the package zstd on the host.") from error  # fmt: skip
        if code != 0:
            reason = (err.strip().splitlines() or ["no output"])[-1]
            raise TreeError(
                f"{archive}: zstd ended with {code}: {reason}. When the file system of "
                f"{os.path.dirname(archive)} is full, make room there. Otherwise fetch the archive again."
            )
        yield plain
    finally:
        with suppress(FileNotFoundError):
            os.unlink(plain)
