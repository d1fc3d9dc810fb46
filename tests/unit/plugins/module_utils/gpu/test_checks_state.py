# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host remembers is told: a state that cannot be kept, and a repair that has not ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_state import CHECKS
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_mark import mark_path
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import run_checks
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._snapshot import recovery_line
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import snapshot

STATE: dict[str, Any] = {
    "path": "/var/lib/local_llm/health/state.json",
    "problem": None,
    "cleared_at_seconds": {},
    "actions": [],
}


def status(name: str, **changes: Any) -> str:
    (found,) = run_checks({**snapshot(), **changes}, Context(), include=[name])
    return str(found["status"])


@pytest.mark.parametrize(
    ("line", "expected"), [("", "ok"), ("gpu1-chat: drained for recovery since ...", "warn"), (None, "skip")]
)
def test_repair_that_has_not_ended_is_a_warning(line: str | None, expected: str) -> None:
    assert status("recovery", recovery=line) == expected


@pytest.mark.parametrize(
    ("state", "expected"), [(STATE, "ok"), ({**STATE, "problem": "the disk is full"}, "warn"), (None, "skip")]
)
def test_state_that_cannot_be_kept_is_a_warning(state: dict[str, Any] | None, expected: str) -> None:
    assert status("health_state", state=state) == expected


def test_host_without_a_mark_has_no_repair_and_a_broken_mark_is_told(tmp_path: Path) -> None:
    assert recovery_line(str(tmp_path)) == ""
    Path(mark_path(str(tmp_path))).write_text("{", encoding="utf-8")
    assert "cannot be read" in recovery_line(str(tmp_path))


def test_every_check_here_has_its_section_in_a_runbook() -> None:
    docs = Path(__file__).resolve().parents[5] / "docs" / "runbooks"
    for check in CHECKS:
        assert f"## {check.name}\n" in (docs / f"{check.group}.md").read_text(encoding="utf-8")
