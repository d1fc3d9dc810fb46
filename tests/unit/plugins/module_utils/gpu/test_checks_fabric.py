# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of NVLink and fabric: one cause, one finding, and no alarm where there is nothing to join."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _checks_fabric as checks
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu, snapshot

BY_NAME = {check.name: check for check in checks.CHECKS}


def run(name: str, host: dict[str, Any], context: Context | None = None) -> list[dict[str, Any]]:
    """Return the findings of one check."""
    check = BY_NAME[name]
    return check.run(check, host, context or Context())


def one(name: str, /, *, expected: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the only finding about a host with one card that is altered; a broken card must give exactly one."""
    (found,) = run(name, snapshot([gpu(0, **changes)]), Context(expected=expected or {}))
    return found


def limited(name: str, key: str, value: float) -> Context:
    """Return a context in which the site sets one threshold."""
    return Context(thresholds={name: {key: value}})


UNIT = "nvidia-fabricmanager.service"


def switch(readable: bool = True) -> dict[str, Any]:
    return {
        "address": "0000:07:00.0",
        "vendor": "10de",
        "device_id": "22a3",
        "class": "0680",
        "kind": "nvswitch",
        "numa_node": 0,
        "width_current": None,
        "width_max": None,
        "speed_current_gts": None,
        "speed_max_gts": None,
        "readable": readable,
        "aer_fatal": None,
        "aer_nonfatal": None,
        "aer_correctable": None,
    }


def board(cards: list[dict[str, Any]] | None = None, readable: bool = True, **changes: Any) -> dict[str, Any]:
    """Return a host whose cards are joined by an NVSwitch that the PCI bus knows."""
    host = snapshot(cards, **changes)
    host["pci"].append(switch(readable))
    return host


def manager(host: dict[str, Any], **unit: str) -> dict[str, Any]:
    host["units"][UNIT].update(unit)
    return host


def stopped(host: dict[str, Any]) -> dict[str, Any]:
    return manager(host, active_state="failed", sub_state="failed", result="exit-code")


def incomplete(index: int, state: str = "in_progress", **changes: Any) -> dict[str, Any]:
    return gpu(index, fabric__state=state, **changes)


def bridged(index: int, active: int, links: int = 4, **changes: Any) -> dict[str, Any]:
    """Return a card for bridges: NVLink, but no fabric."""
    card = gpu(index, name="NVIDIA RTX A6000", fabric=None, **changes)
    card["nvlink"] = [{**item, "active": item["link"] < active} for item in card["nvlink"][:links]]
    return card


def statuses(host: dict[str, Any]) -> dict[str, list[str]]:
    """Return what all checks of this file say of a host."""
    return {name: [found["status"] for found in run(name, host)] for name in BY_NAME}


# fabric_manager


@pytest.mark.parametrize(
    ("unit", "version", "uptime", "status", "remedy"),
    [
        ({}, "570.133.20", 86400.0, "ok", "none"),
        ({}, None, 86400.0, "ok", "none"),
        ({}, "570.124.06", 86400.0, "fail", "configure"),
        ({"active_state": "inactive", "sub_state": "dead"}, "570.133.20", 86400.0, "fail", "reboot"),
        ({"active_state": "failed"}, "570.133.20", 86400.0, "fail", "reboot"),
        ({"active_state": "failed"}, "570.124.06", 86400.0, "fail", "configure"),
        ({"active_state": "activating"}, "570.133.20", 299.0, "warn", "none"),
        ({"active_state": "activating"}, "570.133.20", 300.0, "fail", "reboot"),
        ({"active_state": "activating"}, "570.133.20", None, "fail", "reboot"),
        ({"active_state": "failed"}, "570.133.20", 10.0, "fail", "reboot"),
    ],
)
def test_fabric_manager(unit: dict[str, str], version: Any, uptime: Any, status: str, remedy: str) -> None:
    host = manager(board(fabric_manager_version=version, uptime_seconds=uptime), **unit)
    (found,) = run("fabric_manager", host)
    assert (found["status"], found["remedy"]) == (status, remedy)


def test_fabric_manager_without_nvswitch_has_nothing_to_do() -> None:
    idle = {"active_state": "inactive", "sub_state": "dead", "result": "success"}
    for cards in ([bridged(0, 4), bridged(1, 4)], [gpu(0, fabric=None)]):
        (found,) = run("fabric_manager", manager(snapshot(cards), **idle))
        assert found["status"] == "skip" and "no NVSwitch" in found["observed"]


def test_fabric_manager_that_is_missing_must_be_installed_unless_the_fabric_is_complete() -> None:
    (found,) = run("fabric_manager", manager(board([incomplete(0), incomplete(1)]), load_state="not-found"))
    assert (found["status"], found["remedy"]) == ("fail", "configure")
    old = [gpu(index, fabric=None) for index in range(2)]
    (found,) = run("fabric_manager", manager(board(old), load_state="not-found"))
    assert found["status"] == "fail"
    (found,) = run("fabric_manager", manager(board(), load_state="not-found"))
    assert found["status"] == "ok" and "no service of this host" in found["observed"]


def test_driver_update_that_waits_for_a_reboot_is_left_to_the_driver_check() -> None:
    waiting = board(fabric_manager_version="580.95.05", driver__disk_version="580.95.05")
    assert run("fabric_manager", waiting)[0]["status"] == "ok"
    assert run("fabric_manager", stopped(waiting))[0]["status"] == "fail"


def test_fabric_manager_is_needed_by_switches_that_are_no_pci_devices() -> None:
    host = stopped(snapshot([incomplete(0), incomplete(1)]))
    assert statuses(host) == {
        "fabric_manager": ["fail"],
        "fabric_state": ["skip"],
        "nvlink_links": ["ok"],
        "nvlink_errors": ["skip"],
        "p2p": ["skip"],
    }


# fabric_state


@pytest.mark.parametrize(
    ("fabric", "status", "observed"),
    [
        ({}, "ok", "completed"),
        ({"health_mask": 0xAA, "health_summary": "healthy"}, "ok", "completed"),  # "no" four times
        ({"health_mask": 0x1AA}, "ok", "completed"),
        ({"health_mask": None}, "ok", "completed"),
        ({"state": "in_progress"}, "fail", "state in_progress"),
        ({"state": "not_started"}, "fail", "state not_started"),
        ({"status": 1}, "fail", "status 1"),
        ({"health_mask": 0x01}, "fail", "bandwidth degraded"),
        ({"health_mask": 0x04}, "fail", "route recovery under way"),
        ({"health_mask": 0x10}, "fail", "route unhealthy"),
        ({"health_mask": 0x40}, "fail", "access timeout recovery under way"),
        ({"health_mask": 0x2AA}, "fail", "wrong configuration"),
        ({"health_mask": 0xA9, "health_summary": "unhealthy"}, "fail", "bandwidth degraded"),
        ({"health_mask": None, "health_summary": "unhealthy"}, "fail", "health unhealthy"),
    ],
)
def test_fabric_state(fabric: dict[str, Any], status: str, observed: str) -> None:
    changed = gpu(1, **{f"fabric__{key}": value for key, value in fabric.items()})
    (found,) = run("fabric_state", board([gpu(0), changed]))
    assert (found["status"], found["observed"]) == (status, observed)
    assert found["remedy"] == ("reboot" if status == "fail" else "none")


def test_fabric_state_skips_where_there_is_no_fabric() -> None:
    old = [gpu(index, fabric=None) for index in range(2)]
    for host, why in (
        (board([gpu(0)]), "a single GPU"),
        (snapshot([bridged(0, 4), bridged(1, 4)]), "there is no NVSwitch"),
        (board(old), "not supported"),
    ):
        (found,) = run("fabric_state", host)
        assert found["status"] == "skip" and why in found["observed"]


def test_fabric_has_time_to_come_up_after_boot() -> None:
    young = board([gpu(0), incomplete(1)], uptime_seconds=299.0)
    assert [found["status"] for found in run("fabric_state", young)] == ["warn"]
    old = board([gpu(0), incomplete(1)], uptime_seconds=300.0)
    assert [found["status"] for found in run("fabric_state", old)] == ["fail"]
    unhealthy = board([gpu(0), gpu(1, fabric__status=1)], uptime_seconds=10.0)
    assert [found["status"] for found in run("fabric_state", unhealthy)] == ["fail"]


def test_stopped_fabric_manager_is_one_finding_and_not_one_per_gpu() -> None:
    cards = [incomplete(index) for index in range(8)]
    for card in cards:
        for item in card["nvlink"]:
            item["active"] = False
    host = stopped(board(cards))
    for pair in host["topology"]:
        pair["p2p_nvlink"] = "not_supported"
    assert [name for name, said in statuses(host).items() if "fail" in said] == ["fabric_manager"]
    assert len(run("fabric_manager", host)) == 1
    for name in ("fabric_state", "nvlink_links", "p2p"):
        assert run(name, host)[0]["observed"] == "the Fabric Manager does not work: see fabric_manager"


def test_stopped_fabric_manager_does_not_hide_an_unhealthy_route() -> None:
    (found,) = run("fabric_state", stopped(board([gpu(0), gpu(1, fabric__health_mask=0x10)])))
    assert found["status"] == "fail" and found["gpu"]["index"] == 1


def test_lost_nvswitch_is_left_to_gpu_lost() -> None:
    host = board([gpu(0), gpu(1, fabric__status=1, nvlink=[])], readable=False)
    for name in ("fabric_state", "nvlink_links", "p2p"):
        (found,) = run(name, host)
        assert found["status"] == "skip" and "gpu_lost" in found["observed"]


# nvlink_links


def test_dead_link_on_a_board_is_found_and_named() -> None:
    cards = [gpu(index) for index in range(8)]
    cards[5]["nvlink"][11]["active"] = False
    (found,) = run("nvlink_links", board(cards))
    assert (found["status"], found["remedy"], found["gpu"]["index"]) == ("fail", "reset_gpu", 5)
    assert (found["observed"], found["expected"]) == ("17 of 18 links active, down: 11", "18, as its peers")


def test_all_links_down_on_all_cards_of_a_board_is_no_peer_to_compare_with() -> None:
    cards = [gpu(index) for index in range(2)]
    for card in cards:
        for item in card["nvlink"]:
            item["active"] = False
    assert [found["status"] for found in run("nvlink_links", board(cards))] == ["fail", "fail"]


@pytest.mark.parametrize(
    ("active", "wanted", "status"),
    [
        ((4, 4), None, ["ok"]),
        ((4, 3), None, ["fail"]),
        ((0, 0), None, ["skip"]),  # cards without a bridge
        ((4, 4, 0, 0), None, ["warn", "warn"]),  # a bridge that is not there, or is dead
        ((4, 4, 0, 0), 0, ["ok"]),
        ((0, 0), 4, ["fail", "fail"]),
        ((3, 3), 4, ["fail", "fail"]),
        ((4, 4), 4, ["ok"]),
        ((4, 4), 3, ["ok"]),
    ],
)
def test_bridged_cards(active: tuple[int, ...], wanted: Any, status: list[str]) -> None:
    host = snapshot([bridged(index, count) for index, count in enumerate(active)])
    found = run("nvlink_links", host, Context(expected={"nvlink_links_per_gpu": wanted}))
    assert [item["status"] for item in found] == status


def test_cards_without_nvlink_skip_unless_the_site_expects_links() -> None:
    host = snapshot([bridged(0, 0, links=0), bridged(1, 0, links=0)])
    (found,) = run("nvlink_links", host)
    assert (found["status"], found["observed"]) == ("skip", "these cards have no NVLink")
    found_two = run("nvlink_links", host, Context(expected={"nvlink_links_per_gpu": 4}))
    assert [item["status"] for item in found_two] == ["fail", "fail"]


def test_only_cards_of_the_same_model_are_peers() -> None:
    other = bridged(2, 4)
    other["name"] = "NVIDIA RTX A4500"
    assert [found["status"] for found in run("nvlink_links", board([gpu(0), gpu(1), other]))] == ["ok"]


def test_card_in_mig_mode_has_no_links_to_judge() -> None:
    assert run("nvlink_links", board([gpu(0), gpu(1, nvlink=[], mig__current=True)]))[0]["status"] == "ok"
    (found,) = run("nvlink_links", board([gpu(0, mig__current=True)]))
    assert (found["status"], found["observed"]) == ("skip", "NVLink is off in MIG mode")


def test_link_to_a_lost_gpu_is_left_to_gpu_lost() -> None:
    lost = bridged(0, 4)
    lost["errors"] = {"nvmlDeviceGetName": {"code": 15, "name": "GPU_IS_LOST"}}
    (found,) = run("nvlink_links", snapshot([lost, bridged(1, 0), bridged(2, 4), bridged(3, 4)]))
    assert found["status"] == "skip" and "gpu_lost" in found["observed"]


# nvlink_errors


def counted(now: int | None, before: Any = 0, elapsed: float = 600.0, **previous: Any) -> dict[str, Any]:
    """Return a board whose second card counted errors, some time after a run."""
    cards = [gpu(0), gpu(1)]
    cards[1]["nvlink"][2]["crc_errors"] = now
    host = board(cards)
    told = {"clock_event_seconds": {}, "replay_count": 0}
    host["previous"] = {
        "taken_at_seconds": host["taken_at_seconds"] - elapsed,
        "boot_id": host["boot_id"],
        "gpus": {
            cards[0]["uuid"]: {**told, "nvlink_errors": 0},
            cards[1]["uuid"]: {**told, "nvlink_errors": before},
        },
        **previous,
    }
    return host


@pytest.mark.parametrize(
    ("now", "before", "elapsed", "status"),
    [
        (0, 0, 600.0, "ok"),
        (7, 7, 600.0, "ok"),
        (1, 0, 600.0, "warn"),
        (59_999, 0, 600.0, "warn"),
        (60_000, 0, 600.0, "fail"),
        (5_999, 0, 1.0, "warn"),  # a rate over less than a minute says little
        (6_000, 0, 1.0, "fail"),
        (3, 900, 600.0, "ok"),  # the counter began anew
        (5, None, 600.0, "ok"),
    ],
)
def test_nvlink_errors(now: int, before: Any, elapsed: float, status: str) -> None:
    (found,) = run("nvlink_errors", counted(now, before, elapsed))
    assert found["status"] == status
    if status in ("warn", "fail"):
        assert found["gpu"]["index"] == 1 and found["remedy"] == "reset_gpu"


def test_all_kinds_of_nvlink_errors_count() -> None:
    host = counted(1)
    host["gpus"][1]["nvlink"][0].update(replay_errors=2, recovery_errors=3)
    (found,) = run("nvlink_errors", host)
    assert found["observed"] == "6 NVLink errors in 600 s"


@pytest.mark.parametrize(
    ("previous", "why"),
    [({"boot_id": "another"}, "first run since boot"), ({"gpus": {}}, "no counts to compare with")],
)
def test_nvlink_errors_skip_what_cannot_be_compared(previous: dict[str, Any], why: str) -> None:
    (found,) = run("nvlink_errors", counted(10**6, **previous))
    assert found["status"] == "skip" and why in found["observed"]


def test_nvlink_errors_skip_without_a_run_before_and_without_counters() -> None:
    assert "no run before" in run("nvlink_errors", board())[0]["observed"]
    assert run("nvlink_errors", snapshot([gpu(0, nvlink=[])]))[0]["observed"] == "these cards have no NVLink"
    silent = gpu(0)
    for item in silent["nvlink"]:
        item.update(crc_errors=None, replay_errors=None, recovery_errors=None)
    assert run("nvlink_errors", board([silent]))[0]["observed"] == "not supported by this card"


@pytest.mark.parametrize(
    ("key", "value", "status"), [("new_errors", 100, "ok"), ("new_errors", 50, "warn"), ("per_second", 0.05, "fail")]
)
def test_site_moves_the_thresholds_of_nvlink_errors(key: str, value: float, status: str) -> None:
    (found,) = run("nvlink_errors", counted(60), limited("nvlink_errors", key, value))
    assert found["status"] == status


def test_site_moves_the_grace_after_boot() -> None:
    host = manager(board(uptime_seconds=100.0), active_state="activating")
    (found,) = run("fabric_manager", host, limited("fabric_manager", "boot_grace_seconds", 60))
    assert found["status"] == "fail"


# p2p


def pairs_down(count: int, *down: tuple[int, int], said: Any = "not_supported") -> dict[str, Any]:
    host = board([gpu(index) for index in range(count)])
    for pair in host["topology"]:
        if (pair["a"], pair["b"]) in down:
            pair["p2p_nvlink"] = said
    return host


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (pairs_down(4), ["ok"]),
        (pairs_down(4, (0, 1)), ["fail"]),
        (pairs_down(4, (0, 2), (1, 2), (2, 3)), ["fail"]),  # all of them have GPU 2 in common
        (pairs_down(4, (0, 1), (2, 3)), ["fail", "fail"]),
        (pairs_down(3, (0, 1), (0, 2), (1, 2)), ["fail"]),  # no pair at all: one cause
        (pairs_down(2, (0, 1)), ["fail"]),
        (pairs_down(4, (0, 1), said=None), ["ok"]),
        (pairs_down(4, (0, 1), said="unknown"), ["fail"]),
        (pairs_down(3, (0, 1), (0, 2), (1, 2), said="unknown"), ["skip"]),
        (pairs_down(2, (0, 1), said=None), ["skip"]),
        (board([gpu(0)]), ["skip"]),
        (snapshot([bridged(0, 4), bridged(1, 4)]), ["skip"]),
    ],
)
def test_p2p(host: dict[str, Any], status: list[str]) -> None:
    assert [found["status"] for found in run("p2p", host)] == status


def test_p2p_names_the_gpu_that_the_bad_pairs_have_in_common() -> None:
    (found,) = run("p2p", pairs_down(4, (0, 2), (1, 2), (2, 3)))
    assert found["gpu"]["index"] == 2 and found["observed"] == "no NVLink to GPU 0, 1, 3 (not_supported)"
    assert found["remedy"] == "reboot"


def test_pair_whose_cause_is_reported_elsewhere_is_not_reported_again() -> None:
    host = pairs_down(3, (0, 1), (1, 2))
    host["gpus"][1]["nvlink"][0]["active"] = False
    assert statuses(host)["nvlink_links"] == ["fail"] and statuses(host)["p2p"] == ["ok"]
    host = pairs_down(3, (0, 1), (1, 2))
    host["gpus"][1]["fabric"]["state"] = "in_progress"
    assert statuses(host)["fabric_state"] == ["fail"] and statuses(host)["p2p"] == ["ok"]


def test_p2p_leaves_out_cards_in_mig_mode() -> None:
    host = pairs_down(3, (0, 1), (1, 2))
    host["gpus"][1]["mig"]["current"] = True
    assert statuses(host)["p2p"] == ["ok"]


def test_service_manager_that_does_not_answer_is_no_fault_of_the_fabric() -> None:
    host = snapshot()
    host["units"]["nvidia-fabricmanager.service"] = dict.fromkeys(
        ("load_state", "active_state", "sub_state", "result"), "unknown"
    )
    (found,) = run("fabric_manager", host)
    assert found["status"] == "skip"
