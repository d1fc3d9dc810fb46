# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovery ladder: each fault to its rung, what was tried before, consent, and who else serves."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery import (
    UNSUPPORTED,
    Host,
    Memory,
    Rules,
    decide,
    pool_outage,
    reset_together,
    reset_unsupported,
    still_failing,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_causes import RUNGS, touches

NOW = 1_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
GPUS = [{"index": n, "uuid": f"GPU-{n}", "pci_address": f"0000:{0x18 + n:02x}:00.0"} for n in range(4)]
HOST = Host(name="gpu1", now_seconds=NOW, boot_id="b1", boot_seconds=NOW - DAY, gpus=GPUS)
ALL = [{"name": "chat", "pool": "chat", "gpus": "all"}]
PER_GPU = [{"name": f"one{n}", "pool": "chat", "gpus": [n]} for n in range(4)]


def fail(check: str, remedy: str, gpu: int | None = 0, observed: Any = "bad", status: str = "fail") -> dict[str, Any]:
    return {
        "check": check,
        "status": status,
        "subject": "driver" if gpu is None else f"GPU {gpu}",
        "observed": observed,
        "remedy": remedy,
        "gpu": None if gpu is None else dict(GPUS[gpu]),
    }


def xid(code: int, remedy: str, gpu: int = 0) -> dict[str, Any]:
    return fail("xid", remedy, gpu, f"XID {code} (3 times)")


def action(
    rung: str, age: float, result: str = "failed", code: int | None = 95, gpu: int | None = 0, check: str = "xid"
) -> dict[str, Any]:
    return {
        "at_seconds": NOW - age,
        "rung": rung,
        "gpu_uuid": None if gpu is None else f"GPU-{gpu}",
        "reason": f"{check}: GPU {gpu}: whatever it said then",
        "xid": code,
        "boot_id": "b0",
        "result": result,
    }


def plan_for(
    findings: list[dict[str, Any]],
    *actions: dict[str, Any],
    instances: list[dict[str, Any]] | None = None,
    gateways: dict[str, list[dict[str, Any]]] | None = None,
    host: Host = HOST,
    consent: str = "yes",
    memory: dict[str, Any] | None = None,
    **rules: Any,
) -> dict[str, Any]:
    remembered = Memory(actions=actions, **(memory or {}))
    return decide(
        findings,
        remembered,
        ALL if instances is None else instances,
        gateways or {},
        host,
        Rules(consent=consent, **rules),
    )


def server(name: str, admin: str = "ready", operational: str = "up", pool: str = "chat") -> dict[str, Any]:
    return {"pool": pool, "server": name, "admin_state": admin, "operational_state": operational}


def mark(*instances: str, **changes: Any) -> dict[str, Any]:
    servers = [
        {"gateway": "gw1", "pool": "chat", "server": f"gpu1-{name}", "instance": name, "state": "ready"}
        for name in instances
    ]
    return {
        "rung": "reboot",
        "boot_id": "b1",
        "action_at_seconds": None,
        "waits_for": None,
        "servers": servers,
        **changes,
    }


@pytest.mark.parametrize(
    ("finding", "rung"),
    [
        (xid(94, "restart_app"), "restart_app"),
        (xid(95, "reset_gpu"), "reset_gpu"),
        (xid(79, "reboot"), "reboot"),
        (fail("row_remap_failed", "hardware"), "hardware"),
        (fail("row_remap_pending", "reset_gpu"), "reset_gpu"),
        (fail("nvml_hang", "reboot", None), "reboot"),
        (fail("fabric_manager", "restart_app", None), "restart_app"),
    ],
)
def test_a_first_fault_starts_at_its_own_remedy(finding: dict[str, Any], rung: str) -> None:
    plan = plan_for([finding])
    assert (plan["rung"], plan["refused"], plan["instances"]) == (rung, None, ["chat"])
    assert finding["check"] in plan["reason"]


def test_the_strongest_remedy_of_several_faults_goes_first() -> None:
    plan = plan_for([xid(94, "restart_app", 0), xid(95, "reset_gpu", 2)], instances=PER_GPU)
    assert (plan["rung"], plan["reset"], plan["instances"]) == ("reset_gpu", [GPUS[2]["pci_address"]], ["one2"])


def test_two_gpus_with_the_same_remedy_are_treated_at_once() -> None:
    plan = plan_for([xid(95, "reset_gpu", 0), xid(119, "reset_gpu", 3)], instances=PER_GPU)
    assert plan["instances"] == ["one0", "one3"]
    assert [cause["xid"] for cause in plan["causes"]] == [95, 119]


@pytest.mark.parametrize(
    ("actions", "rung"),
    [
        ([], "reset_gpu"),
        ([action("reset_gpu", HOUR)], "reboot"),
        ([action("reset_gpu", HOUR, "started")], "reboot"),
        ([action("reset_gpu", HOUR, "verified")], "reset_gpu"),
        ([action("reset_gpu", 5 * MINUTE, "verified")], "reboot"),
        ([action("reset_gpu", 25 * HOUR)], "reset_gpu"),
        ([action("reset_gpu", HOUR, code=119)], "reset_gpu"),
        ([action("reset_gpu", HOUR, gpu=1)], "reset_gpu"),
        ([action("reset_gpu", HOUR, check="ecc_dbe_volatile", code=None)], "reset_gpu"),
        ([action("reset_gpu", 2 * HOUR), action("reboot", HOUR)], "hardware"),
        ([action("reboot", 2 * DAY, "verified"), action("reboot", DAY * 3, "verified")], "hardware"),
        ([action("reboot", 2 * DAY, "verified")], "reset_gpu"),
        ([action("reboot", 8 * DAY, "verified"), action("reboot", 9 * DAY, "verified")], "reset_gpu"),
        ([action("reboot", 2 * DAY, "verified", 79), action("reboot", DAY * 3, "verified", 79)], "reset_gpu"),
        ([action("restart_app", n * DAY, "verified", 13, gpu=3) for n in range(1, 6)], "hardware"),
        ([action("restart_app", n * DAY, "verified", 13, gpu=3) for n in range(1, 5)], "reset_gpu"),
        ([action("restart_app", n * DAY, "verified", 13, gpu=3) for n in range(4, 9)], "reset_gpu"),
        ([action("restart_app", DAY, "verified", 13, gpu=n) for n in range(6)], "reset_gpu"),
    ],
    ids=[
        "never tried",
        "failed an hour ago",
        "never concluded",
        "held for an hour",
        "did not hold for the cooldown",
        "failed yesterday",
        "another XID",
        "another GPU",
        "another check",
        "reset and reboot failed",
        "same XID after two reboots",
        "one reboot",
        "reboots of long ago",
        "two reboots for another XID",
        "five actions in seven days",
        "four actions",
        "five actions, two of them too old",
        "one action for six GPUs counts once",
    ],
)
def test_what_was_tried_decides_the_rung(actions: list[dict[str, Any]], rung: str) -> None:
    assert plan_for([xid(95, "reset_gpu")], *actions)["rung"] == rung


def test_the_cooldown_can_be_set() -> None:
    tried = action("reset_gpu", 5 * MINUTE, "verified")
    assert plan_for([xid(95, "reset_gpu")], tried, cooldown_seconds=60.0)["rung"] == "reset_gpu"


def test_every_rung_leads_to_the_next_and_the_last_is_hardware() -> None:
    finding = xid(95, "restart_app")
    actions: list[dict[str, Any]] = []
    seen = []
    for _step in range(4):
        rung = plan_for([finding], *actions)["rung"]
        seen.append(rung)
        actions.append(action(rung, MINUTE * (10 - len(actions))))
    assert seen == list(RUNGS)


@pytest.mark.parametrize("by", ["*", GPUS[0]["pci_address"]])
def test_what_a_person_cleared_no_longer_counts(by: str) -> None:
    actions = [action("reset_gpu", 2 * HOUR), action("reboot", HOUR)]
    cleared = {"pci_address": by, "gpu_uuids": ["GPU-0"], "at_seconds": NOW - MINUTE}
    assert plan_for([xid(95, "reset_gpu")], *actions, memory={"cleared": [cleared]})["rung"] == "reset_gpu"
    early = {**cleared, "at_seconds": NOW - 3 * HOUR}
    assert plan_for([xid(95, "reset_gpu")], *actions, memory={"cleared": [early]})["rung"] == "hardware"


@pytest.mark.parametrize(
    ("consent", "act", "waits_for", "instances"),
    [
        ("yes", True, None, ["one0", "one1", "one2", "one3", "plain"]),
        ("ask", True, None, ["one0", "one1", "one2", "one3", "plain"]),
        ("no", False, "consent", ["one0"]),
    ],
)
def test_a_reboot_needs_consent_and_without_it_only_the_bad_gpu_leaves(
    consent: str, act: bool, waits_for: str | None, instances: list[str]
) -> None:
    fleet: list[dict[str, Any]] = [*PER_GPU, {"name": "plain", "pool": "cpu", "gpus": "none"}]
    plan = plan_for([xid(79, "reboot")], consent=consent, instances=fleet)
    assert (plan["rung"], plan["act"], plan["waits_for"], plan["instances"]) == ("reboot", act, waits_for, instances)
    assert plan["consent"] == consent


def test_consent_is_not_asked_for_milder_steps() -> None:
    assert plan_for([xid(95, "reset_gpu")], consent="no")["consent"] == "not_needed"


@pytest.mark.parametrize("under_way", [None, NOW - MINUTE])
def test_a_host_that_was_rebooted_meanwhile_is_verified_not_rebooted_again(under_way: float | None) -> None:
    started = [action("reboot", MINUTE, "started", 79)] if under_way else []
    waits_for = None if under_way else "consent"
    memory = {"mark": mark("chat", boot_id="b0", waits_for=waits_for, action_at_seconds=under_way)}
    plan = plan_for([xid(79, "reboot")], *started, consent="no", memory=memory)
    assert (plan["rung"], plan["act"], plan["waits_for"]) == ("reboot", False, None)
    assert plan["since_seconds"] == HOST.boot_seconds


@pytest.mark.parametrize(
    "left",
    [
        {"rung": "reboot"},
        {"rung": None, "boot_id": None},
        {"rung": "reboot", "action_at_seconds": NOW - DAY},
        {"rung": "reset_gpu", "waits_for": "person"},
    ],
    ids=["left while it drained", "ended", "an action that ended", "waits for service"],
)
def test_a_boot_long_after_a_repair_is_no_reboot_for_the_next_fault(left: dict[str, Any]) -> None:
    memory = {"mark": mark("chat", **{"boot_id": "b0", **left})}
    plan = plan_for([xid(79, "reboot")], action("reboot", DAY, "verified", 48), memory=memory)
    assert (plan["rung"], plan["act"], plan["since_seconds"]) == ("reboot", True, None)


def test_a_step_that_a_dead_controller_left_is_done_again_once() -> None:
    open_action = action("reset_gpu", MINUTE, "started")
    memory = {"mark": mark("chat", rung="reset_gpu", action_at_seconds=open_action["at_seconds"])}
    assert plan_for([xid(95, "reset_gpu")], open_action, memory=memory)["rung"] == "reset_gpu"
    again = action("reset_gpu", 2 * MINUTE, "failed")
    assert plan_for([xid(95, "reset_gpu")], again, open_action, memory=memory)["rung"] == "reboot"


def test_gpus_that_can_only_be_reset_together_take_every_instance() -> None:
    host = dataclasses.replace(HOST, reset_together="no Fabric Manager")
    plan = plan_for([xid(95, "reset_gpu", 1)], host=host, instances=PER_GPU)
    assert plan["reset"] == [gpu["pci_address"] for gpu in GPUS]
    assert len(plan["instances"]) == 4
    assert plan["notes"] == ["no Fabric Manager"]


def test_a_gpu_that_cannot_be_reset_needs_a_reboot_and_the_plan_says_why() -> None:
    host = dataclasses.replace(HOST, reset_refused="the driver says it is not supported")
    plan = plan_for([xid(95, "reset_gpu")], host=host)
    assert plan["rung"] == "reboot"
    assert "not supported" in plan["notes"][0]


@pytest.mark.parametrize(
    ("switches", "manager", "ids", "together"),
    [
        (0, False, ["2684"], False),
        (4, True, ["2330"], False),
        (4, False, ["2330"], True),
        (6, True, ["1db8"], True),
        (6, True, ["20b0"], False),
    ],
)
def test_which_gpus_are_reset_together(switches: int, manager: bool, ids: list[str], together: bool) -> None:
    assert bool(reset_together(switches, manager, ids)) is together


def test_a_refused_reset_is_remembered() -> None:
    refused = {**action("reset_gpu", HOUR), "reason": f"xid: GPU 0: XID 95 {UNSUPPORTED}"}
    assert reset_unsupported([refused])
    assert reset_unsupported([action("reset_gpu", HOUR)]) is None


@pytest.mark.parametrize("remedy", ["configure", "none"])
def test_what_only_a_person_mends_is_reported_and_nothing_is_done(remedy: str) -> None:
    plan = plan_for([fail("nvml_loadable", remedy, None, "library not found")])
    assert (plan["rung"], plan["instances"]) == ("none", [])
    assert "nvml_loadable" in plan["refused"]


@pytest.mark.parametrize("status", ["ok", "warn", "skip"])
def test_only_a_failing_finding_starts_an_action(status: str) -> None:
    plan = plan_for([fail("temp_gpu", "reset_gpu", status=status)])
    assert (plan["rung"], plan["refused"], plan["reason"]) == ("none", None, "nothing to do")


@pytest.mark.parametrize(
    ("servers", "refused"),
    [
        ([server("gpu1-chat"), server("gpu2-chat")], False),
        ([server("gpu1-chat")], True),
        ([server("gpu1-chat"), server("gpu2-chat", "drain")], True),
        ([server("gpu1-chat"), server("gpu2-chat", operational="down")], True),
        ([server("gpu1-chat"), server("gpu2-other", pool="other")], True),
        ([server("gpu1-chat", operational="down")], False),
        ([server("gpu1-chat", "drain")], False),
        ([], False),
    ],
    ids=["another serves", "alone", "the other drained", "the other down", "other pool", "down", "drained", "unknown"],
)
def test_the_last_ready_server_of_a_pool_stays(servers: list[dict[str, Any]], refused: bool) -> None:
    plan = plan_for([xid(95, "reset_gpu")], gateways={"gw1": servers})
    assert (plan["refused"] is not None, plan["act"]) == (refused, not refused)
    if refused:
        assert "gpu1-chat is all that serves pool chat at gw1" in plan["refused"]
    allowed = plan_for([xid(95, "reset_gpu")], gateways={"gw1": servers}, allow_pool_outage=True)
    assert allowed["refused"] is None


def test_two_instances_of_a_host_may_not_empty_their_pool_together() -> None:
    servers = [server("gpu1-one0"), server("gpu1-one1")]
    two = PER_GPU[:2]
    assert pool_outage(two, ["one0"], {"gw1": servers}, "gpu1") is None
    assert pool_outage(two, ["one0", "one1"], {"gw1": servers}, "gpu1")


@pytest.mark.parametrize(
    ("wanted", "index", "expected"),
    [
        ("all", 0, True),
        ("none", 0, False),
        ([], 0, False),
        ([0, 1], 1, True),
        ([0, 1], 2, False),
        ("0,2", 2, True),
        ("0,2", 1, False),
        (["GPU-3"], 3, True),
        (["GPU-3"], 0, False),
        (["MIG-1234"], 0, True),
        (None, 0, True),
    ],
)
def test_which_instance_uses_which_gpu(wanted: Any, index: int, expected: bool) -> None:
    target = [{"index": None, "uuid": None, "pci_address": GPUS[index]["pci_address"]}]
    assert touches(wanted, target, GPUS) is expected


def test_an_instance_may_use_a_gpu_of_which_nothing_is_known() -> None:
    assert touches([2], [{"index": None, "uuid": None, "pci_address": "0000:99:00.0"}], GPUS)


def test_an_instance_that_was_stopped_on_purpose_stays_stopped() -> None:
    stopped = [{**ALL[0], "active": False}]
    assert plan_for([xid(79, "reboot")], instances=stopped)["instances"] == []
    assert plan_for([xid(79, "reboot")], instances=stopped, memory={"mark": mark("chat")})["instances"] == ["chat"]


def test_a_drained_host_that_is_well_again_comes_back() -> None:
    plan = plan_for([], memory={"mark": mark("chat")})
    assert (plan["rung"], plan["refused"], plan["readmit"]) == ("none", None, ["chat"])


def test_a_host_that_waits_for_service_stays_out_until_a_person_clears_it() -> None:
    parked = [{"pci_address": GPUS[2]["pci_address"], "gpu_uuid": "GPU-2", "at_seconds": NOW, "reason": "remap failed"}]
    memory = {"mark": mark("one2", waits_for="person"), "parked": parked}
    plan = plan_for([], instances=PER_GPU, memory=memory)
    assert (plan["rung"], plan["readmit"], plan["waits_for"]) == ("none", [], "person")
    assert "state=cleared" in plan["refused"]


def test_a_gpu_that_waits_for_service_does_not_keep_another_from_its_repair() -> None:
    parked = [{"pci_address": GPUS[2]["pci_address"], "gpu_uuid": "GPU-2", "at_seconds": NOW, "reason": "remap failed"}]
    memory = {"mark": mark("one2", waits_for="person"), "parked": parked}
    findings = [fail("row_remap_failed", "hardware", 2), xid(95, "reset_gpu", 0)]
    plan = plan_for(findings, instances=PER_GPU, memory=memory)
    assert (plan["rung"], plan["instances"]) == ("reset_gpu", ["one0"])
    done = plan_for(findings[:1], instances=PER_GPU, memory={**memory, "mark": mark("one0", "one2")})
    assert (done["rung"], done["readmit"], done["refused"]) == ("none", ["one0"], None)


@pytest.mark.parametrize("whole_host", ["fails", "waits for service"])
def test_while_the_whole_host_fails_only_what_uses_no_gpu_comes_back(whole_host: str) -> None:
    fleet: list[dict[str, Any]] = [*PER_GPU[:1], *ALL, {"name": "plain", "pool": "cpu", "gpus": "none"}]
    memory: dict[str, Any] = {"mark": mark("one0", "chat", "plain")}
    if whole_host == "waits for service":
        memory["parked"] = [{"pci_address": "*", "gpu_uuid": None, "at_seconds": NOW, "reason": "no GPU answers"}]
    findings = [fail("nvml_hang", "reboot", None)] if whole_host == "fails" else []
    assert plan_for(findings, instances=fleet, memory=memory)["readmit"] == ["plain"]


def test_an_instance_does_not_come_back_to_a_gpu_that_needs_a_person() -> None:
    finding = fail("compute_mode", "configure", 1)
    plan = plan_for([finding], instances=PER_GPU, memory={"mark": mark("one0", "one1")})
    assert (plan["readmit"], plan["refused"]) == (["one0"], None)


@pytest.mark.parametrize(
    ("after", "left"),
    [
        ([], 0),
        ([xid(95, "reset_gpu", 0)], 1),
        ([fail("gpu_lost", "reboot", 0)], 1),
        ([xid(95, "reset_gpu", 1)], 0),
        ([fail("nvml_hang", "reboot", None)], 1),
        ([fail("compute_mode", "configure", 0, "exclusive now")], 0),
        ([fail("gpu_count", "configure", 0)], 1),
        ([fail("temp_gpu", "none", 0, status="warn")], 0),
    ],
    ids=["well", "same", "worse", "another GPU", "whole host", "was there before", "new, for a person", "warning"],
)
def test_a_rung_is_verified_when_its_gpus_have_no_new_and_no_old_fault(after: list[dict[str, Any]], left: int) -> None:
    before = [xid(95, "reset_gpu", 0), fail("compute_mode", "configure", 0)]
    plan = plan_for(before, instances=PER_GPU)
    assert plan["rung"] == "reset_gpu"
    assert len(still_failing(plan, after, [], GPUS)) == left


def test_after_a_reboot_every_gpu_must_be_well_except_those_that_wait_for_service() -> None:
    plan = plan_for([xid(79, "reboot", 0)], instances=PER_GPU)
    after = [xid(79, "reboot", 3)]
    assert still_failing(plan, after, [], GPUS)
    assert not still_failing(plan, after, [{"pci_address": GPUS[3]["pci_address"]}], GPUS)
