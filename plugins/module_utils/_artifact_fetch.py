# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Bring one file over HTTP: go on where an earlier run stopped, hash while it comes, rename only when it is right.

What has come lies in <parts>/<key>.part, what is known about it in <key>.json. The key is the wanted SHA-256, so that
another address with the same bytes can go on with the same part. One process at a time works on a key (flock).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_http import (
    Access,
    Answer,
    SourceError,
    open_source,
    shown,
)
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_progress import Progress
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import ArtifactError
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import free_bytes

BLOCK_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_HTML = (b"<!doctype html", b"<html")


class Hash(Protocol):
    """A running digest."""

    def update(self, data: Any, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True)
class Item:
    """A file to bring. target_of gives the place for the digest that it turns out to have."""

    path: str
    url: str
    target_of: Callable[[str], str]
    sha256: str | None = None
    size: int | None = None


@dataclass
class Pace:
    """Holds a stream of bytes below a rate; 0: no limit."""

    bytes_per_second: int = 0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _due: float = field(default=0.0)

    def take(self, count: int) -> None:
        """Wait until this many bytes more are within the rate."""
        if self.bytes_per_second <= 0:
            return
        now = self.clock()
        self._due = max(self._due, now) + count / self.bytes_per_second
        if self._due > now + 0.05:
            self.sleep(self._due - now)


@dataclass(frozen=True)
class Fetched:
    """A file that is in its place. received_bytes came over the network, resumed_bytes were there from before."""

    sha256: str
    size: int
    received_bytes: int
    resumed_bytes: int


class WrongDigest(ArtifactError):
    """The whole file came, and it is another one."""


def _key(item: Item) -> str:
    return item.sha256 or sha256_hex(item.url)


@contextlib.contextmanager
def lock(path: str) -> Iterator[None]:
    """Let one process at a time go on; the kernel lets go of the lock when a process dies."""
    with open(path, "w", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _hash_part(path: str, digest: Hash) -> int:
    """Put what has come into a digest; return how many bytes that is."""
    size = 0
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with contextlib.suppress(FileNotFoundError), open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    return size


def part_bytes(parts: str, item: Item) -> int:
    """Return how many bytes of a file have come in an earlier run."""
    try:
        return os.path.getsize(os.path.join(parts, f"{_key(item)}.part"))
    except OSError:
        return 0


class _Part:
    """The part file of an item, and what is known about it."""

    def __init__(self, parts: str, item: Item) -> None:
        base = os.path.join(parts, _key(item))
        self.path, self._facts, self._url = f"{base}.part", f"{base}.json", item.url
        self.digest: Hash = hashlib.sha256()
        self.size = 0
        # Bytes of it that came in an earlier run, and bytes that came over the network in this one.
        self.resumed = self.received = 0

    def load(self) -> None:
        self.digest = hashlib.sha256()
        self.size = _hash_part(self.path, self.digest)

    def validator(self) -> str:
        """Return what this very server said about the file when the part came from it."""
        try:
            with open(self._facts, encoding="utf-8") as stream:
                facts = json.load(stream)
        except (OSError, ValueError):
            return ""
        return str(facts.get("validator", "")) if isinstance(facts, dict) and facts.get("url") == self._url else ""

    def remember(self, validator: str) -> None:
        with open(self._facts, "w", encoding="utf-8") as stream:
            json.dump({"url": self._url, "validator": validator}, stream)

    def drop(self) -> None:
        for path in (self.path, self._facts):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self.digest, self.size, self.resumed = hashlib.sha256(), 0, 0


def _check_answer(item: Item, answer: Answer) -> None:
    """Raise ArtifactError when the headers show that this is not the file."""
    where = shown(item.url)
    if answer.content_type in ("text/html", "application/xhtml+xml") and not item.path.endswith((".html", ".htm")):
        raise ArtifactError(
            f"{item.path}: {where} answers with a web page (text/html, status 200) instead of the file. It may be a "
            "login page, a proxy or a mirror that is out of order: open the address in a browser and correct it."
        )
    if item.size is not None and answer.total_bytes is not None and answer.total_bytes != item.size:
        raise ArtifactError(
            f"{item.path}: {where} announces {answer.total_bytes} bytes, wanted are {item.size}. The file was changed "
            "or the mirror is not complete: take another mirror, or make the manifest again."
        )


def _write(stream: Any, block: memoryview) -> None:
    """Write a whole block; a full disk may take only a part of it."""
    while block:
        block = block[stream.write(block) :]


def _disk_error(error: OSError, item: Item, directory: str) -> ArtifactError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ArtifactError(
            f"{item.path}: the file system of {directory} is full ({free_bytes(directory)} bytes free): "
            f"{error.strerror}. What has come is kept. Make room and run again; it goes on from there."
        )
    return ArtifactError(f"{item.path}: cannot write in {directory}: {error}. Mend the directory and run again.")


def _receive(item: Item, part: _Part, answer: Answer, progress: Progress, pace: Pace) -> None:
    """Write an answer behind the part. Raises SourceError when the answer ends early."""
    limit = item.size
    came = 0
    try:
        stream = open(part.path, "ab", buffering=0)  # noqa: SIM115 - errors of the disk and of the network differ
    except OSError as error:
        raise _disk_error(error, item, os.path.dirname(part.path)) from None
    with stream:
        while True:
            try:
                # What is there, not a full block: a run that is ended loses nothing that had come.
                block = memoryview(answer.stream.read1(_READ_BYTES))
            except (OSError, http.client.HTTPException) as error:
                text = str(error) or type(error).__name__
                raise SourceError(f"{shown(item.url)} broke off after {part.size} bytes: {text}.", retry=True) from None
            count = len(block)
            if not count:
                break
            if part.size == 0 and not item.path.endswith((".html", ".htm")) and _is_html(bytes(block[:64])):
                raise ArtifactError(
                    f"{item.path}: {shown(item.url)} sends a web page instead of the file. It may be a login page, a "
                    "proxy or a mirror that is out of order: open the address in a browser and correct it."
                )
            if limit is not None and part.size + count > limit:
                raise ArtifactError(
                    f"{item.path}: {shown(item.url)} sends more than the {limit} bytes that are wanted. The file was "
                    "changed: take another mirror, or make the manifest again."
                )
            try:
                _write(stream, block)
            except OSError as error:
                raise _disk_error(error, item, os.path.dirname(part.path)) from None
            part.digest.update(block)
            part.size += count
            part.received += count
            came += count
            progress.received(count)
            pace.take(count)
    if answer.body_bytes is not None and came != answer.body_bytes:
        raise SourceError(
            f"{shown(item.url)} broke off after {part.size} of {answer.total_bytes or 'unknown'} bytes.", retry=True
        )


def _is_html(start: bytes) -> bool:
    return start.lstrip().lower().startswith(_HTML)


def _attempt(item: Item, part: _Part, access: Access, progress: Progress, pace: Pace) -> None:
    """Bring what is missing of a file."""
    if item.size is not None and part.size == item.size and part.size > 0:
        return
    validator = part.validator()
    # Without a digest only the same server can say that the rest belongs to the same file.
    if part.size and item.sha256 is None and not validator:
        progress.there(-part.size)
        part.drop()
    answer = open_source(item.url, access, part.size, validator)
    with contextlib.closing(answer.stream):
        _check_answer(item, answer)
        if part.size and answer.start == 0:
            progress.there(-part.size)
            part.drop()
        part.remember(answer.validator)
        _receive(item, part, answer, progress, pace)


def _verify(item: Item, part: _Part) -> str:
    found = part.digest.hexdigest()
    size = part.size
    if item.size is not None and size != item.size:
        part.drop()
        raise ArtifactError(
            f"{item.path}: {shown(item.url)} gave {size} bytes, wanted are {item.size}. They were thrown away. Run "
            "again, take another mirror, or make the manifest again."
        )
    if item.sha256 is not None and found != item.sha256:
        part.drop()
        raise WrongDigest(
            f"{item.path}: {shown(item.url)} gave a file with SHA-256 {found}, wanted is {item.sha256}. It was thrown "
            "away. Take another mirror; if the file was changed on purpose, write its digest and a new revision."
        )
    return found


def fetch(
    item: Item,
    parts: str,
    access: Access,
    progress: Progress,
    pace: Pace,
    retries: int = 3,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Bring a file into its place. Raises ArtifactError; what has come by then stays for the next run.

    The caller holds the lock of the item.
    """
    part = _Part(parts, item)
    part.load()
    if item.size is not None and part.size > item.size:
        part.drop()
    part.resumed = part.size
    failures = 0
    progress.there(part.size)
    while True:
        resumed, size = part.resumed, part.size
        try:
            _attempt(item, part, access, progress, pace)
            resumed, size = part.resumed, part.size
            found = _verify(item, part)
            break
        except WrongDigest:
            progress.there(-size)
            if not resumed:
                raise
            # The part from before may be what is wrong: bring all of it once.
        except SourceError as error:
            if error.range_refused and part.size:
                progress.there(-part.size)
                part.drop()
                continue
            if not error.retry or failures >= retries:
                raise ArtifactError(f"{item.path}: {error} What has come is kept; run again to go on.") from None
            failures += 1
            sleep(min(2.0**failures, 30.0))
            part.load()
    target = item.target_of(found)
    try:
        _keep(part.path, target)
    except OSError as error:
        raise _disk_error(error, item, os.path.dirname(target)) from None
    part.drop()
    return Fetched(found, size, part.received, resumed)


def _keep(part: str, target: str) -> None:
    """Give a file that is right its name, safe from a power cut."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(part, "ab") as stream:
        os.fsync(stream.fileno())
    os.replace(part, target)
