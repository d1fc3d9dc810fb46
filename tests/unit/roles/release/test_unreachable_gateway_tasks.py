# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway that is unreachable just when it is asked: told, never passed over, and never the silent end of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
TASKS = Path(__file__).resolve().parents[4] / "roles" / "_release" / "tasks"
MODULES = ("rollout_lock", "gateway_info", "rollout_mark", "llm_release_info", "rollout_plan")
# Writes down its name and its options, and answers what the test has for its name.
MODULE = """#!/usr/bin/python
# WANT_JSON
import json, sys
options = {{key: value for key, value in json.load(open(sys.argv[1])).items() if not key.startswith("_")}}
with open({log!r}, "a") as log:
    log.write({name!r} + " " + json.dumps(options, sort_keys=True) + "\\n")
print(json.dumps(json.load(open({answers!r})).get({name!r}, {{"changed": False}})))
"""
HELD = {"changed": True, "outcome": "acquired", "holder": {"rollout_id": "r1"}, "took_over": None}
FREE = {"changed": False, "outcome": "query", "holder": None, "expired": False}


def run(
    place: Path, file: str, answers: dict[str, Any] | None = None, unreachable: tuple[str, ...] = ("gw2",)
) -> tuple[int, str, list[str]]:
    """Run tasks of the role on two hosts with two gateways; return exit code, output, and calls of modules."""
    (place / "library").mkdir()
    log = place / "calls.log"
    log.touch()
    for name in MODULES:
        text = MODULE.format(name=name, log=str(log), answers=str(place / "answers.json"))
        (place / "library" / f"{name}.py").write_text(text, encoding="utf-8")
    (place / "answers.json").write_text(json.dumps(answers or {}), encoding="utf-8")
    for path in TASKS.glob("*.yml"):
        text = path.read_text(encoding="utf-8").replace("local_llm.ops.", "")
        (place / path.name).write_text(text, encoding="utf-8")
    # A port that nothing listens on.
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    here = {"ansible_connection": "local"}
    gateways = {name: away if name in unreachable else here for name in ("gw1", "gw2")}
    hosts = {"gpu1": here, "gpu2": here}
    children = {"gpu_hosts": {"hosts": hosts}, "gateway": {"hosts": gateways}}
    (place / "inventory.yml").write_text(yaml.safe_dump({"all": {"children": children}}), encoding="utf-8")
    variables = {
        "_release_gateways": ["gw1", "gw2"],
        "_release_recovery_lock_directory": "/nowhere",
        "_release_planned": {"rollout_id": "r1"},
        "_release_lock_id": "r1",
        "_release_rollout_id": "r1",
        "_release_plan": {"direction": "forward", "hosts": {}},
        "_release_playbook": "upgrade",
        "_release_started_seconds": 1,
        "_release_rollout_root": "/nowhere",
        "_release_serial": [1],
        "_release_canary_host": "",
        "ansible_python_interpreter": sys.executable,
    }
    went = {"content": "yes", "dest": str(place / "went-on-{{ inventory_hostname }}"), "mode": "0600"}
    play = {"hosts": "gpu_hosts", "gather_facts": False, "any_errors_fatal": True, "vars": variables,
            "tasks": [{"ansible.builtin.include_tasks": file}, {"ansible.builtin.copy": went}]}  # fmt: skip
    (place / "play.json").write_text(json.dumps([play]), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_SSH_ARGS": "-o BatchMode=yes"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(place / "inventory.yml")]
    done = subprocess.run(
        [*command, str(place / "play.json")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    output = " ".join((done.stdout + done.stderr).split())
    return done.returncode, output, log.read_text(encoding="utf-8").splitlines()


def went_on(place: Path) -> list[str]:
    return sorted(path.name for path in place.glob("went-on-*"))


def test_the_plan_is_told_which_gateway_did_not_answer_instead_of_ending_there(tmp_path: Path) -> None:
    code, output, calls = run(tmp_path, "plan.yml", {"gateway_info": {"changed": False, "servers": []}})
    assert code == 0, output
    (planned,) = [json.loads(call.split(" ", maxsplit=1)[1]) for call in calls if call.startswith("rollout_plan")]
    infos = planned["gateway_infos"]
    assert infos["gw1"]["servers"] == []
    assert infos["gw2"]["unreachable"] is True and "Connection refused" in infos["gw2"]["msg"]
    assert went_on(tmp_path) == ["went-on-gpu1", "went-on-gpu2"]


def test_a_plan_knows_of_every_gateway_also_of_one_that_nobody_asked(tmp_path: Path) -> None:
    _code, _output, calls = run(tmp_path, "plan.yml", unreachable=("gw1", "gw2"))
    (planned,) = [json.loads(call.split(" ", maxsplit=1)[1]) for call in calls if call.startswith("rollout_plan")]
    assert set(planned["gateway_infos"]) == {"gw1", "gw2"}


@pytest.mark.parametrize("away", ["gw1", "gw2"])
def test_the_lock_is_taken_everywhere_or_nowhere(tmp_path: Path, away: str) -> None:
    code, output, calls = run(tmp_path, "lock.yml", {"rollout_lock": HELD}, unreachable=(away,))
    assert code != 0 and not went_on(tmp_path)
    assert f"{away}: " in output and "held at every gateway or at none" in output and "Nothing was changed." in output
    # gw1 is asked first: where it is away nobody else is asked.
    states = [json.loads(call.split(" ", maxsplit=1)[1])["state"] for call in calls]
    assert states == ([] if away == "gw1" else ["held", "released"])


def test_a_lock_that_somebody_else_holds_is_refused_in_its_own_words(tmp_path: Path) -> None:
    refused = {"failed": True, "outcome": "refused", "msg": "gw1: rollout r0 holds the lock: m.rossi on control1."}
    code, output, calls = run(tmp_path, "lock.yml", {"rollout_lock": refused}, unreachable=())
    assert code != 0 and not went_on(tmp_path)
    assert "rollout r0 holds the lock: m.rossi on control1. Nothing was changed." in output
    assert len(calls) == 1, "the second gateway is not asked"


def test_with_all_gateways_the_lock_is_taken_once_for_all_hosts(tmp_path: Path) -> None:
    code, output, calls = run(tmp_path, "lock.yml", {"rollout_lock": HELD}, unreachable=())
    assert code == 0, output
    assert len(calls) == 2 and went_on(tmp_path) == ["went-on-gpu1", "went-on-gpu2"]


@pytest.mark.parametrize("file", ["refuse_beside_recovery.yml", "refuse_beside_rollout.yml"])
def test_who_cannot_be_asked_about_a_lock_is_no_free_way(tmp_path: Path, file: str) -> None:
    code, output, _calls = run(tmp_path, file, {"rollout_lock": FREE})
    assert code != 0 and not went_on(tmp_path)
    assert "gw2 did not answer" in output and "nobody knows whether" in output


@pytest.mark.parametrize("file", ["refuse_beside_recovery.yml", "refuse_beside_rollout.yml"])
def test_free_locks_let_everybody_go_on(tmp_path: Path, file: str) -> None:
    code, output, calls = run(tmp_path, file, {"rollout_lock": FREE}, unreachable=())
    assert code == 0, output
    assert len(calls) == 2 and went_on(tmp_path) == ["went-on-gpu1", "went-on-gpu2"]


def test_a_lock_that_is_held_refuses_all_hosts(tmp_path: Path) -> None:
    holder = {"rollout_id": "models-1", "user": "m.rossi"}
    held = {**FREE, "holder": holder, "told": "The playbook models holds it. Wait for its end."}
    code, output, _calls = run(tmp_path, "refuse_beside_rollout.yml", {"rollout_lock": held}, unreachable=())
    assert code != 0 and not went_on(tmp_path)
    assert "The playbook models holds it. Wait for its end." in output


def test_a_mark_for_dashboards_stops_nothing(tmp_path: Path) -> None:
    code, output, calls = run(tmp_path, "mark.yml")
    assert code == 0, output
    assert calls and went_on(tmp_path) == ["went-on-gpu1", "went-on-gpu2"]
