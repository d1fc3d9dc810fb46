# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mark of a rollout: metrics that node_exporter can read, of one rollout only, never a half file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._metrics_text import parse_metrics
from ansible_collections.local_llm.ops.plugins.module_utils._rollout_mark import (
    ENDED,
    FILE_NAME,
    STARTED,
    mark_text,
    write_mark,
)


def test_begin_and_end_are_metrics_with_their_labels() -> None:
    (begun,) = parse_metrics(mark_text("r1", "upgrade", 100.5))
    assert (begun.name, dict(begun.labels), begun.value) == (
        STARTED,
        {"rollout_id": "r1", "playbook": "upgrade"},
        100.5,
    )
    _begun, ended = parse_metrics(mark_text("r1", "upgrade", 100.5, 200, 'a"b\\c\nd'))
    assert (ended.name, dict(ended.labels)) == (ENDED, {"rollout_id": "r1", "outcome": 'a"b\\c\nd'})


def test_every_pool_that_changes_has_its_series() -> None:
    samples = parse_metrics(mark_text("r1", "upgrade", 1, 2, "completed", ["code", "chat", "chat"]))
    assert [(one.name, dict(one.labels).get("pool")) for one in samples] == [
        (STARTED, "chat"), (STARTED, "code"), (ENDED, "chat"), (ENDED, "code"),
    ]  # fmt: skip


def test_the_file_holds_the_last_rollout_and_can_be_read_by_the_exporter(tmp_path: Path) -> None:
    assert write_mark(str(tmp_path), mark_text("r1", "upgrade", 1))
    assert write_mark(str(tmp_path), mark_text("r2", "rollback", 2))
    assert not write_mark(str(tmp_path), mark_text("r2", "rollback", 2))
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert "r1" not in (tmp_path / FILE_NAME).read_text() and (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o644


def test_check_mode_tells_and_writes_nothing(tmp_path: Path) -> None:
    assert write_mark(str(tmp_path), "x", dry=True)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mark(str(tmp_path), "old\n")

    def refuse(*_arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_mark(str(tmp_path), "new\n")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old\n"]
