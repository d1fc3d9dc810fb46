# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FAKE. Stands for torch with CUDA in tests of gpu_benchmark: a virtual clock and counted memory, no arithmetic.

What it does is set by the environment variable FAKE_TORCH; see README.md beside this folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any

SCENARIO: dict[str, Any] = {
    "memory_gb_per_second": 3000.0,
    "pcie_gb_per_second": 50.0,
    "peer_gb_per_second": 350.0,
    "all_reduce_gb_per_second": 450.0,
    "tflops": {"bfloat16": 700.0, "float16": 680.0, "float32": 380.0, "float8_e4m3fn": 1250.0},
    "slow": {},
    "capability": [9, 0],
    "multiprocessors": 132,
    "l2_bytes": 50 * 1024**2,
    "total_bytes": 80 * 1024**3,
    "uuids": None,
    "without": [],
    "init_error": None,
    "errors": {},
    "hang": None,
    "die": None,
    "peer": True,
    "wrong_sum": False,
    **json.loads(os.environ.get("FAKE_TORCH", "{}")),
}
__version__ = "2.99.0+fake"
version = SimpleNamespace(cuda=None if "cuda" in SCENARIO["without"] else "13.0")
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float8_e4m3fn": 1}
bfloat16, float16, float32 = "bfloat16", "float16", "float32"
if "float8_e4m3fn" not in SCENARIO["without"]:
    float8_e4m3fn = "float8_e4m3fn"

VISIBLE = [word for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word]
CLOCK = [0.0] * max(1, len(VISIBLE))
USED, PEAK, LIMIT = [0] * len(CLOCK), [0] * len(CLOCK), [float("inf")] * len(CLOCK)
CURRENT = [0]

# torch and NCCL may print; the bench must not mind.
print("this is a fake torch", file=sys.stdout, flush=True)


class OutOfMemoryError(RuntimeError):
    """As torch raises it."""


class Device:
    """A card, or the host."""

    def __init__(self, kind: str, index: int = 0) -> None:
        self.kind, self.index = kind, index


def device(kind: str, index: int = 0) -> Device:
    """Return a device."""
    return Device(kind, index)


def misbehave(name: str) -> None:
    """Fail, hang or die when the scenario says so."""
    if name in SCENARIO["errors"]:
        raise RuntimeError(SCENARIO["errors"][name])
    if SCENARIO["die"] == name:
        os.kill(os.getpid(), signal.SIGKILL)
    while SCENARIO["hang"] == name:
        time.sleep(60)


def spend(index: int, work: float, rate: float) -> None:
    """Move the clock of a card."""
    CLOCK[index] += work / rate / SCENARIO["slow"].get(str(index), 1.0)


class Tensor:
    """A number of bytes somewhere, and one value for all of its elements."""

    def __init__(self, shape: tuple[int, ...], dtype: str, place: Device | None, value: float) -> None:
        count = 1
        for size in shape:
            count *= size
        self.shape, self.dtype, self.place, self.value = shape, dtype, place, value
        self.size = count * BYTES[dtype]
        self.counted = False
        if place is not None:
            USED[place.index] += self.size
            self.counted = True
            if USED[place.index] > LIMIT[place.index]:
                raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {self.size} bytes.")
            PEAK[place.index] = max(PEAK[place.index], USED[place.index])

    def __del__(self) -> None:
        if self.counted and self.place is not None:
            USED[self.place.index] -= self.size

    def __getitem__(self, place: int) -> Tensor:
        return Tensor((1,), self.dtype, None, self.value)

    def item(self) -> float:
        """Return the value."""
        return self.value

    def to(self, dtype: str) -> Tensor:
        """Return a tensor of another type."""
        return Tensor(self.shape, dtype, self.place, self.value)

    def t(self) -> Tensor:
        """Return the same tensor."""
        return self

    def zero_(self) -> None:
        """Make all elements zero."""
        self.value = 0.0

    def copy_(self, source: Tensor, non_blocking: bool = False) -> None:
        """Copy, within a card, between cards, or from and to the host."""
        misbehave("copy")
        self.value = source.value
        places = [tensor.place.index for tensor in (self, source) if tensor.place is not None]
        if len(places) == 1:
            spend(places[0], self.size / 1e9, SCENARIO["pcie_gb_per_second"])
        elif places[0] == places[1]:
            spend(places[0], 2 * self.size / 1e9, SCENARIO["memory_gb_per_second"])
        else:
            for place in places:
                spend(place, self.size / 1e9, SCENARIO["peer_gb_per_second"])


def ones(count: int, dtype: str, device: Device | None = None, pin_memory: bool = False) -> Tensor:
    """Return a tensor; without a device it lies on the host."""
    return Tensor((count,) if isinstance(count, int) else count, dtype, device, 1.0)


def randn(rows: int, columns: int, dtype: str, device: Device) -> Tensor:
    """Return a matrix."""
    return Tensor((rows, columns), dtype, device, 1.0)


empty = randn


def manual_seed(seed: int) -> None:
    """Nothing is random here."""


def set_float32_matmul_precision(precision: str) -> None:
    """Nothing is calculated here."""


def mm(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Spend the time of a product."""
    misbehave("mm")
    _product(left, left.dtype)


def _scaled_mm(left: Tensor, right: Tensor, scale_a: Tensor, scale_b: Tensor, out_dtype: str, **more: Any) -> Tensor:
    misbehave("_scaled_mm")
    _product(left, left.dtype)
    return Tensor(left.shape, out_dtype, left.place, 1.0)


if "_scaled_mm" in SCENARIO["without"]:
    del _scaled_mm


def _product(left: Tensor, dtype: str) -> None:
    rows, columns = left.shape
    index = left.place.index if left.place else 0
    spend(index, 2 * rows * columns * columns / 1e12, SCENARIO["tflops"][dtype])


class Event:
    """A moment on the clock of the current card."""

    def __init__(self, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self) -> None:
        """Take the time."""
        self.at = CLOCK[CURRENT[0]]

    def synchronize(self) -> None:
        """Give the card a moment of real time, so that a watch sees something."""
        time.sleep(0.0002)

    def elapsed_time(self, end: Event) -> float:
        """Return milliseconds."""
        return (end.at - self.at) * 1000


class CurrentDevice:
    """with torch.cuda.device(1): ..."""

    def __init__(self, index: int) -> None:
        self.index, self.before = index, 0

    def __enter__(self) -> None:
        self.before, CURRENT[0] = CURRENT[0], self.index

    def __exit__(self, *error: object) -> None:
        CURRENT[0] = self.before


def _init() -> None:
    if SCENARIO["init_error"]:
        raise RuntimeError(SCENARIO["init_error"])


def _properties(index: int) -> SimpleNamespace:
    uuids = SCENARIO["uuids"] or [word.removeprefix("GPU-") for word in VISIBLE]
    return SimpleNamespace(
        name="a fake card",
        uuid=uuids[index],
        major=SCENARIO["capability"][0],
        minor=SCENARIO["capability"][1],
        multi_processor_count=SCENARIO["multiprocessors"],
        L2_cache_size=SCENARIO["l2_bytes"],
        total_memory=SCENARIO["total_bytes"],
    )


def _set_fraction(fraction: float, index: int) -> None:
    LIMIT[index] = fraction * SCENARIO["total_bytes"]


def _reset_peak(index: int) -> None:
    PEAK[index] = USED[index]


def _all_reduce(tensors: list[Tensor]) -> None:
    misbehave("all_reduce")
    total = sum(tensor.value for tensor in tensors) + SCENARIO["wrong_sum"]
    for tensor in tensors:
        tensor.value = total
        share = 2 * (len(tensors) - 1) / len(tensors)
        spend(
            tensor.place.index if tensor.place else 0, tensor.size * share / 1e9, SCENARIO["all_reduce_gb_per_second"]
        )


cuda = SimpleNamespace(
    init=_init,
    device_count=lambda: len(VISIBLE),
    get_device_properties=_properties,
    set_per_process_memory_fraction=_set_fraction,
    Event=Event,
    device=CurrentDevice,
    empty_cache=lambda: None,
    reset_peak_memory_stats=_reset_peak,
    max_memory_reserved=lambda index: PEAK[index],
    can_device_access_peer=lambda first, second: SCENARIO["peer"],
    nccl=SimpleNamespace(
        is_available=lambda tensors: "nccl" not in SCENARIO["without"],
        all_reduce=_all_reduce,
        version=lambda: (2, 99, 0),
    ),
)
