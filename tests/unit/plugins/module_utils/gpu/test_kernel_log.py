# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel log: every entry once, from the journal or the device, across reboots and two sources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _kernel_log as kernel_log
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log import (
    JournalLog,
    KmsgLog,
    read_kernel_log,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log_lines import (
    Clock,
    LogLine,
)

BOOT = "11111111-2222-3333-4444-555555555555"
NOW = 1_793_534_400.0  # 2026-11-01T12:00:00Z
CLOCK = Clock(NOW, 1000.0, BOOT)


def texts(lines: Iterable[LogLine]) -> list[str]:
    return [text for _at, _boot, text in lines]


def events(lines: Iterable[LogLine]) -> list[dict[str, Any]]:
    return [{"message": text, "at_seconds": at, "boot_id": boot} for at, boot, text in lines]


# ---- the journal


class Journal:
    """A journalctl that knows some entries, for this boot and those before."""

    def __init__(self, count: int = 0) -> None:
        self.entries: list[str] = []
        self.asked: list[list[str]] = []
        self.err = ""
        self.add(count)

    def add(self, count: int, boot: str = BOOT) -> None:
        for _number in range(count):
            number = len(self.entries)
            cursor = f"s=1;i={number:x};b={boot};m={number:x};t={number:x};x={number:x}"
            entry = {"__CURSOR": cursor, "__REALTIME_TIMESTAMP": "1000000", "_BOOT_ID": boot, "MESSAGE": f"m{number}"}
            self.entries.append(json.dumps(entry))

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        arguments = list(command)
        self.asked.append(arguments)
        limit = int(arguments[3]) if arguments[0] == "/bin/sh" else None
        begin = next((one.split("=", 1)[1] for one in arguments if one.startswith("--cursor=")), None)
        found = self.entries
        if begin is not None:
            # As journalctl does: from the entry of the cursor, or from the first one behind it.
            place = int(begin.split(";i=")[1].split(";")[0], 16)
            found = [
                one for one in found if int(json.loads(one)["__CURSOR"].split(";i=")[1].split(";")[0], 16) >= place
            ]
        tail = next((int(one.split("=")[1]) for one in arguments if one.startswith("--lines=")), None)
        found = found[-tail:] if tail else found
        return 0, "".join(f"{one}\n" for one in (found[:limit] if limit else found)), self.err


def read_journal(journal: Journal, cursor: dict[str, Any] | None) -> tuple[list[str], JournalLog]:
    source = JournalLog("/usr/bin/journalctl", cursor, journal, CLOCK)
    return texts(source.lines()), source


def test_the_journal_is_read_on_from_where_the_last_run_stopped() -> None:
    journal = Journal(3)
    found, first = read_journal(journal, None)
    assert (found, first.overlap) == (["m0", "m1", "m2"], True)
    assert journal.asked[0][5:7] == ["-k", "--since=-7d"]
    assert read_journal(journal, first.cursor)[0] == []
    journal.add(1)
    journal.add(1, boot="another")
    found, second = read_journal(journal, first.cursor)
    assert (found, second.lost_messages, second.overlap) == (["m3", "m4"], 0, False)
    assert "_TRANSPORT=kernel" in journal.asked[-1]


def test_a_journal_that_dropped_the_cursor_loses_no_entry_behind_the_gap() -> None:
    journal = Journal(3)
    _found, first = read_journal(journal, None)
    journal.add(3)
    journal.entries = journal.entries[4:]
    found, second = read_journal(journal, first.cursor)
    assert (found, second.lost_messages) == (["m4", "m5"], 1)


def test_an_entry_whose_file_was_moved_is_the_same_entry() -> None:
    journal = Journal(2)
    _found, first = read_journal(journal, None)
    journal.entries = [entry.replace("s=1;", "s=2;") for entry in journal.entries]
    assert read_journal(journal, first.cursor)[0] == []


def test_another_journal_is_begun_anew() -> None:
    _found, first = read_journal(Journal(5), None)
    found, second = read_journal(Journal(2), first.cursor)
    assert (found, second.lost_messages, second.overlap) == (["m0", "m1"], 1, True)


def test_a_long_journal_is_read_in_chunks_and_the_rest_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(2)
    _found, source = read_journal(journal, None)
    monkeypatch.setattr(kernel_log, "CHUNK_LINES", 4)
    monkeypatch.setattr(kernel_log, "MAX_CHUNKS", 3)
    journal.add(12)
    found, source = read_journal(journal, source.cursor)
    assert len(found) == 9 and "next run" in (source.note or "")
    rest, source = read_journal(journal, source.cursor)
    assert found + rest == [f"m{number}" for number in range(2, 14)] and source.note is None


def test_a_journal_that_was_silent_for_days_is_followed_from_its_last_message() -> None:
    journal = Journal(0)

    def silent(command: Sequence[str]) -> tuple[int, str, str]:
        return (0, "", "") if "--since=-7d" in command else journal(command)

    journal.add(1)
    source = JournalLog("journalctl", None, silent, CLOCK)
    assert texts(source.lines()) == [] and source.cursor is not None


# ---- /dev/kmsg


def records(*numbers: int) -> list[bytes]:
    return [f"6,{number},1000000,-;m{number}\n SUBSYSTEM=x\n".encode() for number in numbers]


def test_records_of_the_kernel_are_read_once_and_gaps_are_counted() -> None:
    source = KmsgLog(None, CLOCK, records=records(5, 6))
    assert texts(source.lines()) == ["m5", "m6"] and source.lost_messages == 0
    source = KmsgLog(source.cursor, CLOCK, records=records(5, 6, 7))
    assert texts(source.lines()) == ["m7"] and source.lost_messages == 0
    source = KmsgLog(source.cursor, CLOCK, records=records(10, 11))
    assert texts(source.lines()) == ["m10", "m11"] and source.lost_messages == 2


def test_records_of_a_new_boot_are_all_new() -> None:
    cursor = {"source": "kmsg", "boot_id": "before", "sequence": 900}
    source = KmsgLog(cursor, CLOCK, records=records(0, 1))
    assert texts(source.lines()) == ["m0", "m1"] and source.lost_messages == 0
    assert source.cursor == {"source": "kmsg", "boot_id": BOOT, "sequence": 1}


# ---- which source


def no_command(command: Sequence[str]) -> tuple[int, str, str]:
    raise AssertionError(f"nothing should run: {command}")


def test_none_reads_nothing_and_keeps_the_cursor() -> None:
    found = read_kernel_log("none", {"source": "kmsg"}, CLOCK, no_command, events)
    assert (found.source, found.readable, found.cursor) == ("none", False, {"source": "kmsg"})


def test_a_journal_without_the_kernel_makes_way_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "find_program", lambda name: "/usr/bin/journalctl")
    device = tmp_path / "kmsg"
    device.write_bytes(b"6,1,1000000,-;one")
    found = read_kernel_log("auto", None, CLOCK, Journal(0), events, str(device))
    assert (found.source, [event["message"] for event in found.events]) == ("kmsg", ["one"])
    # It stays with the device, though the journal has begun to have messages.
    found = read_kernel_log("auto", found.cursor, CLOCK, Journal(2), events, str(device))
    assert (found.source, found.events, found.overlap) == ("kmsg", [], False)


def test_a_missing_permission_says_what_to_grant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "find_program", lambda name: "/usr/bin/journalctl")
    journal = Journal(0)
    journal.err = "No journal files were opened due to insufficient permissions."
    found = read_kernel_log("auto", None, CLOCK, journal, events, str(tmp_path / "absent"))
    assert (found.source, found.readable) == ("none", False)
    assert "become: true" in (found.error or "") and "systemd-journal" in (found.error or "")


def test_a_journal_that_does_not_answer_in_time_is_not_taken_for_a_quiet_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_log, "find_program", lambda name: "/usr/bin/journalctl")
    found = read_kernel_log("auto", None, CLOCK, lambda command: (124, "", ""), events, str(tmp_path / "absent"))
    assert not found.readable and "journalctl: it did not answer in time" in (found.error or "")


def test_a_host_without_any_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "find_program", lambda name: None)
    found = read_kernel_log("auto", None, CLOCK, no_command, events, str(tmp_path / "absent"))
    assert (found.readable, found.error) == (False, kernel_log.NO_SOURCE)
