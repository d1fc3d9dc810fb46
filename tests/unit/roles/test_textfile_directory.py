# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who writes metrics for node_exporter, and node_exporter itself, mean one directory."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._textfile import DIRECTORY

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("role", "variable"),
    [
        ("node_exporter", "node_exporter_textfile_directory"),
        ("ollama", "ollama_metrics_directory"),
        ("remediation", "remediation_textfile_directory"),
    ],
)
def test_a_role_takes_the_directory_of_the_fleet(role: str, variable: str) -> None:
    defaults = yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text(encoding="utf-8"))
    assert defaults[variable] == f"{{{{ local_llm_textfile_directory | default('{DIRECTORY}') }}}}"


def test_a_rollout_marks_its_begin_and_end_there() -> None:
    (task,) = yaml.safe_load((ROOT / "roles/_release/tasks/mark.yml").read_text(encoding="utf-8"))
    assert "local_llm_textfile_directory" in task["local_llm.ops.rollout_mark"]["directory"]
