# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks that hold a verdict beside the judge's, in a real run of ansible-playbook; and the order of the steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import read_journal

COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
TASKS = Path(__file__).resolve().parents[4] / "roles" / "_release" / "tasks"
# (name, verdict, who accepts, what the journal says, whether it goes on)
CASES = [
    ("pass", "pass", "", "metric_contract", True),
    ("fail", "fail", "", "step_failed", False),
    ("open", "inconclusive", "", "step_failed", False),
    ("error", "error", "", "step_failed", False),
    ("word", "inconclusive", "m.rossi: known", "accepted_without_evidence", True),
    ("word_error", "error", "m.rossi: known", "accepted_without_evidence", True),
    ("word_fail", "fail", "m.rossi: known", "step_failed", False),
    ("crash", None, "m.rossi: known", "step_failed", False),
]


def load(name: str) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = yaml.safe_load((TASKS / name).read_text(encoding="utf-8"))
    return tasks


def said(word: str | None) -> dict[str, Any]:
    if word is None:
        return {"failed": True, "msg": "it crashed"}
    verdict = {"schema": 1, "verdict": word, "reasons": [], "statistics": None, "summary": f"{word} it is"}
    return {"changed": False, "verdict": verdict, "figures": {"requests": 3}, "notes": ["a note"], "seconds": 0.5}


def run(place: Path, tasks: list[dict[str, Any]], **variables: Any) -> None:
    known = {"ansible_python_interpreter": sys.executable, **variables}
    play = {"hosts": "localhost", "gather_facts": False, "vars": known, "tasks": tasks}
    defaults = {"directory": str(place / "rollout"), "rollout_id": "r1", "instance": "chat"}
    play["module_defaults"] = {"local_llm.ops.rollout_journal": defaults}
    (place / "play.json").write_text(json.dumps([play]), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "false"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
    done = subprocess.run(
        [*command, str(place / "play.json")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_only_a_pass_goes_on_and_a_persons_word_excuses_missing_data_only(tmp_path: Path) -> None:
    (tmp_path / "hold_verdict.yml").write_text((TASKS / "hold_verdict.yml").read_text(encoding="utf-8"))
    words = next(task for task in load("roll_host.yml")[1]["rescue"] if "vars" in task)["vars"]
    tasks: list[dict[str, Any]] = []
    for name, word, accept, _event, _goes_on in CASES:
        given = {"_release_said_event": "metric_contract", "_release_said": said(word), "_release_accept": accept}
        after = {"_release_contract": said(word), "_release_verdict": said("pass"), **words}
        copy = {"content": "{{ _release_word }}", "dest": str(tmp_path / f"{name}.word"), "mode": "0600"}
        went = {"content": "yes", "dest": str(tmp_path / f"{name}.went"), "mode": "0600"}
        block = [
            {"ansible.builtin.include_tasks": "hold_verdict.yml", "vars": given},
            {"ansible.builtin.copy": went},
        ]
        rescue = [{"ansible.builtin.copy": copy, "vars": after}]
        tasks.append({"block": block, "rescue": rescue})
    run(tmp_path, tasks, _release_instance={"name": "chat", "to": "a1b2c3d4e5f6"})
    lines = read_journal(tmp_path / "rollout").lines
    assert [line["event"] for line in lines] == [case[3] for case in CASES]
    for line, (name, word, _accept, event, goes_on) in zip(lines, CASES, strict=True):
        assert (tmp_path / f"{name}.went").exists() is goes_on, name
        if event == "step_failed":
            assert line["evidence"]["step"] == "metric_contract"
            # What the end of the rollout is decided by: no proof halts, a proven fault does not.
            assert (tmp_path / f"{name}.word").read_text() == ("pass" if word is None else word)
        elif event == "metric_contract":
            assert line["detail"] == "pass it is; a note" and line["evidence"]["figures"] == {"requests": 3}
        else:
            assert "Accepted by m.rossi: known" in line["detail"]


# Writes down its options and passes.
ASKED = """#!/usr/bin/python
# WANT_JSON
import json, sys
options = {{key: value for key, value in json.load(open(sys.argv[1])).items() if not key.startswith("_")}}
with open({log!r}, "a") as log:
    log.write(json.dumps(options) + "\\n")
print(json.dumps({{"changed": False, "started_seconds": 7.5, "verdict": {{"verdict": "pass", "summary": "Pass."}}}}))
"""


def test_prometheus_is_told_what_the_gateways_counted_of_this_server_and_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    log = tmp_path / "asked.log"
    (tmp_path / "library" / "rollout_watch.py").write_text(ASKED.format(log=str(log)), encoding="utf-8")
    text = (
        (TASKS / "watch_prometheus.yml")
        .read_text(encoding="utf-8")
        .replace("local_llm.ops.rollout_watch", "rollout_watch")
    )
    (tmp_path / "watch_prometheus.yml").write_text(text, encoding="utf-8")
    (tmp_path / "hold_verdict.yml").write_text("[]", encoding="utf-8")
    counted = {"figures": {"requests": 41, "others_requests": 360, "others_failed": 5, "others_retries": 2}}
    begin = {"ansible.builtin.include_tasks": "watch_prometheus.yml", "vars": {"_release_live_phase": "begin"}}
    keep = {"ansible.builtin.set_fact": {"_release_live_errors": counted}}
    judge = {**begin, "vars": {"_release_live_phase": "judge"}}
    run(
        tmp_path, [begin, keep, judge], _release_instance={"name": "chat", "to": "a1b2c3d4e5f6"},
        _release_prometheus_url="http://mon1:9090", _release_prometheus_user="", _release_prometheus_password="",
        _release_prometheus_headers={}, _release_prometheus_ca_path="",
        _release_prometheus_wait_seconds=1, _release_gateways=["gw1"], _release_rule_instance={},
    )  # fmt: skip
    first, second = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    assert "requests_seen" not in first and "others_seen" not in first and "started_seconds" not in first
    assert second["requests_seen"] == 41 and second["others_seen"] == {"requests": 360, "failed": 3}
    assert float(second["started_seconds"]) == 7.5


def names(tasks: list[dict[str, Any]]) -> list[str]:
    """Return what a list of tasks includes or does, in order."""
    return [str(task.get("ansible.builtin.include_tasks") or task["name"]) for task in tasks]


def test_the_contract_is_asked_after_the_first_traffic_and_before_any_client() -> None:
    order = names(load("roll_instance.yml"))
    assert order.index("metric_contract.yml") > [i for i, name in enumerate(order) if name == "measure.yml"][-1]
    assert order.index("metric_contract.yml") < order.index("judge.yml") < order.index("watch_small_share.yml")


def test_prometheus_is_asked_before_the_server_is_let_in_and_after_the_watch() -> None:
    order = names(load("watch_small_share.yml")[0]["block"])
    places = [place for place, name in enumerate(order) if name == "watch_prometheus.yml"]
    assert places[0] < order.index("gateway.yml") < order.index("watch_live.yml") < places[1]


def test_the_run_of_the_service_is_noted_before_a_client_can_reach_it() -> None:
    block = load("watch_small_share.yml")[0]["block"]
    (noted,) = [task for task in block if task.get("register") == "_release_service_before"]
    assert noted["local_llm.ops.llm_release_info"] == {"instance": "{{ _release_instance.name }}"}
    assert block.index(noted) < names(block).index("gateway.yml")


def test_what_was_said_of_an_instance_is_forgotten_before_the_next_one(tmp_path: Path) -> None:
    (forgets,) = [task for task in load("roll_instance.yml") if task["name"].startswith("Forget the rounds")]
    words = next(task for task in load("roll_host.yml")[1]["rescue"] if "vars" in task)["vars"]
    tasks: list[dict[str, Any]] = []
    for word in ("_release_verdict", "_release_contract", "_release_live_errors", "_release_live"):
        said_before = {"ansible.builtin.set_fact": {word: said("inconclusive")}}
        kept = {
            "ansible.builtin.copy": {"content": "{{ _release_word }}", "dest": str(tmp_path / word), "mode": "0600"}
        }
        tasks += [said_before, forgets, {**kept, "vars": words}]
    run(tmp_path, tasks)
    for word in ("_release_verdict", "_release_contract", "_release_live_errors", "_release_live"):
        assert (tmp_path / word).read_text(encoding="utf-8") == "", word


def test_a_silence_is_set_before_the_restart_prolonged_and_ended_on_every_way_out() -> None:
    way_forward = [
        task["vars"]["_release_silence_state"]
        for task in load("roll_instance.yml")
        if task.get("ansible.builtin.include_tasks") == "silence.yml"
    ]
    assert way_forward == ["present", "present", "absent"]
    (way_back,) = load("take_back_instance.yml")
    for part, wanted in (("block", ["present", "absent"]), ("rescue", ["absent"])):
        states = [
            task["vars"]["_release_silence_state"]
            for task in way_back[part]
            if task.get("ansible.builtin.include_tasks") == "silence.yml"
        ]
        assert states == wanted, part


def test_without_addresses_nobody_is_asked() -> None:
    files = ("roll_instance.yml", "watch_small_share.yml", "take_back_instance.yml", "preflight.yml")
    for name in files:
        tasks = load(name)
        listed = [*tasks, *(inner for task in tasks for part in ("block", "rescue") for inner in task.get(part, []))]
        for task in listed:
            what = str(task.get("ansible.builtin.include_tasks", ""))
            conditions = str(task.get("when"))
            if what == "watch_prometheus.yml" or "local_llm.ops.rollout_alerts" in task:
                assert "_release_prometheus_url | length > 0" in conditions, task["name"]
            if what == "silence.yml":
                assert "_release_alertmanager_url | length > 0" in conditions, task["name"]


def test_the_watch_knows_the_release_before_only_where_it_was_committed(tmp_path: Path) -> None:
    (asked,) = [task for task in load("watch_prometheus.yml") if "local_llm.ops.rollout_watch" in task]
    given = asked["local_llm.ops.rollout_watch"]["previous"]
    before = {"engine": "ollama", "engine_version": "0.32.15"}
    entries = {
        "upgrade": {"armed": False, "previous_description": before},
        "resume": {"armed": True, "previous_description": before},
        "carried": {"armed": False, "previous_description": None},
    }
    tasks = [
        {
            "ansible.builtin.copy": {"content": "{{ handed | to_json }}", "dest": str(tmp_path / name), "mode": "0600"},
            "vars": {"_release_instance": entry, "handed": given},
        }
        for name, entry in entries.items()
    ]
    run(tmp_path, tasks)
    found = {name: json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in entries}
    assert found == {"upgrade": before, "resume": {}, "carried": {}}


def test_the_mark_names_the_pools_that_change(tmp_path: Path) -> None:
    given = load("mark.yml")[0]["local_llm.ops.rollout_mark"]["pools"]
    hosts = {
        "gpu1": {"chat": {"pool": "chat", "action": "upgrade"}, "code": {"pool": "code", "action": "none"}},
        "gpu2": {"chat": {"pool": "chat", "action": "resume"}, "batch": {"pool": "batch", "action": "rollback"}},
    }
    copy = {"content": "{{ handed | to_json }}", "dest": str(tmp_path / "pools"), "mode": "0600"}
    run(tmp_path, [{"ansible.builtin.copy": copy, "vars": {"handed": given}}], _release_plan={"hosts": hosts})
    assert json.loads((tmp_path / "pools").read_text(encoding="utf-8")) == ["batch", "chat"]
