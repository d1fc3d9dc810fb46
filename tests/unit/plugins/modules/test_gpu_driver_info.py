# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gpu_driver_info as a module: options in, facts out, nothing changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils._driver import _facts
from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import FACTS_KEYS
from ansible_collections.local_llm.ops.plugins.modules import gpu_driver_info

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module's main on an empty host, without a program of this machine."""
    monkeypatch.setattr(_facts, "find_program", lambda name: None)
    for name in ("sys", "proc", "root/usr"):
        (tmp_path / name).mkdir(parents=True)

    def _run(check: bool = False, **options: Any) -> dict[str, Any]:
        roots = {"sysfs_root": "sys", "procfs_root": "proc", "system_root": "root"}
        arguments = {key: str(tmp_path / name) for key, name in roots.items()}
        with patch_module_args({**arguments, **options, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            gpu_driver_info.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return _run


@pytest.mark.parametrize("check", [False, True])
def test_an_empty_host_is_a_result_in_either_mode(run: Run, check: bool) -> None:
    result = run(check=check, running_kernel="6.1.0-35")
    assert result["changed"] is False
    assert set(result["driver_facts"]) == set(FACTS_KEYS)
    assert result["driver_facts"]["package_manager"] == "none"
    assert result["driver_facts"]["kernel_running"] == "6.1.0-35"


def test_a_mirror_of_nothing_known_is_refused(run: Run) -> None:
    result = run(mirrors={"https://mirror.example.org/": "canonical"})
    assert result["failed"] is True
    assert "https://mirror.example.org/: canonical is no origin" in result["msg"]


def test_the_documented_sample_has_keys_of_the_facts() -> None:
    sample = yaml.safe_load(gpu_driver_info.RETURN)["driver_facts"]["sample"]
    assert set(sample) <= set(FACTS_KEYS)
