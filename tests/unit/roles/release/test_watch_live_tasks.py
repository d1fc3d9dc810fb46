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


def answer(
    requests: int, failed: int, others_failed: int = 0, retries: int = 0, state: str = "up", **more: Any
) -> dict[str, Any]:
    """Return what gateway_info answers: gpu1-chat at 10 %, gpu2-chat at the full share with 200 requests."""
    counts = {"gpu1-chat": (10, requests, failed, retries, state), "gpu2-chat": (100, 200, others_failed, 0, "up")}
    servers = [
        {"pool": "chat", "server": name, "share_percent": row[0], "operational_state": row[4]}
        for name, row in counts.items()
    ]
    deltas = [
        {"pool": "chat", "server": name, "requests": row[1], "http_5xx": row[2], "errors": 0, "retries": row[3]}
        for name, row in counts.items()
    ]
    return {"changed": False, "servers": servers, "deltas": deltas, "watched_seconds": 5.0, **more}


def service(invocation: str = "a1", restarts: int = 0, **more: Any) -> dict[str, Any]:
    """Return what llm_release_info answers for the one instance."""
    found = {"instance": "chat", "active_state": "active", "invocation": invocation, "restarts": restarts, **more}
    return {"changed": False, "instances": [found]}


# Two batches, as rollout_plan names them: gpu2 comes behind gpu1.
PLAN = {
    "batches": [["gpu1"], ["gpu2"]],
    "hosts": {
        host: {"chat": {"pool": "chat", "action": "upgrade", "changes": [], "description": {}}}
        for host in ("gpu1", "gpu2")
    },
}


def watch(
    place: Path,
    *answers: dict[str, Any],
    limit_percent: float = 1,
    runs: tuple[dict[str, Any], ...] = (service(),),
    **variables: Any,
) -> tuple[int, str, list[dict[str, Any]]]:
    """Return exit code, output and journal of a watch of up to three turns."""
    (place / "library").mkdir()
    tasks = (ROLE / "tasks" / "watch_live.yml").read_text(encoding="utf-8")
    for module, given in {"gateway_info": answers, "llm_release_info": runs}.items():
        (place / f"{module}.json").write_text(json.dumps(given), encoding="utf-8")
        text = MODULE.format(answers=str(place / f"{module}.json"), log=str(place / f"{module}.log"))
        (place / "library" / f"{module}.py").write_text(text, encoding="utf-8")
        tasks = tasks.replace(f"local_llm.ops.{module}", module)
    (place / "watch_live.yml").write_text(tasks, encoding="utf-8")
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    known = {
        **defaults,
        "_release_instance": {"name": "chat", "pool": "chat", "slo_tier": "lab", "to": "a1b2c3d4e5f6"},
        "_release_watched": [],
        "_release_service_before": service(),
        "_release_plan": PLAN,
        "_release_gateways": ["gw1"],
        "local_llm_slo_tiers": {"lab": {"error_rate_max_percent": limit_percent}},
        "local_llm_watch_seconds": 5,
        "local_llm_watch_limit_seconds": 17,
        "ansible_python_interpreter": sys.executable,
        **variables,
    }
    journal = {"directory": str(place / "rollout"), "rollout_id": "r1", "instance": "chat"}
    document = [{"hosts": "gpu1", "gather_facts": False, "vars": known,
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
    ("turn", "run", "said"),
    [
        (answer(1, 0, retries=1, state="down"), service(), "a gateway found it down at the end of a turn"),
        (answer(20, 0, retries=3), service(), "3 of 20 failed"),
        (answer(1, 0, retries=1), service("b2", 1), "restarts by the service manager: 1"),
        (answer(20, 0), service(active_state="activating"), "the service is activating under live requests"),
    ],
    ids=["down at the end", "retries only", "restarted", "waits for its restart"],
)
def test_a_crash_that_the_gateways_hid_from_the_clients_takes_it_back(
    tmp_path: Path, turn: dict[str, Any], run: dict[str, Any], said: str
) -> None:
    code, output, lines = watch(tmp_path, turn, runs=(run,), _release_accept="m.rossi: known")
    assert code != 0 and "must go back" in output
    (line,) = lines
    assert (line["event"], line["evidence"]["step"], line["evidence"]["verdict"]) == ("step_failed", "watched", "fail")
    assert said in line["detail"], line["detail"]


def test_a_release_that_the_plan_has_given_to_a_server_before_is_not_excused_by_it(tmp_path: Path) -> None:
    behind = {**PLAN, "batches": [["gpu2"], ["gpu1"]]}
    code, _output, lines = watch(tmp_path, answer(40, 4, others_failed=20), _release_plan=behind)
    assert code != 0
    assert lines[0]["evidence"]["verdict"] == "fail" and lines[0]["evidence"]["others_requests"] == 0


# Above the limit, worse than the others, and too few to prove it.
UNSURE = answer(40, 4, others_failed=8)


def test_what_is_not_proven_when_the_time_is_over_halts_for_a_person(tmp_path: Path) -> None:
    code, output, lines = watch(tmp_path, UNSURE, _release_watch_turns_max=1)
    assert code != 0 and "A person decides" in output
    (line,) = lines
    assert line["event"] == "step_failed" and line["evidence"]["verdict"] == "inconclusive"


def test_a_persons_word_lets_it_go_on_and_stands_in_the_journal_with_the_counts(tmp_path: Path) -> None:
    code, output, lines = watch(tmp_path, UNSURE, _release_watch_turns_max=1, _release_accept="m.rossi: known")
    assert code == 0, output
    (line,) = lines
    assert line["event"] == "accepted_without_evidence" and "Accepted by m.rossi: known watched was" in line["detail"]
    assert line["evidence"]["verdict"] == "inconclusive" and line["evidence"]["failed"] == 4
    assert line["evidence"]["deltas"][0]["server"] == "gpu1-chat"


@pytest.mark.parametrize("runs", [{"changed": False, "instances": []}, {"failed": True, "msg": "no systemd"}])
def test_a_service_of_which_nothing_is_known_is_no_pass(tmp_path: Path, runs: dict[str, Any]) -> None:
    code, _output, lines = watch(tmp_path, answer(20, 0), runs=(runs,))
    assert code != 0 and not lines


@pytest.mark.parametrize(
    "wrong",
    [{"failed": True, "msg": "no socket"}, answer(20, 0, watched_seconds=1.0)],
    ids=["it failed", "it watched too short"],
)
def test_a_gateway_that_did_not_watch_is_no_pass(tmp_path: Path, wrong: dict[str, Any]) -> None:
    code, _output, lines = watch(tmp_path, wrong)
    assert code != 0 and not [line for line in lines if line["event"] == "watched"]
