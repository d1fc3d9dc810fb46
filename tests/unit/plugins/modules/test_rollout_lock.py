# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock module on the gateway host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.modules import rollout_lock

HOLDER = {"controller": "c", "controller_id": "i", "controller_boot_id": "b", "pid": 1, "pid_start_ticks": 2}


def run(capsys: pytest.CaptureFixture[str], directory: Path, **arguments: Any) -> dict[str, Any]:
    base = {"_ansible_remote_tmp": "/tmp", "_ansible_keep_remote_files": False, "directory": str(directory)}
    with patch_module_args({**base, "holder": HOLDER, **arguments}), pytest.raises(SystemExit):
        rollout_lock.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_taking_and_releasing_report_change_and_difference(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    taken = run(capsys, tmp_path, state="held", rollout_id="r")
    assert (taken["changed"], taken["outcome"], taken["diff"]["before"]) == (True, "acquired", {})
    again = run(capsys, tmp_path, state="held", rollout_id="r")
    assert (again["changed"], again["outcome"]) == (False, "renewed")
    seen = run(capsys, tmp_path, state="query")
    assert (seen["changed"], seen["holder"]["rollout_id"]) == (False, "r")
    gone = run(capsys, tmp_path, state="released", rollout_id="r")
    assert (gone["changed"], gone["outcome"], gone["holder"]) == (True, "released", None)
    assert run(capsys, tmp_path, state="released", rollout_id="r")["changed"] is False


def test_another_holder_is_reported_for_the_action_to_decide(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(capsys, tmp_path, state="held", rollout_id="r")
    other = run(capsys, tmp_path, state="held", rollout_id="s", holder={**HOLDER, "pid": 9})
    assert (other["changed"], other["outcome"], other["holder"]["rollout_id"]) == (False, "refused", "r")
    assert len(other["sha256"]) == 64


def test_check_mode_says_what_would_happen(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = run(capsys, tmp_path / "new", state="held", rollout_id="r", _ansible_check_mode=True)
    assert (result["changed"], result["outcome"]) == (True, "acquired")
    assert not (tmp_path / "new").exists()


def test_a_damaged_lock_fails_with_the_way_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "rollout.lock").write_text("{", encoding="utf-8")
    result = run(capsys, tmp_path, state="held", rollout_id="r")
    assert result["failed"]
    assert "remove it once no rollout runs" in result["msg"]


def test_a_directory_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = run(capsys, tmp_path / "file" / "below", state="held", rollout_id="r")
    assert result["failed"]
    assert "Not a directory" in result["msg"]
