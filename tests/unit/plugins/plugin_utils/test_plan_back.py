# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: who goes back to which release, after whatever the last rollout or rollback left."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_back import build_rollback_plan
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_text import (
    plan_markdown,
    plan_text,
    rollback_markdown,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.plans import (
    NEW,
    OLD,
    running,
    wanted,
)


def failing(plan: dict[str, Any]) -> list[str]:
    return [item["check"] for item in plan["findings"] if item["status"] == "fail"]


def warning(plan: dict[str, Any]) -> list[str]:
    return [item["check"] for item in plan["findings"] if item["status"] == "warn"]


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


FIRST, SECOND, THIRD = "20260105T100000Z-a", "20260106T100000Z-b", "20260107T100000Z-c"
OLDER = "c" * 12


def at(release: str, previous: str | None, state: str, rollout_id: str, **values: Any) -> dict[str, Any]:
    known = [one for one in (release, previous) if one]
    found = {"state": state, "rollout_id": rollout_id}
    return running(release, previous=previous, releases=known, instance_state=found, **values)


def back_from(release_id: Any = None, inventory: Any = NEW, **hosts: Any) -> dict[str, Any]:
    return build_rollback_plan(
        rollout_id="r",
        desired={host: {"chat": wanted(release=inventory)} for host in hosts},
        current={host: {"instances": [info]} for host, info in hosts.items()},
        release_id=release_id,
    )


def test_a_rollback_leaves_alone_what_the_last_rollout_did_not_bring() -> None:
    plan = back_from(gpu1=at(OLD, OLDER, "healthy", FIRST), gpu2=at(NEW, OLD, "healthy", SECOND))
    assert plan["order"] == ["gpu2"]
    assert SECOND in plan["hosts"]["gpu1"]["chat"]["reason"]
    assert (plan["hosts"]["gpu2"]["chat"]["from"], plan["hosts"]["gpu2"]["chat"]["to"]) == (OLD, NEW)


def test_a_rollback_takes_back_what_an_interrupted_run_had_promoted_before_the_last_one_went_on() -> None:
    new = {host: at(NEW, OLD, "healthy", run) for host, run in (("gpu1", FIRST), ("gpu2", SECOND), ("gpu3", SECOND))}
    assert back_from(**new)["order"] == ["gpu1", "gpu2", "gpu3"]


@pytest.mark.parametrize(
    ("state", "order"), [("rolled_back_verified", ["gpu2", "gpu3"]), ("rolling_back", ["gpu1", "gpu2", "gpu3"])]
)
@pytest.mark.parametrize("inventory", [OLD, NEW])
def test_a_rollback_that_was_killed_or_failed_is_continued_by_a_second_one(
    state: str, order: list[str], inventory: str
) -> None:
    rest = {host: at(NEW, OLD, "healthy", FIRST) for host in ("gpu2", "gpu3")}
    plan = back_from(inventory=inventory, gpu1=at(OLD, NEW, state, SECOND), **rest)
    assert plan["order"] == order
    assert {plan["hosts"][host]["chat"]["from"] for host in order} == {OLD}


@pytest.mark.parametrize("inventory", [OLD, NEW])
def test_after_a_complete_rollback_a_second_one_has_nothing_to_do(inventory: str) -> None:
    done = {host: at(OLD, NEW, "rolled_back_verified", SECOND) for host in ("gpu1", "gpu2")}
    plan = back_from(inventory=inventory, gpu3=at(OLD, OLDER, "healthy", FIRST), **done)
    assert (plan["order"], plan["findings"]) == ([], [])
    assert "gone back already" in plan["hosts"]["gpu1"]["chat"]["reason"]


def test_a_rollback_after_a_rollout_that_halted_takes_back_what_the_run_before_it_had_promoted() -> None:
    # The dead-man's way back restores the link that was there before, so gpu2 does not remember the new release.
    plan = back_from(gpu1=at(NEW, OLD, "healthy", FIRST), gpu2=at(OLD, OLDER, "rolled_back_verified", SECOND))
    assert plan["order"] == ["gpu1"]


def test_a_host_that_could_not_go_back_tells_that_its_release_has_to_go() -> None:
    stuck = at(NEW, OLD, "rollback_failed", SECOND)
    plan = back_from(gpu1=stuck, gpu2=at(NEW, OLD, "healthy", SECOND), gpu3=at(OLD, OLDER, "healthy", FIRST))
    assert plan["order"] == ["gpu1", "gpu2"]


def test_an_instance_that_site_brought_with_nothing_before_it_is_told() -> None:
    plan = back_from(gpu1=at(NEW, OLD, "healthy", SECOND), gpu2=running(NEW, previous=None, releases=[NEW]))
    assert (plan["order"], warning(plan), failing(plan)) == (["gpu1"], ["rollback"], [])


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


def test_a_rollback_to_a_release_that_some_hosts_lack_leaves_them_alone_and_says_so() -> None:
    plan = back_from(OLDER, gpu1=at(NEW, OLDER, "healthy", FIRST), gpu2=at(NEW, OLD, "healthy", FIRST))
    assert (plan["order"], warning(plan), failing(plan)) == (["gpu1"], ["rollback"], [])
    assert plan["findings"][0]["subject"] == "gpu2/chat"


def test_a_named_release_that_serves_somewhere_already_is_not_refused_elsewhere() -> None:
    plan = back_from(OLD, gpu1=at(OLD, None, "healthy", FIRST), gpu2=at(NEW, None, "healthy", FIRST))
    assert (plan["order"], warning(plan), failing(plan)) == ([], ["rollback"], [])


def test_a_rollback_to_a_release_that_no_host_has_is_refused() -> None:
    assert failing(back(running(NEW, previous=OLD, releases=[NEW, OLD]), "c" * 12)) == ["rollback", "rollback"]


@pytest.mark.parametrize("render", [plan_text, plan_markdown, rollback_markdown])
def test_the_texts_of_a_rollback_read_from_what_serves_to_what_it_goes_back_to(render: Any) -> None:
    plan = back(running(NEW, previous=OLD, releases=[NEW, OLD]))
    text = render(plan)
    row = next(line for line in text.splitlines() if "gpu1" in line)
    assert plan["direction"] == "back"
    assert row.index(NEW) < row.index(OLD)
    assert text.startswith(("Rollback", "# Rollback"))
    for wrong in ("upgrade  ", "| upgrade |", "to upgrade", "canary", "ops.rollback", "runs now"):
        assert wrong not in text


@pytest.mark.parametrize("render", [plan_text, plan_markdown])
def test_a_rollback_is_called_one_in_its_table(render: Any) -> None:
    text = render(back(running(NEW, previous=OLD, releases=[NEW, OLD])))
    assert "2 to roll back, on 2 hosts" in text
    assert "rollback" in next(line for line in text.splitlines() if "gpu1" in line)


def test_the_text_of_a_rollback_says_when_the_earlier_release_serves_already() -> None:
    left = running(OLD, previous=NEW, releases=[NEW, OLD], instance_state={"state": "unknown", "rollout_id": "r0"})
    row = next(line for line in plan_text(back(left)).splitlines() if " gpu1 " in line)
    assert (row.count(OLD), NEW in row) == (2, False)
    assert "serves the earlier release already" in row


def test_the_texts_of_a_rollback_with_nothing_to_do_say_so() -> None:
    plan = back(running(NEW, previous=None, releases=[NEW]))
    assert "nothing to roll back on 2 hosts" in plan_text(plan)
    assert "found: has no release to go back to" in plan_text(plan)
    assert "Nothing goes back." in rollback_markdown(plan)
    assert "Nothing has to change." in plan_markdown(plan)
