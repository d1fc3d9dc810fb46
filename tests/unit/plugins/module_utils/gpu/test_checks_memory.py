# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of GPU memory: what is reported, what is not, and where each threshold lies."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _checks_memory as checks
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu, snapshot

BY_NAME = {check.name: check for check in checks.CHECKS}


def run(name: str, host: dict[str, Any], context: Context | None = None) -> list[dict[str, Any]]:
    """Return the findings of one check."""
    check = BY_NAME[name]
    return check.run(check, host, context or Context())


def one(check: str, /, *, expected: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the only finding about a host with one card that is altered; a broken card must give exactly one."""
    (found,) = run(check, snapshot([gpu(0, **changes)]), Context(expected=expected or {}))
    return found


def limited(name: str, key: str, value: float) -> Context:
    """Return a context in which the site sets one threshold."""
    return Context(thresholds={name: {key: value}})


def process(pid: int, alive: bool = True, memory_bytes: int | None = 40 << 30) -> dict[str, Any]:
    return {
        "pid": pid,
        "kind": "compute",
        "memory_bytes": memory_bytes,
        "name": "llama-server" if alive else None,
        "user": "local-llm" if alive else None,
        "alive": alive,
    }


ECC = ("ecc__mode_current", "ecc__mode_pending")


@pytest.mark.parametrize(
    ("now", "pending", "wanted", "status", "observed"),
    [
        (True, True, None, "ok", None),
        (True, None, None, "ok", None),
        (True, True, True, "ok", None),
        (False, False, False, "ok", None),
        (False, False, None, "warn", "off"),
        (False, False, True, "warn", "off"),
        (True, True, False, "warn", "on"),
        (False, True, None, "warn", "off now, on after the next reset"),
        (True, False, None, "warn", "on now, off after the next reset"),
        (True, False, False, "warn", "on now, off after the next reset"),
        (None, None, True, "skip", "not supported by this card"),
    ],
)
def test_ecc_mode(now: Any, pending: Any, wanted: Any, status: str, observed: Any) -> None:
    expected = {} if wanted is None else {"ecc": wanted}
    found = one("ecc_mode", expected=expected, ecc__mode_current=now, ecc__mode_pending=pending)
    assert (found["status"], found["observed"]) == (status, observed)


def test_ecc_that_waits_for_a_reset_asks_for_the_reset_and_not_for_a_setting() -> None:
    found = one("ecc_mode", ecc__mode_current=False, ecc__mode_pending=True)
    assert found["remedy"] == "reset_gpu" and "nvidia-smi --gpu-reset -i 0000:18:00.0" in found["action"]


def test_ecc_of_a_geforce_card_is_left_alone_unless_the_site_wants_it() -> None:
    off: dict[str, Any] = {"name": "NVIDIA GeForce RTX 4090", "ecc__mode_current": False, "ecc__mode_pending": False}
    assert one("ecc_mode", **off)["status"] == "ok"
    found = one("ecc_mode", expected={"ecc": True}, **off)
    assert (found["status"], found["remedy"]) == ("warn", "configure")
    assert "nvidia-smi -e 1 -i 0000:18:00.0" in found["action"]


@pytest.mark.parametrize(("count", "status"), [(0, "ok"), (1, "fail"), (None, "skip")])
def test_ecc_uncorrected(count: Any, status: str) -> None:
    found = one("ecc_uncorrected", ecc__volatile_uncorrected=count)
    assert found["status"] == status
    assert found["remedy"] == ("reset_gpu" if status == "fail" else "none")


def test_errors_of_earlier_boots_do_not_count_as_uncorrected_now() -> None:
    assert one("ecc_uncorrected", ecc__aggregate_uncorrected=7)["status"] == "ok"


@pytest.mark.parametrize(
    ("exceeded", "count", "status", "remedy"),
    [
        (False, 0, "ok", "none"),
        (False, 4, "ok", "none"),
        (False, 5, "warn", "hardware"),
        (None, 5, "warn", "hardware"),
        (True, 0, "fail", "hardware"),
        (True, 900, "fail", "hardware"),
        (True, None, "fail", "hardware"),
        (False, None, "ok", "none"),
        (None, None, "skip", "none"),
    ],
)
def test_ecc_sram(exceeded: Any, count: Any, status: str, remedy: str) -> None:
    found = one("ecc_sram", ecc__sram_threshold_exceeded=exceeded, ecc__sram_aggregate_uncorrected=count)
    assert (found["status"], found["remedy"]) == (status, remedy)


@pytest.mark.parametrize(("count", "status"), [(0, "ok"), (50_000_000, "ok"), (50_000_001, "warn"), (None, "skip")])
def test_ecc_corrected(count: Any, status: str) -> None:
    assert one("ecc_corrected", ecc__volatile_corrected=count)["status"] == status


@pytest.mark.parametrize(("pending", "status"), [(False, "ok"), (True, "warn"), (None, "skip")])
def test_row_remap_pending_warns_until_the_next_drain(pending: Any, status: str) -> None:
    found = one("row_remap_pending", row_remap__pending=pending)
    assert found["status"] == status
    if status == "warn":
        assert found["remedy"] == "reset_gpu" and "next drain" in found["action"]


@pytest.mark.parametrize(("failed", "status"), [(False, "ok"), (True, "fail"), (None, "skip")])
def test_row_remap_failed(failed: Any, status: str) -> None:
    found = one("row_remap_failed", row_remap__failed=failed)
    assert (found["status"], found["remedy"]) == (status, "hardware" if status == "fail" else "none")


@pytest.mark.parametrize(
    ("count", "none", "status"),
    [(0, 0, "ok"), (511, 0, "ok"), (512, 0, "fail"), (0, 1, "warn"), (512, 3, "fail"), (None, 1, "warn")],
)
def test_row_remap_count(count: Any, none: int, status: str) -> None:
    histogram = {"max": 630, "high": 0, "partial": 0, "low": 0, "none": none}
    found = one("row_remap_count", row_remap__uncorrected=count, row_remap__histogram=histogram)
    assert (found["status"], found["remedy"]) == (status, "none" if status == "ok" else "hardware")


def test_row_remap_count_skips_where_nothing_is_counted() -> None:
    found = one("row_remap_count", row_remap__uncorrected=None, row_remap__histogram=None)
    assert (found["status"], found["observed"]) == ("skip", "not supported by this card")


def test_failed_remap_is_reported_once() -> None:
    host = snapshot([gpu(0, row_remap__failed=True, row_remap__uncorrected=600)])
    assert [item["status"] for name in ("row_remap_failed", "row_remap_count") for item in run(name, host)] == [
        "fail",
        "ok",
    ]


@pytest.mark.parametrize(
    ("single", "double", "pending", "status", "remedy"),
    [
        (0, 0, False, "ok", "none"),
        (47, 15, False, "ok", "none"),
        (48, 15, False, "fail", "hardware"),
        (0, 16, False, "warn", "hardware"),
        (0, 1, True, "fail", "reset_gpu"),
        (0, 16, True, "fail", "reset_gpu"),
        (63, 0, True, "fail", "hardware"),
        (None, None, False, "ok", "none"),
        (None, None, None, "skip", "none"),
    ],
)
def test_retired_pages(single: Any, double: Any, pending: Any, status: str, remedy: str) -> None:
    changes = {"single_bit": single, "double_bit": double, "pending": pending}
    found = one("retired_pages", **{f"retired_pages__{key}": value for key, value in changes.items()})
    assert (found["status"], found["remedy"]) == (status, remedy)


@pytest.mark.parametrize(
    ("repair", "status", "remedy"),
    [
        ({}, "skip", "none"),
        ({"channel_pending": False, "tpc_pending": False, "unrepairable_memory": False}, "ok", "none"),
        ({"channel_pending": True}, "fail", "reset_gpu"),
        ({"tpc_pending": True}, "fail", "reset_gpu"),
        ({"unrepairable_memory": True, "channel_pending": True}, "fail", "hardware"),
    ],
)
def test_memory_repair(repair: dict[str, bool], status: str, remedy: str) -> None:
    changes: dict[str, Any] = {f"repair__{key}": value for key, value in repair.items()}
    found = one("memory_repair", **changes)
    assert (found["status"], found["remedy"]) == (status, remedy)


MIB = 1 << 20


@pytest.mark.parametrize(
    ("unowned", "status"), [(0, "ok"), (15 * MIB, "ok"), (15 * MIB + 1, "warn"), (40 << 30, "warn")]
)
def test_memory_without_any_process(unowned: int, status: str) -> None:
    found = one("vram_zombie", memory__used_bytes=unowned)
    assert (found["status"], found["remedy"]) == (status, "reset_gpu" if status == "warn" else "none")


def test_memory_of_dead_processes_must_leave_service() -> None:
    dead = [process(4711, alive=False), process(99, alive=False), process(99, alive=False)]
    found = one("vram_zombie", memory__used_bytes=40 << 30, processes=dead)
    assert (found["status"], found["remedy"]) == ("fail", "reset_gpu")
    assert found["observed"] == "40960 MiB in use by dead processes: 99, 4711"


@pytest.mark.parametrize(
    "processes",
    [
        [process(1)],
        [process(1, memory_bytes=None)],
        [process(1, memory_bytes=1), process(2, alive=False)],
        [{**process(1), "kind": "mps"}],
    ],
)
def test_serving_engine_is_no_zombie(processes: list[dict[str, Any]]) -> None:
    assert one("vram_zombie", memory__used_bytes=79 << 30, processes=processes)["status"] == "ok"


def test_live_process_that_holds_nothing_does_not_explain_the_memory() -> None:
    idle = [process(1, memory_bytes=0), process(2, alive=False)]
    assert one("vram_zombie", memory__used_bytes=40 << 30, processes=idle)["status"] == "fail"


def test_dead_process_that_holds_nothing_is_no_reason_for_a_reset() -> None:
    gone = [process(7, alive=False, memory_bytes=0)]
    assert one("vram_zombie", memory__used_bytes=40 << 30, processes=gone)["status"] == "warn"


def test_card_in_mig_mode_lists_no_processes_and_is_not_judged() -> None:
    assert one("vram_zombie", memory__used_bytes=79 << 30, mig__current=True)["status"] == "skip"


def test_driver_that_counts_its_reserve_as_used_is_not_judged() -> None:
    assert one("vram_zombie", memory__used_bytes=500 * MIB, memory__reserved_bytes=None)["status"] == "skip"


@pytest.mark.parametrize(
    ("name", "key", "value", "changes", "status"),
    [
        ("ecc_sram", "aggregate_uncorrected", 0, {"ecc__sram_aggregate_uncorrected": 1}, "warn"),
        ("ecc_corrected", "volatile_corrected", 10, {"ecc__volatile_corrected": 11}, "warn"),
        ("row_remap_count", "uncorrected", 8, {"row_remap__uncorrected": 8}, "fail"),
        ("row_remap_count", "banks_without_spare", 1, {"row_remap__histogram": {"none": 1}}, "ok"),
        ("retired_pages", "pages", 10, {"retired_pages__single_bit": 10}, "fail"),
        ("retired_pages", "double_bit_pages", 2, {"retired_pages__double_bit": 3}, "warn"),
        ("vram_zombie", "unowned_mebibytes", 100, {"memory__used_bytes": 100 * MIB}, "ok"),
    ],
)
def test_site_moves_a_threshold(name: str, key: str, value: float, changes: dict[str, Any], status: str) -> None:
    (found,) = run(name, snapshot([gpu(0, **changes)]), limited(name, key, value))
    assert found["status"] == status


def test_each_broken_card_gets_its_own_finding() -> None:
    cards = [gpu(index, ecc__volatile_uncorrected=index % 2) for index in range(4)]
    found = run("ecc_uncorrected", snapshot(cards))
    assert [item["gpu"]["index"] for item in found] == [1, 3]
    assert found[0]["runbook"] == "docs/runbooks/gpu_memory.md#ecc_uncorrected"
