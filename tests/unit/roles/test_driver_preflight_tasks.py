# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a driver rollout asks before it begins: the gateways, and the alerts with the password of Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.tests.unit.roles.stubbed_roles import include, run, said, tell

LOOKED: dict[str, Any] = {f"nvidia_driver/{name}": [] for name in ("validate", "source", "look")}
SERVES = {"pool": "chat", "from": "serves", "to": "serves", "action": "upgrade"}


def test_the_driver_plan_is_told_which_gateway_did_not_answer(tmp_path: Path) -> None:
    answers = {"gateway_info": [[{}, {"changed": False, "servers": []}]]}
    play = {"any_errors_fatal": True, "tasks": [*include("_driver", "plan"), *tell("went on")]}
    code, output, calls = run(tmp_path, play, answers, LOOKED, unreachable=("gw1",))
    assert code == 0, output
    (infos,) = [options["gateway_infos"] for name, options in calls if name == "gpu_driver_rollout"]
    assert infos["gw2"]["servers"] == []
    assert infos["gw1"]["unreachable"] is True and "Connection refused" in infos["gw1"]["msg"]
    assert said(calls) == ["went on", "went on"]


def test_a_driver_rollout_asks_the_alerts_with_name_and_password(tmp_path: Path) -> None:
    plan = {"services": {"gpu1": {"chat": SERVES}}}
    answers = {
        "gpu_driver_rollout": [[{}, {"changed": False, "has_changes": True, "plan": plan}]],
        "rollout_alerts": [[{}, {"failed": True, "msg": "LlmDown fires"}]],
    }
    settings = {"local_llm_prometheus_url": " http://prometheus ", "local_llm_prometheus_user": "ops",
                "local_llm_prometheus_password": "word", "local_llm_accept_alerts": "m.rossi: known"}  # fmt: skip
    play = {"any_errors_fatal": True, "vars": settings, "tasks": include("_driver", "preflight")}
    code, output, calls = run(tmp_path, play, answers, LOOKED)
    assert code != 0 and "LlmDown fires" in output
    (asked,) = [options for name, options in calls if name == "rollout_alerts"]
    assert (asked["url"], asked["url_username"], asked["url_password"]) == ("http://prometheus", "ops", "word")
    assert asked["plan"] == {"hosts": plan["services"]} and asked["gateways"] == ["gw1", "gw2"]
    assert asked["accept"] == "m.rossi: known" and "ca_path" not in asked


def test_no_alerts_are_asked_where_no_prometheus_is_named(tmp_path: Path) -> None:
    play = {"vars": {"_release_alerts_plan": {"hosts": {}}}, "tasks": include("_release", "alerts")}
    code, output, calls = run(tmp_path, play)
    assert code == 0 and calls == [], output


def test_the_mark_of_a_driver_rollout_has_the_pools_that_its_hosts_serve(tmp_path: Path) -> None:
    entry = {"pool": "chat, code", "action": "upgrade"}
    services = {
        "gpu1": {"chat": SERVES, "code": {**SERVES, "pool": "code"}},
        "gpu2": {},
        "gpu3": {"embed": {**SERVES, "pool": "embed", "action": "none"}},
    }
    plan = {"direction": "forward", "hosts": {"gpu1": {"nvidia_driver": entry}}, "services": services}
    assert marked(tmp_path, plan) == ["chat", "code"]


def test_the_mark_of_a_release_rollout_has_the_pools_of_what_it_changes(tmp_path: Path) -> None:
    entries = {"chat": {"pool": "chat", "action": "upgrade"}, "code": {"pool": "code", "action": "none"}}
    assert marked(tmp_path, {"direction": "forward", "hosts": {"gpu1": entries}}) == ["chat"]


def marked(place: Path, plan: dict[str, Any]) -> list[str]:
    known = {"_release_plan": plan, "_release_rollout_id": "r1", "_release_started_seconds": 1}
    play = {"vars": known, "tasks": include("_release", "mark")}
    code, output, calls = run(place, play, hosts=("gpu1",))
    assert code == 0, output
    pools: list[str] = next(options["pools"] for name, options in calls if name == "rollout_mark")
    return pools
