# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Theoretical peaks against figures of data sheets and clocks as NVML tells them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._peaks import (
    memory_peak,
    pcie_peak,
    peak_of,
    peaks,
    tensor_peak,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu


@pytest.mark.parametrize(
    ("card", "bus_width_bits", "memory_max_mhz", "gb_per_second"),
    [
        ("A100 40G", 5120, 1215, 1555),
        ("H100 SXM", 5120, 2619, 3352),
        ("H200", 6144, 3201, 4917),
        ("B200", 8192, 3996, 8184),
        ("L40S", 384, 9001, 864),
        ("RTX 4090", 384, 10501, 1008),
        ("RTX A6000", 384, 8001, 768),
        ("L4", 192, 6251, 300),
        ("RTX PRO 6000", 512, 14001, 1792),
    ],
)
def test_memory_peak_is_bus_width_times_clock(
    card: str, bus_width_bits: int, memory_max_mhz: int, gb_per_second: float
) -> None:
    assert memory_peak(bus_width_bits, memory_max_mhz) == pytest.approx(gb_per_second, abs=0.6), card


@pytest.mark.parametrize(
    ("card", "capability", "name", "multiprocessors", "mhz", "dtype", "tflops"),
    [
        ("T4", "7.5", "Tesla T4", 40, 1590, "fp16", 65),
        ("V100", "7.0", "Tesla V100-SXM2-16GB", 80, 1530, "fp16", 125),
        ("A100", "8.0", "NVIDIA A100-SXM4-80GB", 108, 1410, "bf16", 312),
        ("A100", "8.0", "NVIDIA A100-SXM4-80GB", 108, 1410, "tf32", 156),
        ("A6000", "8.6", "NVIDIA RTX A6000", 84, 1800, "bf16", 155),
        ("RTX 4090", "8.9", "NVIDIA GeForce RTX 4090", 128, 2520, "fp16", 165),
        ("RTX 4090", "8.9", "NVIDIA GeForce RTX 4090", 128, 2520, "fp8", 330),
        ("L40S", "8.9", "NVIDIA L40S", 142, 2520, "bf16", 366),
        ("L4", "8.9", "NVIDIA L4", 58, 2040, "bf16", 121),
        ("H100 at the clock of its data sheet", "9.0", "NVIDIA H100 80GB HBM3", 132, 1830, "bf16", 989),
        ("H100 at its highest clock", "9.0", "NVIDIA H100 80GB HBM3", 132, 1980, "bf16", 1070),
        ("H100 at its highest clock", "9.0", "NVIDIA H100 80GB HBM3", 132, 1980, "fp8", 2141),
        ("B200 at the clock of its data sheet", "10.0", "NVIDIA B200", 148, 1850, "bf16", 2243),
        ("RTX PRO 6000", "12.0", "NVIDIA RTX PRO 6000 Blackwell", 188, 2617, "bf16", 504),
        ("RTX 5090", "12.0", "NVIDIA GeForce RTX 5090", 170, 2407, "bf16", 210),
    ],
)
def test_tensor_peak_is_multiprocessors_times_rate_times_clock(
    card: str, capability: str, name: str, multiprocessors: int, mhz: int, dtype: str, tflops: float
) -> None:
    assert tensor_peak(capability, name, multiprocessors, mhz, dtype) == pytest.approx(tflops, rel=0.005), card


@pytest.mark.parametrize(
    ("capability", "multiprocessors", "mhz", "dtype"),
    [
        ("7.5", 40, 1590, "bf16"),
        ("7.5", 40, 1590, "tf32"),
        ("8.0", 108, 1410, "fp8"),
        ("8.6", 84, 1800, "fp8"),
        ("99.0", 100, 2000, "bf16"),
        (None, 100, 2000, "bf16"),
        ("9.0", None, 1980, "bf16"),
        ("9.0", 132, None, "bf16"),
    ],
)
def test_what_a_card_does_not_have_or_tell_has_no_peak(
    capability: str | None, multiprocessors: int | None, mhz: int | None, dtype: str
) -> None:
    assert tensor_peak(capability, "a card", multiprocessors, mhz, dtype) is None


@pytest.mark.parametrize(
    ("generation", "width", "gb_per_second"),
    [(3, 16, 15.76), (4, 16, 31.5), (4, 8, 15.75), (5, 16, 63.0), (1, 16, 4.0), (None, 16, None), (5, None, None)],
)
def test_pcie_peak_is_lanes_times_rate(generation: int | None, width: int | None, gb_per_second: float | None) -> None:
    assert pcie_peak(generation, width) == (gb_per_second and pytest.approx(gb_per_second, rel=0.005))


def test_peaks_come_from_a_gpu_of_the_snapshot() -> None:
    known = peaks(gpu(0), multiprocessors=132)
    assert known["memory_gb_per_second"] == 3352.3
    assert known["pcie_gb_per_second"] == 63.0
    assert known["tensor_tflops"] == {"bf16": 1070.5, "fp16": 1070.5, "tf32": 535.3, "fp8": 2141.1}


def test_a_card_that_tells_nothing_has_no_peaks() -> None:
    silent: dict[str, Any] = {
        "memory__bus_width_bits": None,
        "clocks__sm_max_mhz": None,
        "pci__generation_max": None,
    }
    known = peaks(gpu(0, **silent), multiprocessors=None)
    assert known["memory_gb_per_second"] is None and known["pcie_gb_per_second"] is None
    assert set(known["tensor_tflops"].values()) == {None}


@pytest.mark.parametrize(
    ("measure", "dtype", "peak"),
    [
        ("memory_bandwidth", None, 3352.3),
        ("gemm", "fp8", 2141.1),
        ("host_to_device", None, 63.0),
        ("device_to_host", None, 63.0),
        ("peer", None, None),
        ("all_reduce", None, None),
    ],
)
def test_each_measure_is_held_against_its_own_peak(measure: str, dtype: str | None, peak: float | None) -> None:
    assert peak_of(peaks(gpu(0), 132), measure, dtype) == peak
