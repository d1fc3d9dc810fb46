# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes a lock gives back only what nobody held before; and remediation is let go also where the work failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.roles.stubbed_roles import FAIL, include, playbook, run, said, tell

FATAL = {"any_errors_fatal": True}


def lock(outcome: str, holder: str | None = "x") -> dict[str, Any]:
    return {"changed": True, "outcome": outcome, "holder": holder and {"rollout_id": holder}, "took_over": None,
            "expired": False, "told": f"{holder} holds it."}  # fmt: skip


def states(calls: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [options["state"] for name, options in calls if name == "rollout_lock"]


def test_a_lock_that_was_taken_over_stays_when_another_gateway_is_away(tmp_path: Path) -> None:
    answers = {"rollout_lock": [[{"state": "held"}, lock("took_over")]]}
    play = {**FATAL, "vars": {"_release_lock_id": "r1"}, "tasks": include("_release", "lock")}
    code, output, calls = run(tmp_path, play, answers, unreachable=("gw2",))
    assert code != 0 and states(calls) == ["held"]
    assert "No host was changed. The lock stays at gw1 in the name of r1, so that nobody begins beside" in output
    assert "Nothing was changed" not in output


def test_a_lock_that_could_not_be_given_back_is_told(tmp_path: Path) -> None:
    answers = {
        "rollout_lock": [
            [{"state": "held"}, lock("acquired")],
            [{"state": "released"}, {"failed": True, "msg": "disk"}],
        ]
    }
    play = {**FATAL, "vars": {"_release_lock_id": "r1"}, "tasks": include("_release", "lock")}
    code, output, _calls = run(tmp_path, play, answers, unreachable=("gw2",))
    assert code != 0 and "The lock stays at gw1 in the name of r1" in output


@pytest.mark.parametrize("away", ["gw1", "gw2"])
def test_models_takes_the_lock_everywhere_or_nowhere(tmp_path: Path, away: str) -> None:
    answers = {"rollout_lock": [[{"state": "query"}, lock("query", None)], [{"state": "held"}, lock("acquired")]]}
    tasks = [*include("_model", "lock"), *tell("went on")]
    code, output, calls = run(tmp_path, {**FATAL, "tasks": tasks}, answers, unreachable=(away,))
    assert code != 0 and not said(calls)
    assert f"{away}: " in output and "held at every gateway or at none" in output
    assert states(calls) == (["query"] if away == "gw1" else ["query", "held", "released"])
    ids = {options["rollout_id"] for name, options in calls if options.get("rollout_id")}
    assert all(name.startswith("models-") for name in ids)


def test_models_takes_the_lock_once_for_all_hosts_and_for_long(tmp_path: Path) -> None:
    answers = {"rollout_lock": [[{"state": "query"}, lock("query", "models-1")], [{"state": "held"}, lock("acquired")]]}
    tasks = [*include("_model", "lock"), *tell("{{ _model_locked }} {{ _model_lock_id }}")]
    code, output, calls = run(tmp_path, {**FATAL, "tasks": tasks}, answers)
    assert code == 0, output
    assert states(calls) == ["query", "query", "held", "held"]
    assert len(said(calls)) == 2 and len(set(said(calls))) == 1 and said(calls)[0].startswith("True models-")
    assert {options["ttl_seconds"] for _name, options in calls if options.get("state") == "held"} == {86400}


def test_models_is_refused_beside_a_rollout_on_every_host(tmp_path: Path) -> None:
    answers = {"rollout_lock": [[{"state": "query"}, lock("query", "r7")]]}
    tasks = [*include("_model", "lock"), *tell("went on")]
    code, output, calls = run(tmp_path, {**FATAL, "tasks": tasks}, answers)
    assert code != 0 and "r7 holds it." in output
    assert states(calls) == ["query", "query"] and not said(calls)


def test_models_ends_although_a_gateway_does_not_take_its_lock_back(tmp_path: Path) -> None:
    tasks = [*include("_model", "unlock"), *tell("went on")]
    play = {"vars": {"_model_lock_id": "models-1"}, "ignore_unreachable": True, "tasks": tasks}
    code, output, calls = run(tmp_path, play, unreachable=("gw1",))
    assert code == 0, output
    assert states(calls) == ["released"] and said(calls) == ["went on", "went on"]


RECOVERY = "/var/lib/local_llm/gateway/recovery"


@pytest.mark.parametrize("outcome", ["acquired", "took_over"])
def test_a_recovery_without_the_fleet_lock_gives_back_only_what_was_free(tmp_path: Path, outcome: str) -> None:
    answers = {
        "rollout_lock": [
            [{"state": "query"}, lock("query", "recovery-x")],
            [{"state": "held", "directory": RECOVERY}, lock(outcome)],
            [{"state": "held"}, {"failed": True, "outcome": "refused", "msg": "r7 holds the lock."}],
            [{"state": "released"}, lock("released", None)],
        ]
    }
    tasks = [*include("_recovery", "lock"), *tell("went on")]
    code, output, calls = run(tmp_path, {"tasks": tasks}, answers, hosts=("gpu1",))
    assert code != 0 and not said(calls) and "r7 holds the lock." in output
    back = ["released", "released"] if outcome == "acquired" else []
    assert states(calls) == ["query", "query", "held", "held", "held", *back]
    assert {options["directory"] for _name, options in calls if options.get("state") == "released"} <= {RECOVERY}


def test_a_recovery_stops_where_a_gateway_is_away(tmp_path: Path) -> None:
    answers = {
        "rollout_lock": [
            [{"state": "query"}, lock("query", None)],
            [{"state": "held"}, lock("acquired")],
            [{"state": "released"}, lock("released", None)],
        ]
    }
    tasks = [*include("_recovery", "lock"), *tell("went on")]
    play = {"ignore_unreachable": True, "tasks": tasks}
    code, output, calls = run(tmp_path, play, answers, hosts=("gpu1",), unreachable=("gw2",))
    assert code != 0 and not said(calls) and "gw2: " in output
    assert states(calls) == ["query", "held", "released"]


def test_a_recovery_beside_a_halted_rollout_leaves_the_fleet_lock_alone(tmp_path: Path) -> None:
    halted = {**lock("query", "r7"), "holder": {"rollout_id": "r7", "halted": "no evidence"}}
    answers = {"rollout_lock": [[{"state": "query"}, halted], [{"state": "held"}, lock("acquired")]]}
    tasks = [*include("_recovery", "lock"), *tell("went on")]
    code, output, calls = run(tmp_path, {"tasks": tasks}, answers, hosts=("gpu1",))
    assert code == 0, output
    assert states(calls) == ["query", "query", "held", "held"] and said(calls) == ["went on"]
    assert {options["directory"] for _name, options in calls if options.get("state") == "held"} == {RECOVERY}


def test_remediation_is_let_go_before_a_recovery_gives_back_its_locks(tmp_path: Path) -> None:
    stubs = {"_recovery/lock": tell("lock"), "_recovery/unlock": [*tell("unlock"), *FAIL], "_recovery/turn": FAIL}
    play = {"vars": {"_recovery_lock_id": "recovery-1"}, "tasks": include("_recovery", "climb")}
    code, _output, calls = run(tmp_path, play, stubs=stubs, hosts=("gpu1",))
    assert code != 0
    assert said(calls) == ["lock", "begin recovery-1", "end recovery-1", "unlock"]


@pytest.mark.parametrize(("name", "file"), [("start", "start_instance"), ("stop", "stop_instance")])
def test_remediation_is_let_go_where_an_instance_does_not_start_or_stop(tmp_path: Path, name: str, file: str) -> None:
    stubs = {"_release/refuse_beside_rollout": tell("asked"), f"_release/{file}": FAIL}
    play = {**playbook(name, 1), "vars": {"local_llm_instances": [{"name": "chat"}, {"name": "code"}]}}
    code, _output, calls = run(tmp_path, play, stubs=stubs, hosts=("gpu1",))
    assert code != 0
    assert said(calls) == ["asked", f"begin {name}", f"end {name}"]


@pytest.mark.parametrize(
    ("way", "change", "back", "told"),
    [
        ("forward", tell("change"), FAIL, ["change"]),
        ("forward", FAIL, tell("back"), ["back"]),
        ("back", FAIL, tell("back"), ["back"]),
    ],
    ids=["it went well", "it went back", "an earlier run was on its way back"],
)
def test_remediation_holds_its_hands_for_the_turn_of_a_host_in_a_driver_rollout(
    tmp_path: Path, way: str, change: Any, back: Any, told: list[str]
) -> None:
    gate = [{"name": "Go", "ansible.builtin.set_fact": {"_release_gate": {"go": True}}}]
    stubs = {"_release/pass_gate": gate, "_driver/change": change, "_driver/go_back": back}
    entry = {"way": way, "meant_back": True, "only_holds": False}
    variables = {"_release_rollout_id": "driver-1", "_driver_entry": entry}
    play = {"vars": variables, "tasks": include("_driver", "roll_host")}
    code, output, calls = run(tmp_path, play, stubs=stubs, hosts=("gpu1",))
    assert code == 0, output
    assert said(calls) == ["begin driver-1", *told, "end driver-1"]


def test_a_host_whose_turn_does_not_come_is_not_held(tmp_path: Path) -> None:
    gate = [{"name": "Stay", "ansible.builtin.set_fact": {"_release_gate": {"go": False}}}]
    play = {"vars": {"_release_rollout_id": "driver-1"}, "tasks": include("_driver", "roll_host")}
    code, output, calls = run(tmp_path, play, stubs={"_release/pass_gate": gate}, hosts=("gpu1",))
    assert code == 0 and calls == [], output
