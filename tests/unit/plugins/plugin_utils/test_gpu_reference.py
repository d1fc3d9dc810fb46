# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of measured figures, and one figure held against peak, table and peers."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils import _gpu_reference as reference

TABLE = reference.load_reference()


def test_the_table_that_ships_is_sound_and_names_a_source_for_every_figure() -> None:
    assert reference.reference_problems(TABLE) == []
    assert len(TABLE["cards"]) >= 13


@pytest.mark.parametrize(
    ("device", "measure", "dtype", "value"),
    [
        ("20f1", "memory_bandwidth", None, 1293),
        ("20b5", "memory_bandwidth", None, 1495),
        ("20b2", "memory_bandwidth", None, 1564),
        ("2331", "memory_bandwidth", None, 1639),
        ("2330", "memory_bandwidth", None, 2540),
        ("2335", "memory_bandwidth", None, 3110),
        ("26b9", "memory_bandwidth", None, 700),
        ("2230", "memory_bandwidth", None, 674),
        ("27b8", "memory_bandwidth", None, 265),
        ("2bb4", "memory_bandwidth", None, 1530),
        ("2901", "memory_bandwidth", None, 5430),
        ("3182", "memory_bandwidth", None, 6164),
        ("2330", "gemm", "bf16", 794.5),
        ("2330", "gemm", "fp8", 1402.6),
        ("2335", "gemm", "fp8", 1453.4),
        ("2684", "memory_bandwidth", None, None),
        (None, "memory_bandwidth", None, None),
        ("2330", "gemm", "tf32", None),
    ],
)
def test_figures_are_found_by_device_id(
    device: str | None, measure: str, dtype: str | None, value: float | None
) -> None:
    entry = reference.reference_entry(TABLE, device, measure, dtype, 1, None)
    assert (entry or {}).get("value") == value


def test_dcgms_slips_are_no_floors_here() -> None:
    """Its floor of the H200 is 2333 MB/s, a thousandth of what it means."""
    fail_under = reference.against_reference(TABLE, 2400.0, TABLE["cards"]["2335"]["memory_bandwidth"])
    assert fail_under is not None and fail_under["fail_under"] == pytest.approx(2332.5)
    assert "20b0" not in TABLE["cards"] and "26b5" not in TABLE["cards"]


@pytest.mark.parametrize(
    ("measure", "gpus", "path", "expected"),
    [
        ("all_reduce", 8, "nvlink", {"value": 460, "source": "azhc", "gpus": 8}),
        ("all_reduce", 4, "nvlink", {"floor": 150, "source": "nvsentinel"}),
        ("all_reduce", 8, "pcie", {"floor": 15, "source": "nvsentinel"}),
        ("all_reduce", 8, None, None),
        ("peer", 2, "nvlink", {"floor": 335, "source": "azhc"}),
        ("peer", 2, "p2p", None),
        ("peer", 2, "staged", None),
    ],
)
def test_figures_between_gpus_hold_for_the_links_and_hosts_they_were_measured_on(
    measure: str, gpus: int, path: str | None, expected: Any
) -> None:
    assert reference.reference_entry(TABLE, "2330", measure, None, gpus, path) == expected


@pytest.mark.parametrize(
    ("value", "status"), [(2600, "ok"), (2286, "ok"), (2285, "warn"), (1905, "warn"), (1904, "fail")]
)
def test_the_lines_of_the_table_are_nine_tenths_and_three_quarters(value: float, status: str) -> None:
    base = reference.against_reference(TABLE, value, TABLE["cards"]["2330"]["memory_bandwidth"])
    assert base is not None and base["status"] == status and base["source"] == "dcgm"


@pytest.mark.parametrize(("value", "status"), [(51, "ok"), (50, "warn"), (47.9, "fail")])
def test_a_floor_is_itself_the_fail_line(value: float, status: str) -> None:
    base = reference.against_reference(TABLE, value, TABLE["cards"]["2330"]["host_to_device"])
    assert base is not None and (base["basis"], base["status"]) == ("floor", status)


@pytest.mark.parametrize(
    ("measure", "value", "peak", "status"),
    [
        ("memory_bandwidth", 3000, 3352.3, "ok"),
        ("memory_bandwidth", 2400, 3352.3, "warn"),
        ("memory_bandwidth", 2000, 3352.3, "fail"),
        ("memory_bandwidth", 3500, 3352.3, "warn"),
        ("gemm", 700, 1070, "ok"),
        ("gemm", 500, 1070, "warn"),
        ("gemm", 400, 1070, "fail"),
        # A generation lost.
        ("host_to_device", 26, 63.0, "fail"),
        ("host_to_device", 54, 63.0, "ok"),
    ],
)
def test_the_lines_of_the_peak(measure: str, value: float, peak: float, status: str) -> None:
    base = reference.against_peak(TABLE, measure, value, peak)
    assert base is not None and base["status"] == status


def test_the_peak_warns_at_most_where_a_measured_figure_knows_better() -> None:
    base = reference.against_peak(TABLE, "memory_bandwidth", 2900.0, 4917.0, in_table=True)
    assert base is not None and (base["share"], base["status"]) == (0.59, "warn")


def test_without_a_peak_there_is_nothing_to_hold_against() -> None:
    assert reference.against_peak(TABLE, "gemm", 1.0, None) is None
    assert reference.against_peak(TABLE, "peer", 1.0, 5.0) is None
    assert reference.against_reference(TABLE, 1.0, None) is None


@pytest.mark.parametrize(
    ("value", "figures", "status"),
    [
        (100, [100, 100, 100], "ok"),
        (95, [100, 100, 95], "ok"),
        (94.9, [100, 100, 94.9], "warn"),
        (89.9, [100, 100, 89.9], "fail"),
        (50, [100, 50], None),
        (100, [100], None),
    ],
)
def test_the_lines_of_equal_cards(value: float, figures: list[float], status: str | None) -> None:
    base = reference.against_peers(TABLE, value, figures)
    assert (base or {}).get("status") == status


def test_a_site_adds_and_replaces_figures() -> None:
    own: dict[str, Any] = {
        "2684": {"memory_bandwidth": {"value": 930}},
        "0x2330": {"gemm": {"bf16": {"value": 700}}},
    }
    merged = reference.merge_reference(TABLE, own)
    assert merged["cards"]["2684"]["memory_bandwidth"] == {"source": "site", "value": 930}
    assert merged["cards"]["2330"]["gemm"]["bf16"]["value"] == 700
    assert merged["cards"]["2330"]["gemm"]["fp8"]["value"] == 1402.6
    assert "2684" not in reference.load_reference()["cards"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ([], "reference: .* is no dictionary"),
        ({"2330": 5}, "reference.2330: 5 is no dictionary of measures"),
        ({"RTX": {"memory_bandwidth": {"value": 1}}}, "cards.rtx: it is no PCI device id"),
        ({"2330": {"memory": {"value": 1}}}, "cards.2330.memory: no such measure"),
        ({"2330": {"memory_bandwith": {"value": 1}}}, "Did you mean memory_bandwidth?"),
        ({"2330": {"gemm": {"int8": {"value": 1}}}}, "cards.2330.gemm.int8: no such type"),
        ({"2330": {"gemm": 5}}, "cards.2330.gemm: 5 is no dictionary by type"),
        ({"2330": {"peer": {"value": "fast"}}}, "cards.2330.peer.value: 'fast' is no number above 0"),
        ({"2330": {"peer": {}}}, "cards.2330.peer: it needs either value or floor"),
        ({"2330": {"peer": {"value": 1, "floor": 1}}}, "it needs either value or floor"),
        ({"2330": {"peer": {"value": 1, "limit": 2}}}, "cards.2330.peer.limit: no such key"),
        ({"2330": {"peer": {"value": 1, "rule": "x"}}}, "cards.2330.peer.rule: 'x' is not among the rules"),
        ({"2330": {"all_reduce": {"value": 1, "gpus": 1}}}, "all_reduce.gpus: 1 is no number of GPUs from 2 on"),
    ],
)
def test_a_wrong_figure_of_a_site_is_named(own: Any, message: str) -> None:
    with pytest.raises(reference.ReferenceTableError, match=message):
        reference.merge_reference(TABLE, own)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 2, "schema: it is not 1"),
        (("cards",), [], "cards: it is missing or no dictionary"),
        (("rules", "peers"), {"warn": 0.9, "fail": 0.95, "source": "own"}, "rules.peers: fail 0.95 is above warn 0.9"),
        (("rules", "peers"), {"warn": 0.9}, "rules.peers: it needs warn and fail"),
        (("rules", "peers", "source"), "hearsay", "rules.peers.source: 'hearsay' is not among the sources"),
        (("cards", "2330", "peer", "source"), "hearsay", "cards.2330.peer.source: 'hearsay' is not among the sources"),
        (("all_reduce", "pcie"), None, "all_reduce.pcie: None is no dictionary"),
    ],
)
def test_a_broken_table_is_told_key_by_key(path: tuple[str, ...], value: Any, message: str) -> None:
    table = reference.load_reference()
    place: Any = table
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert message in " ".join(reference.reference_problems(table))
