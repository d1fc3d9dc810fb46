# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: chained lines, several writers, killed writers."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import (
    JOURNAL_NAME,
    TORN_NAME,
    JournalError,
    append_line,
    broken_evidence,
    host_lines,
    host_states,
    read_journal,
    rollout_state,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_journal import read_journal as read_for_report


def append(directory: Path, event: str = "drained", **values: Any) -> dict[str, Any]:
    return append_line(directory, {"rollout_id": "r", "event": event, "host": "gpu1", "instance": "chat", **values})


def test_a_line_has_the_agreed_keys(tmp_path: Path) -> None:
    append(tmp_path)
    assert sorted(json.loads((tmp_path / JOURNAL_NAME).read_text(encoding="utf-8"))) == sorted(
        [
            "schema",
            "seq",
            "at",
            "rollout_id",
            "host",
            "instance",
            "event",
            "state",
            "release",
            "previous_release",
            "seconds",
            "evidence",
            "detail",
            "previous_sha256",
        ]
    )


def test_each_line_carries_the_digest_of_the_whole_line_before(tmp_path: Path) -> None:
    for number in range(3):
        append(tmp_path, detail=f"Zeile {number} ü")
    raw = (tmp_path / JOURNAL_NAME).read_bytes().splitlines()
    lines = [json.loads(item) for item in raw]
    assert [item["previous_sha256"] for item in lines] == [CHAIN_START, sha256_hex(raw[0]), sha256_hex(raw[1])]
    assert [item["seq"] for item in lines] == [1, 2, 3]
    assert read_journal(tmp_path).intact


def test_no_file_is_an_empty_journal(tmp_path: Path) -> None:
    journal = read_journal(tmp_path)
    assert (journal.lines, journal.torn, journal.intact) == ((), None, True)


@pytest.mark.parametrize("victim", [0, 2, 4])
def test_a_changed_line_is_found(tmp_path: Path, victim: int) -> None:
    for number in range(5):
        append(tmp_path, detail=f"number {number}")
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes().replace(f"number {victim}".encode(), b"number 9"))
    journal = read_journal(tmp_path)
    # The line itself is only seen through the one after it; a changed last line needs a copy to be seen.
    assert journal.broken_line == (None if victim == 4 else victim + 2)


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_a_line_that_is_missing_is_found(tmp_path: Path, gone: int) -> None:
    for _number in range(5):
        append(tmp_path)
    path = tmp_path / JOURNAL_NAME
    raw = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(raw[:gone] + raw[gone + 1 :]))
    assert read_journal(tmp_path).broken_line == gone + 1


def test_lines_that_changed_places_are_found(tmp_path: Path) -> None:
    for _number in range(4):
        append(tmp_path)
    path = tmp_path / JOURNAL_NAME
    raw = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([raw[0], raw[2], raw[1], raw[3]]))
    assert read_journal(tmp_path).broken_line == 2


def test_nothing_is_written_to_a_broken_journal(tmp_path: Path) -> None:
    for _number in range(3):
        append(tmp_path)
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(b"x" + path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"line 1: .*new rollout"):
        append(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("rest", [b'{"schema":1,"seq":3', b"\0" * 500, b"{}", "ü".encode()[:1]])
def test_a_torn_rest_is_kept_apart_and_the_chain_goes_on(tmp_path: Path, rest: bytes) -> None:
    append(tmp_path)
    append(tmp_path)
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes() + rest)
    journal = read_journal(tmp_path)
    assert (len(journal.lines), journal.torn is None, journal.intact) == (2, False, True)
    assert append(tmp_path)["seq"] == 3
    assert (tmp_path / TORN_NAME).read_bytes() == rest + b"\n"
    journal = read_journal(tmp_path)
    assert (len(journal.lines), journal.torn, journal.intact) == (3, None, True)


@pytest.mark.parametrize("cut", [1, 5, 50, 200])
def test_a_file_cut_anywhere_loses_at_most_its_last_line(tmp_path: Path, cut: int) -> None:
    for _number in range(3):
        append(tmp_path)
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes()[:-cut])
    assert append(tmp_path)["seq"] == 3
    assert read_journal(tmp_path).intact


def test_two_torn_rests_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    for rest in (b"one", b"two"):
        append(tmp_path)
        path.write_bytes(path.read_bytes() + rest)
    append(tmp_path)
    assert (tmp_path / TORN_NAME).read_bytes() == b"one\ntwo\n"


def test_a_directory_holds_one_rollout(tmp_path: Path) -> None:
    append(tmp_path)
    with pytest.raises(JournalError, match="belongs to rollout r, not to other"):
        append_line(tmp_path, {"rollout_id": "other", "event": "x"})


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"rollout_id": "", "event": "x"}, "rollout_id"),
        ({"rollout_id": "r", "event": "Not An Event"}, "Not An Event"),
        ({"rollout_id": "r", "event": "../x"}, "event"),
        ({"rollout_id": "r", "event": "x", "host": "a", "state": "fine"}, "healthy"),
        ({"rollout_id": "r", "event": "x", "host": None, "state": "healthy"}, "completed"),
    ],
)
def test_a_line_with_a_word_that_does_not_exist_is_refused(tmp_path: Path, record: dict[str, Any], words: str) -> None:
    with pytest.raises(JournalError, match=words):
        append_line(tmp_path, record)
    assert not (tmp_path / JOURNAL_NAME).exists()


def _append_many(directory: str, host: str, count: int) -> None:
    for number in range(count):
        append_line(Path(directory), {"rollout_id": "r", "event": f"step{number}", "host": host, "instance": "chat"})


def test_several_writers_make_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_many, args=(str(tmp_path), f"gpu{n}", 10)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    journal = read_journal(tmp_path)
    assert (len(journal.lines), journal.intact) == (40, True)
    for number in range(4):
        own = [item["event"] for item in journal.lines if item["host"] == f"gpu{number}"]
        assert own == [f"step{step}" for step in range(10)]


def test_small_evidence_stays_in_its_line(tmp_path: Path) -> None:
    assert append(tmp_path, evidence={"share_percent": 10})["evidence"] == {"share_percent": 10}
    assert not (tmp_path / "evidence").exists()


def test_a_large_verdict_still_says_its_word_and_its_step_in_the_line(tmp_path: Path) -> None:
    verdict = {"verdict": "fail", "step": "verdict", "reasons": [{"rule": "x" * 3000}], "reason": "verdict"}
    evidence = append(tmp_path, "step_failed", evidence=verdict)["evidence"]
    assert (evidence["verdict"], evidence["step"], evidence["reason"]) == ("fail", "verdict", "verdict")
    assert json.loads((tmp_path / evidence["report"]).read_bytes()) == verdict


def test_a_large_report_gets_a_file_with_its_digest_in_the_line(tmp_path: Path) -> None:
    report = {"kind": "benchmark", "samples": {"ttft_seconds": [0.1] * 2000}}
    evidence = append(tmp_path, "benchmark", evidence=report)["evidence"]
    assert evidence["report"] == "evidence/000001-benchmark.json"
    data = (tmp_path / evidence["report"]).read_bytes()
    assert evidence["evidence_sha256"] == {evidence["report"]: sha256_hex(data)}
    assert json.loads(data) == report
    assert broken_evidence(tmp_path, read_journal(tmp_path).lines) == []
    (tmp_path / evidence["report"]).write_bytes(data.replace(b"0.1", b"0.2"))
    assert broken_evidence(tmp_path, read_journal(tmp_path).lines) == [
        "line 1: evidence/000001-benchmark.json was changed after it was recorded"
    ]
    (tmp_path / evidence["report"]).unlink()
    assert "cannot be read" in broken_evidence(tmp_path, read_journal(tmp_path).lines)[0]


def test_of_mixed_evidence_only_the_large_parts_get_files(tmp_path: Path) -> None:
    evidence = append(tmp_path, evidence={"category": "engine", "quality": {"items": ["x" * 50] * 100}})["evidence"]
    assert evidence["category"] == "engine"
    assert evidence["quality"] == "evidence/000001-drained-quality.json"


def test_states_are_the_last_that_were_stated() -> None:
    lines: list[dict[str, Any]] = [
        {"host": None, "instance": None, "state": "canary", "seq": 1},
        {"host": "gpu1", "instance": "chat", "state": "drained", "seq": 2},
        {"host": "gpu1", "instance": "chat", "state": "healthy", "seq": 3},
        {"host": "gpu1", "instance": "chat", "state": None, "seq": 4},
        {"host": "gpu2", "instance": None, "state": "unknown", "seq": 5},
        {"host": None, "instance": None, "state": None, "seq": 6},
    ]
    assert host_states(lines) == {"gpu1/chat": "healthy", "gpu2": "unknown"}
    assert host_lines(lines)["gpu1/chat"]["seq"] == 3
    assert rollout_state(lines) == "canary"
    assert rollout_state([]) is None


def test_the_report_reads_what_the_journal_writes(tmp_path: Path) -> None:
    for _number in range(3):
        append(tmp_path)
    records, integrity = read_for_report((tmp_path / JOURNAL_NAME).read_text(encoding="utf-8"))
    assert (len(records), integrity["ok"]) == (3, True)


def test_lines_are_canonical_so_that_anybody_can_check_the_chain(tmp_path: Path) -> None:
    append(tmp_path, evidence={"b": 1, "a": 2})
    raw = (tmp_path / JOURNAL_NAME).read_text(encoding="utf-8").rstrip("\n")
    assert raw == canonical_json(json.loads(raw))
