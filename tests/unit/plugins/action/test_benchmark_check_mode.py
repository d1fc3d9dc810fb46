# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook benchmark in check mode: it ends well, says what it would measure, and sends nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.plugins.action.playbook_runs import run_playbook


def inventory(**values: Any) -> dict[str, Any]:
    instance = {"name": "chat", "engine": "llamacpp", "port": 8001, "served_name": "chat", "slo_tier": "enhanced"}
    here = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_host": "127.0.0.1",
        "local_llm_instances": [instance],
        **values,
    }
    return {"gpu_hosts": {"hosts": {"gpu1": here}}, "load_generators": {"hosts": {"load1": here}}}


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({}, ["closed loop of 4 users, 150 requests; 64 tokens in, 32 out; at most 120 s"]),
        (
            {"scenario": "peak", "time_scale": 0.1},
            ["scenario peak (every length x 0.1); closed loop of 50 users, 60 s"],
        ),
        (
            {"from": "controller", "search": {"start_rate": 2}},
            ["the highest rate within its limits, from 2 requests/s"],
        ),
        (
            {"from": "load_generators", "sweep": {"rates": [1, 2], "seconds": 10}},
            ["open loop of 1, 2 requests/s, 20 s"],
        ),
    ],
)
def test_check_mode_says_what_would_be_measured_and_ends_well(
    tmp_path: Path, run: dict[str, Any], words: list[str]
) -> None:
    code, output = run_playbook(tmp_path, "benchmark", inventory(local_llm_benchmark_run=run), "--check")
    assert code == 0, output[-3000:]
    for word in (*words, "gpu1/chat: would measure release", "held against tier enhanced", "nothing was sent"):
        assert word in output, output[-3000:]
    assert "uplicate" not in output and "WARNING" not in output, output[-3000:]
    assert not (tmp_path / ".local").exists()


def test_check_mode_fails_for_what_cannot_be_measured(tmp_path: Path) -> None:
    wrong = json.dumps({"local_llm_benchmark_run": {"scenario": "spike", "time_scale": 0.0001}})
    code, output = run_playbook(tmp_path, "benchmark", inventory(), "--check", "-e", wrong)
    assert code != 0
    assert "gpu1/chat: cannot be measured: " in output and "time_scale: 0.0001 makes a stage of spike" in output
