# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real nvidia-ml-py against the fake libnvidia-ml: what the probe makes of healthy cards and of every fault."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.fakes.nvml import scenarios
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu import snapshots
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.nvml_fake import FakeNvml, fake_nvml


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeNvml:
    return fake_nvml(monkeypatch, tmp_path)


def keys(value: Any) -> Any:
    """Return only the keys of nested dictionaries."""
    return {key: keys(item) for key, item in value.items()} if isinstance(value, dict) else None


def test_eight_h100_have_every_key_of_the_snapshot_and_no_error(fake: FakeNvml) -> None:
    result = fake.play("hgx_h100_8").probe()
    expected = snapshots.gpu(0)
    assert result["nvml"]["status"] == "ok"
    assert result["nvml"]["driver_version"] == fake.scenario["driver_version"]
    assert result["nvml"]["cuda_version"].replace(".", "0") + "0" == fake.scenario["cuda_version"]
    assert [gpu["index"] for gpu in result["gpus"]] == list(range(8))
    assert [gpu["errors"] for gpu in result["gpus"]] == [{}] * 8
    first = result["gpus"][0]
    assert keys(first) == keys(expected)
    assert keys(first["nvlink"][0]) == keys(expected["nvlink"][0])
    same = ("name", "architecture", "compute_capability", "compute_mode", "mig", "ecc", "recovery_action")
    assert {key: first[key] for key in same} == {key: expected[key] for key in same}
    assert first["pci"]["address"] == "0000:18:00.0"
    assert (first["pci"]["vendor_id"], first["pci"]["device_id"], first["pci"]["bus"]) == ("10de", "2330", 0x18)
    assert len(first["nvlink"]) == 18
    assert {(link["active"], link["version"]) for link in first["nvlink"]} == {(True, 4)}
    assert first["fabric"] == {"state": "completed", "status": 0, "health_summary": "healthy", "health_mask": 0xAA}
    assert len(result["topology"]) == 28
    assert result["topology"][0] == {"a": 0, "b": 1, "ancestor": "node", "p2p_nvlink": "ok", "p2p_read": "ok"}


def test_every_unit_is_the_one_in_the_key(fake: FakeNvml) -> None:
    fake.play("hgx_h100_8").gpu(0, {"power.usage_mw": 123456, "power.energy_mj": 5000, "temperature.gpu": 61})
    fake.gpu(0, {"event_ns.hw_thermal": 2_500_000_000})
    gpu = fake.probe(topology=False)["gpus"][0]
    assert gpu["power"]["usage_watts"] == pytest.approx(123.456)
    assert gpu["power"]["energy_joules"] == 5.0
    assert gpu["clock_event_seconds"]["hw_thermal"] == 2.5
    assert gpu["temperature"]["gpu_celsius"] == 61
    assert gpu["memory"]["total_bytes"] == 81559 * 1024**2


def test_a_geforce_has_null_where_it_has_nothing_and_no_error(fake: FakeNvml) -> None:
    result = fake.play("rtx_4090_4").probe()
    assert len(result["gpus"]) == 4
    gpu = result["gpus"][0]
    assert gpu["serial"] is None
    assert gpu["nvlink"] == []
    assert gpu["ecc"]["mode_current"] is False
    assert gpu["ecc"]["volatile_uncorrected"] is None
    assert gpu["row_remap"]["pending"] is None
    assert gpu["mig"] == {"current": None, "pending": None}
    assert gpu["temperature"]["memory_celsius"] is None
    assert gpu["errors"] == {}
    assert {pair["p2p_nvlink"] for pair in result["topology"]} == {"not_supported"}


def test_one_card_has_no_topology(fake: FakeNvml) -> None:
    result = fake.play("l4_1").probe()
    assert [gpu["name"] for gpu in result["gpus"]] == ["NVIDIA L4"]
    assert result["topology"] == []


def test_an_old_card_counts_retired_pages(fake: FakeNvml) -> None:
    fake.play("t4_1").gpu(0, {"retired.single_bit": 2, "retired.double_bit": 1, "retired.pending": 1})
    gpu = fake.probe()["gpus"][0]
    assert gpu["architecture"] == "turing"
    assert gpu["retired_pages"] == {"single_bit": 2, "double_bit": 1, "pending": True}
    assert gpu["fabric"] is None


def test_no_driver_says_so_and_how_to_load_it(fake: FakeNvml) -> None:
    result = fake.play("none").probe()
    assert result["nvml"]["status"] == "not_loaded"
    assert result["nvml"]["code"] == 9
    assert "modprobe nvidia" in result["nvml"]["error"]
    assert result["gpus"] == result["topology"] == []


@pytest.mark.parametrize(
    ("code", "status"), [(18, "mismatch"), (12, "missing_library"), (4, "error"), (999, "error"), (15, "error")]
)
def test_what_the_start_answers_becomes_a_status(fake: FakeNvml, code: int, status: str) -> None:
    nvml = fake.play("hgx_h100_8", init_code=code).probe()["nvml"]
    assert (nvml["status"], nvml["code"]) == (status, code)
    assert f"nvmlInit answered {code} " in nvml["error"]


def test_a_lost_gpu_keeps_who_it_is_and_the_others_are_whole(fake: FakeNvml) -> None:
    fake.play("hgx_h100_8").gpu(3, {"error.nvmlDeviceGetMemoryInfo": 15, "error.nvmlDeviceGetArchitecture": 15})
    result = fake.probe()
    lost = result["gpus"][3]
    assert result["nvml"]["status"] == "ok"
    assert lost["uuid"] and lost["pci"]["address"] == "0000:5d:00.0"
    assert lost["errors"] == {"nvmlDeviceGetArchitecture": {"code": 15, "name": "GPU_IS_LOST"}}
    assert lost["memory"]["total_bytes"] is None
    assert keys(lost) == keys({**snapshots.gpu(3, row_remap__histogram=None), "fabric": None, "errors": lost["errors"]})
    assert result["gpus"][4]["memory"]["total_bytes"]
    pairs = {(pair["a"], pair["b"]): pair["ancestor"] for pair in result["topology"]}
    assert len(pairs) == 28
    assert pairs[3, 4] is None and pairs[2, 4] == "system" and pairs[4, 5] == "node"


def test_a_gpu_without_a_handle_has_a_record_with_its_address_from_the_bus(fake: FakeNvml, tmp_path: Path) -> None:
    fake.use(scenarios.gpu_lost(scenarios.profile("rtx_4090_4"), 2))
    for address in ("0000:01:00.0", "0000:25:00.0", "0000:81:00.0", "0000:c1:00.0", "0000:00:1f.0"):
        device = tmp_path / "bus/pci/devices" / address
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x8086\n" if "1f" in address else "0x10de\n")
        (device / "class").write_text("0x030000\n")
        (device / "numa_node").write_text("1\n" if address > "0000:80" else "-1\n")
    gpus = fake.probe()["gpus"]
    assert [gpu["pci"]["address"] for gpu in gpus] == ["0000:01:00.0", "0000:25:00.0", "0000:81:00.0", "0000:c1:00.0"]
    assert [gpu["pci"]["numa_node"] for gpu in gpus] == [None, None, 1, 1]
    assert gpus[2]["name"] is None
    assert gpus[2]["errors"] == {"nvmlDeviceGetHandleByIndex": {"code": 15, "name": "GPU_IS_LOST"}}
    assert gpus[3]["errors"] == {}


@pytest.mark.parametrize("kind", ["stubborn", "dstate"])
def test_a_hang_ends_at_the_deadline_and_keeps_the_gpus_read_before(fake: FakeNvml, kind: str) -> None:
    fake.play("hgx_h100_8").gpu(5, {"hang.nvmlDeviceGetPowerUsage": kind})
    started = time.monotonic()
    result = fake.probe(deadline_seconds=1.0)
    assert time.monotonic() - started < 2.0
    assert result["nvml"]["status"] == "hung"
    assert result["nvml"]["hung_call"] == "nvmlDeviceGetPowerUsage (GPU 5)"
    assert "reboot" in result["nvml"]["error"]
    assert [gpu["index"] for gpu in result["gpus"]] == [0, 1, 2, 3, 4]
    assert result["nvml"]["driver_version"] == fake.scenario["driver_version"]


def test_ecc_remap_and_repair_values_come_through(fake: FakeNvml) -> None:
    fake.play("hgx_h100_8").gpu(
        1,
        {
            "ecc.volatile_uncorrected": 2,
            "ecc.aggregate_corrected": 70,
            "ecc.mode_pending": 0,
            "sram.threshold_exceeded": 1,
            "sram.aggregate_parity": 3,
            "sram.aggregate_secded": 4,
            "row_remap.uncorrected": 5,
            "row_remap.pending": 1,
            "row_remap.failed": 1,
            "row_remap.histogram.none": 2,
            "recovery_action": 2,
        },
    )
    gpu = fake.probe(topology=False)["gpus"][1]
    assert gpu["ecc"]["volatile_uncorrected"] == 2
    assert gpu["ecc"]["aggregate_corrected"] == 70
    assert (gpu["ecc"]["mode_current"], gpu["ecc"]["mode_pending"]) == (True, False)
    assert (gpu["ecc"]["sram_aggregate_uncorrected"], gpu["ecc"]["sram_threshold_exceeded"]) == (7, True)
    assert (gpu["row_remap"]["uncorrected"], gpu["row_remap"]["pending"], gpu["row_remap"]["failed"]) == (5, True, True)
    assert gpu["row_remap"]["histogram"]["none"] == 2
    assert gpu["recovery_action"] == 2


def test_throttling_is_named_bit_by_bit(fake: FakeNvml) -> None:
    fake.play("l4_1").gpu(0, {"clock_event_reasons": 0x64})
    assert fake.probe()["gpus"][0]["clock_event_reasons"] == ["sw_power_cap", "sw_thermal", "hw_thermal"]


def test_dead_links_are_inactive_and_no_errors(fake: FakeNvml) -> None:
    fake.play("hgx_h100_8").gpu(0, {"nvlink.4.active": 0, "nvlink.5.crc_errors": 9})
    gpu = fake.probe(topology=False)["gpus"][0]
    assert [link["link"] for link in gpu["nvlink"] if not link["active"]] == [4]
    assert gpu["nvlink"][4]["remote_pci"] is None
    assert gpu["nvlink"][5]["crc_errors"] == 9
    assert gpu["errors"] == {}


def test_fabric_and_modes_come_through(fake: FakeNvml) -> None:
    fake.play("hgx_h100_8").gpu(
        0,
        {
            "fabric.state": 2,
            "fabric.status": 999,
            "fabric.health_summary": 2,
            "persistence_mode": 0,
            "compute_mode": 3,
            "mig.pending": 1,
            "pcie.generation_current": 3,
            "pcie.width_current": 8,
            "inforom.validate_code": 14,
        },
    )
    gpu = fake.probe(topology=False)["gpus"][0]
    assert gpu["fabric"] == {"state": "in_progress", "status": 999, "health_summary": "unhealthy", "health_mask": 0xAA}
    assert gpu["persistence_mode"] is False
    assert gpu["compute_mode"] == "exclusive_process"
    assert gpu["mig"] == {"current": False, "pending": True}
    assert (gpu["pci"]["generation_current"], gpu["pci"]["width_current"]) == (3, 8)
    assert gpu["inforom_valid"] is False
    assert gpu["errors"] == {}


def test_an_unexpected_answer_is_kept_as_an_error(fake: FakeNvml) -> None:
    fake.play("l4_1").gpu(0, {"error.nvmlDeviceGetPowerUsage": 999, "error.nvmlDeviceGetSerial": 4})
    gpu = fake.probe()["gpus"][0]
    assert gpu["power"]["usage_watts"] is None
    assert gpu["errors"] == {
        "nvmlDeviceGetPowerUsage": {"code": 999, "name": "UNKNOWN"},
        "nvmlDeviceGetSerial": {"code": 4, "name": "NO_PERMISSION"},
    }


def test_processes_have_name_and_user_and_dead_ones_are_not_alive(fake: FakeNvml, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    fake.play("l4_1").gpu(0, {"process.0": f"compute {os.getpid()} 1048576"})
    fake.gpu(0, {"process.1": f"compute {gone.pid} 2097152"})
    alive, dead = fake.probe()["gpus"][0]["processes"]
    assert (alive["pid"], alive["kind"], alive["memory_bytes"], alive["alive"]) == (
        os.getpid(),
        "compute",
        1048576,
        True,
    )
    assert alive["name"] and alive["user"]
    assert dead == {
        "pid": gone.pid,
        "kind": "compute",
        "memory_bytes": 2097152,
        "name": None,
        "user": None,
        "alive": False,
    }


def test_a_zombie_is_not_alive_but_has_its_name(fake: FakeNvml, tmp_path: Path) -> None:
    (tmp_path / "proc/4242").mkdir(parents=True)
    (tmp_path / "proc/4242/stat").write_text("4242 (python3 (old)) Z 1 4242\n")
    fake.play("l4_1").gpu(0, {"process.0": "graphics 4242 -"})
    (process,) = fake.probe(procfs_root=str(tmp_path / "proc"))["gpus"][0]["processes"]
    assert (process["name"], process["alive"], process["memory_bytes"]) == ("python3 (old)", False, None)


def test_drivers_that_number_the_throttle_counters_differently_are_asked_for_their_own(fake: FakeNvml) -> None:
    fake.play("l4_1", driver_version="575.57.08").gpu(0, {"field.251": 10**9, "event_ns.sw_thermal": 7 * 10**9})
    assert fake.probe()["gpus"][0]["clock_event_seconds"]["sw_thermal"] == 1.0
    fake.play("l4_1", driver_version="580.126.09").gpu(0, {"field.251": 10**9, "event_ns.sw_thermal": 7 * 10**9})
    assert fake.probe()["gpus"][0]["clock_event_seconds"]["sw_thermal"] == 7.0


def test_the_real_library_without_a_driver_is_not_loaded() -> None:
    directory = os.environ.get("LOCAL_LLM_REAL_NVML")
    if not directory:
        pytest.skip("LOCAL_LLM_REAL_NVML names no directory with a real libnvidia-ml.so.1")
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has a driver")
    if importlib.util.find_spec("pynvml") is None:
        pytest.skip("nvidia-ml-py is not installed here")
    nvml = FakeNvml(Path(directory), Path("/nonexistent/scenario")).probe()["nvml"]
    assert (nvml["status"], nvml["code"]) == ("not_loaded", 9)
