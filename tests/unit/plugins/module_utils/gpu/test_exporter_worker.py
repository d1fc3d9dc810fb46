# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that asks NVML, and the exporter's side of it: a driver that hangs costs one process and no waiting."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _exporter_child as child
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_child import Reading, Worker
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_samples import samples
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_state import Seen, after_reading
from ansible_collections.local_llm.ops.tests.fakes.nvml import scenarios
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.nvml_fake import FakeNvml, fake_nvml

LONG = 30.0
PROGRAM = """
import sys
sys.path[:] = {path!r}
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_worker import serve
serve({{"procfs_root": {procfs!r}}})
"""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeNvml:
    return fake_nvml(monkeypatch, tmp_path)


@pytest.fixture
def worker(fake: FakeNvml, tmp_path: Path) -> Iterator[Worker]:
    it = make_worker(fake, str(tmp_path))
    yield it
    it.stop()


def make_worker(fake: FakeNvml, procfs: str) -> Worker:
    program = PROGRAM.format(path=[path for path in sys.path if path], procfs=procfs)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(fake.library_directory)}
    return Worker([sys.executable, "-c", program], environment)


def shell_worker(body: str) -> Worker:
    return Worker(["/bin/sh", "-c", body], dict(os.environ))


def gpus(reading: Reading) -> dict[int, dict[str, Any]]:
    assert reading.problem is None, reading.why
    return {record["gpu"]: record for record in reading.records if "gpu" in record}


def shown(reading: Reading) -> set[str]:
    seen, why = after_reading(Seen(), reading, 100.0, "python")
    assert not why
    return set(samples(seen, 100.0, 60.0))


def test_one_process_reads_again_and_again(fake: FakeNvml, worker: Worker) -> None:
    fake.play("hgx_h100_8").gpu(2, {"temperature.gpu": 60})
    first = gpus(worker.read(LONG))
    pid = worker.pid
    fake.gpu(2, {"temperature.gpu": 70})
    second = gpus(worker.read(LONG))
    assert len(first) == 8 and worker.pid == pid
    assert [one[2]["values"]["temperature.gpu_celsius"] for one in (first, second)] == [60, 70]
    assert first[2]["values"]["uuid"] and first[2]["values"]["pci"] == "0000:3a:00.0"


def test_counters_of_links_and_times_are_read(fake: FakeNvml, worker: Worker) -> None:
    fake.play("hgx_h100_8").gpu(
        0,
        {
            "nvlink.3.crc_errors": 5,
            "nvlink.4.crc_errors": 6,
            "nvlink.7.active": 0,
            "event_ns.hw_thermal": 2_500_000_000,
            "event_ns.sw_power_cap": 1_000_000_000,
        },
    )
    values = gpus(worker.read(LONG))[0]["values"]
    assert values["nvlink.crc_errors"] == 11 and values["nvlink.active"] == 17
    assert values["clock_event_seconds.hw_thermal"] == 2.5 and values["clock_event_seconds.sw_power_cap"] == 1


@pytest.mark.parametrize(
    ("profile", "has_not"),
    [
        ("hgx_h100_8", {"retired_pages_pending"}),
        (
            "rtx_4090_4",
            {"ecc_corrected_total", "memory_temperature_celsius", "nvlink_active_links", "row_remap_failed"},
        ),
        ("t4_1", {"row_remap_failed", "memory_temperature_celsius", "nvlink_errors_total"}),
    ],
)
def test_what_a_card_lacks_is_not_shown(fake: FakeNvml, worker: Worker, profile: str, has_not: set[str]) -> None:
    fake.play(profile)
    names = shown(worker.read(LONG))
    assert not names & {f"local_llm_gpu_{name}" for name in has_not}
    assert {"local_llm_gpu_temperature_celsius", "local_llm_gpu_memory_used_bytes"} <= names


def test_processes_are_told_by_their_owner(fake: FakeNvml, worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "4711").mkdir()
    (tmp_path / "4711" / "cgroup").write_text("0::/system.slice/local-llm@chat.service\n")
    fake.play("l4_1").gpu(0, {"process.0": "compute 4711 1024", "process.1": "compute 4712 2048"})
    processes = gpus(worker.read(LONG))[0]["values"]["processes"]
    assert [(one["owner"], one["memory_bytes"]) for one in processes] == [("instance", 1024), ("gone", 2048)]


def test_lost_gpu_is_told_and_the_others_are_read(fake: FakeNvml, worker: Worker) -> None:
    fake.play("hgx_h100_8")
    worker.read(LONG)
    fake.use(scenarios.FAULTS["gpu_lost"](fake.scenario, gpu=3))
    found = gpus(worker.read(LONG))
    assert [index for index, record in found.items() if record["lost"]] == [3]
    assert found[3]["values"]["uuid"], "it keeps its name"


def test_driver_that_is_not_there_needs_a_new_process_each_time(fake: FakeNvml, worker: Worker) -> None:
    fake.use(scenarios.FAULTS["driver_not_loaded"](scenarios.profile("l4_1")))
    reading = worker.read(LONG)
    assert [record["code"] for record in reading.records if "failed" in record] == [9]
    assert worker.pid is None, "the library is loaded anew: the driver may have been updated"
    fake.play("l4_1")
    assert len(gpus(worker.read(LONG))) == 1


def test_hung_call_ends_at_the_deadline_is_named_and_leaves_no_process(fake: FakeNvml, worker: Worker) -> None:
    fake.play("l4_1")
    worker.read(LONG)
    fake.use({**fake.scenario, "hang.nvmlDeviceGetPowerUsage": "stubborn"})
    started = time.monotonic()
    reading = worker.read(1.0)
    assert (reading.problem, worker.pid) == ("hung", None)
    assert "nvmlDeviceGetPowerUsage (GPU 0)" in reading.why
    assert time.monotonic() - started < 10
    fake.play("l4_1")
    assert len(gpus(worker.read(LONG))) == 1, "it goes on by itself"


def test_process_that_cannot_be_killed_is_the_only_one_until_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    spawn = os.posix_spawn

    def count(*arguments: Any, **options: Any) -> int:
        started.append(spawn(*arguments, **options))
        return started[-1]

    worker = shell_worker('echo \'{"calling": "nvmlInit", "gpu": null}\'; exec sleep 1000')
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_spawn", count)
        patch.setattr(os, "kill", lambda _pid, _signal: None)  # as in state D: signals do nothing
        patch.setattr(child, "GRACE_SECONDS", 0.05)
        readings = [worker.read(0.5) for _turn in range(5)]
    assert len(started) == 1 and worker.pid == started[0]
    assert {reading.problem for reading in readings} == {"hung"}
    assert readings[-1].seconds < 0.4, "it does not wait for a process that is known to hang"
    assert "still waits in nvmlInit" in readings[-1].why
    os.kill(started[0], 9)
    deadline = time.monotonic() + 10
    while worker.read(0.2).why.startswith("process"):
        assert time.monotonic() < deadline
    worker.stop()


@pytest.mark.parametrize(
    ("body", "problem", "words"),
    [
        ("exit 3", "died", "ended in the start of the interpreter"),
        ('read x; echo \'{"calling": "nvmlInit", "gpu": 1}\'; exit', "died", "nvmlInit (GPU 1)"),
        ("exec sleep 1000", "busy", "the start of the interpreter gave no answer"),
        ('read x; echo \'{"calling": "/proc/1/cgroup", "gpu": null}\'; exec sleep 1000', "busy", "/proc/1/cgroup"),
        ("head -c 9000000 /dev/zero; exec sleep 1000", "died", "more than"),
    ],
)
def test_end_that_is_no_answer_is_a_problem_with_a_name(body: str, problem: str, words: str) -> None:
    worker = shell_worker(body)
    reading = worker.read(LONG if problem == "died" else 1.0)
    assert (reading.problem, worker.pid) == (problem, None)
    assert words in reading.why


def test_garbage_between_the_lines_breaks_nothing() -> None:
    worker = shell_worker("read x; printf 'hello\\n[1]\\nnull\\n\\n'; echo '{\"done\": true, \"last\": true}'")
    reading = worker.read(LONG)
    assert (reading.problem, reading.records, worker.pid) == (None, [], None)


def test_interpreter_that_is_missing_is_named() -> None:
    reading = Worker(["/nowhere/python"], {}).read(1.0)
    assert reading.problem == "not_started" and "/nowhere/python" in reading.why


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for body in ("exit 3", 'read x; echo \'{"done": true, "last": true}\''):
        worker = shell_worker(body)
        for _turn in range(3):
            worker.read(LONG)
    Worker(["/nowhere/python"], {}).read(1.0)
    assert len(os.listdir("/proc/self/fd")) == before
