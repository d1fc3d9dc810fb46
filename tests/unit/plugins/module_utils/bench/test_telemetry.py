# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is watched beside a run: memory, GPUs, and readers that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._telemetry import (
    Sampler,
    gpu_sample,
    gpu_summary,
    memory_slope,
    service_memory,
)


def test_memory_that_grows_is_told_only_when_it_is_certain() -> None:
    grown = memory_slope([{"at_seconds": place, "anonymous_bytes": 10**9 + 1000 * place} for place in range(20)])
    assert grown is not None and grown["grows"] and grown["bytes_per_hour"] == 3_600_000
    flat = memory_slope([{"at_seconds": place, "anonymous_bytes": 10**9 + (place % 2)} for place in range(20)])
    assert flat is not None and not flat["grows"]
    short = memory_slope([{"at_seconds": 0.0, "anonymous_bytes": 5}])
    assert short is not None and short["bytes_per_hour"] is None and memory_slope([]) is None


def test_memory_of_a_service_comes_from_its_cgroup_or_its_processes(tmp_path: Path) -> None:
    group = tmp_path / "new" / "a.service"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("900\n")
    (group / "memory.stat").write_text("anon 700\nfile 200\n")
    assert service_memory("/a.service", str(tmp_path / "new")) == {"anonymous_bytes": 700, "current_bytes": 900}
    for place, pids in (("unified", ""), ("systemd", "12\n")):
        old = tmp_path / "old" / place / "a.service"
        old.mkdir(parents=True)
        (old / "cgroup.procs").write_text(pids)
    (tmp_path / "proc" / "12").mkdir(parents=True)
    (tmp_path / "proc" / "12" / "status").write_text("Name:\tx\nRssAnon:\t    3 kB\n")
    found = service_memory("/a.service", str(tmp_path / "old"), str(tmp_path / "proc"))
    assert found == {"anonymous_bytes": 3072, "current_bytes": None}
    assert service_memory("/b.service", str(tmp_path / "old")) is None


def test_a_reader_that_fails_gives_no_sample_and_ends_nothing() -> None:
    def broken() -> dict[str, Any]:
        raise OSError("gone")

    with Sampler({"bad": (0.01, broken), "good": (0.01, lambda: {"value": 1})}) as sampler:
        pass
    assert sampler.samples["bad"] == [] and sampler.samples["good"][-1]["value"] == 1


def test_gpus_are_summed_up_with_the_energy_of_a_token() -> None:
    card = {"index": 0, "power": {"usage_watts": 300.0, "energy_joules": 1000.0}, "clocks": {"sm_mhz": 1500}}
    later = {**card, "power": {"usage_watts": 500.0, "energy_joules": 1600.0}, "clocks": {"sm_mhz": 1200}}
    samples = [sample for one in (card, later) if (sample := gpu_sample({"gpus": [one]}))]
    (found,) = gpu_summary(samples, 1200) or []
    assert found["power_mean_watts"] == 400.0 and found["sm_min_mhz"] == 1200
    assert found["energy_joules"] == 600.0 and found["joules_per_output_token"] == 0.5
    assert gpu_sample({"gpus": []}) is None and gpu_summary([], 1) is None
