# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel log in a file: every line once, in every format, across rotation and truncation."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log import (
    path_problem,
    read_kernel_log,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_file import FileLog, rotated_files
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_lines import (
    Clock,
    LogLine,
    parse_file_line,
    parse_journal,
    parse_kmsg,
)

BOOT = "11111111-2222-3333-4444-555555555555"
NOW = 1_793_534_400.0  # 2026-11-01T12:00:00Z
CLOCK = Clock(NOW, 1000.0, BOOT)


def texts(lines: Iterable[LogLine]) -> list[str]:
    return [text for _at, _boot, text in lines]


def events(lines: Iterable[LogLine]) -> list[dict[str, Any]]:
    return [{"message": text, "at_seconds": at, "boot_id": boot} for at, boot, text in lines]


# ---- one line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("4,12,900000000,-;NVRM: Xid (PCI:0000:18:00): 79", (NOW - 100, BOOT, "NVRM: Xid (PCI:0000:18:00): 79")),
        ("6,1,1000000,-,caller=T1;two words\n SUBSYSTEM=pci\n DEVICE=+pci:x", (NOW - 999, BOOT, "two words")),
        ("[  900.000000] NVRM: Xid", (NOW - 100, BOOT, "NVRM: Xid")),
        ("<4>[  900.000000] NVRM: Xid", (NOW - 100, BOOT, "NVRM: Xid")),
        ("2026-11-01T11:59:00.123456+00:00 gpu1 kernel: [  9.1] NVRM: Xid", (NOW - 59.876544, BOOT, "NVRM: Xid")),
        ("2026-11-01T12:59:00+01:00 gpu1 kernel: NVRM: Xid", (NOW - 60, BOOT, "NVRM: Xid")),
        ("2026-11-01T11:00:00Z gpu1 kernel: NVRM: Xid", (NOW - 3600, None, "NVRM: Xid")),
        ("2026-11-01T11:59:00Z gpu1 sshd[12]: kernel: NVRM: Xid", None),
        (" SUBSYSTEM=pci", None),
        ("", None),
        # Nobody knows who wrote these: a program may call itself kernel, but then it has a process id.
        ("what is this", None),
        ("NVRM: Xid (PCI:0000:18:00): 79", None),
        ("2026-11-01T11:59:00Z gpu1 kernel[4242]: NVRM: Xid", None),
        # The clock of the host was ahead when it was written.
        ("2026-11-01T14:00:00Z gpu1 kernel: NVRM: Xid", (NOW, BOOT, "NVRM: Xid")),
        ("6,1,999000000000,-;of an earlier boot", (NOW, None, "of an earlier boot")),
    ],
)
def test_a_line_of_every_format_is_read(text: str, line: LogLine | None) -> None:
    found = parse_file_line(text, CLOCK)
    assert (found and found[1:]) == (line and line[1:])
    assert found is None or found[0] == pytest.approx(line and line[0], abs=1e-3)


def test_a_line_without_a_year_is_of_the_latest_year_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    at = {text: parse_file_line(f"{text} 12:00:00 gpu1 kernel: x", CLOCK) for text in ("Nov  1", "Dec 31", "Oct 30")}
    days = {text: line and round((NOW - (line[0] or 0)) / 86400) for text, line in at.items()}
    assert days == {"Nov  1": 0, "Dec 31": 305, "Oct 30": 2}


def test_what_the_kernel_hid_is_shown() -> None:
    found = parse_kmsg("4,1,1,-;one\\x0atwo \\xc3\\xa9 \\xff", CLOCK)
    assert found and found[1][2] == "one\ntwo é \ufffd"


@pytest.mark.parametrize(
    ("message", "text"),
    [("plain", "plain"), ([78, 255, 82], "N\ufffdR"), (None, ""), (["a", "b"], "a b"), (7, "")],
)
def test_a_message_of_the_journal_may_be_bytes(message: Any, text: str) -> None:
    entry = {"__CURSOR": "c", "__REALTIME_TIMESTAMP": "1500000", "_BOOT_ID": BOOT.replace("-", ""), "MESSAGE": message}
    assert parse_journal(json.dumps(entry), CLOCK) == ("c", (1.5, BOOT, text))


def test_an_entry_of_the_journal_from_the_future_counts_as_of_now() -> None:
    entry = {"__CURSOR": "c", "__REALTIME_TIMESTAMP": str(int((NOW + 7200) * 1e6)), "_BOOT_ID": BOOT, "MESSAGE": "x"}
    found = parse_journal(json.dumps(entry), CLOCK)
    assert found and found[1][0] == NOW


@pytest.mark.parametrize("text", ["", "-- No entries --", "[1]", '{"MESSAGE": "x"}', '{"__CURSOR": 1}', "{"])
def test_what_is_no_entry_of_the_journal_is_left_out(text: str) -> None:
    assert parse_journal(text, CLOCK) is None


# ---- a file


class File:
    """A log file and the cursor of the run before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cursor: dict[str, Any] | None = None
        self.count = 0

    def write(self, *words: str, end: str = "\n") -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write("\n".join(f"6,{self._next()},1000000,-;{word}" for word in words) + end)

    def _next(self) -> int:
        self.count += 1
        return self.count

    def read(self, **limits: int) -> list[str]:
        self.log = FileLog(str(self.path), json.loads(json.dumps(self.cursor)), CLOCK, **limits)
        found = texts(self.log.lines())
        self.cursor = self.log.cursor
        return found

    def sibling(self, end: str) -> Path:
        return self.path.with_name(self.path.name + end)


@pytest.fixture
def log(tmp_path: Path) -> File:
    file = File(tmp_path / "kern.log")
    file.write("a", "b")
    return file


def later(path: Path, seconds: int) -> None:
    """Let a file have been written some seconds later than it was: tests are faster than clocks are fine."""
    moment = path.stat().st_mtime_ns + seconds * 10**9
    os.utime(path, ns=(moment, moment))


def test_each_line_of_a_file_is_read_once(log: File) -> None:
    assert log.read() == ["a", "b"]
    assert log.read() == []
    log.write("c")
    assert log.read() == ["c"]
    assert (log.log.lost_messages, log.log.overlap) == (0, False)


def test_a_half_line_at_the_end_is_read_when_it_is_whole(log: File) -> None:
    log.write("half", end="")
    assert log.read() == ["a", "b"]
    with log.path.open("a") as stream:
        stream.write(" and whole\n")
    assert log.read() == ["half and whole"]


def test_a_file_that_was_renamed_is_finished_first(log: File) -> None:
    log.read()
    log.write("c", "d")
    log.path.rename(log.sibling(".1"))
    log.write("e")
    assert log.read() == ["c", "d", "e"]
    assert log.read() == []
    assert log.log.lost_messages == 0


def test_a_file_that_was_renamed_and_has_no_successor_yet_is_followed(log: File) -> None:
    log.read()
    log.path.rename(log.sibling(".1"))
    with log.sibling(".1").open("a") as stream:
        stream.write("6,3,1,-;c\n6,4,1,-;ha")
    assert log.read() == ["c"]
    with log.sibling(".1").open("a") as stream:
        stream.write("lf\n")
    log.path.touch()
    assert log.read() == ["half"]
    log.write("d")
    assert log.read() == ["d"]


def test_two_rotations_between_two_runs_lose_nothing(log: File) -> None:
    log.read()
    log.write("c")
    log.path.rename(log.sibling(".2"))
    log.write("d")
    later(log.path, 60)
    log.path.rename(log.sibling(".1"))
    log.write("e")
    assert log.read() == ["c", "d", "e"]


def test_files_with_a_date_in_their_name_are_found(log: File) -> None:
    log.read()
    log.write("c")
    log.path.rename(log.sibling("-20261101"))
    log.write("d")
    assert log.read() == ["c", "d"]


def test_a_rotated_file_that_was_compressed_is_known_again(log: File) -> None:
    log.read()
    log.write("c")
    with gzip.open(log.sibling(".1.gz"), "wb") as stream:
        stream.write(log.path.read_bytes())
    log.path.unlink()
    log.write("d")
    assert log.read() == ["c", "d"]
    assert log.read() == []


def test_a_truncated_file_is_finished_from_its_copy(log: File) -> None:
    log.read()
    log.write("c")
    shutil.copy(log.path, log.sibling(".1"))
    os.truncate(log.path, 0)
    assert log.read() == ["c"]
    log.write("d")
    assert log.read() == ["d"]
    assert log.log.lost_messages == 0


def test_a_truncated_file_that_has_grown_past_the_cursor_is_noticed(log: File) -> None:
    log.read()
    shutil.copy(log.path, log.sibling(".1"))
    os.truncate(log.path, 0)
    log.write("c", "d", "e", "f")
    assert log.read() == ["c", "d", "e", "f"]
    assert log.log.lost_messages == 0


def test_an_empty_file_that_grew_and_was_truncated_between_two_runs_is_not_missed(tmp_path: Path) -> None:
    log = File(tmp_path / "kern.log")
    log.path.touch()
    assert log.read() == []
    log.write("a")
    shutil.copy(log.path, log.sibling(".1"))
    later(log.sibling(".1"), 5)
    os.truncate(log.path, 0)
    assert log.read() == ["a"]
    assert log.read() == []


def test_a_file_that_is_gone_without_a_trace_is_said_to_be_lost(log: File) -> None:
    log.read()
    log.path.unlink()
    log.write("c")
    assert log.read() == ["c"]
    assert (log.log.lost_messages, log.log.overlap) == (1, True)
    assert "is lost" in (log.log.note or "")


def test_a_damaged_archive_gives_what_can_be_read_of_it(log: File) -> None:
    log.read()
    log.path.unlink()
    log.write("x")
    whole = gzip.compress(b"6,1,1000000,-;a\n6,2,1000000,-;b\n" + os.urandom(4000) + b"\n")
    log.sibling(".1.gz").write_bytes(whole[:-2000])
    assert log.read()[-1] == "x"


@pytest.mark.parametrize("limits", [{"max_lines": 2}, {"max_bytes": 40}])
def test_what_is_too_much_for_one_run_is_read_by_the_next(log: File, limits: dict[str, int]) -> None:
    log.read()
    log.write(*"cdefgh")
    log.path.rename(log.sibling(".1"))
    log.write("i")
    found: list[str] = []
    for _run in range(12):
        found += log.read(**limits)
    assert found == list("cdefghi")
    assert log.log.note is None


def test_more_to_read_is_said(log: File) -> None:
    log.read(max_lines=1)
    assert "next run" in (log.log.note or "")


def test_the_first_run_reads_the_end_of_a_huge_file(log: File) -> None:
    log.write("c")
    size = log.path.stat().st_size
    assert log.read(first_read_bytes=size // 2) == ["c"]


def test_garbage_is_read_in_bounded_time_and_space(tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_bytes(b"\xff\xfe\0" * 700_000 + b"\n4,1,1000000,-;NVRM: Xid \xff 79\n")
    found = texts(FileLog(str(path), None, CLOCK).lines())
    assert found[-1] == "NVRM: Xid \ufffd 79"


def test_older_files_come_oldest_first_and_others_not_at_all(tmp_path: Path) -> None:
    for name in ("k.log.1", "k.log.2.gz", "k.log.10", "k.log.bak", "k.log.1.xz", "k.log-20261031", "other.1"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    names = [os.path.basename(path) for path in rotated_files(str(tmp_path / "k.log"))]
    assert names == ["k.log.10", "k.log.2.gz", "k.log.1", "k.log-20261031"]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.touch(), None),
        (lambda path: path.with_name("k.log.1").touch(), None),
    ],
)
def test_a_path_is_checked(tmp_path: Path, make: Callable[[Path], None], problem: str | None) -> None:
    make(tmp_path / "k.log")
    found = path_problem(str(tmp_path / "k.log"))
    assert (problem in found) if problem and found else found is problem


def test_a_path_must_be_whole() -> None:
    assert "absolute" in (path_problem("k.log") or "")


def no_command(command: Sequence[str]) -> tuple[int, str, str]:
    raise AssertionError(f"nothing should run: {command}")


def test_a_file_is_read_when_it_is_named(log: File) -> None:
    found = read_kernel_log(str(log.path), None, CLOCK, no_command, events)
    assert (found.source, found.readable, len(found.events)) == ("file", True, 2)


def test_a_file_that_may_not_be_read_is_named(log: File, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_file._open", refuse)
    found = read_kernel_log(str(log.path), None, CLOCK, no_command, events)
    assert not found.readable and str(log.path) in (found.error or "") and "root" in (found.error or "")
