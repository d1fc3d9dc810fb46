# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: results in, verdict and files out, on the controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.local_llm.ops.plugins.action.gpu_benchmark_verdict import ActionModule
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.benchmarks import report, result


def run(task_vars: dict[str, Any] | None = None, check: bool = False, **args: Any) -> dict[str, Any]:
    loader = DataLoader()
    task = Task()
    task.action, task.args, task.async_val = "local_llm.ops.gpu_benchmark_verdict", {"show": False, **args}, 0
    task.check_mode = check
    action = ActionModule(task, MagicMock(), PlayContext(), loader, Templar(loader), None)
    return action.run(task_vars=task_vars or {})


def test_healthy_cards_pass_and_the_figures_are_kept(tmp_path: Path) -> None:
    given = run(results={"gpu1": {"report": report(2)}}, directory=str(tmp_path / "new"))
    assert not given["failed"] and given["changed"] is False and given["status"] == "healthy"
    kept = json.loads((tmp_path / "new/gpu_benchmark.json").read_text())
    assert given["json_path"] == str(tmp_path / "new/gpu_benchmark.json")
    assert kept["kind"] == "gpu_benchmark_verdict" and len(kept["hosts"][0]["findings"]) == 9
    assert "document" not in given and given["findings"] == {"gpu1": []}
    host = json.loads((tmp_path / "new/gpu1-gpu.json").read_text())
    assert host["host"] == "gpu1" and host["kind"] == "gpu_benchmark"


def test_a_card_below_the_fail_line_fails_the_task_unless_told_otherwise() -> None:
    slow = report(1)
    result(slow, "memory_bandwidth")["median"] = 1000.0
    given = run(results={"gpu1": {"report": slow}})
    assert given["failed"] and given["must_leave"] == ["gpu1"] and "gpu1" in given["msg"]
    assert not run(results={"gpu1": {"report": slow}}, fail=False)["failed"]


def test_a_host_that_was_not_measured_fails_the_task() -> None:
    given = run(results={"gpu1": {"failed": True, "msg": "GPU 0 is in use by process 7 (vllm)."}})
    assert given["failed"] and any("GPU 0 is in use by process 7" in line for line in given["table"])


def test_results_come_from_a_variable_of_each_host_and_hosts_left_out_are_left_out() -> None:
    hostvars = {"gpu1": {"_measured": {"report": report(1)}}, "gpu2": {}}
    given = run({"hostvars": hostvars}, hosts=["gpu1", "gpu2"], results_from="_measured")
    assert list(given["findings"]) == ["gpu1"]


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    given = run(check=True, results={"gpu1": {"report": report(1)}}, directory=str(tmp_path / "new"))
    assert given["json_path"] is None and given["document"]["status"] == "healthy" and not (tmp_path / "new").exists()


def test_figures_of_the_site_count() -> None:
    own = {"2330": {"memory_bandwidth": {"value": 5000}}}
    assert run(results={"gpu1": {"report": report(1)}}, reference=own)["failed"]


def test_names_of_hosts_cannot_leave_the_directory(tmp_path: Path) -> None:
    run(results={"../evil": {"report": report(1)}}, directory=str(tmp_path / "in"))
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == [".._evil-gpu.json", "gpu_benchmark.json"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "give either results_from"),
        ({"results": {"a": {"report": report(1)}}, "results_from": "x", "hosts": ["a"]}, "give either results_from"),
        ({"results_from": "x"}, "results_from needs hosts"),
        ({"results": {"a": 5}}, "results.a: it is no result of gpu_benchmark"),
        ({"results": {"a": {"report": {"gpus": []}}}}, "gives no such result"),
        (
            {"results": {"a": {"report": report(1)}}, "reference": {"2330": {"peer": {}}}},
            "it needs either value or floor",
        ),
        ({"resluts": {}}, "resluts"),
    ],
)
def test_bad_options_are_refused(args: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleError, match=message):
        run(**args)


def test_no_host_asked_is_a_mistake() -> None:
    with pytest.raises(AnsibleError, match="No host was asked"):
        run({"hostvars": {}}, hosts=["gpu1"], results_from="_measured")
