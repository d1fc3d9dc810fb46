# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Bring the files of a model into a directory: what is missing only, checked, with room looked at first."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_fetch import Item, Pace, fetch, lock, part_bytes
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_http import Access
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_manifest import ask_sizes
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_progress import Progress
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import (
    ArtifactError,
    config_file_problem,
    digest_problem,
    is_config,
    paths_problem,
)
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import room_problem, sha256_file

PARTS = ".parts"


@dataclass(frozen=True)
class Order:
    """What to bring and where to. urls: path to address. by_digest: files are named by their SHA-256."""

    label: str
    files: Mapping[str, str]
    urls: Mapping[str, str]
    directory: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    by_digest: bool = False
    allow: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)
    bytes_per_second: int = 0
    retries: int = 3
    reserve_bytes: int = 0
    quota_bytes: int = 0
    progress_path: str | None = None

    def target(self, path: str) -> str:
        """Return where a file has its place."""
        return os.path.join(self.directory, self.files[path] if self.by_digest else path)

    def parts(self) -> str:
        """Return where files lie that have come in part."""
        return os.path.join(self.directory, PARTS)


def _stamp(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def is_marked(directory: str, digest: str) -> bool:
    """Tell whether a file of a cache was found right and has not been changed since."""
    try:
        with open(os.path.join(directory, PARTS, f"{digest}.ok"), encoding="ascii") as stream:
            return stream.read() == _stamp(os.path.join(directory, digest))
    except OSError:
        return False


def unmark(directory: str, digest: str) -> None:
    """Believe in a file of a cache no longer: it is hashed before it is used again."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, PARTS, f"{digest}.ok"))


def _is_there(order: Order, path: str, write: bool) -> bool:
    """Tell whether a file is there and right. One that is not right is taken away.

    Below a name that is a digest, a file is hashed again only after it was changed.
    """
    target, wanted = order.target(path), order.files[path]
    if not os.path.isfile(target):
        return False
    if order.by_digest and is_marked(order.directory, wanted):
        return True
    if sha256_file(target) == wanted:
        if write and order.by_digest:
            _mark(order, path)
        return True
    if write:
        os.unlink(target)
    return False


def _mark(order: Order, path: str) -> None:
    with open(os.path.join(order.parts(), f"{order.files[path]}.ok"), "w", encoding="ascii") as stream:
        stream.write(_stamp(order.target(path)))


def _check(order: Order) -> None:
    """Raise ArtifactError when this must not be fetched at all; nothing is written before."""
    problem = digest_problem(order.files) or paths_problem(order.files, order.allow)
    problem = problem or ("" if order.files else "files is empty. List every file with its SHA-256.")
    hidden = [path for path in order.files if path.split("/")[0] == PARTS]
    if problem or hidden:
        raise ArtifactError(f"{order.label}: {problem or f'{hidden[0]}: {PARTS} is kept for what is arriving.'}")


def _item(order: Order, path: str, sizes: Mapping[str, int]) -> Item:
    target = order.target(path)
    return Item(path, order.urls[path], lambda _digest: target, order.files[path], sizes.get(path))


def _make_directories(order: Order) -> None:
    if order.by_digest:
        os.makedirs(order.directory, mode=0o700, exist_ok=True)
    os.makedirs(order.parts(), mode=0o700, exist_ok=True)


def bring(
    order: Order, say: Callable[[str], None], check_mode: bool, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Bring what is missing; return the counts. Raises ArtifactError; what has come by then stays."""
    _check(order)
    write = not check_mode
    missing = [path for path in sorted(order.files) if not _is_there(order, path, False)]
    sizes = {path: int(size) for path, size in order.sizes.items() if path in order.files}
    for path in order.files:
        if path not in missing:
            sizes[path] = os.path.getsize(order.target(path))
    sizes.update(ask_sizes({path: order.urls[path] for path in missing if path not in sizes}, order.access))
    # Configuration first: what it refuses is refused before gigabytes come.
    missing.sort(key=lambda path: (not is_config(path), sizes[path], path))
    counts = {"fetched_files": [], "received_bytes": 0, "resumed_bytes": 0, "sizes": sizes, "missing_files": missing}
    result: dict[str, Any] = counts
    if missing:
        came = sum(part_bytes(order.parts(), _item(order, path, sizes)) for path in missing)
        wanted = sum({order.files[path]: sizes[path] for path in missing}.values())
        problem = room_problem(order.directory, wanted, came, order.reserve_bytes, order.quota_bytes)
        if problem:
            raise ArtifactError(f"{order.label}: {problem}")
    if write:
        _make_directories(order)
        _bring_missing(order, missing, sizes, say, result, sleep)
        result["missing_files"] = []
    for path in sorted(order.files):
        if is_config(path) and os.path.isfile(order.target(path)):
            _check_config(order, path, write)
    return result


def _check_config(order: Order, path: str, write: bool) -> None:
    problem = config_file_problem(path, order.target(path), order.allow)
    if problem and write and not order.by_digest:
        os.unlink(order.target(path))
    if problem:
        raise ArtifactError(f"{order.label}: {problem}")


def _bring_missing(
    order: Order,
    missing: list[str],
    sizes: Mapping[str, int],
    say: Callable[[str], None],
    result: dict[str, Any],
    sleep: Callable[[float], None],
) -> None:
    total = sum(sizes[path] for path in missing)
    progress = Progress(order.label, len(missing), total, say, order.progress_path)
    pace = Pace(order.bytes_per_second, sleep=sleep)
    for path in missing:
        with lock(os.path.join(order.parts(), f"{order.files[path]}.lock")):
            if result["received_bytes"] == 0:
                progress.start()
            # Another process may have brought it while this one waited.
            if _is_there(order, path, True):
                progress.there(sizes[path])
            else:
                came = fetch(
                    _item(order, path, sizes), order.parts(), order.access, progress, pace, order.retries, sleep
                )
                result["fetched_files"].append(path)
                result["received_bytes"] += came.received_bytes
                result["resumed_bytes"] += came.resumed_bytes
                if order.by_digest:
                    _mark(order, path)
        progress.file_done()
        if is_config(path):
            _check_config(order, path, True)
    if result["fetched_files"]:
        progress.tell()
