# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every check of a card: healthy, poor, silent and lost cards, sources and runbooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import (
    _checks_fabric,
    _checks_memory,
    _checks_mode,
    _checks_thermal,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import (
    bare_host,
    gpu,
    snapshot,
)

FILES = (_checks_memory, _checks_thermal, _checks_fabric, _checks_mode)
BY_NAME = {check.name: check for file in FILES for check in file.CHECKS}
RUNBOOKS = Path(__file__).resolve().parents[5] / "docs" / "runbooks"


def run(name: str, host: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the findings of one check."""
    check = BY_NAME[name]
    return check.run(check, host, Context())


def broken(index: int) -> dict[str, Any]:
    """Return a card on which about every check finds something, were it not lost."""
    card = gpu(index, ecc__mode_current=False, ecc__mode_pending=False, ecc__volatile_uncorrected=1)
    card["ecc"].update(sram_threshold_exceeded=True, volatile_corrected=10**9)
    card["row_remap"].update(pending=True, failed=True, uncorrected=512)
    card["retired_pages"].update(single_bit=63, double_bit=1, pending=True)
    card["repair"].update(unrepairable_memory=True)
    card["memory"].update(used_bytes=40 << 30)
    card["temperature"].update(gpu_celsius=120, memory_celsius=120)
    card["power"].update(enforced_limit_watts=100.0)
    card["mig"].update(pending=True)
    card["fabric"].update(status=1)
    card.update(clock_event_reasons=["hw_thermal"], recovery_action=2, persistence_mode=False, inforom_valid=False)
    card.update(compute_mode="prohibited")
    card["nvlink"][3]["active"] = False
    return card


def geforce_4090() -> dict[str, Any]:
    """Return a card without ECC counters, row remapping, NVLink, fabric, MIG and memory sensor."""
    card = gpu(0, name="NVIDIA GeForce RTX 4090", nvlink=[], fabric={"state": "not_supported", "status": 0})
    card["fabric"].update(health_summary=None, health_mask=None)
    card["ecc"] = dict.fromkeys(card["ecc"])
    card["ecc"].update(mode_current=False, mode_pending=False)
    card["row_remap"] = dict.fromkeys(card["row_remap"])
    card["mig"] = {"current": None, "pending": None}
    card["temperature"].update(memory_celsius=None, memory_max_celsius=None)
    return card


def nothing_known() -> dict[str, Any]:
    """Return a card that answers nothing but who it is."""
    card = gpu(0, nvlink=[], fabric=None, clock_event_reasons=None, recovery_action=None, inforom_valid=None)
    card.update(persistence_mode=None, compute_mode=None, performance_state=None)
    for part in ("mig", "memory", "ecc", "row_remap", "retired_pages", "repair", "temperature", "power", "clocks"):
        card[part] = dict.fromkeys(card[part])
    for part in ("clock_event_seconds", "utilization"):
        card[part] = dict.fromkeys(card[part])
    return card


@pytest.mark.parametrize("name", BY_NAME)
def test_healthy_host_gives_one_finding_that_is_no_complaint(name: str) -> None:
    (found,) = run(name, snapshot())
    assert found["status"] in ("ok", "skip"), found
    assert found["gpu"] is None and found["remedy"] == "none"


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("count", [1, 4])
def test_geforce_is_fine_or_skips_with_a_reason(name: str, count: int) -> None:
    cards = [{**geforce_4090(), "index": index, "uuid": f"GPU-{index}"} for index in range(count)]
    host = snapshot(cards)
    for pair in host["topology"]:
        pair.update(p2p_nvlink="not_supported", p2p_read="not_supported")
    (found,) = run(name, host)
    assert found["status"] == "ok" or (found["status"] == "skip" and found["observed"])


@pytest.mark.parametrize("name", BY_NAME)
def test_unknown_values_are_never_a_fault(name: str) -> None:
    for cards in ([nothing_known()], [nothing_known(), {**nothing_known(), "index": 1, "uuid": "GPU-1"}]):
        host = snapshot(cards)
        for pair in host["topology"]:
            pair.update(p2p_nvlink=None, p2p_read=None)
        (found,) = run(name, host)
        assert found["status"] == "skip" and found["observed"], found


@pytest.mark.parametrize("name", BY_NAME)
def test_host_without_gpu_skips(name: str) -> None:
    (found,) = run(name, bare_host())
    assert found["status"] == "skip" and "no NVIDIA GPU" in found["observed"]


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize(
    ("status", "who"), [("mismatch", "nvml_loadable"), ("hung", "nvml_hang"), ("missing_package", "nvml_loadable")]
)
def test_silent_nvml_skips_and_names_the_check_that_tells_why(name: str, status: str, who: str) -> None:
    (found,) = run(name, snapshot(nvml__status=status))
    assert (found["status"], found["observed"]) == ("skip", f"NVML does not answer: see {who}")


@pytest.mark.parametrize("name", BY_NAME)
def test_lost_gpu_is_left_to_gpu_lost(name: str) -> None:
    lost = broken(0)
    lost["errors"] = {"nvmlDeviceGetTemperature": {"code": 15, "name": "GPU_IS_LOST"}}
    (found,) = run(name, snapshot([lost]))
    assert (found["status"], found["observed"]) == ("skip", "every GPU is lost: see gpu_lost")
    (found,) = run(name, without_persistence_daemon(snapshot([lost, gpu(1), gpu(2)])))
    assert found["status"] in ("ok", "skip"), found


def test_broken_card_is_found_when_it_is_not_lost() -> None:
    host = without_persistence_daemon(snapshot([broken(0), gpu(1), gpu(2)]))
    quiet = {name for name in BY_NAME if all(found["status"] in ("ok", "skip") for found in run(name, host))}
    # fabric_manager looks at the host, two compare with the run before; the others leave it to the check of the cause
    assert quiet == {"fabric_manager", "throttle_time", "nvlink_errors", "power_read", "row_remap_count", "p2p"}


def without_persistence_daemon(host: dict[str, Any]) -> dict[str, Any]:
    host["units"]["nvidia-persistenced.service"]["active_state"] = "inactive"
    return host


@pytest.mark.parametrize("name", BY_NAME)
def test_check_has_source_reference_and_a_section_in_its_runbook(name: str) -> None:
    check = BY_NAME[name]
    assert check.looks_at and check.source and check.reference
    text = (RUNBOOKS / f"{check.group}.md").read_text(encoding="utf-8")
    assert f"\n## {name}\n" in text
    for threshold, value in check.thresholds.items():
        assert value.minimum <= value.default <= value.maximum and value.reason
        assert f"`{threshold}`" in text, f"{check.group}.md does not name the threshold {threshold}"
