# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a card can do at most, worked out from what NVML and torch say of it. Pure functions, no table of products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Multiply-adds per clock and multiprocessor of the tensor cores, dense, products of 16 bits summed in 32 bits, which is
# how torch multiplies. By compute capability. Sources: NVIDIA's architecture papers for each generation, and the
# figures of the data sheets worked back: T4 65, V100 125, A100 312, A6000 155, L40S 362, H100 989 (at 1830 MHz),
# B200 2250 (at 1850 MHz), RTX PRO 6000 504 TFLOP/s.
MULTIPLY_ADDS = {
    "7.0": 512,
    "7.5": 512,
    "8.0": 1024,
    "8.6": 512,
    "8.9": 512,
    "9.0": 2048,
    "10.0": 4096,
    "10.3": 4096,
    "12.0": 512,
}
# GeForce cards of these sum in 32 bits at half the rate (RTX 4090: 330 in 16 bits, 165 in 32).
HALVED_ON_GEFORCE = ("7.5", "8.6", "8.9", "12.0")
# Share of the 16-bit rate, and the first compute capability that has the type.
DTYPE_RATES: dict[str, tuple[float, tuple[int, int]]] = {
    "bf16": (1.0, (8, 0)),
    "fp16": (1.0, (7, 0)),
    "tf32": (0.5, (8, 0)),
    "fp8": (2.0, (8, 9)),
}
# GB/s of one lane in one direction, after line coding.
LANE_GB_PER_SECOND = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}


def memory_peak(bus_width_bits: int | None, memory_max_mhz: int | None) -> float | None:
    """Return GB/s of the memory: bus width x clock x 2 (both edges) / 8; None when the driver tells neither."""
    if not bus_width_bits or not memory_max_mhz:
        return None
    return bus_width_bits * memory_max_mhz * 2 / 8 / 1000


def tensor_peak(
    capability: str | None, name: str | None, multiprocessors: int | None, sm_max_mhz: int | None, dtype: str
) -> float | None:
    """Return dense TFLOP/s of the tensor cores at the card's highest clock; None for what is not known or not there.

    Data sheets take a lower clock than the highest one: H100 989 there, 1070 here.
    """
    rate = MULTIPLY_ADDS.get(capability or "")
    if rate is None or not multiprocessors or not sm_max_mhz:
        return None
    share, first = DTYPE_RATES[dtype]
    major, _dot, minor = str(capability).partition(".")
    if (int(major), int(minor)) < first:
        return None
    if capability in HALVED_ON_GEFORCE and "geforce" in (name or "").lower():
        share /= 2
    return multiprocessors * rate * share * 2 * sm_max_mhz / 1e6


def pcie_peak(generation: int | None, width: int | None) -> float | None:
    """Return GB/s of a PCIe link in one direction."""
    lane = LANE_GB_PER_SECOND.get(generation or 0)
    return lane * width if lane and width else None


def peaks(gpu: Mapping[str, Any], multiprocessors: int | None) -> dict[str, Any]:
    """Return {"memory_gb_per_second", "pcie_gb_per_second", "tensor_tflops": {dtype: ...}} of a GPU of the snapshot."""
    clocks, pci = gpu["clocks"], gpu["pci"]
    return {
        "memory_gb_per_second": _rounded(memory_peak(gpu["memory"]["bus_width_bits"], clocks["memory_max_mhz"])),
        "pcie_gb_per_second": _rounded(pcie_peak(pci["generation_max"], pci["width_max"])),
        "tensor_tflops": {
            dtype: _rounded(
                tensor_peak(gpu["compute_capability"], gpu["name"], multiprocessors, clocks["sm_max_mhz"], dtype)
            )
            for dtype in DTYPE_RATES
        },
    }


def peak_of(known: Mapping[str, Any], measure: str, dtype: str | None) -> float | None:
    """Return the peak that a figure is held against; None where there is none to work out (peers, all-reduce)."""
    if measure == "memory_bandwidth":
        return known["memory_gb_per_second"]
    if measure == "gemm":
        return known["tensor_tflops"].get(dtype)
    if measure in ("host_to_device", "device_to_host"):
        return known["pcie_gb_per_second"]
    return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
