# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gpu_info as a module: options in, results out, against the fake libnvidia-ml and without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_child
from ansible_collections.local_llm.ops.plugins.modules import gpu_info
from ansible_collections.local_llm.ops.tests.fakes.nvml import scenarios
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.nvml_fake import FakeNvml, fake_nvml

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeNvml:
    return fake_nvml(monkeypatch, tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the module's main with options and return its result; nothing of this machine's own /sys."""

    def _run(check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {"sysfs_root": str(tmp_path), **options, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            gpu_info.main()
        return json.loads(capsys.readouterr().out)

    return _run


@pytest.mark.parametrize("check", [False, True])
def test_gpus_come_back_and_nothing_is_changed_in_either_mode(fake: FakeNvml, run: Run, check: bool) -> None:
    fake.play("hgx_h100_8")
    result = run(check=check, nvml_library_directory=str(fake.library_directory))
    assert result["changed"] is False
    assert result["nvml"]["status"] == "ok"
    assert len(result["gpus"]) == 8 and len(result["topology"]) == 28
    assert result["why"] == ""
    assert 0 < result["nvml"]["seconds"] <= result["seconds"] < 5


def test_the_topology_can_be_left_out(fake: FakeNvml, run: Run) -> None:
    fake.play("rtx_4090_4")
    result = run(nvml_library_directory=str(fake.library_directory), topology=False)
    assert len(result["gpus"]) == 4
    assert result["topology"] == []


def test_no_gpu_is_a_fact_with_a_reason(fake: FakeNvml, run: Run) -> None:
    fake.play("none")
    result = run(nvml_library_directory=str(fake.library_directory))
    assert not result.get("failed")
    assert result["gpus"] == []
    assert result["why"].startswith("This host has no NVIDIA GPU on its PCI bus.")


def test_no_library_is_a_fact_with_a_reason(run: Run, tmp_path: Path) -> None:
    result = run(nvml_library_directory=str(tmp_path))
    assert not result.get("failed")
    assert result["nvml"]["status"] == "missing_library"
    assert "libnvidia-ml.so.1" in result["why"]


def test_a_mismatch_says_which_gpus_are_on_the_bus(fake: FakeNvml, run: Run, tmp_path: Path) -> None:
    fake.use(scenarios.version_mismatch(scenarios.profile("l4_1")))
    device = tmp_path / "bus/pci/devices/0000:3b:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030200\n")
    result = run(nvml_library_directory=str(fake.library_directory))
    assert result["nvml"]["status"] == "mismatch"
    assert "0000:3b:00.0" in result["why"] and "reload the modules or reboot" in result["why"]


def test_a_driver_that_hangs_is_no_failure(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", **{"hang.nvmlInitWithFlags": "stubborn"})
    result = run(nvml_library_directory=str(fake.library_directory), deadline_seconds=1)
    assert not result.get("failed")
    assert (result["nvml"]["status"], result["nvml"]["hung_call"]) == ("hung", "nvmlInit")
    assert "nvmlInit gave no answer within 1 s" in result["why"]
    assert result["seconds"] < 2


def test_bad_options_fail_with_their_names_and_values(run: Run) -> None:
    result = run(deadline_seconds=0, nvml_python="/nonexistent/python")
    assert result["failed"] is True
    assert "deadline_seconds: 0 is out of range. Use 1 to 600." in result["msg"]
    assert "nvml_python: /nonexistent/python is no program." in result["msg"]


def test_the_documentation_names_every_key_that_comes_back(fake: FakeNvml, run: Run) -> None:
    fake.use(scenarios.dead_process(scenarios.profile("hgx_h100_8")))
    result = run(nvml_library_directory=str(fake.library_directory))
    documented = yaml.safe_load(gpu_info.RETURN)
    assert set(documented) == set(result) - {"changed", "invocation"}
    for name in ("nvml", "gpus", "topology"):
        record = result[name] if isinstance(result[name], dict) else result[name][0]
        assert set(documented[name]["contains"]) == set(record)
    for group, entry in documented["gpus"]["contains"].items():
        value = next(gpu[group] for gpu in result["gpus"] if gpu[group] not in ([], {})) if group != "errors" else {}
        value = value[0] if isinstance(value, list) and isinstance(value[0], dict) else value
        for key in value if isinstance(value, dict) else ():
            words = (f"C({key})", f"C({key.replace('_max_mhz', '_mhz')})")
            assert any(word in entry["description"] for word in words), f"{group}.{key} is not documented"


def test_the_arguments_are_those_of_the_documentation() -> None:
    options = yaml.safe_load(gpu_info.DOCUMENTATION)["options"]
    assert {name: (entry["type"], entry.get("default")) for name, entry in options.items()} == {
        "nvml_python": ("path", None),
        "nvml_library_directory": ("path", None),
        "deadline_seconds": ("float", 30),
        "procfs_root": ("path", "/proc"),
        "sysfs_root": ("path", "/sys"),
        "topology": ("bool", True),
    }


def peak_kib(program: str, *arguments: str, **options: Any) -> int:
    """Return the peak memory of a Python process that runs a program; it is started from a small one."""
    launcher = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", launcher, program, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout)


def test_module_and_child_stay_under_60_megabytes_for_eight_gpus(fake: FakeNvml) -> None:
    fake.play("hgx_h100_8")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(fake.library_directory)}
    child = peak_kib("-", input=_nvml_child.source(_nvml_child.Ask()).decode(), env=environment)
    roots = [path for path in sys.path if (Path(path) / "ansible_collections/local_llm/ops").exists()]
    importing = "import ansible_collections.local_llm.ops.plugins.modules.gpu_info"
    module = peak_kib("-c", importing, env={**os.environ, "PYTHONPATH": ":".join(roots)})
    assert child < 25_000
    assert child + module < 58_000
