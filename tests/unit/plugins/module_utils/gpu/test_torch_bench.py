# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench itself, as a child: against a fake torch, and against a real one on the CPU where one is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _benchmark_run as bench
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._benchmark_gpu import MIB, figures
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Answer

FAKE_TORCH = Path(__file__).resolve().parents[4] / "fakes" / "torch_stand_in"
TIMES = {"warm_up_seconds": 0.0, "seconds": 0.002, "sample_seconds": 0.01}
COPY = {"measure": "memory_bandwidth", "dtype": None, "gpus": [0], "bytes": 256 * MIB, "max_bytes": 512 * MIB, **TIMES}
REAL_TORCH = os.environ.get("LOCAL_LLM_TORCH_PYTHON")

Ask = Callable[..., Answer]


def product(dtype: str, size: int = 8192, **more: Any) -> dict[str, Any]:
    return {"measure": "gemm", "dtype": dtype, "gpus": [0], "matrix_size": size, **TIMES, **more}


def copies(measure: str, *gpus: int, size: int = 256 * MIB) -> dict[str, Any]:
    return {"measure": measure, "dtype": None, "gpus": list(gpus), "bytes": size, **TIMES}


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run jobs with the fake torch; scenario: its FAKE_TORCH."""

    def _ask(
        *jobs: dict[str, Any], gpus: int = 1, max_bytes: int = 1024 * MIB, deadline: float = 20, **scenario: Any
    ) -> Answer:
        uuids = [f"GPU-{number}" for number in range(gpus)]
        request = {
            "device": "cuda",
            "gpus": [{"index": number, "uuid": uuid, "cpus": None} for number, uuid in enumerate(uuids)],
            "jobs": list(jobs),
            "max_memory_bytes": max_bytes,
            "pynvml_file": None,
        }
        own = {"PATH": "/nonexistent", "PYTHONPATH": str(FAKE_TORCH), "FAKE_TORCH": json.dumps(scenario)}
        variables = bench.environment(uuids, None, own)
        return bench.run_bench(sys.executable, request, variables, deadline)

    return _ask


def ends(answer: Answer) -> list[dict[str, Any]]:
    return [record for record in answer.records if {"measured", "skipped", "failed"} & record.keys()]


def median(answer: Answer, number: int, measure: str) -> float:
    record = next(record for record in answer.records if record.get("measured") == number)
    return float(figures(record, measure)["median"])


def test_every_measure_gives_the_speed_of_the_card(ask: Ask) -> None:
    jobs = [
        COPY,
        *(product(dtype) for dtype in ("bf16", "fp16", "tf32", "fp8")),
        copies("host_to_device", 0),
        copies("device_to_host", 1),
        copies("peer", 0, 1),
        copies("all_reduce", 0, 1, size=1024 * MIB),
    ]
    answer = ask(*jobs, gpus=2, slow={"1": 0.5})
    assert answer.end == "done" and answer.return_code == 0
    assert [median(answer, number, str(job["measure"])) for number, job in enumerate(jobs)] == pytest.approx(
        [3000, 700, 680, 380, 1250, 50, 25, 175, 225], rel=0.001
    )
    assert ends(answer)[7]["path"] == "p2p"
    assert answer.records[0]["torch"] == "2.99.0+fake" and answer.records[0]["nccl"] == "2.99.0"
    assert [record["uuid"] for record in answer.records if "card" in record] == ["0", "1"]


def test_memory_stays_below_what_is_allowed(ask: Ask) -> None:
    jobs = [COPY, *(product(dtype) for dtype in ("bf16", "fp16", "tf32", "fp8")), copies("host_to_device", 0)]
    for max_bytes in (1024 * MIB, 300 * MIB):
        for record in ends(ask(*jobs, max_bytes=max_bytes, l2_bytes=126 * MIB)):
            assert record.get("memory_peak_bytes", 0) <= max_bytes
            assert "measured" in record or "max_memory_bytes allows 300 MiB" in record["why"]


@pytest.mark.parametrize(
    ("l2_bytes", "max_bytes", "buffer", "note"),
    [
        (50 * MIB, 1024 * MIB, 256 * MIB, False),
        (126 * MIB, 1024 * MIB, 504 * MIB, False),
        (200 * MIB, 2048 * MIB, 512 * MIB, True),
        (126 * MIB, 512 * MIB, 256 * MIB, True),
        (None, 1024 * MIB, 256 * MIB, False),
    ],
)
def test_the_buffers_of_a_copy_are_four_times_the_cache(
    ask: Ask, l2_bytes: int | None, max_bytes: int, buffer: int, note: bool
) -> None:
    record = ends(ask(COPY, max_bytes=max_bytes, l2_bytes=l2_bytes))[0]
    assert record["bytes"] == buffer and bool(record["notes"]) == note


@pytest.mark.parametrize(
    ("job", "scenario", "why"),
    [
        (product("fp8"), {"capability": [8, 0]}, "fp8 needs compute capability 8.9; this card has 8.0"),
        (product("bf16"), {"capability": [7, 5]}, "bf16 needs compute capability 8.0"),
        (product("fp8"), {"without": ["_scaled_mm"]}, "torch 2.99.0+fake has no fp8 product"),
        (product("fp8"), {"without": ["float8_e4m3fn"]}, "has no fp8 product"),
        (product("bf16", 16384), {}, "the matrices need 1536 MiB; max_memory_bytes allows 1024 MiB"),
        (copies("all_reduce", 0), {"without": ["nccl"]}, "is built without NCCL"),
    ],
)
def test_what_does_not_apply_is_skipped_with_the_reason(
    ask: Ask, job: dict[str, Any], scenario: dict[str, Any], why: str
) -> None:
    assert why in ends(ask(job, **scenario))[0]["why"]


def test_a_measure_that_fails_does_not_stop_the_others(ask: Ask) -> None:
    answer = ask(product("bf16"), COPY, errors={"mm": "CUDA error: uncorrectable ECC error encountered"})
    first, second = ends(answer)
    assert first == {"failed": 0, "error": "RuntimeError: CUDA error: uncorrectable ECC error encountered"}
    assert second["measured"] == 1 and answer.end == "done"


def test_a_wrong_sum_of_all_reduce_is_a_failure(ask: Ask) -> None:
    answer = ask(copies("all_reduce", 0, 1), gpus=2, wrong_sum=True)
    assert "the sum over 2 GPUs must be 2 on each, but is [3.0, 3.0]" in ends(answer)[0]["error"]


def test_gpus_that_cannot_reach_each_other_copy_through_the_host_and_it_is_said(ask: Ask) -> None:
    assert ends(ask(copies("peer", 0, 1), gpus=2, peer=False))[0]["path"] == "staged"


def test_without_pynvml_and_nvidia_smi_it_is_said_that_nobody_looked(ask: Ask) -> None:
    record = ends(ask(COPY, errors={}))[0]
    assert record["watched"] == [] and record["watched_by"] == "none" and record["unwatched"]


def test_nvidia_smi_looks_where_there_is_no_pynvml(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        '#!/bin/sh\ncase "$1" in *clocks_event_reasons*) echo "Field is not a valid field" >&2; exit 2;; esac\n'
        'echo "GPU-0, 1980, 2619, 650.25, 61, 5, 16, 0x0000000000000004"\n'
    )
    smi.chmod(0o755)
    look = bench.program({}).decode().rpartition("\n\nrun(")[0] + (
        "\nwatch = Watch({'device': 'cuda', 'gpus': [{'uuid': 'GPU-0'}]})\n"
        "watch.nvml, watch.smi, watch.source = None, shutil.which('nvidia-smi'), 'nvidia-smi'\n"
        "with watch.over([0]) as samples:\n    time.sleep(0.1)\n"
        "print(json.dumps(samples[0]))\n"
    )
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout) == {
        "gpu": 0,
        "sm_mhz": 1980,
        "memory_mhz": 2619,
        "power_watts": 650.25,
        "temperature_celsius": 61,
        "pcie_generation": 5,
        "pcie_width": 16,
        "reasons": 4,
    }


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"without": ["cuda"]}, r"torch 2.99.0\+fake is built without CUDA"),
        ({"init_error": "The NVIDIA driver on your system is too old"}, "The NVIDIA driver on your system is too old"),
    ],
)
def test_a_torch_that_cannot_measure_says_why(ask: Ask, scenario: dict[str, Any], message: str) -> None:
    answer = ask(COPY, **scenario)
    with pytest.raises(bench.NoTorchError, match=message):
        bench.stopped(answer, sys.executable, 20)


def test_an_interpreter_without_torch_is_named() -> None:
    request = {"device": "cuda", "gpus": [], "jobs": [], "max_memory_bytes": 1, "pynvml_file": None}
    answer = bench.run_bench(sys.executable, request, {}, 20)
    with pytest.raises(bench.NoTorchError, match=f"{sys.executable}: ModuleNotFoundError: No module named 'torch'"):
        bench.stopped(answer, sys.executable, 20)


def test_a_bench_that_hangs_is_killed_at_the_deadline_and_what_it_measured_stays(ask: Ask) -> None:
    began = time.monotonic()
    answer = ask(COPY, product("bf16"), deadline=0.4, hang="mm")
    assert time.monotonic() - began < 1.5
    assert answer.end == "deadline" and ends(answer)[0]["measured"] == 0
    why = bench.stopped(answer, sys.executable, 0.4) or ""
    assert why.startswith("gemm bf16 (GPU 0) did not end within 0.4 s of the start, and the bench was killed.")


def test_a_bench_that_dies_tells_the_signal_and_the_step(ask: Ask) -> None:
    answer = ask(product("fp8"), die="_scaled_mm")
    why = bench.stopped(answer, sys.executable, 20) or ""
    assert why.startswith("The bench died of SIGKILL in gemm fp8 (GPU 0).")


def test_an_interpreter_that_is_no_program_is_named(tmp_path: Path) -> None:
    answer = bench.run_bench(str(tmp_path / "python"), {}, {}, 1)
    assert "cannot be started" in (bench.stopped(answer, str(tmp_path / "python"), 1) or "")


def test_the_environment_shows_our_cards_in_our_order_and_nothing_that_changes_figures() -> None:
    own = {"CUDA_LAUNCH_BLOCKING": "1", "NVIDIA_TF32_OVERRIDE": "0", "PATH": "/bin", "LD_LIBRARY_PATH": "/x"}
    result = bench.environment(["GPU-b", "GPU-a"], "/lib/fake", own)
    assert result["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-a" and result["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_LAUNCH_BLOCKING" not in result and "NVIDIA_TF32_OVERRIDE" not in result
    assert result["LD_LIBRARY_PATH"] == "/lib/fake:/x" and result["PATH"] == "/bin"


def test_the_lock_is_for_one_and_names_its_holder(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with bench.lock(path), pytest.raises(bench.RefusedError, match=f"process {os.getpid()} "), bench.lock(path):
        pass
    with bench.lock(path):
        pass


def test_a_lock_that_cannot_be_opened_names_the_path_and_the_fix(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(bench.RefusedError, match=r"lock cannot be opened: .*Run the module as root"),
        bench.lock(str(tmp_path / "lock")),
    ):
        pass


def test_the_newest_engine_with_torch_comes_first(tmp_path: Path) -> None:
    for version in ("0.9.2", "0.33.0", "0.33.0rc1", "0.33.0.post1", "0.40.0"):
        (tmp_path / version / "bin").mkdir(parents=True)
        python = tmp_path / version / "bin" / "python"
        python.touch(mode=0o755)
        if version != "0.40.0":  # an engine without torch
            site = tmp_path / version / "lib/python3.12/site-packages/torch"
            site.mkdir(parents=True)
            (site / "__init__.py").touch()
    found = bench.candidates(None, str(tmp_path / "*/bin/python"))
    assert [Path(path).parts[-3] for path in found] == ["0.33.0.post1", "0.33.0", "0.33.0rc1", "0.9.2"]


def test_no_interpreter_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(bench.RefusedError, match=r"looked for /opt/x/\*/bin/python .* in the option python"):
        bench.candidates(None, "/opt/x/*/bin/python")
    with pytest.raises(bench.RefusedError, match="python: /opt/none is no program"):
        bench.candidates("/opt/none")


@pytest.mark.parametrize(("text", "cpus"), [("0-3,8\n", [0, 1, 2, 3, 8]), ("5\n", [5]), ("\n", None)])
def test_lists_of_processors(text: str, cpus: list[int] | None, tmp_path: Path) -> None:
    assert bench.cpu_list(text) == cpus
    node = tmp_path / "devices/system/node/node1"
    node.mkdir(parents=True)
    (node / "cpulist").write_text(text)
    assert bench.near_cpus(1, str(tmp_path)) == cpus
    assert bench.near_cpus(None, str(tmp_path)) is None and bench.near_cpus(7, str(tmp_path)) is None


DIRECT = """
torch = __import__("torch")
torch.set_num_threads(1)
time.perf_counter = time.thread_time  # others work on this machine; for both sides only our own time counts
request = {"device": "cpu", "gpus": [{"index": 0, "uuid": "cpu"}], "jobs": [], "max_memory_bytes": 1 << 30}
bench = Bench(request, os.dup(1))
bench.torch, bench.backend, bench.watch = torch, Cpu(torch), Watch(request)
bench.cards = [bench.backend.card(0)]
SIZE, SMALL, TIMES = 1024, 16 << 20, {"warm_up_seconds": 0.05, "seconds": 0.15, "sample_seconds": 0.02}
left, right = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
product, source = torch.empty(SIZE, SIZE), torch.ones(4 << 20)
target = torch.ones(4 << 20)

def both(record, work, amount):
    # [rate as the bench has it, rate of the same work timed here]: as often, as long, right after it
    times = []
    for _turn in range(len(record["seconds"])):
        begin = time.thread_time()
        for _again in range(record["iterations"]):
            work()
        times.append(time.thread_time() - begin)
    one = record["iterations"]
    return [record["amount"] * one / min(record["seconds"]), amount * one / min(times)]

rounds = []
for _round in range(ROUNDS):
    job = {"measure": "gemm", "dtype": "fp32", "gpus": [0], "matrix_size": SIZE, **TIMES}
    copy = {"measure": "memory_bandwidth", "dtype": None, "gpus": [0], "bytes": SMALL, "max_bytes": SMALL, **TIMES}
    rounds.append([
        *both(bench._gemm(job, [0]), lambda: torch.mm(left, right, out=product), 2 * SIZE**3),
        *both(bench._memory_bandwidth(copy, [0]), lambda: target.copy_(source), 2 * 4 * (4 << 20)),
    ])
print(json.dumps(rounds))
"""


@pytest.mark.skipif(not REAL_TORCH, reason="LOCAL_LLM_TORCH_PYTHON names no interpreter that has torch")
def test_figures_are_those_of_the_same_work_timed_directly_with_a_real_torch() -> None:
    source = bench.program({}).decode().rpartition("\n\nrun(")[0] + DIRECT.replace("ROUNDS", "12")
    done = subprocess.run([str(REAL_TORCH), "-"], input=source, capture_output=True, text=True, timeout=300, check=True)
    rounds = json.loads(done.stdout)
    # The fastest sample of each: other work on the machine can only make one slower.
    product, product_direct, copy, copy_direct = (max(column) for column in zip(*rounds, strict=True))
    print(f"product {product / 1e9:.2f} GFLOP/s, direct {product_direct / 1e9:.2f}")
    print(f"copy {copy / 1e9:.2f} GB/s, direct {copy_direct / 1e9:.2f}")
    assert product == pytest.approx(product_direct, rel=0.03)
    assert copy == pytest.approx(copy_direct, rel=0.03)
