# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin gpu_driver_verdict: what it holds against the facts, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.local_llm.ops.plugins.action.gpu_driver_verdict import ActionModule

KERNEL, NEWEST = "6.1.0-35", "6.1.0-37"


def run(**args: Any) -> dict[str, Any]:
    loader = DataLoader()
    task = Task()
    task.action, task.args, task.async_val = "local_llm.ops.gpu_driver_verdict", args, 0
    action = ActionModule(task, MagicMock(), PlayContext(), loader, Templar(loader), None)
    action._task.check_mode = False
    result: dict[str, Any] = action.run(task_vars={})
    return result


def facts(version: str | None) -> dict[str, Any]:
    disk = {KERNEL: version, NEWEST: None}
    return {
        "loaded_version": version,
        "library_version": version,
        "kernel_running": KERNEL,
        "kernel_newest": NEWEST,
        "module_on_disk_version": disk,
        "broken_packages": [],
        "gpus": [{}],
    }


def test_a_host_that_shall_have_no_driver_is_not_measured(tmp_path: Path) -> None:
    """The way back of a first install on a host that has a baseline from earlier."""
    results = [{"measure": "copy", "dtype": None, "gpus": [0], "median": 10.0}]
    baseline = {"taken_at": "2026-11-01T00:00:00Z", "gpus": [{"index": 0, "uuid": "GPU-1"}], "results": results}
    (tmp_path / "gpu1-gpu.json").write_text(json.dumps(baseline), encoding="utf-8")
    told = {"baseline": str(tmp_path / "gpu1-gpu.json"), "benchmark": {}, "gpu_count": 1, "fail": False}
    assert run(facts=facts(None), **told)["ok"] is True
    strict = run(facts={**facts("535.261.03"), "kernel_newest": KERNEL}, version="535.261.03", **told)
    assert [item["check"] for item in strict["findings"] if item["status"] == "fail"] == ["driver_benchmark"]


def test_what_the_host_had_before_comes_from_the_option() -> None:
    now = facts("535.247.01")
    before = {key: now[key] for key in ("loaded_version", "library_version", "module_on_disk_version")}
    assert run(facts=now, version="535.247.01", gpu_count=1, before=before)["ok"] is True
    assert run(facts=now, version="535.247.01", gpu_count=1, fail=False)["ok"] is False
