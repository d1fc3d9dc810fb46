# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVML says, in words: pure functions."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_probe
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_words as words
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu import snapshots


def keys(value: Any) -> Any:
    return {key: keys(item) for key, item in value.items()} if isinstance(value, dict) else None


def test_a_gpu_of_which_nothing_is_known_has_every_key() -> None:
    record = words.gpu_record(3, {}, {})
    expected = snapshots.gpu(3, row_remap__histogram=None, fabric=None)
    assert keys(record) == keys(expected)
    assert record["index"] == 3
    assert record["nvlink"] == record["processes"] == []
    assert record["clock_event_reasons"] is None
    assert record["mig"] == {"current": None, "pending": None}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:18:00.0", "0000:18:00.0"),
        ("00000000:AF:00.0", "0000:af:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),
        ("0008:06:00.0", "0008:06:00.0"),
        ("", None),
        (None, None),
        ("nonsense", None),
        ("xx:yy", None),
    ],
)
def test_a_pci_address_is_written_as_linux_does(text: str | None, address: str | None) -> None:
    assert words.pci_address(text) == address


def test_ids_are_hexadecimal_without_prefix() -> None:
    pci = {"address": "00000000:18:00.0", "bus": 24, "device": 0x233010DE, "subsystem": 0x16C110DE}
    record = words.gpu_record(0, {"pci": pci}, {})["pci"]
    assert (record["device_id"], record["vendor_id"], record["subsystem_id"]) == ("2330", "10de", "16c110de")


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (None, None),
        (0, []),
        (0x1, ["gpu_idle"]),
        (0x2, ["applications_clocks"]),
        (0x4, ["sw_power_cap"]),
        (0x8, ["hw_slowdown"]),
        (0x10, ["sync_boost"]),
        (0x20, ["sw_thermal"]),
        (0x40, ["hw_thermal"]),
        (0x80, ["hw_power_brake"]),
        (0x100, ["display_clocks"]),
        (0x48, ["hw_slowdown", "hw_thermal"]),
        (0x200, []),
    ],
)
def test_every_bit_of_the_clock_reasons_has_its_word(mask: int | None, names: list[str] | None) -> None:
    assert words.reasons(mask) == names


@pytest.mark.parametrize(
    ("values", "key", "word"),
    [
        ({"architecture": 6}, "architecture", "turing"),
        ({"architecture": 10}, "architecture", "blackwell"),
        ({"architecture": 99}, "architecture", None),
        ({"compute_mode": 2}, "compute_mode", "prohibited"),
        ({"performance_state": 32}, "performance_state", None),
        ({"performance_state": 8}, "performance_state", 8),
        ({"serial": ""}, "serial", None),
        ({"compute_capability": [8, 9]}, "compute_capability", "8.9"),
        ({"recovery_action": 0}, "recovery_action", 0),
        ({"persistence_mode": 0}, "persistence_mode", False),
    ],
)
def test_numbers_become_words(values: dict[str, Any], key: str, word: Any) -> None:
    assert words.gpu_record(0, values, {})[key] == word


def test_a_memory_sensor_that_says_zero_is_none() -> None:
    assert words.gpu_record(0, {"temperature.memory_celsius": 0}, {})["temperature"]["memory_celsius"] is None


@pytest.mark.parametrize(("number", "generation"), [(4, 3), (6, 4), (7, 5), (0, None), (None, None)])
def test_the_nvlink_version_is_its_generation(number: int | None, generation: int | None) -> None:
    link = {"link": 0, "active": 1, "version": number, "remote_pci": None}
    link |= {"crc_errors": 0, "replay_errors": 0, "recovery_errors": 0}
    assert words.gpu_record(0, {"nvlink": [link]}, {})["nvlink"][0]["version"] == generation


@pytest.mark.parametrize(
    ("state", "word"), [(0, "ok"), (1, "not_supported"), (4, "disabled"), (5, "not_supported"), (6, "unknown")]
)
def test_peer_states_have_four_words(state: int, word: str) -> None:
    pair = words.pair_record({"a": 0, "b": 1, "ancestor": 10, "p2p_nvlink": state, "p2p_read": None})
    assert pair == {"a": 0, "b": 1, "ancestor": "single", "p2p_nvlink": word, "p2p_read": None}


@pytest.mark.parametrize(("number", "text"), [(12080, "12.8"), (13000, "13.0"), (11040, "11.4"), (None, None)])
def test_the_cuda_version_is_readable(number: int | None, text: str | None) -> None:
    assert words.cuda_version(number) == text


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("535.261.03", 269),
        ("570.133.20", 269),
        ("575.57.08", 251),
        ("580.65.06", 251),
        ("580.82.07", 269),
        ("590.44.01", 269),
        (None, 269),
        ("unknown", 269),
    ],
)
def test_the_throttle_counters_have_the_numbers_of_the_driver(version: str | None, first: int) -> None:
    assert _nvml_probe.late_field_first(version) == first


OK = {"status": "ok", "error": None}
NOT_LOADED = {"status": "not_loaded", "error": "nvmlInit answered 9."}
HUNG = {"status": "hung", "error": "nvmlInit gave no answer."}


@pytest.mark.parametrize(
    ("nvml", "addresses", "words_in"),
    [
        (OK, [], ["no NVIDIA GPU", "none is on the PCI bus"]),
        (OK, ["0000:18:00.0"], ["drives none", "0000:18:00.0"]),
        (NOT_LOADED, [], ["no NVIDIA GPU on its PCI bus", "nvmlInit answered 9."]),
        (NOT_LOADED, ["0000:18:00.0"], ["0000:18:00.0", "nvmlInit answered 9."]),
        (HUNG, [], ["nvmlInit gave no answer."]),
    ],
)
def test_why_there_is_no_gpu_is_said_in_plain_words(
    nvml: dict[str, Any], addresses: list[str], words_in: list[str]
) -> None:
    text = words.why_no_gpus(nvml, addresses)
    assert [part for part in words_in if part not in text] == []
