# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a driver rollout: who moves, in which batches, who is refused, and who goes on where he stopped."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_rollout import (
    NAME,
    build_driver_rollout,
    driver_answer,
    matches,
    servers_of,
    was_drained,
    work_of,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_text import (
    driver_back_markdown,
    driver_markdown,
    driver_text,
)

OLD, NEW = "535.247.01", "535.261.03"
DOWNTIME = {"expected": 240, "why": "packages 120 s, the rest 120 s"}


def facts(transaction: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    packages = {"nvidia-kernel-dkms": {"version": f"{OLD}-1", "status": "installed", "held": True, "origin": "debian"}}
    return {"transaction": transaction, "gpus": [{}, {}], "packages": packages, **values}


def driver_plan(**values: Any) -> dict[str, Any]:
    plan = {
        "changes": True,
        "from": OLD,
        "to": NEW,
        "modules": "proprietary",
        "modules_reason": "Debian 12 has its headless packages for these",
        "install": {"nvidia-kernel-dkms": f"{NEW}-1"},
        "remove": [],
        "reboot": "not_needed",
        "reboot_reason": "nothing holds the modules",
        "downtime_seconds": DOWNTIME,
        "refusals": [],
        "warnings": [],
    }
    return {**plan, **values}


def host(
    name: str = "gpu1", state: str = "ready", said: str = "ask", wanted: str = NEW, **values: Any
) -> dict[str, Any]:
    server = {"gateway": "gw1", "pool": "chat", "server": f"{name}-chat", "instance": "chat", "state": state}
    return {
        "facts": facts(),
        "plan": driver_plan(),
        "wanted": {"version": wanted, "reboot": said},
        "instances": [{"name": "chat", "pool": "chat"}],
        "serving": ["chat"],
        "servers": [{**server, "share_percent": 100}],
        **values,
    }


def fleet(**hosts: dict[str, Any]) -> dict[str, Any]:
    return build_driver_rollout(rollout_id="driver-1", hosts=hosts)


def refusals(plan: dict[str, Any]) -> list[str]:
    return [f"{item['check']} {item['subject']}" for item in plan["findings"] if item["status"] == "fail"]


def transaction(state: str, **values: Any) -> dict[str, Any]:
    plan = driver_plan(servers=host()["servers"], serving=["chat"], gpu_count=8)
    return {"id": "driver-0", "state": state, "from": OLD, "to": NEW, "plan": plan, **values}


def test_the_canary_goes_first_and_a_host_that_runs_it_already_is_left_alone() -> None:
    done = host("gpu2", plan=driver_plan(changes=False, **{"from": NEW}))
    plan = build_driver_rollout(
        rollout_id="driver-1", hosts={"gpu1": host(), "gpu2": done, "gpu3": host("gpu3")}, canary="gpu3"
    )
    assert plan["order"] == ["gpu3", "gpu1"]
    assert plan["batches"] == [["gpu3"], ["gpu1"]]
    assert plan["hosts"]["gpu2"][NAME]["action"] == "none"
    assert refusals(plan) == []


def test_a_host_without_a_driver_is_an_installation() -> None:
    entry = fleet(gpu1=host(plan=driver_plan(**{"from": None})))["hosts"]["gpu1"][NAME]
    assert (entry["action"], entry["from"], entry["to"]) == ("install", None, NEW)


def test_what_a_host_refuses_the_fleet_refuses_with_its_name() -> None:
    said = {"check": "driver_headers", "status": "fail", "subject": "kernel 6.1.0-37", "observed": "no headers"}
    plan = fleet(gpu1=host(plan=driver_plan(refusals=[said])), gpu2=host("gpu2"))
    assert refusals(plan) == ["driver_headers gpu1: kernel 6.1.0-37"]


@pytest.mark.parametrize(
    ("reboot", "said", "refused"),
    [
        ("not_needed", "ask", False),
        ("not_needed", "no", False),
        ("needed", "yes", False),
        ("needed", "no", True),
        ("needed", "ask", True),
        ("maybe", "yes", False),
        ("maybe", "no", False),
        ("maybe", "ask", True),
    ],
)
def test_a_reboot_needs_a_word(reboot: str, said: str, refused: bool) -> None:
    plan = fleet(gpu1=host(said=said, plan=driver_plan(reboot=reboot)), gpu2=host("gpu2"))
    assert bool(refusals(plan)) is refused
    if refused:
        (finding,) = [item for item in plan["findings"] if item["status"] == "fail"]
        assert "-e nvidia_driver_reboot=yes" in finding["action"]
        assert "gpu1" in finding["subject"]


def test_a_batch_that_would_take_a_pool_as_a_whole_is_refused() -> None:
    hosts = {"gpu1": host(), "gpu2": host("gpu2")}
    plan = build_driver_rollout(rollout_id="driver-1", hosts=hosts, serial=[2])
    assert refusals(plan) == ["pool_outage pool chat"]
    allowed = build_driver_rollout(rollout_id="driver-1", hosts=hosts, serial=[2], allow_pool_outage=True)
    assert refusals(allowed) == []


def test_a_batch_takes_no_more_hosts_than_the_others_can_stand_in_for() -> None:
    hosts = {f"gpu{number}": host(f"gpu{number}") for number in range(1, 5)}
    capacity = {"chat": {"goodput_requests_per_second": 1.0, "peak_requests_per_second": 3.0}}
    plan = build_driver_rollout(rollout_id="driver-1", hosts=hosts, serial=[1, 3], capacity=capacity)
    assert [len(batch) for batch in plan["batches"]] == [1, 1, 1, 1]
    assert plan["serial"] == [1, 1, 1, 1]


@pytest.mark.parametrize("state", ["stopped", "installed", "reboot_needed", "loaded", "verified"])
def test_a_host_in_the_middle_goes_on_with_its_own_plan(state: str) -> None:
    known = host(state="drain", facts=facts(transaction(state)), plan=driver_plan(refusals=[{"status": "fail"}]))
    plan = fleet(gpu2=host("gpu2"), gpu1=known)
    entry = plan["hosts"]["gpu1"][NAME]
    assert (entry["action"], entry["way"], entry["to"]) == ("resume", "forward", NEW)
    assert plan["order"][0] == "gpu1", "it carries no traffic, so it comes before those that do"
    assert refusals(plan) == []
    work = work_of(known, entry)
    assert [server["state"] for server in work["servers"]] == ["ready"], "as it was before the host was drained"
    assert work["serving"] == ["chat"]
    assert work["gpu_count"] == 8
    assert not was_drained(work["servers"])


@pytest.mark.parametrize("state", ["planned", "downloaded"])
def test_a_transaction_that_changed_nothing_yet_gives_way_to_a_new_plan(state: str) -> None:
    known = host(state="drain", facts=facts(transaction(state)), wanted="550.163.01")
    plan = fleet(gpu1=known, gpu2=host("gpu2"))
    entry = plan["hosts"]["gpu1"][NAME]
    assert (entry["action"], refusals(plan)) == ("upgrade", [])
    work = work_of(known, entry)
    assert [server["state"] for server in work["servers"]] == ["ready"], "the run that died had drained it"
    assert "id" not in work
    back = fleet(gpu1=host(state="drain", facts=facts(transaction(state)), wanted=OLD), gpu2=host("gpu2"))
    assert back["hosts"]["gpu1"][NAME]["way"] == "back", "it must be let in again"


@pytest.mark.parametrize("state", ["rolling_back", "failed"])
def test_a_host_on_its_way_back_goes_on_back(state: str) -> None:
    entry = fleet(gpu1=host(facts=facts(transaction(state))), gpu2=host("gpu2"))["hosts"]["gpu1"][NAME]
    assert (entry["way"], entry["meant_back"], entry["from"], entry["to"]) == ("back", False, OLD, NEW)


def test_a_host_in_the_middle_goes_back_when_the_inventory_wants_the_old_driver() -> None:
    entry = fleet(gpu1=host(facts=facts(transaction("installed")), wanted=OLD), gpu2=host("gpu2"))["hosts"]["gpu1"][
        NAME
    ]
    assert (entry["way"], entry["meant_back"], entry["from"], entry["to"]) == ("back", True, NEW, OLD)


def test_a_host_in_the_middle_refuses_a_third_driver() -> None:
    plan = fleet(gpu1=host(facts=facts(transaction("installed")), wanted="550.163.01"), gpu2=host("gpu2"))
    assert refusals(plan) == ["driver_transaction gpu1: nvidia_driver_version"]


def test_a_transaction_that_ended_does_not_go_on() -> None:
    for ended in (
        transaction("committed"),
        transaction("committed", closed=True),
        transaction("rolled_back", closed=True),
    ):
        entry = fleet(gpu1=host(facts=facts(ended)), gpu2=host("gpu2"))["hosts"]["gpu1"][NAME]
        assert entry["action"] == "upgrade"


@pytest.mark.parametrize("values", [{}, {"closed": False}])
@pytest.mark.parametrize(("wanted", "meant_back"), [(NEW, False), (OLD, True)])
def test_packages_that_are_back_are_not_the_end_of_the_way_back(
    values: dict[str, Any], wanted: str, meant_back: bool
) -> None:
    """A run that died before it proved the host and let it in left it drained: the next one does that."""
    known = host(state="drain", serving=[], facts=facts(transaction("rolled_back", **values)), wanted=wanted)
    plan = fleet(gpu1=known, gpu2=host("gpu2"))
    entry = plan["hosts"]["gpu1"][NAME]
    assert (entry["action"], entry["way"], entry["meant_back"]) == ("resume", "back", meant_back)
    assert (entry["reboot"], refusals(plan)) == ("not_needed", [])
    work = work_of(known, entry)
    assert [server["state"] for server in work["servers"]] == ["ready"]
    assert work["serving"] == ["chat"]


def test_a_branch_that_old_and_new_are_both_of_is_a_way_forward() -> None:
    entry = fleet(gpu1=host(facts=facts(transaction("installed")), wanted="535"), gpu2=host("gpu2"))["hosts"]["gpu1"][
        NAME
    ]
    assert (entry["way"], entry["meant_back"], entry["to"]) == ("forward", False, NEW)


@pytest.mark.parametrize(
    ("values", "restore"),
    [({"state": "drain"}, True), ({"serving": []}, True), ({}, False)],
)
def test_what_a_run_that_died_before_its_change_had_drained_is_let_in_again(
    values: dict[str, Any], restore: bool
) -> None:
    plan = fleet(gpu1=host(facts=facts(transaction("downloaded")), **values), gpu2=host("gpu2"))
    assert plan["hosts"]["gpu1"][NAME]["restore"] is restore
    assert [item["check"] for item in plan["findings"]] == []


def test_a_host_that_was_left_drained_is_let_in_also_when_nothing_is_to_change() -> None:
    """The branch is wanted, and its newest version is gone from the archive: the host runs what there is."""
    settled = driver_plan(changes=False, install={}, **{"from": OLD, "to": OLD})
    known = host(state="drain", facts=facts(transaction("downloaded")), plan=settled, wanted="535")
    entry = fleet(gpu1=known, gpu2=host("gpu2"))["hosts"]["gpu1"][NAME]
    assert (entry["action"], entry["way"], entry["meant_back"], entry["to"]) == ("resume", "back", True, OLD)
    known = host(facts=facts(transaction("downloaded")), plan=settled, wanted="535")
    assert fleet(gpu1=known)["hosts"]["gpu1"][NAME]["action"] == "none"


def holding(**values: Any) -> dict[str, Any]:
    return driver_plan(install={}, downtime_seconds={"expected": 0, "why": "nothing"}, **{"from": NEW}, **values)


def test_a_host_that_is_only_held_is_not_drained() -> None:
    known = host(plan=holding(), facts=facts(loaded_version=NEW))
    plan = build_driver_rollout(rollout_id="driver-1", hosts={"gpu1": known}, serial=[1])
    entry = plan["hosts"]["gpu1"][NAME]
    assert (entry["action"], entry["only_holds"], plan["order"]) == ("hold", True, ["gpu1"])
    assert refusals(plan) == [], "one host alone may be all of its pool: nothing leaves service"
    assert "1 to hold" in driver_text(plan)
    midway = {"id": "driver-0", "state": "installed", "from": NEW, "to": NEW, "plan": holding()}
    again = fleet(gpu1=host(facts=facts(midway, loaded_version=NEW)))["hosts"]["gpu1"][NAME]
    assert (again["action"], again["way"], again["only_holds"]) == ("resume", "forward", True)


@pytest.mark.parametrize(
    "values",
    [
        {"facts": facts(loaded_version=OLD), "plan": holding()},
        {"facts": facts(loaded_version=None), "plan": holding()},
        {"facts": facts(loaded_version=NEW), "plan": holding(remove=["nvidia-old"])},
        {"facts": facts(loaded_version=NEW), "plan": holding(reboot="maybe")},
    ],
)
def test_what_exchanges_a_package_or_a_module_is_no_mere_hold(values: dict[str, Any]) -> None:
    assert fleet(gpu1=host(**values), gpu2=host("gpu2"))["hosts"]["gpu1"][NAME]["action"] == "upgrade"


def test_the_way_back_is_measured_by_what_the_host_had_before() -> None:
    disk = {"6.1.0-35": OLD, "6.1.0-37": None}
    known = host(facts=facts(loaded_version=OLD, library_version=OLD, module_on_disk_version=disk))
    before = work_of(known, fleet(gpu1=known, gpu2=host("gpu2"))["hosts"]["gpu1"][NAME])["before"]
    assert before == {"loaded_version": OLD, "library_version": OLD, "module_on_disk_version": disk}
    noted = transaction("failed")
    noted["plan"]["before"] = before
    later = host(facts=facts(noted, loaded_version=NEW, module_on_disk_version={}))
    assert work_of(later, fleet(gpu1=later, gpu2=host("gpu2"))["hosts"]["gpu1"][NAME])["before"] == before


def test_a_host_that_was_drained_before_is_told_and_stays_so() -> None:
    known = host(state="drain")
    plan = fleet(gpu1=known, gpu2=host("gpu2"))
    (told,) = [item for item in plan["findings"] if item["check"] == "driver_drained"]
    assert told["status"] == "warn"
    work = work_of(known, plan["hosts"]["gpu1"][NAME])
    assert was_drained(work["servers"])
    assert [server["state"] for server in work["servers"]] == ["drain"]


@pytest.mark.parametrize(
    ("version", "wanted", "same"),
    [
        (NEW, NEW, True),
        (NEW, "535", True),
        (NEW, "535.26", False),
        (NEW, "53", False),
        (None, "535", False),
        (NEW, None, False),
    ],
)
def test_a_version_is_the_wanted_one_or_of_the_wanted_branch(
    version: str | None, wanted: str | None, same: bool
) -> None:
    assert matches(version, wanted) is same


def test_servers_are_as_they_were_before_a_lease() -> None:
    lease = {"before": {"state": "ready", "share_percent": 100}}
    found = {"pool": "chat", "server": "gpu1-chat", "admin_state": "drain", "share_percent": 0, "lease": lease}
    other = {"pool": "chat", "server": "gpu2-chat", "admin_state": "ready", "share_percent": 100, "lease": None}
    servers = servers_of("gpu1", [{"name": "chat", "pool": "chat"}], {"gw1": {"servers": [found, other]}})
    assert [(one["server"], one["state"], one["share_percent"]) for one in servers] == [("gpu1-chat", "ready", 100)]


def running(
    state: str | None, loaded: str | None = NEW, library: str | None = NEW, disk: str | None = NEW, **values: Any
) -> dict[str, Any]:
    kept = {"id": "driver-1", "state": state, **values} if state else None
    return {
        "driver_facts": {
            "transaction": kept,
            "loaded_version": loaded,
            "library_version": library,
            "kernel_running": "6.1",
            "module_on_disk_version": {"6.1": disk},
        }
    }


@pytest.mark.parametrize(
    ("answer", "current", "state", "armed"),
    [
        (running("committed"), NEW, "healthy", False),
        (running("rolled_back", OLD, OLD, OLD, closed=True), OLD, "healthy", False),
        (running("rolled_back", OLD, OLD, OLD, closed=False), OLD, "rolled_back", True),
        (running("loaded"), NEW, "loaded", True),
        (running("committed", library=OLD), f"loaded {NEW}, on disk {NEW}, library {OLD}", "healthy", False),
    ],
)
def test_the_gate_reads_the_driver_of_a_host(answer: dict[str, Any], current: str, state: str, armed: bool) -> None:
    (item,) = driver_answer(answer)["instances"]
    assert (item["instance"], item["current"]) == (NAME, current)
    assert item["instance_state"]["state"] == state
    assert bool(item["armed"]) is armed


@pytest.mark.parametrize("answer", [None, {"failed": True, "msg": "gone"}, {"unreachable": True}])
def test_an_answer_without_facts_stays_what_it_is(answer: Any) -> None:
    assert driver_answer(answer) is answer


def test_the_text_tells_per_host_from_to_packages_reboot_and_downtime() -> None:
    plan = fleet(gpu1=host(said="yes", plan=driver_plan(reboot="needed", remove=["libcuda1-old"])), gpu2=host("gpu2"))
    text = driver_text(plan)
    assert "Driver rollout driver-1: 2 to upgrade, in 2 batches" in text
    row = next(line for line in text.splitlines() if line.startswith("1 "))
    assert row.split()[:7] == ["1", "gpu1", "chat", OLD, NEW, "upgrade", "proprietary"]
    assert "4 min" in row
    assert f"nvidia-kernel-dkms {OLD}-1 -> {NEW}-1" in text
    assert "remove libcuda1-old" in text
    assert "reboot: yes (nothing holds the modules)" in text
    assert "expected downtime: 4 min (packages 120 s, the rest 120 s)" in text
    assert f"| 1 | gpu1 | chat | {OLD} | {NEW} |" in driver_markdown(plan)
    assert f"| gpu2 | {NEW} | {OLD} |" in driver_back_markdown(plan)


def test_a_fleet_that_runs_it_already_has_nothing_to_do() -> None:
    plan = fleet(gpu1=host(plan=driver_plan(changes=False, **{"from": NEW})))
    assert plan["order"] == []
    assert "nothing to change on 1 host" in driver_text(plan)
    assert "Nothing has to change." in driver_markdown(plan)
    assert "nothing to go back from" in driver_back_markdown(plan)
