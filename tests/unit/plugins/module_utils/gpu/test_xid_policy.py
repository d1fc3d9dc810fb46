# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What XIDs mean: bursts, repeats, several GPUs, NVLink decoding, and the driver's own word above the table."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._log_events import events
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._xid_policy import (
    Decision,
    Situation,
    application_moments,
    bursts,
    decode_nvlink5,
    entry,
    judge_gpu,
    recovery_action,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._xid_data import load_policies, merge_overrides
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu

POLICIES = merge_overrides(load_policies(), {})
HOUR, DAY = 3600, 86400
NOW = 1_793_534_400.0
SM = "Graphics SM Warp Exception on (GPC {}, TPC {}, SM 0): Out Of Range Address"


def xid(code: int, at: float | None = 0.0, text: str = "x", boot: str | None = "b2", pci: str = "18") -> dict[str, Any]:
    """Return an event; at: seconds after NOW."""
    line = f"NVRM: Xid (PCI:0000:{pci}:00): {code}, {text}"
    (event,) = events([(None if at is None else NOW + at, boot, line)])
    return event


def recovery(value: int, at: float = 0.0, boot: str = "b2") -> dict[str, Any]:
    return xid(154, at, f"GPU recovery action changed from 0x0 (None) to {value:#x} (Some Words)", boot)


def judge(*found: dict[str, Any], policies: Any = POLICIES, **situation: Any) -> dict[int, Decision]:
    shown, noted = judge_gpu(
        policies["xid"], policies["nvlink5"], list(found), Situation(**{"boot_id": "b2", **situation})
    )
    assert all(one.status != "ok" for one in shown) and all(one.status == "ok" for one in noted)
    return {one.code: one for one in [*shown, *noted]}


def verdict(decision: Decision) -> tuple[str, str]:
    return decision.status, decision.remedy


@pytest.mark.parametrize("key", [79, "79"])
def test_codes_are_found_as_numbers_and_as_strings(key: Any) -> None:
    assert entry({"codes": {key: {"meaning": "m", "status": "fail", "remedy": "reboot"}}}, 79)["remedy"] == "reboot"


def test_without_a_policy_every_code_is_unknown_and_harmless() -> None:
    assert (entry({}, 79)["status"], entry({}, 79)["remedy"]) == ("warn", "none")


@pytest.mark.parametrize(
    ("value", "status", "remedy"),
    [
        (0, "ok", "none"),
        (1, "fail", "reset_gpu"),
        (2, "fail", "reboot"),
        (3, "fail", "reset_gpu"),
        (4, "fail", "reset_gpu"),
        (5, "fail", "configure"),
        (6, "fail", "reboot"),
        (7, "fail", "reboot"),
    ],
)
def test_each_recovery_action_has_a_remedy(value: int, status: str, remedy: str) -> None:
    action = recovery_action(POLICIES["xid"], value)
    assert action and (action["status"], action["remedy"]) == (status, remedy)
    assert judge(recovery(value))[154].remedy == remedy


def test_lines_less_than_three_minutes_apart_count_once() -> None:
    found = [xid(79, at) for at in (0, 100, 250, 429, 700)]
    assert [len(burst) for burst in bursts(found, 180)] == [4, 1]
    assert judge(*found)[79].count == 2


def test_a_new_boot_ends_a_burst() -> None:
    assert len(bursts([xid(79, 0, boot="b1"), xid(79, 60, boot="b2")], 180)) == 2


def test_lines_without_a_time_are_one_burst() -> None:
    assert len(bursts([xid(79, None), xid(79, None)], 180)) == 1


class TestTheDriverItself:
    """XID 154 and NVML stand above the table."""

    def test_its_word_replaces_the_remedy_of_the_table(self) -> None:
        found = judge(xid(79, 0), recovery(1, 1))
        assert verdict(found[79]) == ("fail", "reset_gpu")
        assert verdict(found[154]) == ("fail", "reset_gpu")

    def test_it_can_ask_for_more_than_the_table(self) -> None:
        found = judge(xid(95, 0), recovery(2, 1))
        assert found[95].remedy == found[154].remedy == "reboot"

    def test_a_recovery_takes_back_what_came_before_it(self) -> None:
        found = judge(xid(95, 0), recovery(1, 1), recovery(0, 600))
        assert verdict(found[95]) == ("warn", "restart_app")
        assert verdict(found[154]) == ("ok", "none")

    def test_a_recovery_takes_nothing_back_of_what_came_after_it(self) -> None:
        found = judge(recovery(0, 0), xid(95, 600))
        assert verdict(found[95]) == ("fail", "reset_gpu")

    def test_nvml_that_asks_for_nothing_answers_only_what_the_log_says_it_answered(self) -> None:
        card = gpu(recovery_action=0)
        assert verdict(judge(recovery(0, -3 * DAY), xid(119, 0), gpu=card)[119]) == ("fail", "reset_gpu")
        assert verdict(judge(xid(119, 0), recovery(0, 0), gpu=card)[119]) == ("warn", "restart_app")

    def test_what_it_asked_for_earlier_says_nothing_of_a_later_xid(self) -> None:
        found = judge(recovery(1, -3 * DAY), xid(79, 0), gpu=gpu(recovery_action=None))
        assert verdict(found[79]) == ("fail", "reboot")
        # Lines of one moment come in any order.
        assert judge(recovery(1, -30), xid(79, 0))[79].remedy == "reset_gpu"

    def test_it_leaves_errors_of_the_application_alone(self) -> None:
        assert verdict(judge(xid(31, 0), recovery(2, 1))[31]) == ("warn", "restart_app")

    def test_nvml_knows_better_than_an_older_line(self) -> None:
        found = judge(xid(95, 0), recovery(1, 1), gpu=gpu(recovery_action=0))
        assert verdict(found[95]) == ("warn", "restart_app")
        assert found[154].status == "ok"
        assert judge(recovery(1), gpu=gpu(recovery_action=2))[154].remedy == "reboot"

    def test_nvml_without_a_word_leaves_it_to_the_log(self) -> None:
        assert judge(recovery(1), gpu=gpu(recovery_action=None))[154].remedy == "reset_gpu"

    def test_nvml_that_asks_for_nothing_does_not_excuse_an_xid(self) -> None:
        assert verdict(judge(xid(95), gpu=gpu(recovery_action=0))[95]) == ("fail", "reset_gpu")

    def test_what_it_asked_for_before_the_boot_is_answered(self) -> None:
        assert judge(recovery(2, 0, boot="b1"))[154].status == "ok"

    @pytest.mark.parametrize("text", ["GPU recovery action changed from 0x0 (None) to", "changed from 0x0 to 0x63 (X)"])
    def test_a_word_that_nobody_understands_is_a_warning(self, text: str) -> None:
        text = text if text.startswith("GPU") else f"GPU recovery action {text}"
        found = judge(xid(154, 0, text), xid(95, -1))
        assert verdict(found[154]) == ("warn", "none")
        assert verdict(found[95]) == ("fail", "reset_gpu")


class TestRepeats:
    """The same code again is not the same story."""

    def test_one_page_fault_is_the_application(self) -> None:
        assert verdict(judge(xid(31))[31]) == ("warn", "restart_app")

    def test_two_page_faults_on_one_gpu_within_a_day_take_it_out(self) -> None:
        assert verdict(judge(xid(31, -2 * HOUR), xid(31))[31]) == ("fail", "reset_gpu")
        assert verdict(judge(xid(31, -25 * HOUR), xid(31))[31]) == ("warn", "restart_app")

    def test_page_faults_on_several_gpus_at_once_stay_the_application(self) -> None:
        both = [xid(31, at, pci=pci) for at in (-2 * HOUR, 0) for pci in ("18", "19")]
        moments = application_moments(POLICIES["xid"], both)
        own = [event for event in both if event["pci"] == "0000:18:00.0"]
        decision = judge(*own, application=moments)[31]
        assert verdict(decision) == ("warn", "restart_app")
        assert "several GPUs" in decision.advice

    @pytest.mark.parametrize("code", [74, 79, 119])
    def test_other_codes_on_several_gpus_are_not_the_application(self, code: int) -> None:
        both = [xid(code, 0, pci=pci) for pci in ("18", "19")]
        moments = application_moments(POLICIES["xid"], both)
        assert moments == {}
        assert "application" not in judge(both[0], application={})[code].advice

    def test_what_was_answered_counts_as_a_repeat_only(self) -> None:
        found = judge(xid(64, 0), answered=[xid(64, -5 * DAY, boot="b1")])
        assert verdict(found[64]) == ("fail", "hardware") and found[64].count == 1
        assert verdict(judge(xid(64, 0), answered=[xid(63, -5 * DAY)])[64]) != ("fail", "hardware")
        assert verdict(judge(xid(64, 0), answered=[xid(64, -8 * DAY)])[64]) != ("fail", "hardware")

    @pytest.mark.parametrize(
        ("first", "second", "status"),
        [
            (SM.format(0, 1), SM.format(0, 1), "fail"),
            (SM.format(0, 1), SM.format(3, 2), "warn"),
            ("Graphics Exception: ESR 0x50ce48=0x1", SM.format(3, 2), "fail"),
        ],
    )
    def test_an_exception_counts_again_on_the_same_part_of_the_chip(self, first: str, second: str, status: str) -> None:
        assert judge(xid(13, -HOUR, first), xid(13, 0, second))[13].status == status

    def test_a_fall_off_the_bus_in_three_boots_is_hardware(self) -> None:
        boots = [xid(79, -2 * DAY, boot="b0"), xid(79, -DAY, boot="b1"), xid(79, 0)]
        assert verdict(judge(*boots)[79]) == ("fail", "hardware")
        assert verdict(judge(*boots[1:])[79]) == ("fail", "reboot")

    def test_what_an_older_boot_has_answered_asks_for_nothing(self) -> None:
        assert verdict(judge(xid(79, -DAY, boot="b1"))[79]) == ("ok", "none")
        assert verdict(judge(xid(31, -DAY, boot="b1"))[31]) == ("warn", "none")
        assert verdict(judge(xid(54, -DAY, boot="b1"))[54]) == ("fail", "hardware")

    def test_without_a_boot_id_the_time_of_the_boot_tells(self) -> None:
        old = xid(79, -DAY, boot=None)
        assert judge(old, boot_at_seconds=NOW - HOUR)[79].status == "ok"
        assert judge(old, boot_at_seconds=NOW - 2 * DAY)[79].status == "fail"
        assert judge(old)[79].status == "fail"


class TestCompany:
    """Some codes only say something about others."""

    def test_cleanup_after_another_code_is_only_noted(self) -> None:
        assert judge(xid(95, 0), xid(45, 2), has_nvswitch=True)[45].status == "ok"
        caused = xid(45, 9000, "pid=1, name=x, Ch 00000001 caused by previous Xid 149")
        assert judge(caused, has_nvswitch=True)[45].status == "ok"

    def test_cleanup_alone_matters_with_an_nvswitch_only(self) -> None:
        assert verdict(judge(xid(45), has_nvswitch=True)[45]) == ("warn", "configure")
        assert judge(xid(45))[45].status == "ok"
        assert judge(xid(95, -HOUR), xid(45), has_nvswitch=True)[45].status == "warn"

    def test_details_of_a_memory_error_join_it(self) -> None:
        found = judge(xid(48, 0), xid(171, 1))
        assert (found[48].status, found[171].status) == ("fail", "ok")
        assert verdict(judge(xid(172))[172]) == ("fail", "reset_gpu")

    def test_a_remapped_row_is_left_to_nvml_where_it_answers(self) -> None:
        assert judge(xid(63), gpu=gpu())[63].status == "ok"
        assert judge(xid(63))[63].status == "warn"
        assert judge(xid(63), gpu=gpu(row_remap__pending=None))[63].status == "warn"

    def test_an_override_is_not_talked_out_of_its_word(self) -> None:
        own = merge_overrides(load_policies(), {63: {"severity": "critical", "action": "reset_gpu"}})
        assert verdict(judge(xid(63), policies=own, gpu=gpu())[63]) == ("fail", "reset_gpu")


NVLINK = "{} {} XC0 i0 Link 13 ({} {} 0x00000000 0x00000000)"


@pytest.mark.parametrize(
    ("code", "unit", "word", "first", "status_word", "status", "remedy"),
    [
        (149, "NETIR_LINK_EVT", "Fatal", "0x004505c6", "0x00000000", "fail", "reset_gpu"),
        (149, "NETIR_LINK_EVT", "Fatal", "0x016415c6", "0x00000000", "fail", "reset_gpu"),
        (149, "NETIR_LINK_EVT", "Fatal", "0x026001c6", "0x00000000", "warn", "configure"),
        (149, "NETIR_LINK_DOWN", "Fatal", "0x00400011", "0x00000000", "fail", "reset_gpu"),
        (149, "NETIR", "Fatal", "0x000fe406", "0x00000000", "fail", "reset_gpu"),
        (149, "NETIR_BER_EVENT", "Nonfatal", "0x00000226", "0x00000002", "warn", "hardware"),
        (145, "RLW_RXPIPE", "Nonfatal", "0x0409a0c2", "0x00000008", "warn", "none"),
        (145, "RLW_REMAP", "Nonfatal", "0x00000082", "0x00000010", "warn", "restart_app"),
        (145, "RLW_REMAP", "Fatal", "0x00000082", "0x00000040", "fail", "reset_gpu"),
        (144, "SAW_MVB", "Nonfatal", "0x00000021", "0x00000004", "ok", "none"),
        (144, "SAW_MVB", "Nonfatal", "0x00000021", "0x00000002", "fail", "reset_gpu"),
        (150, "MSE_WATCHDOG", "Fatal", "0x00000000", "0x00000000", "fail", "reset_gpu"),
        # The unit is not known by its name: the register tells it.
        (149, "NETIR_RENAMED", "Fatal", "0x004505c6", "0x00000000", "fail", "reset_gpu"),
        # Not in the table: sub-code 3, an unknown status, a bit that must be clear.
        (149, "NETIR_LINK_EVT", "Fatal", "0x003001c6", "0x00000000", "warn", "none"),
        (145, "RLW_REMAP", "Fatal", "0x00000082", "0x00400000", "warn", "none"),
        (145, "RLW_RXPIPE", "Fatal", "0x000004c2", "0x00000001", "warn", "none"),
    ],
)
def test_nvlink_codes_are_decoded_by_register_never_by_the_printed_word(
    code: int, unit: str, word: str, first: str, status_word: str, status: str, remedy: str
) -> None:
    decision = judge(xid(code, 0, NVLINK.format(unit, word, first, status_word)))[code]
    assert verdict(decision) == (status, remedy)


@pytest.mark.parametrize("text", ["something new", "NETIR_LINK_EVT Fatal XC 1 i 2 Link 01 [0x", "pid=1, name=x"])
def test_an_nvlink_line_without_registers_is_a_warning_that_says_so(text: str) -> None:
    decision = judge(xid(149, 0, text))[149]
    assert verdict(decision) == ("warn", "none")
    assert "could not be decoded" in decision.meaning


def test_a_driver_that_prints_one_register_is_decoded_where_that_is_enough() -> None:
    assert decode_nvlink5(POLICIES["nvlink5"], xid(149, 0, "NETIR_LINK_EVT Fatal XC 0 i 0 Link 01 [0x004505c6]"))
    assert not decode_nvlink5(POLICIES["nvlink5"], xid(144, 0, "SAW_MVB Fatal XC 0 i 0 Link 01 [0x00000021]"))


def test_the_worst_line_of_an_nvlink_code_counts() -> None:
    harmless = xid(144, 0, NVLINK.format("SAW_MVB", "Nonfatal", "0x00000021", "0x4"))
    fatal = xid(144, 5, NVLINK.format("SAW_MVB", "Fatal", "0x00000021", "0x2"))
    assert verdict(judge(harmless, fatal, harmless)[144]) == ("fail", "reset_gpu")
    assert judge(harmless, xid(144, 9, "new"))[144].status == "warn"
