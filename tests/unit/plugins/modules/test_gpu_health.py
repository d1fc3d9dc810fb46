# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module gpu_health: bad options are refused before anything is read; the host remembers, except in check mode."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _health_state as health_state
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _snapshot
from ansible_collections.local_llm.ops.plugins.modules import gpu_health
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu, snapshot

Run = Callable[..., dict[str, Any]]
POLICY = {
    "codes": {"79": {"meaning": "the GPU has fallen off the bus", "status": "fail", "remedy": "reboot"}},
    "unknown": {"meaning": "unknown", "status": "warn", "remedy": "none"},
}
XID_79 = "4,{},1000000,-;NVRM: Xid (PCI:0000:1b:00): 79, pid=1, name=x, GPU has fallen off the bus.\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the module see healthy GPUs; the kernel log and the state are real files."""
    taken = snapshot([gpu(index) for index in range(8)])
    root = tmp_path / "proc"
    (root / "sys/kernel/random").mkdir(parents=True)
    (root / "sys/kernel/random/boot_id").write_text(taken["boot_id"])
    (root / "uptime").write_text("1000.0 1.0")
    parts = {key: taken[key] for key in ("driver", "pci", "kernel", "units", "fabric_manager_version", "host")}
    asked = {key: taken[key] for key in ("nvml", "gpus", "topology")}
    monkeypatch.setattr(_snapshot, "probe", lambda ask: asked)
    monkeypatch.setattr(_snapshot, "read_parts", lambda *arguments: parts)
    (tmp_path / "kern.log").write_text("6,1,1000000,-;Linux version\n")
    return {"snapshot": taken, "log": tmp_path / "kern.log", "state": tmp_path / "health" / "state.json", "proc": root}


@pytest.fixture
def run(host: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Run:
    def call(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {
            "_ansible_check_mode": check_mode,
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
            "kernel_log": str(host["log"]),
            "state_path": str(host["state"]),
            "procfs_root": str(host["proc"]),
            "xid_policy": POLICY,
            **arguments,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            gpu_health.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


def by_check(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["check"]: item for item in result["findings"]}


def test_a_healthy_host_is_healthy(run: Run, host: dict[str, Any]) -> None:
    result = run()
    assert (result["status"], result["changed"], result["remedy"]) == ("healthy", False, "none")
    assert result["summary"]["fail"] == result["summary"]["warn"] == 0
    assert result["gpus"][3] == {
        "index": 3,
        "uuid": host["snapshot"]["gpus"][3]["uuid"],
        "name": "NVIDIA H100 80GB HBM3",
        "pci_address": "0000:1b:00.0",
        "serial": "1651223000003",
    }
    assert result["events"] == [] and result["log"] == {
        "source": "file", "readable": True, "error": None, "lost_messages": 0,
    }  # fmt: skip


def test_an_xid_takes_the_host_out_of_service_until_it_is_cleared(run: Run, host: dict[str, Any]) -> None:
    run()
    with host["log"].open("a") as stream:
        stream.write(XID_79.format(2))
    result = run(fail=True)
    assert result["failed"] and result["status"] == "out_of_service" and result["remedy"] == "reboot"
    assert "GPU 3" in result["msg"] and [event["code"] for event in result["events"]] == [79]
    # Nothing new in the log, and it still counts.
    again = run()
    assert again["status"] == "out_of_service" and len(again["events"]) == 1 and not again.get("failed")
    with health_state.changed_state(str(host["state"])) as held:
        held.state["cleared_at_seconds"]["0000:1b:00.0"] = time.time()
    assert run()["status"] == "healthy"


def test_the_repairs_that_the_host_remembers_are_told(run: Run, host: dict[str, Any]) -> None:
    action = {
        "at_seconds": 1.0, "rung": "reset_gpu", "gpu_uuid": "GPU-0", "pci_address": "0000:18:00.0", "reason": "xid",
        "xid": 79, "boot_id": None, "result": "verified",
    }  # fmt: skip
    assert run()["repairs"] == []
    state = json.loads(host["state"].read_text())
    host["state"].write_text(json.dumps({**state, "actions": [{**action, "at_seconds": time.time()}]}))
    assert [(item["rung"], item["result"]) for item in run()["repairs"]] == [("reset_gpu", "verified")]


def test_only_what_came_since_a_time_counts_when_asked_so(run: Run, host: dict[str, Any]) -> None:
    with host["log"].open("a") as stream:
        stream.write(XID_79.format(2))
    assert run(since_seconds=4e9)["status"] == "healthy"
    assert run(since_seconds=0)["status"] == "out_of_service"


def test_the_host_remembers_how_far_it_read_and_the_counters(run: Run, host: dict[str, Any]) -> None:
    run()
    state, problem = health_state.read_state(str(host["state"]))
    assert problem is None and state["cursor"]["offset"] == host["log"].stat().st_size
    assert len(state["previous"]["gpus"]) == 8
    host["snapshot"]["gpus"][0]["nvlink"][0]["crc_errors"] = 500
    run()
    assert health_state.read_state(str(host["state"]))[0]["previous"]["gpus"][gpu(0)["uuid"]]["nvlink_errors"] == 500


def test_a_run_of_other_checks_leaves_the_counters_to_those_that_compare(run: Run, host: dict[str, Any]) -> None:
    run()
    before = health_state.read_state(str(host["state"]))[0]["previous"]
    run(checks=["xid"])
    assert health_state.read_state(str(host["state"]))[0]["previous"] == before
    run(skip_checks=["pcie_replay"])
    assert health_state.read_state(str(host["state"]))[0]["previous"] != before


def test_check_mode_finds_the_same_and_writes_nothing(run: Run, host: dict[str, Any]) -> None:
    with host["log"].open("a") as stream:
        stream.write(XID_79.format(2))
    assert run(check_mode=True)["status"] == "out_of_service"
    assert not host["state"].parent.exists()
    run()
    before = host["state"].read_bytes()
    assert run(check_mode=True)["status"] == "out_of_service"
    assert host["state"].read_bytes() == before
    assert sorted(os.listdir(host["state"].parent)) == ["state.json", "state.json.lock"]


def test_a_broken_state_is_a_warning_and_begins_anew(run: Run, host: dict[str, Any]) -> None:
    host["state"].parent.mkdir()
    host["state"].write_text("{ half")
    result = run()
    assert result["status"] == "degraded"
    assert "is broken" in by_check(result)["health_state"]["observed"]
    assert run()["status"] == "healthy"


def test_a_state_that_cannot_be_written_is_a_warning(run: Run, host: dict[str, Any]) -> None:
    host["state"].parent.write_text("a file where the directory should be")
    result = run()
    assert "cannot be written" in by_check(result)["health_state"]["observed"]
    assert result["summary"]["fail"] == 0


def test_a_kernel_log_that_is_switched_off_is_skipped(run: Run) -> None:
    result = run(kernel_log="none")
    assert result["status"] == "healthy"
    assert {by_check(result)[name]["status"] for name in ("kernel_log", "xid", "sxid")} == {"skip"}


def test_only_the_named_checks_run(run: Run) -> None:
    assert set(by_check(run(checks=["xid", "gpu_count"], skip_checks=["xid"]))) == {"gpu_count"}


def test_the_result_does_not_repeat_the_policy(run: Run) -> None:
    result = run()
    assert '"codes"' not in json.dumps(result)
    # From ansible-core 2.21 on the arguments are told elsewhere.
    arguments = result.get("invocation", {}).get("module_args", {"xid_policy": None})
    assert arguments["xid_policy"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checks": ["xidd"]}, "checks: xidd: no check has this name. Did you mean xid?"),
        ({"skip_checks": ["nothing"]}, "skip_checks: nothing: no check has this name"),
        ({"checks": ["xid"], "skip_checks": ["xid"]}, "leaves out every check"),
        ({"thresholds": {"xidd": {}}}, "thresholds: xidd: no check has this name. Did you mean xid?"),
        ({"thresholds": {"pcie_replay": {"x": 1}}}, "thresholds.pcie_replay.x: the check has no such threshold"),
        (
            {"thresholds": {"pcie_replay": {"per_minute": -1}}},
            "thresholds.pcie_replay.per_minute: -1 is out of range. Use",
        ),
        ({"thresholds": {"pcie_replay": {"per_minute": "x"}}}, "'x' is not a number"),
        ({"thresholds": {"pcie_replay": 3}}, "3 is not a dictionary of thresholds"),
        ({"expected": {"gpu_cont": 8}}, "Unsupported parameters .*gpu_cont"),
        ({"expected": {"gpu_count": -1}}, "expected.gpu_count: -1 is out of range. Use 0 to 64."),
        ({"expected": {"gpu_count": 4, "minimum_gpus": 8}}, "expected.minimum_gpus: 8 is more than expected.gpu_count"),
        ({"expected": {"compute_mode": "x"}}, "compute_mode must be one of: default, exclusive_thread"),
        ({"xid_policy": {"code": {}}}, "xid_policy: it has none of codes, groups and rules"),
        ({"xid_policy": {"codes": []}, "sxid_policy": {"codes": [1]}}, "sxid_policy.codes: .* is no dictionary"),
        ({"xid_policy": {"codes": {"79": 1}}}, "xid_policy.codes.79: 1 is no dictionary"),
        ({"xid_policy": {"codes": {"x": {}}}}, "xid_policy.codes.x: a code is a number"),
        ({"xid_policy": {"codes": {"79": {"remedy": "drive"}}}}, "xid_policy.codes.79.remedy: drive is none of"),
        ({"xid_policy": {"groups": [{"status": "ok"}]}}, r"xid_policy.groups\[0\].codes: None is no list"),
        ({"kernel_log": "/no/such/file"}, "kernel_log: /no/such/file does not exist"),
        ({"kernel_log": "kern.log"}, "kernel_log: kern.log is neither auto nor none nor an absolute path"),
        ({"kernel_log": "/tmp"}, "kernel_log: /tmp is a directory"),
        ({"state_path": "state.json"}, "state_path: state.json is no absolute path"),
        ({"state_path": "/tmp"}, "state_path: /tmp is a directory"),
        ({"deadline_seconds": 0}, "deadline_seconds: 0 is out of range. Use 1 to 600."),
        ({"nvml_python": "/no/python"}, "nvml_python: /no/python is no program"),
        ({"nvml_library_directory": "/no/lib"}, "nvml_library_directory: /no/lib is no directory"),
        ({"sysfs_root": "/no/sys"}, "sysfs_root: /no/sys is no directory"),
        ({"since_seconds": -1}, "since_seconds: -1.0 is no time"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_read(
    run: Run, host: dict[str, Any], monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(gpu_health, "take_snapshot", None)
    result = run(**arguments)
    assert result["failed"] and re.search(message, result["msg"]), result["msg"]
    assert not host["state"].exists()


def test_the_documented_options_are_those_that_there_are() -> None:
    documented = yaml.safe_load(gpu_health.DOCUMENTATION)["options"]
    specs = gpu_health.argument_spec()
    assert set(documented) == set(specs)
    for name, spec in specs.items():
        assert (documented[name]["type"], documented[name].get("default")) == (spec["type"], spec.get("default")), name
    suboptions = documented["expected"]["suboptions"]
    assert {name: values["type"] for name, values in suboptions.items()} == {
        name: spec["type"] for name, spec in specs["expected"]["options"].items()
    }
