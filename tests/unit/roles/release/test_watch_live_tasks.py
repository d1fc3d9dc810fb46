# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch of live requests in real runs of ansible-playbook, with gateways that answer what the test has for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import read_journal

COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
ROLE = Path(__file__).resolve().parents[4] / "roles" / "_release"
# Answers with the next entry of its list each time it is called.
MODULE = """#!/usr/bin/python
# WANT_JSON
import json
answers = json.load(open({answers!r}))
with open({log!r}, "a+") as log:
    log.seek(0)
    turn = len(log.readlines())
    log.write("called\\n")
print(json.dumps(answers[min(turn, len(answers) - 1)]))
"""


def answer(requests: int, failed: int, others_failed: int = 0, **more: Any) -> dict[str, Any]:
    """Return what gateway_info answers: gpu1-chat at 10 %, gpu2-chat at the full share with 200 requests."""
    counts = {"gpu1-chat": (10, requests, failed), "gpu2-chat": (100, 200, others_failed)}
    servers = [{"pool": "chat", "server": name, "share_percent": row[0]} for name, row in counts.items()]
    deltas = [
        {"pool": "chat", "server": name, "requests": row[1], "http_5xx": row[2], "errors": 0, "retries": 0}
        for name, row in counts.items()
    ]
    return {"changed": False, "servers": servers, "deltas": deltas, "watched_seconds": 5.0, **more}


def watch(place: Path, *answers: dict[str, Any], limit_percent: float = 1) -> tuple[int, str, list[dict[str, Any]]]:
    """Return exit code, output and journal of a watch of up to three turns."""
    (place / "library").mkdir()
    (place / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    text = MODULE.format(answers=str(place / "answers.json"), log=str(place / "calls.log"))
    (place / "library" / "gateway_info.py").write_text(text, encoding="utf-8")
    tasks = (ROLE / "tasks" / "watch_live.yml").read_text(encoding="utf-8")
    (place / "watch_live.yml").write_text(tasks.replace("local_llm.ops.gateway_info", "gateway_info"), encoding="utf-8")
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    variables = {
        **defaults,
        "_release_instance": {"name": "chat", "pool": "chat", "slo_tier": "lab"},
        "_release_watched": [],
        "_release_gateways": ["gw1"],
        "local_llm_slo_tiers": {"lab": {"error_rate_max_percent": limit_percent}},
        "local_llm_watch_seconds": 5,
        "local_llm_watch_limit_seconds": 17,
        "ansible_python_interpreter": sys.executable,
    }
    journal = {"directory": str(place / "rollout"), "rollout_id": "r1", "instance": "chat"}
    document = [{"hosts": "gpu1", "gather_facts": False, "vars": variables,
                 "module_defaults": {"local_llm.ops.rollout_journal": journal},
                 "tasks": [{"ansible.builtin.include_tasks": "watch_live.yml"}]}]  # fmt: skip
    (place / "play.json").write_text(json.dumps(document), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "gpu1,gw1", "-c", "local"]
    done = subprocess.run(
        [*command, str(place / "play.json")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    lines = list(read_journal(place / "rollout").lines) if (place / "rollout").exists() else []
    return done.returncode, " ".join((done.stdout + done.stderr).split()), lines


def test_enough_requests_without_a_failure_end_the_watch_after_one_turn(tmp_path: Path) -> None:
    code, output, lines = watch(tmp_path, answer(20, 0))
    assert code == 0, output
    (line,) = lines
    assert line["event"] == "watched" and line["detail"] == "20 live requests were seen; none failed."
    assert line["evidence"]["requests"] == 20 and line["evidence"]["others_requests"] == 200
    assert line["evidence"]["deltas"][0]["server"] == "gpu1-chat" and line["seconds"] == 5.0


def test_a_single_failure_is_journalled_said_and_watched_on_and_takes_nobody_back(tmp_path: Path) -> None:
    code, output, lines = watch(tmp_path, answer(20, 1), answer(20, 0))
    assert code == 0, output
    assert [line["event"] for line in lines] == ["watched"] * 3
    assert "1 of 20 failed, 1 % is allowed: too few to tell it from chance; watching on" in lines[0]["detail"]
    assert lines[-1]["evidence"]["requests"] == 60 and lines[-1]["evidence"]["failed"] == 1
    assert "the time for the watch is over, the probes carry the verdict" in lines[-1]["detail"]
    assert "gpu1-chat: 20 live requests were seen; 1 of 20 failed" in output


def test_more_than_chance_takes_it_back_at_the_turn_in_which_it_is_seen(tmp_path: Path) -> None:
    code, output, lines = watch(tmp_path, answer(20, 1), answer(20, 5))
    assert code != 0
    assert [line["event"] for line in lines] == ["watched", "step_failed"]
    assert lines[1]["evidence"]["step"] == "watched" and lines[1]["evidence"]["verdict"] == "fail"
    assert "6 of 40 failed, 1 % is allowed" in lines[1]["detail"] and "must go back" in output


def test_failures_that_the_others_have_too_take_nobody_back(tmp_path: Path) -> None:
    code, output, lines = watch(tmp_path, answer(40, 4, others_failed=20))
    assert code == 0, output
    assert "at the others 20 of 200 failed: no worse than the others" in lines[0]["detail"]


@pytest.mark.parametrize(
    "wrong",
    [{"failed": True, "msg": "no socket"}, answer(20, 0, watched_seconds=1.0)],
    ids=["it failed", "it watched too short"],
)
def test_a_gateway_that_did_not_watch_is_no_pass(tmp_path: Path, wrong: dict[str, Any]) -> None:
    code, _output, lines = watch(tmp_path, wrong)
    assert code != 0 and not [line for line in lines if line["event"] == "watched"]
