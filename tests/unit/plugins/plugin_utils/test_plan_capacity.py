# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout takes no more hosts at a time than the others can stand in for."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._batches import batches
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_settings import (
    capacity_setting_findings,
    pool_capacities,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import build_plan
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_gateways import in_service, out_of_service
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan_text import plan_text
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.plans import NEW, running, wanted


def known(rate: float, goodput: float = 8) -> dict[str, Any]:
    return {"chat": {"goodput_requests_per_second": goodput, "peak_requests_per_second": rate}}


def plan(count: int = 10, **options: Any) -> dict[str, Any]:
    hosts = [f"gpu{number}" for number in range(1, count + 1)]
    options.setdefault("desired", {host: {"chat": wanted()} for host in hosts})
    options.setdefault("current", {host: {"instances": [running()]} for host in hosts})
    return build_plan(rollout_id="r", **options)


def sizes(made: dict[str, Any]) -> list[int]:
    return [len(batch) for batch in made["batches"]]


def told(made: dict[str, Any], status: str) -> list[str]:
    return [finding_line(item) for item in made["findings"] if (item["check"], item["status"]) == ("capacity", status)]


@pytest.mark.parametrize(
    ("rate", "serial", "expected"),
    [
        (50, (1, "10%", "50%", "100%"), [1, 1, 3, 2, 3]),
        (50, ("100%",), [3, 3, 3, 1]),
        (50, (2,), [2, 2, 2, 2, 2]),
        (72, ("50%",), [1] * 10),
        (8, ("100%",), [9, 1]),
    ],
)
def test_a_batch_leaves_enough_hosts_for_the_peak(rate: float, serial: Any, expected: list[int]) -> None:
    made = plan(capacity=known(rate), serial=serial)
    assert sizes(made) == expected
    assert [host for batch in made["batches"] for host in batch] == made["order"]
    assert batches(made["order"], made["serial"]) == made["batches"], "Ansible must make the same batches of it"


def test_the_plan_says_why_a_batch_is_smaller() -> None:
    made = plan(capacity=known(50))
    (line,) = told(made, "warn")
    assert line == (
        "WARN pool chat: found: 10 in service, 50 requests/s at 8 each need 7; expected: at most 3 away at the same "
        "time. Batches are made smaller: 1, 1, 3, 2, 3."
    )
    assert line in plan_text(made)


def test_without_figures_or_need_nothing_changes() -> None:
    plain = plan()
    for capacity in ({}, {"chat": {"goodput_requests_per_second": 8}}, known(1), {"other": known(50)["chat"]}):
        made = plan(capacity=capacity, serial=(1, "10%", "50%", "100%"))
        assert (made["batches"], made["serial"]) == (plain["batches"], plain["serial"]) and not told(made, "warn")


def test_a_pool_that_cannot_spare_a_host_is_refused_unless_it_is_named() -> None:
    made = plan(7, capacity=known(50))
    (line,) = told(made, "fail")
    assert "7 in service, 50 requests/s at 8 each need 7; not even one host can be spared" in line
    assert "local_llm_allow_short_pools: [chat]" in line
    allowed = plan(7, capacity=known(50), short_pools=["chat"])
    assert not told(allowed, "fail") and len(told(allowed, "warn")) == 1
    assert sizes(allowed) == [1] * 7, "one at a time all the same"


def test_a_server_out_of_service_cannot_stand_in_and_is_not_missed() -> None:
    away = {("chat", "gpu10-chat")}
    assert sizes(plan(capacity=known(50), out_of_service=away, serial=("100%",))) == [2, 2, 2, 2, 2]
    only = {f"gpu{n}": {"instances": [running("a" * 12 if n == 10 else NEW)]} for n in range(1, 11)}
    assert not told(plan(current=only, capacity=known(72), out_of_service=away), "fail")


def halted(*numbers: int, state: str = "verifying", count: int = 10) -> dict[str, Any]:
    armed = {"revert_to": "a" * 12} if state == "verifying" else None
    left = running(NEW, armed=armed, instance_state={"state": state})
    return {f"gpu{n}": {"instances": [left if n in numbers else running()]} for n in range(1, count + 1)}


def test_a_host_that_a_rollout_left_in_the_middle_cannot_stand_in_before_it_is_done() -> None:
    # Ten need seven: with two of them halted one may be away, and three once these two are done.
    made = plan(current=halted(9, 10), capacity=known(50), serial=("100%",))
    assert sizes(made) == [3, 3, 3, 1] and made["order"][:2] == ["gpu9", "gpu10"]
    (line,) = told(made, "warn")
    assert "8 in service" in line and "2 more left by an earlier rollout, counted once done" in line
    # Where they do not move, they never stand in.
    kept = {**halted(9, 10, state="rollback_failed"), "gpu9": {"instances": [running(NEW, instance_state={})]}}
    kept["gpu10"] = {"instances": [running(NEW, instance_state={"state": "rollback_failed"})]}
    assert sizes(plan(current=kept, capacity=known(50), serial=("100%",))) == [2, 2, 2, 2]


def test_a_pool_that_misses_only_what_this_rollout_brings_back_is_not_refused() -> None:
    made = plan(8, current=halted(7, 8, count=8), capacity=known(50), serial=("100%",))
    assert not told(made, "fail")
    assert made["batches"] == [["gpu7", "gpu8"], *([f"gpu{n}"] for n in range(1, 7))]


@pytest.mark.parametrize("state", ["healthy", "rolled_back_verified"])
def test_a_host_that_went_back_as_it_should_keeps_its_place_and_counts(state: str) -> None:
    current = {f"gpu{n}": {"instances": [running(instance_state={"state": state})]} for n in range(1, 11)}
    made = plan(current=current, capacity=known(50), serial=("100%",))
    assert (sizes(made), made["order"][0]) == ([3, 3, 3, 1], "gpu1")


def test_the_canary_goes_before_the_hosts_that_were_left() -> None:
    assert plan(current=halted(9), canary="gpu3")["order"][:3] == ["gpu3", "gpu9", "gpu1"]


def test_with_limit_the_hosts_that_are_left_out_stand_in_too() -> None:
    others = {("chat", f"gpu{number}-chat") for number in range(1, 11)} | {("code", "gpu11-code")}
    assert sizes(plan(2, capacity=known(50), in_service=others, serial=("100%",))) == [2]
    assert told(plan(2, capacity=known(50)), "fail"), "without a word of the gateways only the plan's own hosts count"
    (line,) = told(plan(2, capacity=known(72), in_service=others, serial=("100%",)), "warn")
    assert "10 in service" in line and "at most 1 away" in line


def test_a_host_that_is_done_stays_and_counts() -> None:
    done = {f"gpu{n}": {"instances": [running(NEW if n <= 5 else "a" * 12)]} for n in range(1, 11)}
    assert sizes(plan(current=done, capacity=known(50), serial=("100%",))) == [3, 2]


def test_the_tightest_pool_of_a_batch_decides() -> None:
    desired = {f"gpu{n}": {"chat": wanted(), "code": wanted("code")} for n in range(1, 7)}
    current = {host: {"instances": [running(), running(instance="code")]} for host in desired}
    capacity = {**known(8), "code": known(32)["chat"]}
    assert sizes(plan(desired=desired, current=current, capacity=capacity, serial=("100%",))) == [2, 2, 2]


def test_who_is_out_of_service_is_read_from_the_gateways() -> None:
    def server(name: str, **values: Any) -> dict[str, Any]:
        return {"pool": "chat", "server": name, "admin_state": "ready", "operational_state": "up", **values}

    infos = {
        "gw1": {"servers": [server("a"), server("b", admin_state="drain"), server("c", operational_state="down")]},
        "gw2": {"servers": [server("d", admin_state="drain", lease={"before": {"state": "ready"}})]},
        "gw3": {"failed": True, "servers": [server("a", admin_state="maint")]},
    }
    assert out_of_service(infos) == {("chat", "b"), ("chat", "c")}


def test_in_service_is_what_every_gateway_sends_to() -> None:
    def table(**states: str) -> dict[str, Any]:
        servers = [{"pool": "chat", "server": name, "admin_state": state} for name, state in states.items()]
        return {"servers": servers}

    infos = {"gw1": table(a="ready", b="ready", c="ready"), "gw2": table(a="ready", b="drain"), "gw3": {"failed": True}}
    assert in_service(infos) == {("chat", "a")}
    # What was drained under a lease was in service before, and is not now.
    leased = {"pool": "chat", "server": "d", "admin_state": "drain", "lease": {"before": {"state": "ready"}}}
    assert in_service({"gw1": {"servers": [leased]}}) == out_of_service({"gw1": {"servers": [leased]}}) == set()
    assert in_service({}) == set()


# The setting.


@pytest.mark.parametrize(
    ("capacity", "word"),
    [
        ({"goodput": 8}, "Unknown key goodput"),
        ({"goodput_requests_per_second": "8"}, "Write the number without quotes"),
        ({"peak_requests_per_second": 0}, "from 0.001"),
        ({"weekly_peaks": [1, 0]}, "highest rate of each week"),
        ({"failures": -1}, "from 0"),
    ],
)
def test_a_wrong_capacity_is_named(capacity: dict[str, Any], word: str) -> None:
    pools = {"chat": {"capacity": capacity}}
    (found,) = capacity_setting_findings({"gw1": pools, "gpu1": pools})
    assert word in f"{found['action']} {found['expected']}" and "local_llm_pools.chat.capacity" in found["subject"]


def test_the_capacity_of_a_pool_is_found_wherever_it_is_said() -> None:
    assert pool_capacities({"gw1": None, "gpu1": {"chat": {"capacity": {"failures": 2}}, "code": {}}}) == {
        "chat": {"failures": 2}
    }
    assert capacity_setting_findings({"gw1": None, "gpu1": {"chat": {}, "code": None}}) == []
