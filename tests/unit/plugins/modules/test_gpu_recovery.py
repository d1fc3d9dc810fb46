# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovery module: what a host remembers of its repair, step by step."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.modules import gpu_recovery

GPU: dict[str, Any] = {"index": 0, "uuid": "GPU-0", "pci_address": "0000:18:00.0", "name": "card", "serial": "1"}
INSTANCE = {"name": "chat", "pool": "chat", "gpus": "all"}
READY = {"operational_state": "up", "share_percent": 100, "lease": None}
SERVERS = [
    {"pool": "chat", "server": "gpu1-chat", "admin_state": "ready", **READY},
    {"pool": "chat", "server": "gpu2-chat", "admin_state": "ready", **READY},
]


def health(remedy: str | None = None, code: int = 95) -> dict[str, Any]:
    finding = {
        "check": "xid",
        "status": "fail",
        "subject": "GPU 0",
        "observed": f"XID {code}",
        "remedy": remedy,
        "gpu": {key: GPU[key] for key in ("index", "uuid", "pci_address")},
    }
    return {"findings": [finding] if remedy else [], "gpus": [GPU], "status": "x"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host: nothing remembered, an empty bus, its boot."""
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b1\n", encoding="utf-8")
    (tmp_path / "proc/uptime").write_text("100.0 50.0\n", encoding="utf-8")
    (tmp_path / "sys").mkdir()
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], root: Path, state: str, **arguments: Any) -> dict[str, Any]:
    base = {
        "_ansible_remote_tmp": "/tmp",
        "_ansible_keep_remote_files": False,
        "directory": str(root / "health"),
        "procfs_root": str(root / "proc"),
        "sysfs_root": str(root / "sys"),
        "host_name": "gpu1",
    }
    with patch_module_args({**base, "state": state, **arguments}), pytest.raises(SystemExit):
        gpu_recovery.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def planned(capsys: pytest.CaptureFixture[str], root: Path, seen: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return run(capsys, root, "planned", health=seen, instances=[INSTANCE], gateways={"gw1": SERVERS}, **arguments)


def begun(capsys: pytest.CaptureFixture[str], root: Path, plan: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return run(
        capsys, root, "begun", plan=plan, instances=[INSTANCE], gateways={"gw1": SERVERS}, by="me on ctl", **arguments
    )


def acting(capsys: pytest.CaptureFixture[str], root: Path, plan: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """Drain nothing and begin the action."""
    begun(capsys, root, plan, **arguments)
    return run(capsys, root, "acting", plan=plan)


def remembered(root: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((root / "health/state.json").read_text(encoding="utf-8"))
    return state


def test_planning_changes_nothing_on_a_bare_host(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    result = planned(capsys, root, health("reset_gpu"))
    assert (result["changed"], result["plan"]["rung"], result["drained"]) == (False, "reset_gpu", "")
    assert result["lines"][0].startswith("gpu1: reset_gpu, because of xid: GPU 0: XID 95")
    assert not (root / "health").exists()


def test_a_repair_is_remembered_from_drain_to_return(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    plan = planned(capsys, root, health("reset_gpu"))["plan"]
    first = begun(capsys, root, plan, services=["dcgm.service"])
    assert first["changed"]
    assert [server["server"] for server in first["servers"]] == ["gpu1-chat"]
    assert first["recovery"]["mark"]["services"] == ["dcgm.service"]
    assert "gpu1-chat: drained for recovery since" in first["drained"]
    assert "by me on ctl" in first["drained"]
    assert remembered(root)["actions"] == [], "a drain has tried nothing"

    before = time.time()
    acts = run(capsys, root, "acting", plan=plan)
    assert acts["since_seconds"] == pytest.approx(before, abs=5)
    assert acts["since_seconds"] > first["recovery"]["mark"]["since_seconds"], "what the drain saw does not count"
    assert remembered(root)["actions"][0]["result"] == "started"

    done = run(capsys, root, "verified", plan=plan, health=health())
    assert done["changed"]
    state = remembered(root)
    assert state["actions"][0]["result"] == "verified"
    assert state["cleared_at_seconds"] == {GPU["pci_address"]: acts["since_seconds"]}
    assert done["drained"], "it stays drained until the gateway was told"

    back = planned(capsys, root, health())
    assert back["plan"]["readmit"] == ["chat"]
    free = run(capsys, root, "let_in", instances=[{"name": "chat"}])
    assert (free["changed"], free["recovery"]["mark"], free["drained"]) == (True, None, "")
    assert run(capsys, root, "let_in", instances=[{"name": "chat"}])["changed"] is False


def test_an_action_is_not_verified_while_its_gpu_fails(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    plan = planned(capsys, root, health("reset_gpu"))["plan"]
    acting(capsys, root, plan)
    result = run(capsys, root, "verified", plan=plan, health=health("reset_gpu", 119))
    assert result["failed"]
    assert "reset_gpu did not mend the host. It still finds: xid: GPU 0: XID 119" in result["msg"]
    assert remembered(root)["actions"][0]["result"] == "started"


def test_a_failed_rung_leads_to_the_next(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    plan = planned(capsys, root, health("reset_gpu"))["plan"]
    acting(capsys, root, plan)
    assert run(capsys, root, "failed", plan=plan, reason="nvidia-smi said no")["changed"]
    assert "[nvidia-smi said no]" in remembered(root)["actions"][0]["reason"]
    assert run(capsys, root, "failed", reason="again")["changed"] is False
    assert planned(capsys, root, health("reset_gpu"), consent="yes")["plan"]["rung"] == "reboot"


def test_a_run_that_ends_while_it_drains_has_tried_nothing(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    for _run in range(3):
        plan = planned(capsys, root, health("reset_gpu"), consent="yes")["plan"]
        assert plan["rung"] == "reset_gpu"
        begun(capsys, root, plan)
    assert remembered(root)["actions"] == []


def test_a_drain_after_an_action_that_was_left_under_way_leaves_it_so(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    acting(capsys, root, planned(capsys, root, health("reset_gpu"))["plan"])
    for _run in range(2):
        plan = planned(capsys, root, health("reset_gpu"), consent="yes")["plan"]
        assert plan["rung"] == "reset_gpu"
        begun(capsys, root, plan)
    assert [one["result"] for one in remembered(root)["actions"]] == ["started"]
    run(capsys, root, "acting", plan=plan)
    assert [one["result"] for one in remembered(root)["actions"]] == ["failed", "started"]


def test_a_rung_that_could_not_be_taken_is_not_tried_again(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    plan = planned(capsys, root, health("reset_gpu"))["plan"]
    begun(capsys, root, plan)
    assert run(capsys, root, "failed", plan=plan, reason="process 7 holds it")["recovery"]["mark"]["rung"] is None
    assert "[process 7 holds it]" in remembered(root)["actions"][0]["reason"]
    assert planned(capsys, root, health("reset_gpu"), consent="yes")["plan"]["rung"] == "reboot"


def test_what_only_waits_is_no_failed_action(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    plan = planned(capsys, root, health("reboot", 79))["plan"]
    begun(capsys, root, plan)
    assert run(capsys, root, "acting", plan=plan)["failed"]
    assert run(capsys, root, "failed", plan=plan, reason="x")["changed"] is False


def test_after_a_reboot_events_count_from_the_boot(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    plan = planned(capsys, root, health("reboot", 79), consent="yes")["plan"]
    before = acting(capsys, root, plan)
    (root / "proc/sys/kernel/random/boot_id").write_text("b2\n", encoding="utf-8")
    (root / "proc/uptime").write_text("-50.0 0\n", encoding="utf-8")
    after = run(capsys, root, "acting", plan=plan)
    assert after["since_seconds"] == pytest.approx(before["since_seconds"] + 50, abs=5)
    assert run(capsys, root, "verified", plan=plan, health=health())["recovery"]["mark"]["boot_id"] is None
    state = remembered(root)
    assert [(one["rung"], one["result"]) for one in state["actions"]] == [("reboot", "verified")]
    assert state["cleared_at_seconds"] == {"*": after["since_seconds"]}


def test_a_fault_after_a_verified_reboot_is_a_new_one_while_the_host_is_still_drained(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    plan = planned(capsys, root, health("reboot", 79), consent="yes")["plan"]
    acting(capsys, root, plan)
    (root / "proc/sys/kernel/random/boot_id").write_text("b2\n", encoding="utf-8")
    run(capsys, root, "acting", plan=plan)
    run(capsys, root, "verified", plan=plan, health=health())
    (root / "proc/sys/kernel/random/boot_id").write_text("b3\n", encoding="utf-8")
    again = planned(capsys, root, health("reboot", 48), consent="yes")["plan"]
    assert (again["rung"], again["act"], again["since_seconds"]) == ("reboot", True, None)


def test_a_reset_that_the_driver_refuses_is_not_tried_for_another_fault(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    acting(capsys, root, planned(capsys, root, health("reset_gpu"))["plan"])
    run(capsys, root, "failed", reason="reset not supported")
    assert planned(capsys, root, health("reset_gpu", 119), consent="yes")["plan"]["rung"] == "reboot"


def test_what_was_drained_before_is_remembered_as_it_was_then(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    plan = planned(capsys, root, health("reset_gpu"))["plan"]
    acting(capsys, root, plan)
    drained = [{**SERVERS[0], "admin_state": "drain", "share_percent": 0}, SERVERS[1]]
    again = run(capsys, root, "begun", plan=plan, instances=[INSTANCE], gateways={"gw1": drained})
    assert again["servers"][0]["state"] == "ready"
    run(capsys, root, "acting", plan=plan)
    actions = remembered(root)["actions"]
    assert [one["result"] for one in actions] == ["failed", "started"]
    assert "not concluded" in actions[0]["reason"]


def test_a_server_that_an_operator_drained_is_remembered_as_drained(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    drained = {"gw1": [{**SERVERS[0], "admin_state": "drain", "share_percent": 0}]}
    plan = run(capsys, root, "planned", health=health("reset_gpu"), instances=[INSTANCE], gateways=drained)["plan"]
    assert plan["refused"] is None
    result = run(capsys, root, "begun", plan=plan, instances=[INSTANCE], gateways=drained)
    assert result["servers"][0]["state"] == "drain"


def test_a_lease_is_no_state_to_come_back_to(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    lease = {"expires_at": "x", "seconds_left": 9, "before": {"state": "ready", "share_percent": 100}}
    leased = {"gw1": [{**SERVERS[0], "admin_state": "drain", "share_percent": 0, "lease": lease}]}
    plan = run(capsys, root, "planned", health=health("reset_gpu"), instances=[INSTANCE], gateways=leased)["plan"]
    result = run(capsys, root, "begun", plan=plan, instances=[INSTANCE], gateways=leased)
    assert (result["servers"][0]["state"], result["servers"][0]["share_percent"]) == ("ready", 100)


@pytest.mark.parametrize(
    ("consent", "word"), [("yes", "yes"), (True, "yes"), ("no", "no"), (False, "no"), ("ask", "ask"), ("Yes", "yes")]
)
def test_consent_is_a_word_or_a_boolean_of_yaml(
    capsys: pytest.CaptureFixture[str], root: Path, consent: Any, word: str
) -> None:
    assert planned(capsys, root, health("reboot", 79), consent=consent)["plan"]["consent"] == word


def test_another_word_for_consent_is_refused(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    result = planned(capsys, root, health("reboot"), consent="maybe")
    assert result["failed"]
    assert "local_llm_reboot_consent): 'maybe' is none of yes, no and ask" in result["msg"]


def test_a_host_without_consent_waits_and_a_reboot_by_hand_is_verified(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    plan = planned(capsys, root, health("reboot", 79))["plan"]
    assert begun(capsys, root, plan)["changed"]
    assert remembered(root)["actions"] == []
    wait = run(capsys, root, "waiting", plan=plan, waits_for="consent", advice="reboot it")
    assert "waits for consent to reboot. reboot it" in wait["drained"]
    assert wait["recovery"]["parked"] == []
    (root / "proc/sys/kernel/random/boot_id").write_text("b2\n", encoding="utf-8")
    after = planned(capsys, root, health("reboot", 79))["plan"]
    assert (after["act"], after["waits_for"], after["rung"]) == (False, None, "reboot")
    assert after["since_seconds"] == pytest.approx(time.time() - 100, abs=5)
    assert begun(capsys, root, after)["recovery"]["mark"]["waits_for"] == "consent"
    assert planned(capsys, root, health("reboot", 79))["plan"]["act"] is False, "left half way it is verified again"
    opened = run(capsys, root, "acting", plan=after)
    assert opened["recovery"]["mark"]["waits_for"] is None
    assert planned(capsys, root, health("reboot", 79))["plan"]["act"] is False
    assert opened["since_seconds"] == after["since_seconds"]
    run(capsys, root, "verified", plan=after, health=health())
    state = remembered(root)
    assert [(one["rung"], one["result"]) for one in state["actions"]] == [("reboot", "verified")]
    assert state["cleared_at_seconds"] == {"*": after["since_seconds"]}


def test_a_gpu_that_waits_for_service_is_let_in_after_a_person_clears_it(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    plan = planned(capsys, root, health("hardware", 64))["plan"]
    acting(capsys, root, plan)
    wait = run(capsys, root, "waiting", plan=plan, waits_for="person", advice="replace the card")
    assert wait["recovery"]["parked"][0]["pci_address"] == GPU["pci_address"]
    assert planned(capsys, root, health())["plan"]["refused"]
    cleared = run(capsys, root, "cleared", gpu=GPU["pci_address"].upper(), reason="card replaced", by="me")
    assert cleared["changed"]
    assert (cleared["recovery"]["parked"], cleared["recovery"]["cleared"][0]["reason"]) == ([], "card replaced")
    assert remembered(root)["cleared_at_seconds"][GPU["pci_address"]] == pytest.approx(time.time(), abs=5)
    assert planned(capsys, root, health())["plan"]["readmit"] == ["chat"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"gpu": "0", "reason": "x"}, "gpu: '0' is neither all nor a PCI address"),
        ({"gpu": "all", "reason": " "}, "reason: it is empty"),
    ],
)
def test_a_person_clears_with_a_name_and_a_reason(
    capsys: pytest.CaptureFixture[str], root: Path, arguments: dict[str, str], text: str
) -> None:
    result = run(capsys, root, "cleared", **arguments)
    assert result["failed"]
    assert text in result["msg"]


def test_check_mode_tells_the_difference_and_writes_nothing(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    plan = planned(capsys, root, health("reset_gpu"))["plan"]
    result = begun(capsys, root, plan, _ansible_check_mode=True)
    assert result["changed"]
    assert result["diff"]["after"]["recovery"]["mark"]["rung"] == "reset_gpu"
    assert result["diff"]["before"]["recovery"]["mark"] is None
    cleared = run(capsys, root, "cleared", gpu="all", reason="x", _ansible_check_mode=True)
    bundle = run(capsys, root, "bundle", bundle_name="20261121T070623Z", _ansible_check_mode=True)
    assert cleared["changed"]
    assert "README.txt" in bundle["bundle"]["files"]
    assert not (root / "health").exists()


def test_a_bundle_holds_what_the_host_remembers(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    acting(capsys, root, planned(capsys, root, health("reset_gpu"))["plan"])
    result = run(capsys, root, "bundle", bundle_name="20261121T070623Z", health=health("reset_gpu"))
    directory = Path(result["bundle"]["directory"])
    assert json.loads((directory / "recovery.json").read_text(encoding="utf-8"))["mark"]["rung"] == "reset_gpu"
    assert json.loads((directory / "state.json").read_text(encoding="utf-8"))["actions"][0]["xid"] == 95
    assert Path(result["bundle"]["archive"]).is_file()


@pytest.mark.parametrize(
    ("state", "arguments", "text"),
    [
        ("bundle", {"bundle_name": "../../etc"}, "bundle_name: '../../etc'"),
        ("verified", {"plan": {"rung": "reboot"}, "health": {"findings": []}}, "no action is under way"),
        ("begun", {"plan": {"rung": "none"}}, "the plan has no rung"),
        ("begun", {}, "plan: it lacks rung, act"),
        ("acting", {"plan": {"rung": "reboot"}}, "nothing is drained on this host"),
    ],
)
def test_a_step_out_of_order_is_refused_with_the_way_out(
    capsys: pytest.CaptureFixture[str], root: Path, state: str, arguments: dict[str, Any], text: str
) -> None:
    if "plan" in arguments:
        empty: dict[str, Any] = {
            "by_hand": [],
            "gpus": [],
            "causes": [],
            "since_seconds": None,
            "host_wide": True,
            "act": True,
        }
        empty.update(instances=[], waits_for=None, reason="")
        arguments = {**arguments, "plan": {**empty, **arguments["plan"]}}
    result = run(capsys, root, state, **arguments)
    assert result["failed"]
    assert text in result["msg"]


def test_a_damaged_memory_of_what_is_drained_stops_everything(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    (root / "health").mkdir()
    (root / "health/recovery.json").write_text("{", encoding="utf-8")
    result = planned(capsys, root, health("reset_gpu"))
    assert result["failed"]
    assert "let the servers in by hand (gateway_backend)" in result["msg"]


def test_an_instance_that_is_stopped_and_disabled_is_left_alone(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    off = {"instance": "chat", "current": "abc", "active_state": "inactive", "enabled": False}
    crashed = {**off, "active_state": "failed", "enabled": True}
    seen = health("reset_gpu")
    assert planned(capsys, root, seen, releases=[off])["plan"]["instances"] == []
    assert planned(capsys, root, seen, releases=[])["plan"]["instances"] == []
    assert planned(capsys, root, seen, releases=[crashed])["plan"]["instances"] == ["chat"]


def test_gpus_on_switches_without_a_fabric_manager_are_reset_together(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    for address, kind, device in (("0000:18:00.0", "0x030200", "0x2330"), ("0000:07:00.0", "0x068000", "0x22a3")):
        place = root / "sys/bus/pci/devices" / address
        place.mkdir(parents=True)
        for name, text in (("vendor", "0x10de"), ("class", kind), ("device", device)):
            (place / name).write_text(text + "\n", encoding="utf-8")
    two = {**health("reset_gpu"), "gpus": [GPU, {**GPU, "index": 1, "uuid": "GPU-1", "pci_address": "0000:2a:00.0"}]}
    assert len(planned(capsys, root, two)["plan"]["reset"]) == 2
