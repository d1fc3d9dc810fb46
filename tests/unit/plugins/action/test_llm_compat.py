# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin llm_compat: what it takes, what it returns, and failing only when asked to."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.local_llm.ops.plugins.action.llm_compat import ActionModule
from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.modules import llm_compat
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.test_fit import GIB, Q4

CHAT = {
    "name": "chat",
    "engine": "llamacpp",
    "model": "small",
    "config": get_engine("llamacpp").complete_config({"context_tokens": 8192}),
}


def run(**args: Any) -> dict[str, Any]:
    loader = DataLoader()
    task = Task()
    args = {"instances": [CHAT], "models": {"small": Q4}, **args}
    task.action, task.args, task.async_val = "local_llm.ops.llm_compat", args, 0
    action = ActionModule(task, MagicMock(), PlayContext(), loader, Templar(loader), None)
    return action.run(task_vars={})


def test_it_returns_findings_and_changes_nothing() -> None:
    result = run(ram_total_bytes=32 * GIB)
    assert (result["changed"], result["ok"], result["msg"]) == (False, True, "")
    assert result["instances"][0]["status"] == "fits"
    assert result["findings"] == result["instances"][0]["findings"]


def test_it_fails_only_when_asked_to_and_names_the_nearest_setting() -> None:
    result = run(ram_total_bytes=8 * GIB)
    assert result["ok"] is False
    nearest = result["instances"][0]["fit"]["nearest"]
    assert f"Set context_tokens to {nearest['context_tokens']} or parallel_requests to" in result["msg"]
    with pytest.raises(AnsibleError, match=r"llm_compat: FAIL chat: llama with llamacpp on RAM: found: needs"):
        run(ram_total_bytes=8 * GIB, fail=True)


def test_instances_that_are_not_judged_take_memory_and_refuse_nothing() -> None:
    other = {**CHAT, "name": "other"}
    wrong = {**other, "gpus": [7]}
    result = run(instances=[CHAT, wrong], judge=["chat"], ram_total_bytes=32 * GIB, fail=True)
    assert {entry["subject"].split(":")[0] for entry in result["findings"]} == {"chat"}
    assert result["instances"][1]["status"] == "does_not_fit"
    alone = run(ram_total_bytes=32 * GIB)["instances"][0]["fit"]["available_bytes"]
    shared = run(instances=[CHAT, other], judge=["chat"], ram_total_bytes=32 * GIB)
    assert shared["instances"][0]["fit"]["available_bytes"] < alone
    tight = run(instances=[CHAT, other], judge=["chat"], ram_total_bytes=16 * GIB)
    assert "GiB of RAM, beside other with" in tight["msg"]


def gpu_info(status: str = "ok", driver: str = "580.95.05", gib: int = 80) -> dict[str, Any]:
    gpu = {"index": 0, "name": "H100", "compute_capability": "9.0", "memory": {"total_bytes": gib * GIB}}
    error = None if status == "ok" else "the kernel module is not loaded"
    return {
        "nvml": {"status": status, "error": error, "driver_version": driver},
        "gpus": [gpu] if status == "ok" else [],
    }


def test_the_answer_of_gpu_info_is_taken_as_it_is() -> None:
    result = run(gpu_info=gpu_info(gib=24))
    assert result["instances"][0]["status"] == "fits"
    assert "GPU" in result["instances"][0]["findings"][0]["subject"]
    assert run(gpu_info=gpu_info(gib=8))["ok"] is False


def test_gpus_that_cannot_be_read_make_the_answer_unknown_and_not_one_about_ram() -> None:
    result = run(gpu_info=gpu_info("not_loaded"), ram_total_bytes=1 * GIB, fail=True, warn=True)
    assert result["instances"][0]["status"] == "unknown"
    assert "the kernel module is not loaded" in result["warnings"][0]
    on_cpu = run(instances=[{**CHAT, "gpus": "none"}], gpu_info=gpu_info("not_loaded"), ram_total_bytes=32 * GIB)
    assert on_cpu["instances"][0]["status"] == "fits"


def test_a_task_of_gpu_info_that_was_skipped_counts_as_not_given() -> None:
    skipped = {"skipped": True, "changed": False}
    assert run(gpu_info=skipped, ram_total_bytes=32 * GIB)["instances"][0]["status"] == "fits"
    assert run(gpu_info=skipped, ram_total_bytes=0)["instances"][0]["status"] == "unknown"


def test_the_version_of_the_engine_tells_which_driver_it_needs() -> None:
    model = {**Q4, "format": "safetensors"}
    chat = {
        **CHAT,
        "engine": "vllm",
        "engine_version": "0.33.0",
        "config": get_engine("vllm").complete_config({}),
    }
    old = gpu_info(driver="570.133.20")
    result = run(instances=[chat], models={"small": model}, gpu_info=old)
    assert "found: 570.133.20; expected: at least 580" in result["msg"]
    other_build = {**chat, "engine_version": "0.33.0+cu129"}
    assert "at least" not in run(instances=[other_build], models={"small": model}, gpu_info=old)["msg"]
    assert (
        "at least" not in run(instances=[{**chat, "engine_version": "x"}], models={"small": model}, gpu_info=old)["msg"]
    )


def test_warnings_tell_what_speaks_against_it_and_what_is_not_known() -> None:
    assert "warnings" not in run(ram_total_bytes=8 * GIB)
    assert "llm_compat: FAIL chat" in run(ram_total_bytes=8 * GIB, warn=True)["warnings"][0]
    assert run(ram_total_bytes=64 * GIB, warn=True)["warnings"] == []
    assert "facts of model small are not there" in run(models={}, warn=True)["warnings"][0]


def test_a_model_that_comes_later_is_no_word_now() -> None:
    result = run(models={}, later=["small"], warn=True, fail=True)
    assert (result["warnings"], result["findings"], result["ok"]) == ([], [], True)


def test_bad_options_are_refused() -> None:
    with pytest.raises(AnsibleError, match=r"instances\[0\] has no engine"):
        run(instances=[{"name": "chat"}])
    with pytest.raises(AnsibleError, match="gpu_list"):
        run(gpu_list=[])


def test_the_documentation_has_the_arguments_of_the_action() -> None:
    options = yaml.safe_load(llm_compat.DOCUMENTATION)["options"]
    documented = {
        name: {key: value for key, value in option.items() if key != "description"} for name, option in options.items()
    }
    assert documented == ActionModule.ARGUMENTS


def test_code_of_a_model_fails_by_its_check_also_where_a_misfit_only_warns() -> None:
    bad = {"small": {**Q4, "unsafe_files": ["run.py"]}}
    with pytest.raises(AnsibleError, match=r"run\.py, which can run code"):
        run(models=bad, ram_total_bytes=8 * GIB, fail_on=["unsafe_files", "remote_code"])
    result = run(ram_total_bytes=8 * GIB, fail_on=["unsafe_files", "remote_code"])
    assert result["ok"] is False
