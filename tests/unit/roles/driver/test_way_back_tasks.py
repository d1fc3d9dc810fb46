# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a driver rollout takes a host back, lets it go, and holds it: what comes in which order, in real runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.tests.unit.roles.task_runs import defaults_of, run_tasks, tasks_of

OLD, NEW = "535.247.01", "535.261.03"
MODULES = ("gpu_driver", "rollout_journal")
PARTS = ("drain.yml", "stop_instances.yml", "verify.yml", "prove.yml", "let_in.yml")
# The step itself, without the wait for a fabric that load.yml has besides.
LOAD = "---\n- name: Load\n  ansible.builtin.include_tasks: step.yml\n"


def run(place: Path, first: str, answers: dict[str, Any] | None = None, **values: Any) -> tuple[int, str, list[str]]:
    entry = {
        "action": "upgrade",
        "way": "forward",
        "meant_back": False,
        "from": OLD,
        "to": NEW,
        "only_holds": False,
        "restore": False,
        **values.pop("entry", {}),
    }
    work = {"servers": [], "serving": [], "gpu_count": 1, "start_units": [], "before": {"loaded_version": OLD}}
    planned = {
        "rollout_id": "driver-2",
        "plan": {"hosts": {"gpu1": {"nvidia_driver": entry}}},
        "work": {"gpu1": work},
        "was_drained": {"gpu1": False},
    }
    variables = {
        **defaults_of("_driver"),
        "_driver_planned": planned,
        "__nvidia_driver_known": {"facts": {"transaction": values.pop("transaction", None)}, "wanted": {}},
        **values,
    }
    tasks = {
        **tasks_of("_driver", "go_back.yml", "step.yml", "download.yml", "let_go.yml", "hold.yml"),
        "load.yml": LOAD,
    }
    return run_tasks(place, tasks, first, variables, answers or {}, modules=MODULES, stand_ins=PARTS)


def worth(calls: list[str]) -> list[str]:
    """Return the calls but for the lines of the journal."""
    return [call for call in calls if not call.startswith("rollout_journal")]


def test_the_transaction_is_closed_when_the_host_is_proven_and_let_in_and_not_before(tmp_path: Path) -> None:
    code, output, calls = run(tmp_path, "go_back.yml")
    assert code == 0, output
    assert worth(calls) == [
        "note drain",
        "note stop_instances",
        "gpu_driver rolled_back",
        "note verify",
        "note prove",
        "note let_in",
        "gpu_driver committed",
    ]
    assert calls[-2:] == ["rollout_journal closed", "rollout_journal rolled_back_verified"]


def test_a_way_back_that_is_not_proven_stays_open_for_the_next_run(tmp_path: Path) -> None:
    _code, output, calls = run(tmp_path, "go_back.yml", {"note verify": {"failed": True, "msg": "GPU 0 is ill"}})
    assert "gpu_driver committed" not in calls, output
    assert calls[-2:] == ["rollout_journal rollback_failed", "note drain"]


def test_a_host_that_is_only_held_stays_in_service_also_on_the_way_back(tmp_path: Path) -> None:
    _code, output, calls = run(tmp_path, "go_back.yml", entry={"action": "hold", "only_holds": True})
    assert worth(calls) == ["gpu_driver rolled_back", "gpu_driver committed"], output


def test_holds_come_without_a_stop(tmp_path: Path) -> None:
    code, output, calls = run(tmp_path, "hold.yml", entry={"action": "hold", "only_holds": True})
    assert code == 0, output
    states = ["stopped", "installed", "loaded", "held", "committed"]
    assert worth(calls) == [f"gpu_driver {state}" for state in states]
    assert calls[-1] == "rollout_journal committed"


def test_what_a_dead_run_had_drained_comes_back_before_its_transaction_ends(tmp_path: Path) -> None:
    left = {"id": "driver-1", "state": "downloaded", "closed": False}
    code, output, calls = run(tmp_path, "download.yml", entry={"restore": True}, transaction=left)
    assert code == 0, output
    ends = ["gpu_driver rolled_back", "gpu_driver committed"]
    assert worth(calls) == ["note prove", "note let_in", *ends, "gpu_driver downloaded"]


def test_its_transaction_stands_where_the_host_cannot_be_let_in(tmp_path: Path) -> None:
    left = {"id": "driver-1", "state": "downloaded", "closed": False}
    refused = {"note prove": {"failed": True, "msg": "chat does not start"}}
    _code, output, calls = run(tmp_path, "download.yml", refused, entry={"restore": True}, transaction=left)
    assert calls == ["note prove", "rollout_journal stage_failed"], output


def test_a_host_whose_turn_never_came_is_closed(tmp_path: Path) -> None:
    _code, output, calls = run(tmp_path, "let_go.yml", _release_gate={"go": False})
    assert calls == ["gpu_driver rolled_back", "gpu_driver committed", "rollout_journal not_begun"], output
