# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The journal of a rollout: append-only JSON lines on the controller, each carrying the digest of the line before.

Several processes append at once: each takes an exclusive lock, reads the end of the file and writes one line with
fsync. A writer that was killed leaves at most one line without its newline; the next writer moves that rest to
journal.jsonl.torn and goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import (
    CHAIN_START,
    canonical_json,
    chained_line,
    sha256_hex,
)
from ansible_collections.local_llm.ops.plugins.module_utils._release import INSTANCE_STATES

SCHEMA = 1
JOURNAL_NAME = "journal.jsonl"
TORN_NAME = "journal.jsonl.torn"
EVIDENCE_DIRECTORY = "evidence"
# Evidence up to this size stays in its line; larger evidence gets a file of its own.
INLINE_BYTES = 2048

ROLLOUT_STATES = (
    "planned",
    "preflight",
    "canary",
    "analysing",
    "awaiting_approval",
    "progressing",
    "completed",
    "halted",
    "rolling_back",
    "rolled_back_verified",
    "rollback_failed",
)
EVENT_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class JournalError(Exception):
    """The journal cannot be used; the message names the file, the line and the way out."""


@dataclass(frozen=True)
class Journal:
    """What a journal file holds."""

    lines: tuple[dict[str, Any], ...]
    # The rest of a line whose writer was killed, or None.
    torn: str | None
    # The number (from 1) of the first line that does not fit the chain, and why; lines before it are good.
    broken_line: int | None
    broken_reason: str | None

    @property
    def intact(self) -> bool:
        """Tell whether every whole line fits the chain."""
        return self.broken_line is None


def read_journal(directory: Path) -> Journal:
    """Return the good lines of a journal, the torn rest, and the first broken line. No file is an empty journal."""
    try:
        with open(directory / JOURNAL_NAME, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            data = stream.read()
    except FileNotFoundError:
        data = b""
    return parse_journal(data)


def parse_journal(data: bytes) -> Journal:
    """Return what the bytes of a journal file hold."""
    whole, newline, rest = data.rpartition(b"\n")
    torn = rest.decode("utf-8", "replace") if rest else None
    raw_lines = whole.split(b"\n") if newline else []
    lines: list[dict[str, Any]] = []
    previous = CHAIN_START
    for number, raw in enumerate(raw_lines, start=1):
        record, reason = _parse_line(raw, number, previous)
        if record is None:
            return Journal(tuple(lines), torn, number, reason)
        lines.append(record)
        previous = sha256_hex(raw)
    return Journal(tuple(lines), torn, None, None)


def append_line(directory: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Append one line, on the disk when this returns. Return the line as an object, with seq, at and previous_sha256.

    The record holds rollout_id, event and what else the line shall carry. Large evidence goes to a file whose digest
    the line carries. Raises JournalError when the journal is broken or belongs to another rollout.
    """
    check_record(record)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / JOURNAL_NAME
    with _locked(path) as handle:
        last, previous = _tail(handle, path)
        if last is not None and last.get("rollout_id") != record["rollout_id"]:
            raise JournalError(
                f"{path} belongs to rollout {last.get('rollout_id')}, not to {record['rollout_id']}. "
                f"Use one directory per rollout."
            )
        seq = 1 if last is None else last["seq"] + 1
        evidence = store_evidence(directory, seq, record["event"], record.get("evidence") or {})
        full = {
            "schema": SCHEMA,
            "seq": seq,
            "at": utc_now(),
            "rollout_id": record["rollout_id"],
            "host": record.get("host"),
            "instance": record.get("instance"),
            "event": record["event"],
            "state": record.get("state"),
            "release": record.get("release"),
            "previous_release": record.get("previous_release"),
            "seconds": record.get("seconds"),
            "evidence": evidence,
            "detail": record.get("detail") or "",
        }
        line, _digest = chained_line(previous, full)
        _write_all(handle, line.encode("utf-8") + b"\n")
        os.fsync(handle)
        if seq == 1:
            _fsync_directory(directory)
    return {**full, "previous_sha256": previous}


def store_evidence(directory: Path, seq: int, event: str, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return evidence as a line carries it; what is large is written to a file and replaced by the file's path.

    Evidence that is one report as a whole goes to evidence/<seq>-<event>.json under the key "report"; otherwise each
    large value goes to evidence/<seq>-<event>-<key>.json. "evidence_sha256" maps the paths to their digests.
    """
    if len(canonical_json(evidence).encode("utf-8")) <= INLINE_BYTES:
        return dict(evidence)
    is_report = "kind" in evidence or ("verdict" in evidence and "reasons" in evidence)
    parts: Mapping[str, Any] = {"report": evidence} if is_report else evidence
    # What a reader of the journal needs without opening the file.
    inline = [key for key in ("category", "step", "reason", "verdict") if isinstance(evidence.get(key), str)]
    kept: dict[str, Any] = {key: evidence[key] for key in inline} if is_report else {}
    digests: dict[str, str] = {}
    for key, value in parts.items():
        text = canonical_json(value)
        if not is_report and len(text.encode("utf-8")) <= INLINE_BYTES // 4:
            kept[key] = value
            continue
        suffix = "" if is_report else "-" + re.sub(r"[^A-Za-z0-9_-]", "_", key)
        relative = f"{EVIDENCE_DIRECTORY}/{seq:06d}-{event}{suffix}.json"
        _write_file(directory / relative, text + "\n")
        kept[key] = relative
        digests[relative] = sha256_hex(text + "\n")
    return {**kept, "evidence_sha256": digests} if digests else kept


def broken_evidence(directory: Path, lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one message per evidence file that is missing or was changed."""
    messages = []
    for line in lines:
        for relative, digest in (line["evidence"].get("evidence_sha256") or {}).items():
            try:
                data = (directory / relative).read_bytes()
            except OSError as error:
                messages.append(f"line {line['seq']}: {relative} cannot be read: {error.strerror}")
                continue
            if sha256_hex(data) != digest:
                messages.append(f"line {line['seq']}: {relative} was changed after it was recorded")
    return messages


def rollout_state(lines: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the state of the rollout: that of the last line without a host that states one; None when none does."""
    state = None
    for line in lines:
        if line.get("host") is None and line.get("state") in ROLLOUT_STATES:
            state = line["state"]
    return state


def host_lines(lines: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the last line that states a state, by "host/instance"; a line without an instance has the key "host"."""
    result: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        if line.get("host") is not None and line.get("state"):
            key = line["host"] if line.get("instance") is None else f"{line['host']}/{line['instance']}"
            result[key] = line
    return result


def host_states(lines: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the last state by "host/instance"."""
    return {key: line["state"] for key, line in host_lines(lines).items()}


def utc_now() -> str:
    """Return the time now in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_record(record: Mapping[str, Any]) -> None:
    if not record.get("rollout_id"):
        raise JournalError("A journal line needs a rollout_id.")
    event = str(record.get("event", ""))
    if not EVENT_PATTERN.fullmatch(event):
        raise JournalError(f"The event {event!r} is no event name: use small letters, digits, - and _.")
    state = record.get("state")
    known = ROLLOUT_STATES if record.get("host") is None else INSTANCE_STATES
    if state is not None and state not in known:
        kind = "a rollout" if record.get("host") is None else "an instance"
        raise JournalError(f"The state {state!r} is no state of {kind}: use one of {', '.join(known)}.")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _tail(handle: int, path: Path) -> tuple[dict[str, Any] | None, str]:
    """Verify the journal, move a torn rest away, go to the end; return (last line or None, digest of the last line)."""
    data = _read_all(handle)
    whole, newline, rest = data.rpartition(b"\n")
    journal = parse_journal(data)
    if not journal.intact:
        raise JournalError(
            f"{path}, line {journal.broken_line}: {journal.broken_reason} Nothing more is written to it. "
            f"Keep the file for inspection and start a new rollout."
        )
    if rest:
        _append_file(path.with_name(TORN_NAME), rest + b"\n")
        os.ftruncate(handle, len(whole) + len(newline))
        os.fsync(handle)
    os.lseek(handle, 0, os.SEEK_END)
    if not journal.lines:
        return None, CHAIN_START
    return journal.lines[-1], sha256_hex(whole.rpartition(b"\n")[2])


def _parse_line(raw: bytes, number: int, previous: str) -> tuple[dict[str, Any] | None, str]:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None, "The line is not JSON."
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return None, f"The line is not a journal line of schema {SCHEMA}."
    if record.get("previous_sha256") != previous:
        before = "is not the start of a chain" if number == 1 else f"does not carry the digest of line {number - 1}"
        return None, f"The line {before}: a line was changed, removed or moved."
    if record.get("seq") != number:
        return None, f"The line has the number {record.get('seq')}, expected {number}."
    if not isinstance(record.get("evidence"), dict):
        return None, "The line has no evidence object."
    return record, ""


def _read_all(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    parts = []
    while part := os.read(handle, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _append_file(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        _write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    _fsync_directory(path.parent)


def _write_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        _write_all(handle, text.encode("utf-8"))
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(part, path)
    _fsync_directory(path.parent)


def _fsync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
