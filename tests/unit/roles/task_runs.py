# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of a role in a real run of ansible-playbook, with modules that only write down who called them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
# Writes down its name and what tells one call from another, and answers what the test has for it: "<name> <word>", or
# "<name>"; of a list of answers the next one.
MODULE = """#!/usr/bin/python
# WANT_JSON
import json, sys
options = json.load(open(sys.argv[1]))
word = str(options.get("state") if {name!r} != "rollout_journal" else options.get("event"))
call = {name!r} + (" " + word if word != "None" else "")
with open({log!r}, "a") as log:
    log.write(call + "\\n")
path = {answers!r}
answers = json.load(open(path))
key = call if call in answers else {name!r}
answer = answers.get(key, {{"changed": True}})
if isinstance(answer, list):
    answers[key] = answer[1:] or answer
    with open(path, "w") as out:
        json.dump(answers, out)
    answer = answer[0]
print(json.dumps(answer))
"""


def run_tasks(
    place: Path,
    tasks: dict[str, str],
    first: str,
    variables: dict[str, Any],
    answers: dict[str, Any],
    *,
    modules: Iterable[str],
    stand_ins: Iterable[str] = (),
) -> tuple[int, str, list[str]]:
    """Return exit code, output and the calls in their order.

    tasks: {name of a file: its text}; first: the one to run. stand_ins: files in whose place only "note <name>" is
    written down.
    """
    (place / "library").mkdir()
    log, kept = place / "calls.log", place / "answers.json"
    log.touch()
    kept.write_text(json.dumps(answers), encoding="utf-8")
    for name in {*modules, "note"}:
        text = MODULE.format(name=name, log=str(log), answers=str(kept))
        (place / "library" / f"{name}.py").write_text(text, encoding="utf-8")
    for name, text in tasks.items():
        (place / name).write_text(text.replace("local_llm.ops.", ""), encoding="utf-8")
    for name in stand_ins:
        note = [{"name": name, "note": {"state": name.partition(".")[0]}}]
        (place / name).write_text(yaml.safe_dump(note), encoding="utf-8")
    play = {
        "hosts": "gpu1",
        "gather_facts": False,
        "vars": variables,
        "tasks": [{"name": "Run", "ansible.builtin.include_tasks": f"{place}/{first}"}],
    }
    (place / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    host = f"gpu1 ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    (place / "hosts.ini").write_text(host, encoding="utf-8")
    (place / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.ini", "play.yml"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_HOME": str(place / ".ansible"),
            "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
            "ANSIBLE_LIBRARY": str(place / "library"),
        },
        cwd=place,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, log.read_text(encoding="utf-8").splitlines()


def tasks_of(role: str, *names: str) -> dict[str, str]:
    """Return {file: text} of tasks of a role."""
    return {name: (ROLES / role / "tasks" / name).read_text(encoding="utf-8") for name in names}


def defaults_of(role: str) -> dict[str, Any]:
    """Return the defaults of a role."""
    found = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found
