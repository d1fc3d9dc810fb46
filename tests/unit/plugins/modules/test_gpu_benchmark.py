# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gpu_benchmark as a module: a fake libnvidia-ml, a fake torch, tiny times."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _benchmark_gpu, _benchmark_run
from ansible_collections.local_llm.ops.plugins.modules import gpu_benchmark
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.nvml_fake import FakeNvml, fake_nvml

Run = Callable[..., dict[str, Any]]
FAKE_TORCH = Path(__file__).resolve().parents[3] / "fakes" / "torch_stand_in"
IDLE = {"gpu.*.memory.used": "0"}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeNvml:
    return fake_nvml(monkeypatch, tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, fake: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module's main with options and return its result; torch: FAKE_TORCH of the child."""
    monkeypatch.setattr(_benchmark_run, "LOCK_PATH", str(tmp_path / "lock"))
    monkeypatch.setattr(_benchmark_run, "ENGINE_PYTHONS", str(tmp_path / "engines/*/bin/python"))
    monkeypatch.setitem(_benchmark_gpu.PROFILES, "quick", _benchmark_gpu.Profile(0.0, 0.002, 0.01, 0.002))
    monkeypatch.setenv("PYTHONPATH", str(FAKE_TORCH))

    def _run(check: bool = False, torch: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        monkeypatch.setenv("FAKE_TORCH", json.dumps(torch or {}))
        given = {
            "sysfs_root": str(tmp_path),
            "nvml_library_directory": str(fake.library_directory),
            "python": sys.executable,
            **options,
            "_ansible_check_mode": check,
        }
        arguments = {key: value for key, value in given.items() if value is not None}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            gpu_benchmark.main()
        return json.loads(capsys.readouterr().out)

    return _run


def test_a_card_is_measured_and_its_clocks_are_seen_meanwhile(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", **IDLE)
    result = run(measures=["memory_bandwidth", "gemm"], dtypes=["bf16"])
    assert not result.get("failed") and result["changed"] is False
    report = result["report"]
    assert report["complete"] is True and report["taken_at"].endswith("Z")
    assert report["torch"] == {"torch": "2.99.0+fake", "cuda": "13.0", "nccl": "2.99.0", "python": sys.executable}
    copy, product = report["results"]
    assert (copy["median"], copy["unit"], copy["peak"]) == (
        3000.0,
        "GB/s",
        report["gpus"][0]["peaks"]["memory_gb_per_second"],
    )
    assert (product["median"], product["unit"], product["matrix_size"]) == (700.0, "TFLOP/s", 8192)
    seen = copy["conditions"]
    assert seen["source"] == "pynvml" and seen["missing"] is None and seen["samples"] >= 1
    assert seen["sm_mhz"]["median"] > 0 and seen["pcie_generation"]["max"] >= 1


def test_a_host_with_several_cards_has_pairs_and_all_reduce(fake: FakeNvml, run: Run) -> None:
    fake.play("rtx_4090_4", **IDLE)
    result = run(gpus=["1", "3"], measures=["peer", "all_reduce"], torch={"peer": False})
    assert not result.get("failed"), result.get("msg")
    assert [(item["measure"], item["gpus"]) for item in result["report"]["results"]] == [
        ("peer", [1, 3]),
        ("peer", [3, 1]),
        ("all_reduce", [1, 3]),
    ]
    pair = result["report"]["results"][0]
    assert pair["path"] == "staged" and pair["between"]["ancestor"] and pair["peak"] is None
    assert result["report"]["results"][2]["median"] == pytest.approx(450.0)


def test_check_mode_says_what_it_would_run_and_runs_nothing(fake: FakeNvml, run: Run, tmp_path: Path) -> None:
    fake.play("l4_1", **IDLE)
    result = run(check=True, torch={"hang": "copy"})
    assert result["report"] is None and result["changed"] is False
    assert result["plan"]["python"] == sys.executable
    assert {"measure": "gemm", "dtype": "fp8", "gpus": [0]} in result["plan"]["jobs"]
    assert not (tmp_path / "lock").exists()


def test_a_card_in_use_is_refused_with_the_process(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", **IDLE, **{"gpu.0.process.0": f"compute {os.getpid()} 1024"})
    result = run()
    assert result["failed"] and f"is in use by process {os.getpid()} (" in result["msg"]
    assert "force: true" in result["msg"]
    assert not run(force=True, measures=["memory_bandwidth"]).get("failed")


def test_a_second_benchmark_is_refused_with_the_pid_of_the_first(fake: FakeNvml, run: Run, tmp_path: Path) -> None:
    fake.play("l4_1", **IDLE)
    with _benchmark_run.lock(str(tmp_path / "lock")):
        result = run()
    assert result["failed"] and f"Another GPU benchmark runs on this host, process {os.getpid()} " in result["msg"]


def test_no_gpu_is_a_fact_with_a_reason(fake: FakeNvml, run: Run) -> None:
    fake.play("none")
    result = run()
    assert not result.get("failed") and result["report"] is None
    assert result["why"].startswith("This host has no NVIDIA GPU")


def test_a_driver_that_cannot_be_asked_is_a_failure(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", init_code=18)
    result = run()
    assert result["failed"] and "reload the modules or reboot" in result["msg"]


def test_pairs_of_one_card_are_nothing_to_measure(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", **IDLE)
    result = run(measures=["peer"])
    assert result["report"] is None and result["why"] == "peer: they need more than one GPU, and there is one."


def test_a_measure_that_fails_fails_the_task_and_keeps_the_other_figures(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", **IDLE)
    result = run(torch={"errors": {"mm": "CUDA error: an illegal memory access"}}, dtypes=["bf16", "fp16"])
    assert result["failed"]
    assert result["msg"].startswith("gemm bf16 on GPU 0: RuntimeError: CUDA error: an illegal memory access 1 more")
    assert {item["measure"] for item in result["report"]["results"]} == {
        "memory_bandwidth",
        "host_to_device",
        "device_to_host",
    }


def test_a_bench_that_dies_fails_the_task_and_keeps_what_it_measured(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", **IDLE)
    result = run(torch={"die": "mm"}, measures=["memory_bandwidth", "gemm"])
    assert result["failed"] and "died of SIGKILL in gemm bf16 (GPU 0)" in result["msg"]
    assert len(result["report"]["results"]) == 1 and result["report"]["complete"] is False


def test_figures_of_another_card_are_refused(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", **IDLE)
    other = "0" * 31 + "1"
    result = run(torch={"uuids": [other]})
    assert result["failed"] and f"torch shows the card {other} in the place of GPU-" in result["msg"]


def test_an_engine_with_a_torch_that_does_not_work_is_passed_over(fake: FakeNvml, run: Run, tmp_path: Path) -> None:
    fake.play("l4_1", **IDLE)
    for version, torch in (("0.9.0", ""), ("0.10.0", json.dumps({"without": ["cuda"]}))):
        (tmp_path / "engines" / version / "bin").mkdir(parents=True)
        python = tmp_path / "engines" / version / "bin" / "python"
        python.write_text(f'#!/bin/sh\n{f"export FAKE_TORCH={torch!r}" if torch else ""}\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        site = tmp_path / "engines" / version / "lib/python3.12/site-packages/torch"
        site.mkdir(parents=True)
        (site / "__init__.py").touch()
    result = run(python=None, measures=["memory_bandwidth"])
    assert result["plan"]["python"] == str(tmp_path / "engines/0.9.0/bin/python")
    result = run(python=None, measures=["memory_bandwidth"], torch={"init_error": "driver too old"})
    assert result["failed"] and "0.10.0/bin/python: torch 2.99.0+fake is built without CUDA" in result["msg"]
    assert "0.9.0/bin/python: RuntimeError: driver too old" in result["msg"]


def test_without_any_torch_it_says_where_it_looked_and_what_to_do(fake: FakeNvml, run: Run, tmp_path: Path) -> None:
    fake.play("l4_1", **IDLE)
    result = run(python=None)
    assert result["failed"] and f"looked for {tmp_path}/engines/*/bin/python" in result["msg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matrix_size": 16384}, "matrix_size: 16384 needs 3072 MiB for tf32"),
        ({"gpus": ["9"]}, "gpus: '9' is none of this host's GPUs: 0 ("),
        ({"measures": ["gem"]}, "value of measures must be one or more of: memory_bandwidth, gemm"),
        ({"profile": "slow"}, "value of profile must be one of: quick, standard"),
        ({"deadline_seconds": 1}, "deadline_seconds: 1 is out of range. Use 10 to 7200."),
        ({"python": "/opt/none"}, "python: /opt/none is no program"),
        ({"nvml_python": "/opt/none"}, "nvml_python: /opt/none is no program"),
    ],
)
def test_wrong_options_are_clear_errors(fake: FakeNvml, run: Run, options: dict[str, Any], message: str) -> None:
    fake.play("l4_1", **IDLE)
    result = run(**options)
    assert result["failed"] and message in result["msg"]


def test_the_documentation_names_what_comes_back(fake: FakeNvml, run: Run) -> None:
    fake.play("l4_1", **IDLE)
    result = run(measures=["memory_bandwidth"])
    documented = yaml.safe_load(gpu_benchmark.RETURN)
    assert set(documented) == set(result) - {"changed", "invocation"}
    assert set(documented["report"]["contains"]) == set(result["report"])
