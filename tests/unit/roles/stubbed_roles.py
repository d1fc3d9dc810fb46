# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of several roles in real runs of ansible-playbook, with modules that write down how they were called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
ROLES = ("_release", "_driver", "_model", "_recovery", "remediation", "nvidia_driver")
MODULES = (
    "rollout_lock", "gateway_info", "rollout_mark", "rollout_journal", "rollout_alerts", "llm_release_info",
    "gpu_driver_rollout", "model_artifact", "model_directory", "model_store", "said",
)  # fmt: skip
# Answers with the first rule of its name whose options are those of the call.
MODULE = """#!/usr/bin/python
# WANT_JSON
import json, sys
options = {{key: value for key, value in json.load(open(sys.argv[1])).items() if not key.startswith("_")}}
with open({log!r}, "a") as log:
    log.write(json.dumps([{name!r}, options]) + "\\n")
rules = json.load(open({answers!r})).get({name!r}, [])
fitting = [answer for match, answer in rules if match.items() <= options.items()]
print(json.dumps((fitting + [{{"changed": False}}])[0]))
"""
# In place of the tasks with which remediation is told; see said().
HOLD = [{"name": "Say", "said": {"text": "{{ _remediation_phase }} {{ _remediation_work }}"}}]
FAIL = [{"name": "Stumble", "ansible.builtin.fail": {"msg": "it went wrong"}}]


def tell(text: str) -> list[dict[str, Any]]:
    return [{"name": "Say", "said": {"text": text}}]


def include(role: str, file: str) -> list[dict[str, Any]]:
    return [{"name": "Include", "ansible.builtin.include_role": {"name": role, "tasks_from": file}}]


def run(
    place: Path,
    play: dict[str, Any],
    answers: dict[str, list[Any]] | None = None,
    stubs: dict[str, Any] | None = None,
    hosts: tuple[str, ...] = ("gpu1", "gpu2"),
    unreachable: tuple[str, ...] = (),
) -> tuple[int, str, list[tuple[str, dict[str, Any]]]]:
    """Run a play beside copies of the roles, with two gateways; return exit code, output, and calls of modules.

    stubs: {"role/file": tasks} that stand in for the role's own.
    """
    (place / "library").mkdir()
    log = place / "calls.log"
    log.touch()
    for name in MODULES:
        text = MODULE.format(name=name, log=str(log), answers=str(place / "answers.json"))
        (place / "library" / f"{name}.py").write_text(text, encoding="utf-8")
    (place / "answers.json").write_text(json.dumps(answers or {}), encoding="utf-8")
    for role in ROLES:
        for path in [*(ROOT / "roles" / role).glob("tasks/*.yml"), *(ROOT / "roles" / role).glob("defaults/*.yml")]:
            copy = place / "roles" / role / path.parent.name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text(encoding="utf-8").replace("local_llm.ops.", ""), encoding="utf-8")
    for name, tasks in {"remediation/hold": HOLD, **(stubs or {})}.items():
        role, _slash, file = name.partition("/")
        (place / "roles" / role / "tasks" / f"{file}.yml").write_text(json.dumps(tasks), encoding="utf-8")
    # A port that nothing listens on.
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    gateways = {name: away if name in unreachable else here for name in ("gw1", "gw2")}
    children = {"gpu_hosts": {"hosts": {name: here for name in hosts}}, "gateway": {"hosts": gateways}}
    (place / "inventory.yml").write_text(json.dumps({"all": {"children": children}}), encoding="utf-8")
    whole = {"hosts": "gpu_hosts", "gather_facts": False, **play}
    (place / "play.json").write_text(json.dumps([whole]).replace("local_llm.ops.", ""), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_SSH_ARGS": "-o BatchMode=yes"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(place / "inventory.yml")]
    done = subprocess.run(
        [*command, str(place / "play.json")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    calls = [tuple(json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]
    return done.returncode, " ".join((done.stdout + done.stderr).split()), calls


def said(calls: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return what the stubs said, in its order."""
    return [options["text"] for name, options in calls if name == "said"]


def playbook(name: str, number: int) -> dict[str, Any]:
    """Return a play of a playbook of the collection."""
    play: dict[str, Any] = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))[number]
    return play
