# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first driver of a host, and the holds of one that is there: what is done, what is taken back, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.roles.task_runs import defaults_of, run_tasks, tasks_of

NEW = "535.261.03"
MODULES = ("gpu_driver", "gpu_driver_info", "gpu_driver_verdict", "llm_release_info")
SERVING = {"instances": [{"instance": "chat", "current": "x", "active_state": "active"}]}
NO_REBOOT = {"changed": True, "reboot_needed": False}
LOOK_AGAIN = """
- name: Look
  note:
    state: look
- name: It is as it was before
  ansible.builtin.set_fact:
    __nvidia_driver_known: "{{ __nvidia_driver_known | combine({'facts': {'transaction': none}}) }}"
"""


def run(
    place: Path,
    answers: dict[str, Any] | None = None,
    transaction: dict[str, Any] | None = None,
    planned: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
) -> tuple[int, str, list[str]]:
    driver_plan = {
        "from": None,
        "to": NEW,
        "changes": True,
        "refusals": [],
        "reboot": "not_needed",
        "hold": ["a"],
        **(plan or {}),
    }
    variables = {
        **defaults_of("nvidia_driver"),
        "nvidia_driver_version": NEW,
        "nvidia_driver_source": "distribution",
        "__nvidia_driver_source_changed": False,
        "__nvidia_driver_known": {
            "facts": {"transaction": transaction},
            "plan": driver_plan,
            "wanted": {"reboot": "ask"},
        },
        "__nvidia_driver_planned": {"only_holds": False, "refused": False, "msg": "this differs", **(planned or {})},
    }
    known = {
        "llm_release_info": {"instances": []},
        "gpu_driver_info": {"driver_facts": {"transaction": None}},
        "gpu_driver": NO_REBOOT,
        **(answers or {}),
    }
    tasks = {
        **tasks_of("nvidia_driver", "first.yml", "install.yml", "hold.yml", "take_back.yml"),
        "look.yml": LOOK_AGAIN,
    }
    return run_tasks(
        place, tasks, "first.yml", variables, known, modules=MODULES, stand_ins=("source.yml", "reboot.yml")
    )


def test_a_driver_that_runs_is_held_also_under_instances_that_serve(tmp_path: Path) -> None:
    code, output, calls = run(tmp_path, {"llm_release_info": SERVING}, planned={"only_holds": True}, plan={"from": NEW})
    assert code == 0, output
    states = ["downloaded", "stopped", "installed", "loaded", "held", "committed"]
    assert calls == ["llm_release_info", *(f"gpu_driver {state}" for state in states)]


def test_a_driver_that_must_change_is_left_alone_and_what_differs_is_told(tmp_path: Path) -> None:
    code, output, calls = run(tmp_path, plan={"from": "535.247.01"})
    assert (code, calls) == (0, ["llm_release_info"]), output
    assert "runs driver 535.247.01. To come to what the inventory wants: this differs" in " ".join(output.split())


def test_a_failure_before_anything_began_is_told_as_it_is(tmp_path: Path) -> None:
    broken = {"gpu_driver downloaded": {"failed": True, "msg": "no mirror has libcuda1"}}
    code, output, calls = run(tmp_path, broken)
    assert code == 2
    assert calls == ["llm_release_info", "gpu_driver downloaded", "gpu_driver_info"], output
    assert "no mirror has libcuda1 The host is as it was before." in output


@pytest.mark.parametrize("back_fails", [False, True])
def test_what_was_begun_is_taken_back_and_closed_and_both_reasons_are_told(tmp_path: Path, back_fails: bool) -> None:
    answers: dict[str, Any] = {
        "gpu_driver installed": {"failed": True, "msg": "dpkg stopped"},
        "gpu_driver_info": {
            "driver_facts": {"transaction": {"id": f"first-{NEW}", "state": "stopped", "closed": False}}
        },
    }
    if back_fails:
        answers["gpu_driver rolled_back"] = {"failed": True, "msg": "the disk is full"}
    code, output, calls = run(tmp_path, answers)
    assert code == 2
    if back_fails:
        assert calls[-1] == "gpu_driver rolled_back"
        assert "dpkg stopped The way back is not done either: the disk is full" in output
    else:
        assert calls[-2:] == ["gpu_driver rolled_back", "gpu_driver committed"]
        assert "dpkg stopped The host is as it was before." in output


def test_a_try_that_was_taken_back_and_not_closed_is_closed_before_the_next(tmp_path: Path) -> None:
    left = {"id": f"first-{NEW}", "state": "rolled_back", "closed": False, "from": None, "plan": {"to": NEW}}
    good = {"driver_facts": {"transaction": None, "loaded_version": NEW}}
    code, output, calls = run(tmp_path, {"gpu_driver_info": good}, transaction=left)
    assert code == 0, output
    assert calls[1:6] == [
        "gpu_driver rolled_back",
        "gpu_driver committed",
        "note source",
        "note look",
        "gpu_driver downloaded",
    ]
    assert calls[-1] == "gpu_driver committed"


def test_a_change_that_the_playbook_driver_began_is_left_to_it(tmp_path: Path) -> None:
    """It knows which servers to let in again; after its drain the host looks as if it served nothing."""
    left = {"id": "driver-1", "state": "rolled_back", "closed": False, "from": None, "plan": {"to": NEW}}
    code, output, calls = run(tmp_path, transaction=left, planned={"only_holds": True})
    assert (code, calls) == (0, ["llm_release_info"]), output
    assert "is in the middle of a change of its driver" in output
