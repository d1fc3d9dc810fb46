# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's rules: what is refused, which jobs there are, what becomes of raw times."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._benchmark_gpu import (
    GIB,
    MIB,
    OptionError,
    Options,
    child_request,
    choose_gpus,
    conditions,
    deadline_seconds,
    expected_seconds,
    figures,
    plan_jobs,
    quantile,
    refusals,
    report,
    strangers,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu

PROCESS = {"pid": 4711, "kind": "compute", "memory_bytes": 1, "name": "vllm", "user": "local-llm", "alive": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"measures": ()}, "measures: it is empty"),
        ({"measures": ("gem",)}, "measures: 'gem' is not known. Did you mean gemm?"),
        ({"dtypes": ("int8",)}, "dtypes: 'int8' is not known. Use some of: bf16, fp16, tf32, fp8."),
        ({"profile": "slow"}, "profile: 'slow' is not known"),
        ({"max_memory_bytes": MIB}, "max_memory_bytes: 1048576 is out of range"),
        ({"matrix_size": 1000}, "matrix_size: 1000 does not fit"),
        ({"matrix_size": 4100}, "matrix_size: 4100 does not fit"),
        ({"matrix_size": 16384}, "matrix_size: 16384 needs 3072 MiB for tf32, and max_memory_bytes allows 1024 MiB"),
        ({"matrix_size": 16384, "dtypes": ("fp8",)}, ""),
        ({"matrix_size": 16384, "measures": ("peer",)}, ""),
        ({"matrix_size": 16384, "max_memory_bytes": 3 * GIB}, ""),
        ({"deadline_seconds": 1.0}, "deadline_seconds: 1 is out of range. Use 10 to 7200."),
    ],
)
def test_wrong_options_are_named_with_value_and_fix(changes: dict[str, Any], message: str) -> None:
    found = " ".join(Options(**changes).problems())
    assert message in found if message else not found


def test_gpus_are_chosen_by_number_uuid_and_address_once_each_in_the_drivers_order() -> None:
    cards = [gpu(index) for index in range(4)]
    wanted = ["0000:1B:00.0", "1", str(cards[1]["uuid"])]
    assert [card["index"] for card in choose_gpus(cards, wanted)] == [1, 3]
    assert len(choose_gpus(cards, [])) == 4
    with pytest.raises(OptionError, match=r"gpus: '7' is none of this host's GPUs: 0 \(0000:18:00.0\), 1"):
        choose_gpus(cards, ["0", "7"])


@pytest.mark.parametrize(
    ("changes", "message", "forced"),
    [
        ({}, "", ""),
        ({"memory__used_bytes": 15 * MIB}, "", ""),
        ({"memory__used_bytes": 16 * MIB}, "GPU 0 (0000:18:00.0) holds 16 MiB, and no process is seen", ""),
        # Drivers that do not tell the reserve count it as used.
        ({"memory__used_bytes": 700 * MIB, "memory__reserved_bytes": None}, "", ""),
        ({"processes": [PROCESS]}, "GPU 0 (0000:18:00.0) is in use by process 4711 (vllm)", ""),
        ({"processes": [{**PROCESS, "alive": False}]}, "", ""),
        ({"mig__current": True}, "is split by MIG", "is split by MIG"),
        ({"errors": {"x": {"code": 15, "name": "GPU_IS_LOST"}}}, "fell off the bus", "fell off the bus"),
        ({"uuid": None}, "fell off the bus", "fell off the bus"),
    ],
)
def test_a_card_in_use_is_refused_and_force_lets_it_through(changes: dict[str, Any], message: str, forced: str) -> None:
    for force, expected in ((False, message), (True, forced)):
        found = " ".join(refusals([gpu(0, **changes), gpu(1)], force))
        assert expected in found if expected else not found


def test_every_measure_runs_on_every_card_and_pairs_in_both_directions() -> None:
    jobs = plan_jobs(2, Options())
    done = [(job["measure"], job["dtype"], tuple(job["gpus"])) for job in jobs]
    assert len(done) == len(set(done)) == 2 * 7 + 2 + 1
    assert ("peer", None, (0, 1)) in done and ("peer", None, (1, 0)) in done
    assert done[-1] == ("all_reduce", None, (0, 1))


def test_one_card_has_no_pairs_and_no_all_reduce() -> None:
    assert {job["measure"] for job in plan_jobs(1, Options())} == {
        "memory_bandwidth",
        "gemm",
        "host_to_device",
        "device_to_host",
    }
    assert plan_jobs(1, Options(measures=("peer", "all_reduce"))) == []


@pytest.mark.parametrize(
    ("profile", "low", "high"),
    [("quick", 1.5, 2.1), ("standard", 8, 10.1)],
)
def test_a_profile_takes_the_time_that_it_promises(profile: str, low: float, high: float) -> None:
    for job in plan_jobs(1, Options(profile=profile)):
        assert low <= job["warm_up_seconds"] + job["seconds"] <= high


def test_the_deadline_leaves_room_and_has_an_end() -> None:
    jobs = plan_jobs(8, Options(profile="standard"))
    assert expected_seconds(jobs) * 2 < deadline_seconds(jobs, Options()) <= 7200
    assert deadline_seconds(jobs, Options(deadline_seconds=33)) == 33


def test_what_the_child_is_asked_holds_plain_data_only() -> None:
    jobs = plan_jobs(1, Options())
    request = child_request([gpu(0)], jobs, Options(), {0: [0, 1]}, None)
    assert request["device"] == "cuda"
    assert request["gpus"] == [{"index": 0, "uuid": gpu(0)["uuid"], "cpus": [0, 1]}]
    assert eval(repr(request)) == request


@pytest.mark.parametrize(
    ("values", "share", "result"),
    [([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0.5, 2.5), ([5], 0.95, 5), (list(range(101)), 0.05, 5)],
)
def test_quantiles(values: list[float], share: float, result: float) -> None:
    assert quantile(values, share) == pytest.approx(result)


def test_figures_are_medians_of_rates_and_their_spread() -> None:
    record = {"amount": 2e9, "iterations": 10, "seconds": [0.02, 0.01, 0.01, 0.01, 0.005]}
    result = figures(record, "memory_bandwidth")
    assert (result["unit"], result["median"], result["samples"]) == ("GB/s", 2000.0, 5)
    assert (result["p5"], result["p95"]) == (1200.0, 3600.0)
    assert result["spread_percent"] == 120.0


def test_a_product_counts_two_operations_per_multiply_add() -> None:
    record = {"amount": 2 * 8192**3, "iterations": 1, "seconds": [0.0015]}
    assert figures(record, "gemm")["median"] == pytest.approx(733.0, abs=0.1)


def test_times_that_are_no_times_give_no_figure() -> None:
    assert figures({"amount": 1, "iterations": 1, "seconds": [0.0]}, "gemm")["median"] is None


def test_conditions_tell_the_range_of_clocks_and_the_share_of_each_reason() -> None:
    sample = {
        "sm_mhz": 1980,
        "memory_mhz": 2619,
        "power_watts": 700.0,
        "temperature_celsius": 60,
        "pcie_generation": 5,
        "pcie_width": 16,
        "reasons": 0x4,
    }
    seen = conditions(
        {"watched": [sample, {**sample, "sm_mhz": 1500, "reasons": 0x44}, {**sample, "pcie_generation": None}]}
    )
    assert seen["sm_mhz"] == {"min": 1500, "median": 1980, "max": 1980}
    assert seen["clock_event_reasons"] == {"sw_power_cap": 1.0, "hw_thermal": 0.333}
    assert seen["pcie_generation"] == {"min": 5, "median": 5, "max": 5}
    assert seen["missing"] is None and seen["samples"] == 3


def test_conditions_that_nobody_saw_say_why() -> None:
    seen = conditions({"watched": [], "watched_by": "none", "unwatched": "No module named 'pynvml'"})
    assert seen["missing"] == "No module named 'pynvml'" and seen["sm_mhz"] is None
    assert seen["clock_event_reasons"] is None


def records(jobs: list[dict[str, Any]], failing: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a bench writes that does all jobs; failing: other ends of jobs."""
    done = {
        "timer": "cuda_events",
        "seconds": [0.01] * 5,
        "iterations": 1,
        "amount": 1e9,
        "bytes": 1,
        "notes": [],
        "memory_peak_bytes": 1,
        "watched": [],
    }
    card = {"multiprocessors": 132, "l2_bytes": 50 * MIB, "uuid": None}
    return [
        {"torch": "2.9", "cuda": "13.0", "nccl": None},
        {"card": 0, **card},
        {"card": 1, **card},
        *(failing.get(number, {"measured": number, **done}) for number in range(len(jobs))),
    ]


def test_a_report_has_an_entry_for_every_job() -> None:
    jobs = plan_jobs(2, Options(measures=("gemm", "peer"), dtypes=("fp16", "fp8")))
    ends: dict[int, dict[str, Any]] = {1: {"skipped": 1, "why": "no fp8"}, 2: {"failed": 2, "error": "out of memory"}}
    topology = [{"a": 0, "b": 1, "ancestor": "node", "p2p_nvlink": "ok", "p2p_read": "ok"}]
    result = report([gpu(0), gpu(1)], topology, jobs, Options(), records(jobs, ends), None)
    assert (len(result["results"]), len(result["skipped"]), len(result["failed"])) == (4, 1, 1)
    assert result["complete"] is False
    assert result["failed"] == [{"measure": "gemm", "dtype": "fp16", "gpus": [1], "error": "out of memory"}]
    pair = next(item for item in result["results"] if item["gpus"] == [1, 0])
    assert pair["between"] == {"ancestor": "node", "p2p_nvlink": "ok"}
    assert result["results"][0]["peak"] == 1070.5


def test_what_was_not_reached_is_failed_with_the_reason() -> None:
    jobs = plan_jobs(1, Options(measures=("gemm",)))
    result = report([gpu(0)], [], jobs, Options(), [], "gemm bf16 (GPU 0) did not end")
    assert len(result["failed"]) == 4 and not result["results"]
    assert "gemm bf16 (GPU 0) did not end" in result["failed"][0]["error"]
    assert result["gpus"][0]["multiprocessors"] is None and result["stopped"]


def test_figures_never_go_to_another_card_than_the_one_measured() -> None:
    mine = str(gpu(0)["uuid"]).removeprefix("GPU-")
    assert strangers([gpu(0)], [{"card": 0, "uuid": mine.upper()}]) == []
    assert strangers([gpu(0)], [{"card": 0, "uuid": mine.replace("-", "")}]) == []
    assert strangers([gpu(0)], [{"card": 0, "uuid": None}, {"torch": "2.9"}]) == []
    other = str(gpu(1)["uuid"]).removeprefix("GPU-")
    assert f"{other} in the place of GPU-" in strangers([gpu(0)], [{"card": 0, "uuid": other}])[0]
