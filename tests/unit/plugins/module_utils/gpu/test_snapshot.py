# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot: all parts are there, a bare host runs no program, two runs at once see every event once."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _collect_read, _snapshot
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _recovery_mark as mark_of
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import TIMED_OUT, with_time_limit
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import changed_state, read_state
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Ask
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_mark import read_document
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._snapshot import (
    Sources,
    iso_utc,
    read_parts,
    read_uptime,
    take_snapshot,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import snapshot

HEALTHY = snapshot()
XID = "4,{},1000000,-;NVRM: Xid (PCI:0000:18:00): 79, pid=1, name=x, GPU has fallen off the bus.\n"


def no_command(command: Sequence[str]) -> tuple[int, str, str]:
    raise AssertionError(f"nothing should run: {command}")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/uptime").write_text("1000.5 1.0\n")
    (tmp_path / "kern.log").write_text(XID.format(1) * 2)
    asked = {key: HEALTHY[key] for key in ("nvml", "gpus", "topology")}
    monkeypatch.setattr(_snapshot, "probe", lambda ask: asked)
    ask = Ask(procfs_root=str(tmp_path / "proc"), sysfs_root=str(tmp_path / "sys"))
    return Sources(ask, str(tmp_path / "kern.log"), str(tmp_path / "health/state.json"))


def test_a_snapshot_has_every_key_that_checks_may_look_at(sources: Sources) -> None:
    taken = take_snapshot(sources, no_command, write_state=True)
    assert set(taken) == {*HEALTHY, "state"}
    for part in ("nvml", "driver", "kernel", "host", "log"):
        assert set(taken[part]) == set(HEALTHY[part]), part
    assert taken["uptime_seconds"] == 1000.5 and taken["boot_id"] is None
    assert set(taken["units"]) == set(HEALTHY["units"])


def test_a_host_without_a_device_runs_no_program(sources: Sources) -> None:
    parts = read_parts(sources, no_command, None)
    assert parts["pci"] == [] and parts["fabric_manager_version"] is None
    assert {unit["load_state"] for unit in parts["units"].values()} == {"not-found"}


def test_the_run_before_is_what_this_one_compares_with(sources: Sources) -> None:
    first = take_snapshot(sources, no_command, write_state=True)
    second = take_snapshot(sources, no_command, write_state=True)
    assert first["previous"] is None
    assert second["previous"]["taken_at_seconds"] == first["taken_at_seconds"]
    assert set(second["previous"]["gpus"]) == {gpu["uuid"] for gpu in HEALTHY["gpus"]}


def test_counters_stay_when_no_gpu_answers(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    first = take_snapshot(sources, no_command, write_state=True)
    monkeypatch.setattr(_snapshot, "probe", lambda ask: {"nvml": HEALTHY["nvml"], "gpus": [], "topology": []})
    take_snapshot(sources, no_command, write_state=True)
    third = take_snapshot(sources, no_command, write_state=True)
    assert third["previous"]["taken_at_seconds"] == first["taken_at_seconds"]


def test_a_run_that_compares_nothing_takes_no_growth_away(sources: Sources) -> None:
    first = take_snapshot(sources, no_command, write_state=True)
    take_snapshot(sources, no_command, write_state=True, ran=("xid",))
    third = take_snapshot(sources, no_command, write_state=True)
    assert third["previous"]["taken_at_seconds"] == first["taken_at_seconds"]


def test_every_program_has_a_time_limit(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(sources: Sources, run_command: Any, uptime: float | None) -> dict[str, Any]:
        assert run_command(["sleep", "60"]) == (0, "", "")
        return {key: HEALTHY[key] for key in ("driver", "pci", "kernel", "units", "fabric_manager_version", "host")}

    asked: list[list[str]] = []

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        asked.append(list(command))
        return 0, "", ""

    monkeypatch.setattr(_snapshot, "read_parts", parts)
    take_snapshot(sources, run, write_state=False)
    ((program, *arguments),) = asked
    assert program.endswith("/timeout") and arguments == ["-k", "5", "60", "sleep", "60"]


def test_a_program_that_hangs_is_ended() -> None:
    def run(command: Sequence[str]) -> tuple[int, str, str]:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, done.stdout, done.stderr

    assert with_time_limit(run, 0.2)(["/bin/sh", "-c", "sleep 60 | cat"])[0] in TIMED_OUT


def test_a_host_without_timeout_runs_its_programs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_collect_read, "find_program", lambda name: None)
    assert with_time_limit(lambda command: (0, " ".join(command), ""))(["modinfo", "x"]) == (0, "modinfo x", "")


def test_the_snapshot_knows_when_a_person_mended_a_gpu(sources: Sources) -> None:
    document = read_document(os.path.dirname(sources.state_path))
    for address, at in (("0000:18:00.0", 5.0), ("0000:18:00.0", 3.0), ("*", 4.0)):
        document = mark_of.clear(document, address, [], "card replaced", "me", at)
    mark_of.write_document(os.path.dirname(sources.state_path), document)
    taken = take_snapshot(sources, no_command, write_state=True)
    assert taken["state"]["mended_at_seconds"] == {"0000:18:00.0": 5.0, "*": 4.0}


def test_many_runs_at_once_count_every_event_once(sources: Sources) -> None:
    threads = [
        threading.Thread(target=take_snapshot, args=(sources, no_command), kwargs={"write_state": True})
        for _number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(read_state(sources.state_path)[0]["events"]) == 2


def test_a_state_that_another_run_holds_is_a_problem_and_no_end(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_snapshot, "changed_state", lambda path: changed_state(path, wait_seconds=0.02))
    with changed_state(sources.state_path):
        taken = take_snapshot(sources, no_command, write_state=True)
    assert "another run holds" in taken["state"]["problem"] and len(taken["log"]["events"]) == 2


def test_what_breaks_in_the_part_that_asks_nvml_is_not_hidden(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(ask: Ask) -> dict[str, Any]:
        raise RuntimeError("no source")

    monkeypatch.setattr(_snapshot, "probe", broken)
    with pytest.raises(RuntimeError, match="no source"):
        take_snapshot(sources, no_command, write_state=True)


@pytest.mark.parametrize(("text", "uptime"), [("12.5 3.0", 12.5), ("", None), ("x", None)])
def test_an_uptime_that_cannot_be_read_is_unknown(tmp_path: Path, text: str, uptime: float | None) -> None:
    (tmp_path / "uptime").write_text(text)
    assert read_uptime(str(tmp_path)) == uptime


def test_times_are_told_in_utc() -> None:
    assert iso_utc(1793534400.9) == "2026-11-01T12:00:00Z"
