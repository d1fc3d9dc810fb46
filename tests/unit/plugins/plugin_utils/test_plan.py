# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: who moves, in which batches, and what is wrong with that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import build_plan, description_changes
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_back import build_rollback_plan
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_gateways import add_gateways
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_text import (
    plan_markdown,
    plan_text,
    rollback_markdown,
)

OLD = "a" * 12
NEW = "b" * 12


def description(**values: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "engine": "llamacpp",
        "engine_version": "0.7.0",
        "model": "tiny",
        "model_revision": "r1",
        "model_manifest_sha256": "1" * 64,
        "model_entry": "model.gguf",
        "served_name": "chat",
        "port": 8001,
        "gpus": "all",
        "config": {"threads": 4},
        **values,
    }


def wanted(pool: str = "chat", release: str = NEW, **values: Any) -> dict[str, Any]:
    return {"description": description(**values), "release_id": release, "pool": pool, "slo_tier": "standard"}


def running(release: str | None = OLD, **values: Any) -> dict[str, Any]:
    return {
        "instance": "chat",
        "current": release,
        "previous": None,
        "armed": None,
        "instance_state": {"state": "healthy"},
        "active_state": "active",
        "current_description": description(engine_version="0.6.0") if release else None,
        **values,
    }


def fleet(count: int, info: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    hosts = [f"gpu{number}" for number in range(1, count + 1)]
    options.setdefault("desired", {host: {"chat": wanted()} for host in hosts})
    options.setdefault("current", {host: {"instances": [info or running()]} for host in hosts})
    return build_plan(rollout_id="r", **options)


def failing(plan: dict[str, Any]) -> list[str]:
    return [item["check"] for item in plan["findings"] if item["status"] == "fail"]


def warning(plan: dict[str, Any]) -> list[str]:
    return [item["check"] for item in plan["findings"] if item["status"] == "warn"]


@pytest.mark.parametrize(
    ("info", "action"),
    [
        (running(), "upgrade"),
        (running(None), "install"),
        (running(NEW), "none"),
        (running(NEW, armed={"release": NEW}), "resume"),
        (running(OLD, armed={"release": OLD, "revert_to": NEW}), "resume"),
        (running(OLD, instance_state={"state": "rolled_back_verified"}), "upgrade"),
    ],
)
def test_the_action_follows_from_what_runs_and_whether_it_is_proven(info: dict[str, Any], action: str) -> None:
    plan = fleet(1, info)
    assert plan["hosts"]["gpu1"]["chat"]["action"] == action
    assert bool(plan["order"]) == (action != "none")


@pytest.mark.parametrize("release", [OLD, NEW])
def test_a_service_that_does_not_run_is_refused(release: str) -> None:
    assert "unit_state" in failing(fleet(3, running(release, active_state="failed")))


def test_what_was_not_committed_counts_from_the_release_to_go_back_to() -> None:
    plan = fleet(3, running(NEW, armed={"release": NEW, "revert_to": OLD}))
    assert plan["hosts"]["gpu1"]["chat"]["from"] == OLD


@pytest.mark.parametrize(("key", "value"), [("port", 9000), ("served_name", "other")])
def test_an_upgrade_does_not_move_an_instance_away_from_its_clients(key: str, value: Any) -> None:
    changed = {"gpu1": {"chat": wanted(**{key: value})}, "gpu2": {"chat": wanted()}}
    assert f"fixed_{key}" in failing(fleet(2, desired=changed))


def test_an_instance_that_the_host_does_not_know_is_installed() -> None:
    plan = fleet(1, current={"gpu1": {"instances": []}})
    assert plan["hosts"]["gpu1"]["chat"]["action"] == "install"
    assert plan["hosts"]["gpu1"]["chat"]["from"] is None


def test_the_canary_is_first_and_batches_follow_serial() -> None:
    plan = fleet(5, canary="gpu3", serial=[1, "50%", "100%"])
    assert plan["batches"] == [["gpu3"], ["gpu1", "gpu2"], ["gpu4", "gpu5"]]
    assert plan["order"] == ["gpu3", "gpu1", "gpu2", "gpu4", "gpu5"]
    assert plan["canary"] == "gpu3"


def test_hosts_without_a_change_are_in_no_batch_and_do_not_count_for_percentages() -> None:
    current = {f"gpu{n}": {"instances": [running(NEW if n > 2 else OLD)]} for n in range(1, 11)}
    plan = fleet(10, current=current, serial=["50%"])
    assert plan["batches"] == [["gpu1"], ["gpu2"]]
    assert plan["hosts"]["gpu9"]["chat"]["action"] == "none"


def test_a_canary_without_a_change_is_told_and_the_next_goes_first() -> None:
    current = {"gpu1": {"instances": [running(NEW)]}, "gpu2": {"instances": [running()]}}
    plan = fleet(2, current=current, canary="gpu1")
    assert plan["order"] == ["gpu2"]
    assert "canary" in warning(plan)


def test_an_unknown_canary_is_refused_with_the_nearest_name() -> None:
    plan = fleet(3, canary="gpu9")
    assert failing(plan) == ["canary"]
    assert "gpu" in plan["findings"][0]["action"]


def test_a_serial_with_a_fault_is_refused() -> None:
    assert "serial" in failing(fleet(2, serial=["ten"]))


@pytest.mark.parametrize(
    "info", [None, {"failed": True, "msg": "no sudo"}, {"unreachable": True, "msg": "down"}, {}, "x"]
)
def test_a_host_that_did_not_answer_is_refused(info: Any) -> None:
    plan = fleet(2, current={"gpu1": info, "gpu2": {"instances": [running()]}})
    assert failing(plan)[0] == "release_info"


def test_a_batch_that_takes_a_whole_pool_is_refused() -> None:
    plan = fleet(2, serial=[2])
    assert failing(plan) == ["pool_outage"]
    assert warning(fleet(2, serial=[2], allow_pool_outage=True)) == ["pool_outage"]
    assert failing(fleet(3, serial=[1, "100%"])) == []


def test_a_pool_on_one_host_is_warned_about() -> None:
    plan = fleet(1)
    assert (failing(plan), warning(plan)) == ([], ["pool_outage"])


def test_a_pool_that_the_canary_does_not_serve_is_warned_about() -> None:
    desired = {f"gpu{n}": {"chat": wanted("a" if n < 3 else "b")} for n in range(1, 6)}
    plan = fleet(5, desired=desired, serial=[1, 1, 2, 1])
    assert warning(plan) == ["pool_canary"]
    assert "pool b" in [item["subject"] for item in plan["findings"]]


def test_a_first_install_is_refused_and_sent_to_site_and_takes_no_pool_out() -> None:
    plan = fleet(3, running(None), serial=["100%"])
    assert failing(plan) == ["not_installed"] * 3
    assert "local_llm.ops.site" in plan["findings"][0]["action"]
    assert warning(plan) == []


def test_an_instance_that_is_not_in_the_inventory_any_more_is_told() -> None:
    current = {"gpu1": {"instances": [running(), running(instance="old")]}, "gpu2": {"instances": [running()]}}
    plan = fleet(2, current=current)
    assert warning(plan) == ["left_over"]
    assert "gpu1/old" in plan["findings"][0]["subject"]


def test_an_earlier_rollback_that_failed_is_told() -> None:
    assert "instance_state" in warning(fleet(3, running(instance_state={"state": "rollback_failed"})))


def test_changes_name_each_key_with_both_values() -> None:
    before = description(engine_version="0.6.0", config={"threads": 4, "old": 1})
    after = description(config={"threads": 8, "new": True})
    assert description_changes(before, after) == [
        {"key": "engine_version", "from": "0.6.0", "to": "0.7.0"},
        {"key": "config.new", "from": None, "to": True},
        {"key": "config.old", "from": 1, "to": None},
        {"key": "config.threads", "from": 4, "to": 8},
    ]


def test_a_plan_is_json_with_the_agreed_keys() -> None:
    plan = json.loads(json.dumps(fleet(3)))
    assert set(plan) == {"schema", "rollout_id", "canary", "serial", "order", "batches", "hosts", "findings"}
    assert {"from", "to", "action"} <= set(plan["hosts"]["gpu1"]["chat"])


def test_the_table_shows_every_move_and_what_changes() -> None:
    text = plan_text(fleet(3))
    assert "3 to upgrade, on 3 hosts in 3 batches" in text
    line = next(line for line in text.splitlines() if " gpu2 " in line)
    for word in (OLD, NEW, "upgrade", "engine_version 0.6.0 -> 0.7.0"):
        assert word in line


def test_a_finished_fleet_has_nothing_to_change() -> None:
    plan = fleet(3, running(NEW))
    assert "nothing to change on 3 hosts" in plan_text(plan)
    assert "Nothing has to change." in plan_markdown(plan)
    assert "nothing to go back from" in rollback_markdown(plan)


def test_markdown_tables_survive_a_pipe_in_a_value() -> None:
    current = {"gpu1": {"instances": [running(current_description=description(served_name="a|b<i>"))]}}
    text = plan_markdown(fleet(1, current=current))
    assert "a\\|b&lt;i>" in text


def test_the_rollback_plan_goes_backwards_and_says_where_to() -> None:
    text = rollback_markdown(fleet(3, serial=[1]))
    assert text.index("| gpu3") < text.index("| gpu1")
    assert "llamacpp 0.6.0, tiny r1" in text
    assert "ansible-playbook local_llm.ops.rollback" in text
    assert "systemctl restart local-llm@INSTANCE" in text


def server(host: str, state: str = "ready") -> dict[str, Any]:
    return {"pool": "chat", "server": f"{host}-chat", "admin_state": state}


def test_a_server_that_was_out_of_service_before_is_remembered() -> None:
    infos = {
        "gw1": {"servers": [server("gpu1"), server("gpu2")]},
        "gw2": {"servers": [server("gpu1", "drain"), server("gpu2")]},
    }
    plan = add_gateways(fleet(2), infos)
    assert plan["hosts"]["gpu1"]["chat"]["gateway_before"] == "drain"
    assert plan["hosts"]["gpu2"]["chat"]["gateway_before"] == "ready"
    assert failing(plan) == []


def test_a_gateway_that_does_not_answer_or_not_know_a_server_is_refused() -> None:
    plan = add_gateways(fleet(2), {"gw1": {"failed": True, "msg": "no socket"}, "gw2": {"servers": [server("gpu1")]}})
    assert sorted(failing(plan)) == ["gateway_info", "gateway_server"]
    assert plan["hosts"]["gpu2"]["chat"]["gateway_before"] is None


def back(info: dict[str, Any], release_id: str | None = None) -> dict[str, Any]:
    hosts = ["gpu1", "gpu2"]
    return build_rollback_plan(
        rollout_id="r",
        desired={host: {"chat": wanted()} for host in hosts},
        current={host: {"instances": [info]} for host in hosts},
        release_id=release_id,
    )


def test_a_rollback_takes_one_host_at_a_time_to_the_release_before() -> None:
    plan = back(running(NEW, previous=OLD, releases=[NEW, OLD]))
    entry = plan["hosts"]["gpu1"]["chat"]
    assert plan["batches"] == [["gpu1"], ["gpu2"]]
    assert (entry["from"], entry["to"], entry["action"]) == (OLD, NEW, "upgrade")


def test_a_rollback_without_a_release_before_changes_nothing_and_says_so() -> None:
    plan = back(running(NEW, previous=None, releases=[NEW]))
    assert (plan["order"], set(warning(plan))) == ([], {"rollback"})


def test_a_rollback_goes_to_the_named_release() -> None:
    plan = back(running(NEW, previous=OLD, releases=[NEW, OLD, "c" * 12]), "c" * 12)
    assert {plan["hosts"][host]["chat"]["from"] for host in plan["order"]} == {"c" * 12}
    assert plan["findings"] == []


def test_a_rollback_takes_an_armed_instance_to_where_its_dead_man_would() -> None:
    armed = {"revert_to": "c" * 12, "deadline": "2026-01-05T10:00:00Z"}
    entry = back(running(NEW, previous=OLD, armed=armed, releases=[NEW, OLD, "c" * 12]))["hosts"]["gpu1"]["chat"]
    assert (entry["from"], entry["to"], entry["action"], entry["armed"]) == ("c" * 12, NEW, "upgrade", True)


def test_an_armed_instance_that_is_back_already_still_has_to_be_settled() -> None:
    armed = {"revert_to": OLD, "deadline": "2026-01-05T10:00:00Z"}
    entry = back(running(OLD, previous=NEW, armed=armed, releases=[NEW, OLD]))["hosts"]["gpu1"]["chat"]
    assert (entry["from"], entry["to"], entry["action"]) == (OLD, NEW, "upgrade")


@pytest.mark.parametrize("state", ["rolling_back", "rollback_failed", "unknown"])
def test_an_instance_whose_way_back_was_never_proven_is_proven_where_it_is(state: str) -> None:
    left = running(OLD, previous=NEW, releases=[NEW, OLD], instance_state={"state": state, "rollout_id": "r0"})
    entry = back(left)["hosts"]["gpu1"]["chat"]
    assert (entry["from"], entry["to"], entry["action"]) == (OLD, NEW, "upgrade")


def test_a_rollback_does_not_go_further_back_than_one_release_by_itself() -> None:
    done = {"state": "rolled_back_verified", "rollout_id": "r0"}
    plan = back(running(OLD, previous=NEW, releases=[NEW, OLD], instance_state=done))
    assert (plan["order"], plan["findings"]) == ([], [])
    assert "gone back already" in plan["hosts"]["gpu1"]["chat"]["reason"]


def test_a_rollback_leaves_alone_what_the_last_rollout_did_not_change() -> None:
    infos = {
        host: {"instances": [running(NEW, previous=OLD, releases=[NEW, OLD], instance_state=state)]}
        for host, state in (
            ("gpu1", {"state": "healthy", "rollout_id": "20260105T100000Z-a"}),
            ("gpu2", {"state": "healthy", "rollout_id": "20260106T100000Z-b"}),
        )
    }
    plan = build_rollback_plan(rollout_id="r", desired={host: {"chat": wanted()} for host in infos}, current=infos)
    assert plan["order"] == ["gpu2"]
    assert "20260106T100000Z-b" in plan["hosts"]["gpu1"]["chat"]["reason"]


def test_a_rollback_to_the_release_that_serves_has_nothing_to_do() -> None:
    plan = back(running(OLD, previous=None, releases=[NEW, OLD]), OLD)
    assert (plan["order"], plan["canary"], plan["findings"]) == ([], None, [])


@pytest.mark.parametrize("info", [None, {"unreachable": True, "msg": "down"}, {"failed": True}, "x"])
def test_a_rollback_names_a_host_that_did_not_answer_and_how_to_leave_it_out(info: Any) -> None:
    good = {"instances": [running(NEW, previous=OLD, releases=[NEW, OLD])]}
    plan = build_rollback_plan(
        rollout_id="r",
        desired={host: {"chat": wanted()} for host in ("gpu1", "gpu2")},
        current={"gpu1": good, "gpu2": info},
    )
    assert failing(plan) == ["release_info"]
    assert (plan["findings"][0]["subject"], plan["order"]) == ("gpu2", ["gpu1"])
    assert "--limit '!gpu2'" in plan["findings"][0]["action"]


def test_a_rollback_to_a_release_that_a_host_does_not_have_is_refused() -> None:
    assert failing(back(running(NEW, previous=OLD, releases=[NEW, OLD]), "c" * 12)) == ["rollback", "rollback"]
