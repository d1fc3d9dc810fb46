# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks that judge round by round, in real runs of ansible-playbook with made-up rounds instead of measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.test_judge import report

COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
TASKS = Path(__file__).resolve().parents[4] / "roles" / "_release" / "tasks"
QUALITY = {
    "schema": 1, "kind": "quality", "items": [{"id": "sum", "status": "pass", "sha256": "x"}], "passed": 1, "failed": 0,
    "errors": 0, "pass_share": 1.0, "min_pass_share": 1.0, "ok": True,
}  # fmt: skip
PAIRS_FAIL = {
    "verdict": "fail",
    "reasons": [
        {"measure": "baseline", "status": "pass"},
        {"measure": "pairs against the baseline", "status": "fail"},
    ],
}


def play(place: Path, tasks: list[dict[str, Any]], **variables: Any) -> Any:
    """Run tasks beside copies of the role's, and return what they left in `told`."""
    for name in ("judge.yml", "judge_way_back.yml", "measure_longer.yml"):
        (place / name).write_text((TASKS / name).read_text(encoding="utf-8"), encoding="utf-8")
    measured = "{{ _release_rounds + [_test_rounds[_release_round | int - 1]] }}"
    stub = [{"name": "Measure", "ansible.builtin.set_fact": {"_release_rounds": measured}}]
    (place / "measure_round.yml").write_text(yaml.safe_dump(stub), encoding="utf-8")
    known = {
        "_release_instance": {"name": "chat", "slo_tier": "lab"}, "_release_quality_result": {"report": QUALITY},
        "local_llm_slo_tiers": {"lab": {"ttft_p95_max_seconds": 1.0}}, "_release_tolerances": {},
        "_release_benchmark": {"rounds": 4, "pause_seconds": 0, "max_seconds": 120},
        "_release_commit_timeout_seconds": 1800,
        "ansible_python_interpreter": sys.executable, **variables,
    }  # fmt: skip
    told = place / "told.json"
    copy = {"content": "{{ told | to_json }}", "dest": str(told), "mode": "0600"}
    written = {"name": "Tell", "ansible.builtin.copy": copy}
    document = [{"hosts": "localhost", "gather_facts": False, "vars": known, "tasks": [*tasks, written]}]
    (place / "play.json").write_text(json.dumps(document), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "false"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
    done = subprocess.run(
        [*command, str(place / "play.json")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return json.loads(told.read_text(encoding="utf-8"))


def begin(rounds: list[Any]) -> dict[str, Any]:
    return {"ansible.builtin.set_fact": {"_release_rounds": rounds[:1]}}


def test_a_round_that_was_measured_is_judged_also_when_there_is_no_time_for_another(tmp_path: Path) -> None:
    # Each round takes 10 s: a second one fits into half of 50 s, a third one does not.
    rounds = [report(slow=100), report(seed=2, slow=100), report(seed=3, slow=100)]
    tasks = [begin(rounds), {"ansible.builtin.include_tasks": "judge.yml"}]
    told = {
        "word": "{{ _release_verdict.verdict.verdict }}",
        "rounds": "{{ _release_rounds | length }}",
        "judged": "{{ _release_verdict.verdict.statistics.rounds }}",
        "kept": "{{ _release_new_rounds.chat | length }}",
        "of_instance": "{{ _release_verdicts.chat.verdict }}",
    }
    found = play(
        tmp_path, tasks, told=told, _test_rounds=rounds, _release_commit_timeout_seconds=50,
        _release_baselines={"chat": [report(seed=seed) for seed in (1, 2, 3, 4)]},
    )  # fmt: skip
    assert found == {"word": "fail", "rounds": 2, "judged": 2, "kept": 2, "of_instance": "fail"}


def grouped(seed: int) -> dict[str, Any]:
    """A round in which the slow requests come in tens, and close to their limit."""
    made = report(seed=seed, ttft=0.5)
    rows = [[*row[:2], 0.5 if row[0] // 10 % 10 else 0.6, 0.001, *row[4:]] for row in made["samples"]["requests"]]
    return {**made, "samples": {"requests": rows}}


@pytest.mark.parametrize(
    ("make", "seconds", "rounds"),
    [(grouped, 1.0, 6), (grouped, 100.0, 4), (lambda seed: report(seed=seed), 1.0, 4)],
    ids=["quick and in groups", "slow and in groups", "alone"],
)
def test_a_quick_server_whose_slow_requests_come_in_groups_is_measured_longer(
    tmp_path: Path, make: Any, seconds: float, rounds: int
) -> None:
    made = [{**make(seed), "duration_seconds": seconds} for seed in range(1, 17)]
    begun: dict[str, Any] = {"ansible.builtin.set_fact": {"_release_rounds": made[:4]}}
    tasks = [begun, {"ansible.builtin.include_tasks": "measure_longer.yml"}]
    found = play(tmp_path, tasks, told="{{ _release_rounds | length }}", _test_rounds=made)
    assert found == rounds


def test_the_new_release_gets_as_many_rounds_as_the_old_one_had(tmp_path: Path) -> None:
    made = [{**grouped(seed), "duration_seconds": 1.0} for seed in range(1, 17)]
    tasks = [begin(made), {"ansible.builtin.include_tasks": "judge.yml"}]
    told = ["{{ _release_rounds | length }}", "{{ _release_verdict.verdict.statistics.decision }}"]
    found = play(tmp_path, tasks, told=told, _test_rounds=made, _release_baselines={"chat": made[:6]})
    assert found == [5, "pass"]


@pytest.mark.parametrize(("phase", "number", "same_as"), [("baseline", 7, 7), ("new", 7, 7), ("rollback", 9, 1)])
def test_each_round_has_prompts_of_its_own_and_the_way_back_begins_again(
    tmp_path: Path, phase: str, number: int, same_as: int
) -> None:
    task = yaml.safe_load((TASKS / "measure_round.yml").read_text(encoding="utf-8"))[0]
    tell = {"ansible.builtin.set_fact": {"told": task["local_llm.ops.llm_benchmark"]["seed"]}, "vars": task["vars"]}
    found = play(
        tmp_path, [tell], told=None, _test_rounds=[], _release_phase=phase, _release_round=number,
        _release_rollout_id="r1", _release_baselines={} if phase == "baseline" else {"chat": list(range(8))},
    )  # fmt: skip
    assert int(found) % 100 == same_as


def test_no_setting_lets_a_release_pass_without_a_baseline(tmp_path: Path) -> None:
    rounds = [report()]
    tasks = [begin(rounds), {"ansible.builtin.include_tasks": "judge.yml"}]
    found = play(
        tmp_path, tasks, told="{{ _release_verdict.verdict.verdict }}", _test_rounds=rounds,
        _release_tolerances={"baseline_required": False}, _release_baselines={"chat": [report(valid=False)]},
    )  # fmt: skip
    assert found == "inconclusive"


def test_the_last_round_of_the_way_back_is_judged(tmp_path: Path) -> None:
    rounds = [report(slow=100), report()]
    tasks = [begin(rounds), {"ansible.builtin.include_tasks": "judge_way_back.yml"}]
    told = ["{{ _release_rounds | length }}", "{{ _release_rollback_verdict.verdict.verdict }}"]
    found = play(
        tmp_path, tasks, told=told, _test_rounds=rounds, _release_baselines={"chat": [report()]},
        _release_benchmark={"rounds": 1, "pause_seconds": 0},
    )  # fmt: skip
    assert found == [2, "pass"]


@pytest.mark.parametrize(
    ("failed", "asked"), [({"chat": PAIRS_FAIL}, True), ({"other": PAIRS_FAIL, "chat": {"verdict": "pass"}}, False)]
)
def test_whether_the_machine_changed_is_asked_of_the_instance_that_failed(
    tmp_path: Path, failed: dict[str, Any], asked: bool
) -> None:
    block = yaml.safe_load((TASKS / "take_back_instance.yml").read_text(encoding="utf-8"))[0]["block"]
    task = next(task for task in block if task.get("ansible.builtin.include_tasks") == "ask_drift.yml")
    tasks = [{"ansible.builtin.set_fact": {"told": True}, "when": task["when"]}]
    found = play(
        tmp_path, tasks, told=False, _release_verdicts=failed, _release_verdict={"verdict": PAIRS_FAIL},
        _release_new_rounds={"chat": [], "other": []},
    )  # fmt: skip
    assert found is asked
