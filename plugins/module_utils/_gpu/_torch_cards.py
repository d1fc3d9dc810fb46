# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The cards as the measuring program sees them: torch's devices and their timing, and a watch over clocks and links.

_benchmark_run.py writes this file and then _torch_bench.py to an interpreter's standard input, as one program: the
standard library and torch, nothing of the collection.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

MIB = 1024**2
# What the maths libraries of torch may take besides our own buffers.
WORKSPACE_BYTES = 256 * MIB
WATCH_SECONDS = 0.1
# Everything that torch is known to raise when a card, a driver or a build of torch cannot do a thing.
TROUBLE = (RuntimeError, AttributeError, TypeError, ValueError, OSError, ImportError, MemoryError)
# nvidia-smi's words for what the NVML functions tell, new names first.
SMI_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
SMI_FIELDS = "uuid,clocks.sm,clocks.mem,power.draw,temperature.gpu,pcie.link.gen.current,pcie.link.width.current"
SAMPLE_KEYS = ("sm_mhz", "memory_mhz", "power_watts", "temperature_celsius", "pcie_generation", "pcie_width", "reasons")


class Cuda:
    """The GPUs through torch, timed with CUDA events."""

    timer = "cuda_events"

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def place(self, position: int) -> Any:
        """Return torch's device."""
        return self.torch.device("cuda", position)

    def card(self, position: int) -> dict[str, Any]:
        """Return what torch knows of a card."""
        known = self.torch.cuda.get_device_properties(position)
        uuid = getattr(known, "uuid", None)
        return {
            "name": known.name,
            "uuid": None if uuid is None else str(uuid),
            "capability": [known.major, known.minor],
            "multiprocessors": known.multi_processor_count,
            "l2_bytes": getattr(known, "L2_cache_size", None),
            "total_bytes": known.total_memory,
        }

    def limit(self, position: int, max_bytes: int) -> None:
        """Let torch itself refuse to take more memory than allowed."""
        total = self.torch.cuda.get_device_properties(position).total_memory
        self.torch.cuda.set_per_process_memory_fraction(min(1.0, (max_bytes + WORKSPACE_BYTES) / total), position)

    def seconds(self, work: Callable[[], Any], count: int, positions: list[int]) -> float:
        """Return how long the work takes, count times over, on the card that takes longest."""
        cuda = self.torch.cuda
        events = [(cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)) for _position in positions]
        for position, (begin, _end) in zip(positions, events):
            with cuda.device(position):
                begin.record()
        with cuda.device(positions[0]):
            for _turn in range(count):
                work()
        for position, (_begin, end) in zip(positions, events):
            with cuda.device(position):
                end.record()
        for _begin, end in events:
            end.synchronize()
        return float(max(begin.elapsed_time(end) for begin, end in events)) / 1000

    def fresh(self, positions: list[int]) -> None:
        """Give all memory back and begin to count anew."""
        self.torch.cuda.empty_cache()
        for position in positions:
            self.torch.cuda.reset_peak_memory_stats(position)

    def peak_bytes(self, positions: list[int]) -> int | None:
        """Return the most memory that torch held on one of the cards since then."""
        return max(int(self.torch.cuda.max_memory_reserved(position)) for position in positions)


class Cpu:
    """The processor in the place of a GPU: for tests of this program with a real torch. No module option leads here."""

    timer = "perf_counter"

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def place(self, position: int) -> Any:
        """Return torch's device."""
        return self.torch.device("cpu")

    def card(self, position: int) -> dict[str, Any]:
        """Return a card that stands for the processor."""
        return {
            "name": "cpu",
            "uuid": None,
            "capability": [0, 0],
            "multiprocessors": None,
            "l2_bytes": None,
            "total_bytes": None,
        }

    def limit(self, position: int, max_bytes: int) -> None:
        """Nothing to set: the sizes of the buffers are the limit."""

    def seconds(self, work: Callable[[], Any], count: int, positions: list[int]) -> float:
        """Return how long the work takes, count times over."""
        begin = time.perf_counter()
        for _turn in range(count):
            work()
        return time.perf_counter() - begin

    def fresh(self, positions: list[int]) -> None:
        """Nothing to give back."""

    def peak_bytes(self, positions: list[int]) -> int | None:
        """Return nothing: nobody counts."""
        return None


class Watch:
    """Looks at clocks, power, heat and the PCIe link of cards while they work."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.uuids = [gpu["uuid"] for gpu in request["gpus"]]
        self.nvml, self.why = _load_pynvml(request.get("pynvml_file"))
        self.smi = None if self.nvml else shutil.which("nvidia-smi")
        self.smi_reasons = SMI_REASONS[0]
        if request["device"] == "cpu":
            self.nvml, self.smi, self.why = None, None, "a processor has none of this"
        self.source = "pynvml" if self.nvml else "nvidia-smi" if self.smi else "none"

    @contextlib.contextmanager
    def over(self, positions: list[int]) -> Iterator[list[dict[str, Any]]]:
        """Take samples of these cards until the block ends."""
        samples: list[dict[str, Any]] = []
        ended = threading.Event()

        def look() -> None:
            while not ended.is_set():
                for position in positions:
                    sample = self._sample(position)
                    if sample and not ended.is_set():  # the work may have ended while it was taken
                        samples.append({"gpu": position, **sample})
                ended.wait(WATCH_SECONDS)

        thread = threading.Thread(target=look, daemon=True)
        if self.source != "none":
            thread.start()
        try:
            yield samples
        finally:
            ended.set()
            if self.source != "none":
                thread.join(2.0)  # a driver that hangs must not hold the result back

    def _sample(self, position: int) -> dict[str, Any] | None:
        return self._ask_nvml(self.uuids[position]) if self.nvml else self._ask_smi(self.uuids[position])

    def _ask_nvml(self, uuid: str) -> dict[str, Any] | None:
        nvml = self.nvml

        def read(*names: str, arguments: tuple[int, ...] = (), divisor: float = 0) -> Any:
            for name in names:
                try:
                    value = getattr(nvml, name)(handle, *arguments)
                except (nvml.NVMLError, AttributeError):
                    continue
                return value / divisor if divisor else int(value)
            return None

        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        except (nvml.NVMLError, TypeError, ctypes.ArgumentError) as error:
            self.why = f"{type(error).__name__}: {error}"
            return None
        return {
            "sm_mhz": read("nvmlDeviceGetClockInfo", arguments=(1,)),
            "memory_mhz": read("nvmlDeviceGetClockInfo", arguments=(2,)),
            "power_watts": read("nvmlDeviceGetPowerUsage", divisor=1000),
            "temperature_celsius": read("nvmlDeviceGetTemperature", arguments=(0,)),
            "pcie_generation": read("nvmlDeviceGetCurrPcieLinkGeneration"),
            "pcie_width": read("nvmlDeviceGetCurrPcieLinkWidth"),
            "reasons": read("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
        }

    def _ask_smi(self, uuid: str) -> dict[str, Any] | None:
        for reasons in (self.smi_reasons, *SMI_REASONS[1:], ""):
            fields = f"{SMI_FIELDS},{reasons}" if reasons else SMI_FIELDS
            command = [str(self.smi), f"--query-gpu={fields}", "--format=csv,noheader,nounits", "-i", uuid]
            try:
                answer = subprocess.run(command, capture_output=True, timeout=10, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                self.why = f"{type(error).__name__}: {error}"
                return None
            if answer.returncode == 0:
                self.smi_reasons = reasons
                words = [word.strip() for word in answer.stdout.decode(errors="replace").split(",")][1:]
                return {key: _number(word) for key, word in zip(SAMPLE_KEYS, [*words, ""])}
            self.why = (answer.stderr or answer.stdout).decode(errors="replace").strip()[:200]
        return None


def _number(word: str) -> float | int | None:
    try:
        return int(word, 16) if word.startswith("0x") else float(word) if "." in word else int(word)
    except ValueError:
        return None


def _load_pynvml(path: str | None) -> tuple[Any, str | None]:
    """Return (pynvml, initialised, or None; why it is None). path: where it lies when this interpreter has none."""
    nvml: Any = None
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError as error:
        why = str(error)
        spec = importlib.util.spec_from_file_location("pynvml", path) if path else None
        if spec is not None and spec.loader is not None:
            nvml = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(nvml)
            except TROUBLE as problem:
                nvml, why = None, str(problem)
        if nvml is None:
            return None, why
    try:
        nvml.nvmlInit()
    except (nvml.NVMLError, AttributeError) as error:
        return None, str(error)
    return nvml, None
