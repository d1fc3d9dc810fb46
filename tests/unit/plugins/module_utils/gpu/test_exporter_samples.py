# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the GPU exporter shows: the names of the scheme, nothing that is not known, nothing that is old."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_child import Reading
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_samples import (
    METRICS,
    Samples,
    Seen,
    families,
    samples,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_state import (
    after_reading,
    next_wait_seconds,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import gpu_metrics

NOW = 1_000_000.0
FULL: dict[str, Any] = {
    "uuid": "GPU-a",
    "name": "Card",
    "pci": "0000:18:00.0",
    "utilization.gpu_percent": 50,
    "utilization.memory_percent": 25,
    "memory.used_bytes": 100,
    "memory.free_bytes": 200,
    "memory.reserved_bytes": 10,
    "mig": (0, 0),
    "processes": [{"pid": 1, "memory_bytes": 90, "owner": "instance"}],
    "temperature.gpu_celsius": 60,
    "temperature.memory_celsius": 70,
    "power.usage_watts": 300.5,
    "power.enforced_limit_watts": 700,
    "power.energy_joules": 5,
    "clocks.sm_mhz": 1980,
    "clocks.memory_mhz": 2619,
    "clock_event_seconds.hw_thermal": 1.5,
    "clock_event_seconds.sw_thermal": 0,
    "clock_event_seconds.hw_power_brake": 0,
    "clock_event_seconds.sw_power_cap": 0,
    "pci.generation_current": 5,
    "pci.generation_max": 5,
    "pci.width_current": 8,
    "pci.width_max": 16,
    "pci.replay_count": 3,
    "pcie.transmitted_bytes": 11,
    "pcie.received_bytes": 12,
    "nvlink.active": 18,
    "nvlink.crc_errors": 1,
    "nvlink.replay_errors": 2,
    "nvlink.recovery_errors": 3,
    "nvlink.transmitted_bytes": 13,
    "nvlink.received_bytes": 14,
    "ecc.volatile_corrected": 4,
    "ecc.volatile_uncorrected": 0,
    "row_remap.rows": (1, 2, 1, 0),
    "retired_pages.pending": 1,
}


def gpu(index: int = 0, lost: bool = False, **values: Any) -> dict[str, Any]:
    return {"index": index, "lost": lost, "values": values}


def seen(*gpus: dict[str, Any], **values: Any) -> Seen:
    driver = {"driver_version": "580.1", "nvml_version": "13.580.1", "cuda_version": "13.0"}
    return replace(Seen(NOW - 5, 0.1, None, driver, gpus), **values)


def value(found: Samples, name: str, **labels: str) -> float:
    (only,) = [
        number for have, number in found[f"local_llm_gpu_{name}"] if all(have[key] == labels[key] for key in labels)
    ]
    return only


def test_names_types_and_texts_are_those_of_the_scheme() -> None:
    scheme = {name: (entry["type"], entry["what"]) for name, entry in gpu_metrics().items()}
    # DCGM's last XID is not one of ours.
    scheme.pop("local_llm_gpu_last_xid")
    assert {name: (kind, str(what)) for name, (kind, what) in METRICS.items()} == {
        name: (kind, str(what)) for name, (kind, what) in scheme.items()
    }


def test_labels_are_those_of_the_scheme_and_every_name_can_be_shown() -> None:
    whole = seen(gpu(**FULL), problem="busy", log_readable=True, xids={("0000:18:00.0", "31"): 1})
    whole = replace(whole, known={"0000:18:00.0": ("0", "GPU-a")})
    found = samples(whole, NOW, 60)
    assert set(found) == set(METRICS)
    for name, entry in gpu_metrics().items():
        own = [] if entry.get("scope") == "host" else ["gpu", "uuid"]
        for labels, _number in found.get(name, []):
            assert sorted(labels) == sorted(own + entry.get("labels", [])), name


def test_units_are_those_in_the_names() -> None:
    found = samples(seen(gpu(**FULL)), NOW, 60)
    assert value(found, "utilization_ratio") == 0.5
    assert value(found, "sm_clock_hertz") == 1.98e9
    assert value(found, "throttle_seconds_total", reason="hw_thermal") == 1.5
    assert value(found, "row_remap_pending") == 1 and value(found, "row_remap_failed") == 0
    assert value(found, "process_memory_bytes", owner="nobody") == 10
    assert value(found, "scrape_success_timestamp_seconds") == NOW - 5


def test_what_a_card_does_not_tell_is_left_out_and_never_zero() -> None:
    found = samples(seen(gpu(0, False, uuid="GPU-a", **{"temperature.memory_celsius": 0})), NOW, 60)
    assert set(found) == {
        f"local_llm_gpu_{name}"
        for name in ("lost", "info", "driver_info", "read_seconds", "scrape_success_timestamp_seconds")
    }


def test_card_that_tells_nothing_of_itself_gives_no_series() -> None:
    assert "local_llm_gpu_info" not in samples(seen(gpu(0, lost=True)), NOW, 60)


def test_old_values_are_dropped_and_the_time_of_the_last_answer_stays() -> None:
    old = seen(gpu(**FULL), problem="hung", log_readable=True, xids={("0000:18:00.0", "79"): 1})
    assert "local_llm_gpu_temperature_celsius" in samples(old, NOW, 60)
    found = samples(old, NOW + 100, 60)
    assert set(found) == {
        f"local_llm_gpu_{name}"
        for name in (
            "scrape_success_timestamp_seconds",
            "driver_problem",
            "kernel_log_readable",
            "xid_errors_total",
        )
    }
    assert value(found, "scrape_success_timestamp_seconds") == NOW - 5
    assert value(found, "driver_problem", problem="hung") == 1


def test_exporter_that_never_had_an_answer_says_when_that_was() -> None:
    found = samples(Seen(problem="hung"), NOW, 60)
    assert value(found, "scrape_success_timestamp_seconds") == 0


def test_lost_gpu_shows_that_and_none_of_its_values() -> None:
    found = samples(seen(gpu(0, **FULL), gpu(1, True, uuid="GPU-b", **{"temperature.gpu_celsius": 40})), NOW, 60)
    assert value(found, "lost", uuid="GPU-b") == 1 and value(found, "lost", uuid="GPU-a") == 0
    assert [labels["uuid"] for labels, _number in found["local_llm_gpu_temperature_celsius"]] == ["GPU-a"]


def test_gpu_that_nvml_no_longer_lists_is_lost() -> None:
    known = {"0000:18:00.0": ("0", "GPU-a"), "0000:2a:00.0": ("1", "GPU-b")}
    found = samples(seen(gpu(0, **FULL), known=known), NOW, 60)
    assert value(found, "lost", uuid="GPU-b", gpu="1") == 1


def test_xid_has_the_address_of_its_device_until_nvml_has_named_it() -> None:
    xids = {("0000:18:00.0", "79"): 2, (None, "31"): 1}
    found = samples(seen(xids=xids), NOW, 60)["local_llm_gpu_xid_errors_total"]
    assert ({"gpu": "0000:18:00.0", "uuid": "", "xid": "79"}, 2) in found
    assert ({"gpu": "unknown", "uuid": "", "xid": "31"}, 1) in found
    named = samples(seen(xids=xids, known={"0000:18:00.0": ("0", "GPU-a")}), NOW, 60)
    assert value(named, "xid_errors_total", gpu="0", uuid="GPU-a", xid="79") == 2


def test_families_keep_the_order_of_the_table_and_one_set_of_labels() -> None:
    made = list(families(samples(seen(gpu(**FULL)), NOW, 60)))
    assert [name for name, *_rest in made] == [name for name in METRICS if name in {name for name, *_rest in made}]
    for _name, _kind, _what, labels, found in made:
        assert all(list(have) == labels for have, _number in found)


READING = Reading(
    [
        {"driver_version": "580.1", "nvml_version": "13", "cuda_version": "13.0"},
        {"gpu": 0, "lost": False, "values": {"uuid": "GPU-a", "pci": "0000:18:00.0"}},
    ],
    seconds=0.2,
)


def test_reading_takes_the_place_of_the_one_before_and_gpus_are_remembered() -> None:
    first, why = after_reading(Seen(), READING, NOW, "python")
    assert why == ""
    assert (first.read_at_seconds, first.read_seconds, first.problem) == (NOW, 0.2, None)
    none = Reading([{"driver_version": "580.1", "nvml_version": "13", "cuda_version": "13.0"}])
    second, _why = after_reading(first, none, NOW + 10, "python")
    assert second.gpus == () and second.known == {"0000:18:00.0": ("0", "GPU-a")}


@pytest.mark.parametrize(
    ("reading", "problem", "words"),
    [
        (Reading(problem="hung", why="nvmlInit gave no answer in time"), "hung", "nvmlInit"),
        (
            Reading([{"failed": "nvmlInit", "code": 18, "name": "LIB_RM_VERSION_MISMATCH", "error": "x"}]),
            "mismatch",
            "reload the modules",
        ),
        (Reading([{"failed": "import", "code": None, "name": None, "error": "x"}]), "missing_package", "role"),
    ],
)
def test_driver_that_does_not_answer_leaves_what_was_known_and_says_why(
    reading: Reading, problem: str, words: str
) -> None:
    before, _why = after_reading(Seen(), READING, NOW, "python")
    after, why = after_reading(before, reading, NOW + 10, "python")
    assert after == replace(before, problem=problem)
    assert words in why


def test_hung_driver_is_asked_more_and_more_seldom() -> None:
    assert [next_wait_seconds(10, failures) for failures in (0, 1, 2, 3, 50)] == [10, 20, 40, 60, 60]
    assert next_wait_seconds(300, 3) == 300, "never more often than the interval"
