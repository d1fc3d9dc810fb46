# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of gpu_benchmark for tests of what judges them: healthy H100 cards, and one thing made different."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._benchmark_gpu import (
    UNITS,
    Options,
    gpu_entry,
    plan_jobs,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._peaks import peak_of
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu

# What a good H100 SXM reaches, well above every limit.
GOOD = {
    ("memory_bandwidth", None): 2700.0,
    ("gemm", "bf16"): 720.0,
    ("gemm", "fp16"): 720.0,
    ("gemm", "tf32"): 400.0,
    ("gemm", "fp8"): 1300.0,
    ("host_to_device", None): 55.0,
    ("device_to_host", None): 55.0,
    ("peer", None): 390.0,
    ("all_reduce", None): 450.0,
}
CONDITIONS = {
    "source": "pynvml",
    "samples": 16,
    "sm_mhz": {"min": 1700, "median": 1755, "max": 1980},
    "memory_mhz": {"min": 2619, "median": 2619, "max": 2619},
    "power_watts": {"min": 600.0, "median": 690.0, "max": 700.0},
    "temperature_celsius": {"min": 50, "median": 60, "max": 64},
    "pcie_generation": {"min": 5, "median": 5, "max": 5},
    "pcie_width": {"min": 16, "median": 16, "max": 16},
    "clock_event_reasons": {"sw_power_cap": 0.9},
    "missing": None,
}


def report(count: int = 1, **changes: Any) -> dict[str, Any]:
    """Return the report of a host with healthy cards; changes: keys of every card's snapshot, as in snapshots.gpu."""
    cards = [gpu(index, **changes) for index in range(count)]
    entries = [gpu_entry(card, {"multiprocessors": 132, "l2_bytes": 50 << 20}) for card in cards]
    results = [
        {
            "measure": job["measure"],
            "dtype": job["dtype"],
            "gpus": job["gpus"],
            "unit": UNITS[job["measure"]][0],
            "median": GOOD[job["measure"], job["dtype"]],
            "spread_percent": 0.5,
            "peak": peak_of(entries[job["gpus"][0]]["peaks"], job["measure"], job["dtype"]),
            "bytes": 1 << 28,
            "matrix_size": job.get("matrix_size"),
            "path": {"peer": "p2p", "all_reduce": "nvlink"}.get(job["measure"]),
            "between": {"ancestor": "node", "p2p_nvlink": "ok"} if job["measure"] == "peer" else None,
            "notes": [],
            "conditions": dict(CONDITIONS),
        }
        for job in plan_jobs(count, Options())
    ]
    return {
        "schema": 1,
        "kind": "gpu_benchmark",
        "profile": "quick",
        "complete": True,
        "stopped": None,
        "taken_at": "2026-11-01T12:00:00Z",
        "driver_version": "570.133.20",
        "torch": {"torch": "2.9", "cuda": "13.0", "nccl": None, "python": "/x/bin/python"},
        "gpus": entries,
        "results": results,
        "skipped": [],
        "failed": [],
    }


def result(document: dict[str, Any], measure: str, dtype: str | None = None, *gpus: int) -> dict[str, Any]:
    """Return one result of a report, to change it."""
    return next(
        item
        for item in document["results"]
        if (item["measure"], item["dtype"]) == (measure, dtype) and (not gpus or item["gpus"] == list(gpus))
    )
