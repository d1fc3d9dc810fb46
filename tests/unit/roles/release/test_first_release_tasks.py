# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks that give first releases, in real runs of ansible-playbook: modules that write down who called them."""

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
ROLE = Path(__file__).resolve().parents[4] / "roles" / "_release"
MODULES = ("llm_release_info", "llm_release", "llm_quality", "gateway_info", "gateway_backend")
# Writes down its name and some of its options, and answers what the test has for that line, else for "<name>
# <instance>", else for "<name>".
MODULE = """#!/usr/bin/python
# WANT_JSON
import json, sys
options = json.load(open(sys.argv[1]))
subject = str(options.get("instance") or options.get("server") or "")
with open({log!r}, "a") as log:
    words = [{name!r}, subject, options.get("state"), options.get("lease_seconds") and "lease"]
    line = " ".join(str(word) for word in words if word)
    log.write(line + "\\n")
answers = json.load(open({answers!r}))
known = [answers[key] for key in (line, {name!r} + " " + subject, {name!r}) if key in answers]
print(json.dumps((known + [{{"changed": True}}])[0]))
"""
DESCRIPTION = {"engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny"}
GARBAGE = {"failed": True, "msg": "nothing was recorded: count: the answer ends in endless repetition"}


def wanted(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "to": "0123456789ab",
        "pool": name,
        "served_name": name,
        "port": 8001,
        "description": DESCRIPTION,
    }


def left(state: str, armed: bool = False, current: str | None = "0123456789ab", **more: Any) -> dict[str, Any]:
    return {"instance": "chat", "current": current, "previous": None, "armed": {"release": "x"} if armed else None,
            "instance_state": {"state": state}, **more}  # fmt: skip


def install(place: Path, names: tuple[str, ...], answers: dict[str, Any], gateway_knows: tuple[str, ...]) -> Any:
    """Return exit code, output, and the calls of the modules in their order."""
    (place / "library").mkdir()
    log = place / "calls.log"
    log.touch()
    for name in MODULES:
        text = MODULE.format(name=name, log=str(log), answers=str(place / "answers.json"))
        (place / "library" / f"{name}.py").write_text(text, encoding="utf-8")
    servers = [{"pool": name, "server": f"gpu1-{name}"} for name in gateway_knows]
    gateway = {"changed": True, "before": {"state": "ready", "share_percent": 100}}
    known = {
        "llm_release_info": {"instances": []},
        "gateway_info": {"servers": servers},
        "gateway_backend": gateway,
        **answers,
    }
    (place / "answers.json").write_text(json.dumps(known), encoding="utf-8")
    for name in ("install", "first_release", "gateway"):
        text = (ROLE / "tasks" / f"{name}.yml").read_text(encoding="utf-8").replace("local_llm.ops.", "")
        (place / f"{name}.yml").write_text(text, encoding="utf-8")
    (place / "stage.yml").write_text("[]", encoding="utf-8")
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    variables = {
        **defaults,
        "_release_wanted": [wanted(name) for name in names],
        "_release_gateways": ["gw1"],
        "_release_quality": {"suite": [], "suite_file": "", "embedding": {}},
        "_release_instance_directory": str(place),
        "ansible_python_interpreter": sys.executable,
    }
    document = [{"hosts": "gpu1", "gather_facts": False, "vars": variables,
                 "tasks": [{"ansible.builtin.include_tasks": "install.yml"}]}]  # fmt: skip
    (place / "play.json").write_text(json.dumps(document), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "gpu1,gw1", "-c", "local"]
    done = subprocess.run(
        [*command, str(place / "play.json")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, " ".join(done.stdout.split()), log.read_text(encoding="utf-8").splitlines()


def proven(name: str) -> list[str]:
    return [
        f"gateway_backend gpu1-{name} drain lease",
        f"llm_release {name} switched",
        f"llm_quality {name}",
        f"llm_release {name} committed",
        f"gateway_backend gpu1-{name} ready",
    ]


def test_clients_come_only_after_the_golden_prompts_and_the_commit(tmp_path: Path) -> None:
    code, output, calls = install(tmp_path, ("chat", "code"), {}, ("chat", "code"))
    assert code == 0, output
    assert calls[2:] == [*proven("chat"), *proven("code")]


def test_garbage_stops_this_instance_and_leaves_it_out_and_the_others_go_on(tmp_path: Path) -> None:
    answers = {"llm_quality chat": GARBAGE, "llm_release_info chat": {"instances": [left("verifying", armed=True)]}}
    code, output, calls = install(tmp_path, ("chat", "code"), answers, ("chat", "code"))
    assert code != 0
    assert calls[2:] == [
        *proven("chat")[:3], "llm_release_info chat", "llm_release chat reverted", "gateway_backend gpu1-chat drain",
        *proven("code"),
    ]  # fmt: skip
    told = "gpu1: chat (release 0123456789ab, llamacpp 0.7.0, model tiny): One real completion proves it: nothing was"
    assert told in output and "endless repetition. It was stopped, and no gateway sends requests to it." in output
    assert "then run site again" in output


@pytest.mark.parametrize(
    ("found", "noted", "after"),
    [
        ("ready", None, "ready"),
        # A person had taken it out.
        ("drain", None, "drain"),
        ("maint", None, "maint"),
        # The earlier try had taken it out.
        ("drain", "ready", "ready"),
        ("drain", "maint", "maint"),
        # A person has changed it since.
        ("ready", "drain", "ready"),
        ("maint", "ready", "maint"),
        ("drain", "garbage", "drain"),
    ],
)
def test_who_was_out_of_service_before_stays_out(tmp_path: Path, found: str, noted: str | None, after: str) -> None:
    if noted:
        (tmp_path / "left_out").write_text(f"{noted}\n", encoding="utf-8")
    answers = {"gateway_backend": {"changed": True, "before": {"state": found, "share_percent": 0}}}
    code, output, calls = install(tmp_path, ("chat",), answers, ("chat",))
    assert code == 0, output
    assert calls[-1] == f"gateway_backend gpu1-chat {after}"
    assert ("serves, and stays out of service" in output) is (after != "ready")
    assert not (tmp_path / "left_out").exists()


@pytest.mark.parametrize("found", ["ready", "drain"])
def test_a_try_that_fails_notes_how_it_was_before(tmp_path: Path, found: str) -> None:
    answers = {
        "llm_quality chat": GARBAGE, "llm_release_info chat": {"instances": [left("verifying", armed=True)]},
        "gateway_backend": {"changed": True, "before": {"state": found, "share_percent": 0}},
    }  # fmt: skip
    code, _output, calls = install(tmp_path, ("chat",), answers, ("chat",))
    assert code != 0 and calls[-1] == "gateway_backend gpu1-chat drain"
    assert (tmp_path / "left_out").read_text(encoding="utf-8") == f"{found}\n"


def test_it_is_noted_how_it_was_before_the_failed_try_takes_it_out(tmp_path: Path) -> None:
    answers = {
        "llm_quality chat": GARBAGE, "llm_release_info chat": {"instances": [left("verifying", armed=True)]},
        "gateway_backend gpu1-chat drain": {"failed": True, "msg": "no socket"},
    }  # fmt: skip
    code, output, _calls = install(tmp_path, ("chat",), answers, ("chat",))
    assert code != 0 and "no socket" in output
    assert (tmp_path / "left_out").read_text(encoding="utf-8") == "ready\n"


def test_a_note_that_cannot_be_written_keeps_nothing_from_being_left_out(tmp_path: Path) -> None:
    (tmp_path / "left_out").mkdir()
    (tmp_path / "left_out" / "file").touch()
    answers = {"llm_quality chat": GARBAGE, "llm_release_info chat": {"instances": [left("verifying", armed=True)]}}
    code, _output, calls = install(tmp_path, ("chat",), answers, ("chat",))
    assert code != 0 and calls[-1] == "gateway_backend gpu1-chat drain"


@pytest.mark.parametrize("file", ["start_instance.yml", "stop_instance.yml"])
def test_start_and_stop_forget_what_a_failed_try_has_noted(file: str) -> None:
    tasks = yaml.safe_load((ROLE / "tasks" / file).read_text(encoding="utf-8"))
    (forget,) = [task for task in tasks if task["name"].startswith("Forget")]
    # start: once clients are let in; stop: before anything else, as a person wants it out.
    assert tasks.index(forget) == (len(tasks) - 1 if file.startswith("start") else 0)
    assert forget["ansible.builtin.file"] == {"path": "{{ _release_left_out_path }}", "state": "absent"}


def test_what_is_confirmed_is_not_taken_back_because_a_gateway_is_away(tmp_path: Path) -> None:
    answers = {
        "llm_release_info chat": {"instances": [left("healthy")]},
        "gateway_backend": {"failed": True, "msg": "x"},
    }
    code, output, calls = install(tmp_path, ("chat",), answers, ("chat",))
    assert code != 0 and calls[-1] == "llm_release_info chat"
    assert not (tmp_path / "left_out").exists()
    assert "was not let in everywhere: mend the gateway, then run start." in output


def test_a_gateway_that_does_not_know_the_server_is_not_asked(tmp_path: Path) -> None:
    code, output, calls = install(tmp_path, ("chat",), {"gateway_info": {"failed": True, "msg": "no socket"}}, ())
    assert code == 0, output
    assert calls[2:] == ["llm_release chat switched", "llm_quality chat", "llm_release chat committed"]


@pytest.mark.parametrize(
    ("there", "begins"),
    [
        (left("verifying", armed=True), True),
        (left("switching"), True),
        (left("rolling_back", current=None), True),
        (left("healthy"), False),
        (left("rolling_back"), False),
        (left("verifying", armed=True, previous="9" * 12), False),
    ],
)
def test_only_what_was_never_confirmed_is_tried_again(tmp_path: Path, there: dict[str, Any], begins: bool) -> None:
    code, output, calls = install(tmp_path, ("chat",), {"llm_release_info": {"instances": [there]}}, ("chat",))
    assert code == 0, output
    assert ("llm_release chat switched" in calls) is begins
