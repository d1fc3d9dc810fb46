# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a script imports reaches the host in one go: check mode foresees it, a second run changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.plugins.action.playbook_runs import run_plays

SCRIPT = Path(__file__).resolve().parents[4] / "roles/remediation/files/remediation_agent.py"
PLACE = "ansible_collections/local_llm/ops/plugins/module_utils/_remedy"


def play(directory: Path, **options: Any) -> list[dict[str, Any]]:
    """Return a play that installs the library of a script on this machine."""
    arguments = {"dest": str(directory / "deep/lib"), "scripts": [str(SCRIPT)], **options}
    task = {"local_llm.ops.script_library": {key: value for key, value in arguments.items() if value is not None}}
    return [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]


def test_a_library_is_foreseen_brought_and_then_left_alone(tmp_path: Path) -> None:
    code, output = run_plays(tmp_path, play(tmp_path), "--check", "--diff")
    assert code == 0 and "changed=1" in output and f"+{PLACE}/_service.py" in output, output
    assert not (tmp_path / "deep").exists()
    code, output = run_plays(tmp_path, play(tmp_path), "-vvv")
    assert code == 0 and "changed=1" in output, output
    # Neither the log nor an invocation is the place for a whole library. Not every ansible-core shows the invocation.
    assert '"files": "2 files"' in output or '"files":' not in output
    assert "def reply" not in output
    assert sorted(path.name for path in (tmp_path / "deep/lib" / PLACE).iterdir()) == ["__init__.py", "_service.py"]
    code, output = run_plays(tmp_path, play(tmp_path))
    assert code == 0 and "changed=0" in output, output


@pytest.mark.parametrize(
    "options", [{"scripts": None}, {"scripts": []}, {"scripts": ["/nowhere.py"]}, {"modules": ["_none.py"]}]
)
def test_what_is_missing_is_told(options: dict[str, Any], tmp_path: Path) -> None:
    code, output = run_plays(tmp_path, play(tmp_path, **options))
    assert code != 0 and "script_library: " in output, output
