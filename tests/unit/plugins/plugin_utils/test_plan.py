# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: who moves, in which batches, and what is wrong with that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import (
    build_plan,
    description_changes,
    unlisted_serving,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_gateways import add_gateways
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_text import (
    plan_markdown,
    plan_text,
    rollback_markdown,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.plans import (
    NEW,
    OLD,
    description,
    running,
    wanted,
)


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
    keys = "schema rollout_id direction canary serial order batches hosts carried findings"
    assert set(plan) == set(keys.split())
    assert plan["direction"] == "forward"
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


def test_a_server_that_a_leased_order_drained_was_in_service_before() -> None:
    lease = {"seconds_left": 60, "before": {"state": "ready", "share_percent": 100}}
    infos = {"gw1": {"servers": [{**server("gpu1", "drain"), "lease": lease}, {**server("gpu2"), "lease": None}]}}
    assert add_gateways(fleet(2), infos)["hosts"]["gpu1"]["chat"]["gateway_before"] == "ready"


def test_a_server_that_was_out_of_service_before_its_lease_stays_so() -> None:
    lease = {"seconds_left": 60, "before": {"state": "maint", "share_percent": 100}}
    infos = {"gw1": {"servers": [{**server("gpu1", "drain"), "lease": lease}, server("gpu2")]}}
    assert add_gateways(fleet(2), infos)["hosts"]["gpu1"]["chat"]["gateway_before"] == "maint"


def test_a_gateway_that_does_not_answer_or_not_know_a_server_is_refused() -> None:
    plan = add_gateways(fleet(2), {"gw1": {"failed": True, "msg": "no socket"}, "gw2": {"servers": [server("gpu1")]}})
    assert sorted(failing(plan)) == ["gateway_info", "gateway_server"]
    assert plan["hosts"]["gpu2"]["chat"]["gateway_before"] is None


@pytest.mark.parametrize(
    ("info", "observed", "action"),
    [
        (
            {"unreachable": True, "msg": "Task failed: no route to host"},
            "unreachable: no route to host",
            "power, network",
        ),
        ({}, "no answer", "admin socket"),
    ],
)
def test_a_gateway_that_is_unreachable_or_was_not_asked_is_refused_and_told(
    info: dict[str, Any], observed: str, action: str
) -> None:
    (found,) = [item for item in add_gateways(fleet(1), {"gw1": info})["findings"] if item["check"] == "gateway_info"]
    assert found["status"] == "fail" and found["observed"] == observed and action in found["action"]


def test_a_gateway_that_was_never_set_up_is_told_so_and_by_which_playbook() -> None:
    plan = add_gateways(fleet(1), {"gw1": {"failed": False, "msg": "no socket", "set_up": False}})
    (found,) = [item for item in plan["findings"] if item["check"] == "gateway_info"]
    assert (found["status"], found["subject"], found["observed"]) == (
        "fail",
        "gateway gw1",
        "no HAProxy that is set up",
    )
    assert found["action"] == "Run site first: it installs HAProxy on gw1 and sets it up."


def promoted(release: str = NEW, previous: str | None = OLD, state: str = "healthy", **values: Any) -> dict[str, Any]:
    return running(release, previous=previous, instance_state={"state": state, "rollout_id": "r0"}, **values)


def interrupted(first: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return the plan of a fleet of three whose first host has got so far."""
    options.setdefault("current", {})
    current = {f"gpu{n}": {"instances": [running()]} for n in (2, 3)} | options.pop("current")
    return fleet(3, current={"gpu1": {"instances": [first]}, **current}, **options)


def test_what_an_interrupted_rollout_promoted_is_carried_with_its_way_back_and_not_rolled_again() -> None:
    plan = interrupted(promoted())
    entry = plan["hosts"]["gpu1"]["chat"]
    assert (entry["from"], entry["to"], entry["action"], entry["carried"]) == (OLD, NEW, "none", True)
    assert (plan["carried"], plan["order"], plan["batches"]) == (["gpu1"], ["gpu2", "gpu3"], [["gpu2"], ["gpu3"]])
    assert plan["hosts"]["gpu2"]["chat"]["carried"] is False
    assert "earlier rollout" in plan_text(plan)
    assert f"| gpu1 | chat | {NEW} | {OLD} |" in rollback_markdown(plan)


@pytest.mark.parametrize(
    "first",
    [
        promoted(previous=None),
        promoted(previous=NEW),
        promoted(state="rolled_back_verified"),
        promoted(state="rolling_back"),
    ],
    ids=["no release before", "the same release before", "went back to it", "going back to it"],
)
def test_what_was_not_promoted_is_not_carried(first: dict[str, Any]) -> None:
    plan = interrupted(first)
    assert (plan["carried"], plan["hosts"]["gpu1"]["chat"]["carried"]) == ([], False)


def test_nothing_is_carried_when_nothing_changes_or_only_another_pool_does() -> None:
    assert fleet(3, promoted())["carried"] == []
    desired = {f"gpu{n}": {"chat": wanted("a" if n == 1 else "b")} for n in (1, 2, 3)}
    assert interrupted(promoted(), desired=desired)["carried"] == []
    other = {"gpu1": {"chat": wanted(release="c" * 12)}, "gpu2": {"chat": wanted()}, "gpu3": {"chat": wanted()}}
    assert interrupted(promoted("c" * 12), desired=other)["carried"] == []


def test_what_a_completed_rollout_brought_does_not_depend_on_a_straggler() -> None:
    assert interrupted(promoted(), completed=["r0"])["carried"] == []
    later = {"gpu2": {"instances": [{**promoted(), "instance_state": {"state": "healthy", "rollout_id": "r1"}}]}}
    assert interrupted(promoted(), current=later)["carried"] == ["gpu1", "gpu2"]
    assert interrupted(promoted(), current=later, completed=["r1"])["carried"] == []


def test_the_share_of_hosts_that_enter_a_pool_together_stays_within_the_pool() -> None:
    plan = fleet(7, serial=[1, 3, "100%"])
    shares = {host: plan["hosts"][host]["chat"]["share_limit_percent"] for host in plan["order"]}
    assert shares == {"gpu1": 100, "gpu2": 33, "gpu3": 33, "gpu4": 33, "gpu5": 33, "gpu6": 33, "gpu7": 33}


def test_the_share_counts_only_hosts_of_the_same_pool_that_change_and_is_never_nothing() -> None:
    desired = {f"gpu{n}": {"chat": wanted("a" if n < 3 else "b")} for n in range(1, 6)}
    current = {f"gpu{n}": {"instances": [running(NEW if n == 5 else OLD)]} for n in range(1, 6)}
    plan = fleet(5, desired=desired, current=current, serial=["100%"], allow_pool_outage=True)
    assert [plan["hosts"][f"gpu{n}"]["chat"]["share_limit_percent"] for n in range(1, 6)] == [50, 50, 50, 50, 100]
    many = fleet(150, serial=[150], allow_pool_outage=True)
    assert many["hosts"]["gpu1"]["chat"]["share_limit_percent"] == 1


def test_the_share_does_not_count_a_host_that_changes_only_in_another_pool() -> None:
    desired = {f"gpu{n}": {"chat": wanted("a"), "code": wanted("b")} for n in (1, 2, 3)}
    current = {f"gpu{n}": {"instances": [running(NEW if n == 1 else OLD), running(instance="code")]} for n in (1, 2, 3)}
    plan = fleet(3, desired=desired, current=current, serial=["100%"], allow_pool_outage=True)
    assert plan["hosts"]["gpu2"]["chat"]["share_limit_percent"] == 50
    assert plan["hosts"]["gpu2"]["code"]["share_limit_percent"] == 33


def unlisted(info: Any, **listed: Any) -> list[str]:
    return [item["subject"] for item in unlisted_serving({"gpu1": listed}, {"gpu1": info})]


def test_an_instance_that_serves_and_is_no_longer_in_the_inventory_is_a_fault() -> None:
    found = unlisted_serving({"gpu1": {}}, {"gpu1": {"instances": [running()]}})
    assert [item["status"] for item in found] == ["fail"]
    text = finding_line(found[0])
    told = "instance chat serves on gpu1 and is not in local_llm_instances: site would cut it off its pool. Put it back"
    assert told in text
    assert "stop it first (local_llm.ops.stop)" in text
    assert "llm_release state=absent" in text


@pytest.mark.parametrize(
    "info",
    [
        {"instances": [running(active_state="inactive")]},
        {"instances": [running(None)]},
        {"instances": []},
        {"unreachable": True},
        None,
    ],
)
def test_what_does_not_serve_or_cannot_be_asked_may_leave_the_inventory(info: Any) -> None:
    assert unlisted(info) == []


def test_an_instance_that_the_inventory_names_may_serve() -> None:
    assert unlisted({"instances": [running()]}, chat=wanted()) == []
