# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module of the driver transaction: its arguments, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.modules import gpu_driver


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    """Run the module and return its answer."""
    base = {"_ansible_remote_tmp": "/tmp", "_ansible_keep_remote_files": False}
    with patch_module_args({**base, **arguments}), pytest.raises(SystemExit):
        gpu_driver.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("missing", ["plan", "transaction_id"])
def test_a_transaction_begins_with_a_plan_and_a_name(capsys: pytest.CaptureFixture[str], missing: str) -> None:
    given = {"plan": {}, "transaction_id": "t1"}
    del given[missing]
    result = run(capsys, state="downloaded", **given)
    assert result["failed"]
    assert missing in result["msg"]


def test_a_host_without_apt_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_driver, "find_program", lambda _name: None)
    assert "Only hosts with apt" in run(capsys, state="stopped")["msg"]


def test_a_step_that_fails_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_arguments: Any) -> dict[str, Any]:
        raise gpu_driver.DriverError("The driver is in use: stop it.")

    monkeypatch.setattr(gpu_driver, "find_program", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(gpu_driver, "run", refuse)
    result = run(capsys, state="stopped", directory=str(tmp_path))
    assert (result["failed"], result["msg"]) == (True, "The driver is in use: stop it.")


def test_a_directory_that_cannot_be_written_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_arguments: Any) -> dict[str, Any]:
        raise OSError(28, "No space left on device", str(tmp_path / "cache"))

    monkeypatch.setattr(gpu_driver, "find_program", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(gpu_driver, "run", full)
    said = run(capsys, state="downloaded", plan={}, transaction_id="t1", directory=str(tmp_path))["msg"]
    assert str(tmp_path / "cache") in said
    assert "make room" in said
