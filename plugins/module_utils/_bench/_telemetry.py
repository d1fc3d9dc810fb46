# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Watch the host beside a run: memory of the service, GPUs, gauges of the server. Sampled by one thread, seldom."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._slope import fit_line

CGROUP_ROOT = "/sys/fs/cgroup"
NVIDIA_DRIVER = "/proc/driver/nvidia"
MIN_INTERVAL_SECONDS = 1.0
# About so many samples in a run, however long it is.
WANTED_SAMPLES = 240
# Asking the GPUs starts a process, so it is done more seldom.
MIN_GPU_INTERVAL_SECONDS = 10.0
_HOUR = 3600.0

Read = Callable[[], "dict[str, Any] | None"]


class Sampler:
    """Calls each reader now and then until it is ended. A reader that raises OSError or ValueError gives no sample."""

    def __init__(self, readers: Mapping[str, tuple[float, Read]], clock: Callable[[], float] = time.monotonic) -> None:
        self._readers, self._clock = dict(readers), clock
        self._end = threading.Event()
        self._began = clock()
        self.samples: dict[str, list[dict[str, Any]]] = {name: [] for name in readers}
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Sampler:
        self._began = self._clock()
        if self._readers:
            self._thread.start()
        return self

    def __exit__(self, *_ignored: object) -> None:
        self._end.set()
        if self._readers:
            self._thread.join(timeout=30)

    def look(self, name: str) -> None:
        """Take one sample now."""
        found = None
        with contextlib.suppress(OSError, ValueError):
            found = self._readers[name][1]()
        if found is not None:
            self.samples[name].append({"at_seconds": round(self._clock() - self._began, 3), **found})

    def _work(self) -> None:
        due = dict.fromkeys(self._readers, 0.0)
        while True:
            now = self._clock() - self._began
            for name, (interval, _read) in self._readers.items():
                if now >= due[name]:
                    due[name] = now + interval
                    self.look(name)
            wait = min(due.values()) - (self._clock() - self._began)
            if self._end.wait(max(0.05, wait)):
                break
        for name in self._readers:
            self.look(name)


def interval_for(expected_seconds: float, least: float = MIN_INTERVAL_SECONDS) -> float:
    """Return how often to sample a run of this length."""
    return max(least, expected_seconds / WANTED_SAMPLES)


def cgroup_memory(control_group: str, root: str = CGROUP_ROOT) -> dict[str, Any] | None:
    """Return the memory of a service: `anonymous_bytes`, its own, and `current_bytes`, with the file cache it fills."""
    directory = os.path.join(root, control_group.lstrip("/"))
    with open(os.path.join(directory, "memory.current"), encoding="ascii") as stream:
        current = int(stream.read())
    with open(os.path.join(directory, "memory.stat"), encoding="ascii") as stream:
        values = dict(line.split() for line in stream if len(line.split()) == 2)
    return {"anonymous_bytes": int(values["anon"]) if "anon" in values else None, "current_bytes": current}


def process_memory(pids: Sequence[int], proc: str = "/proc") -> dict[str, Any] | None:
    """Return the anonymous resident memory of some processes, for a host whose cgroups do not count memory."""
    total = 0
    for pid in pids:
        # one that has ended meanwhile, or is of another world, has none
        with (
            contextlib.suppress(OSError),
            open(os.path.join(proc, str(pid), "status"), encoding="ascii", errors="replace") as stream,
        ):
            total += sum(int(line.split()[1]) * 1024 for line in stream if line.startswith("RssAnon:"))
    return {"anonymous_bytes": total, "current_bytes": None} if total else None


def service_memory(control_group: str, root: str = CGROUP_ROOT, proc: str = "/proc") -> dict[str, Any] | None:
    """Return the memory of a service, by its cgroup or, where that counts none, by its processes.

    With the older hierarchies of cgroups systemd keeps its own one below the others.
    """
    try:
        return cgroup_memory(control_group, root)
    except (OSError, ValueError):
        for place in ("", "unified", "systemd"):
            with contextlib.suppress(OSError, ValueError):
                path = os.path.join(root, place, control_group.lstrip("/"), "cgroup.procs")
                with open(path, encoding="ascii") as stream:
                    found = process_memory([int(line) for line in stream], proc)
                if found:
                    return found
    return None


def memory_slope(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return how fast the service's own memory grew: a straight line by least squares, and its 95 % interval."""
    points = [(sample["at_seconds"], sample["anonymous_bytes"]) for sample in samples if sample.get("anonymous_bytes")]
    if not points:
        return None
    values = [value for _at, value in points]
    line = fit_line([at for at, _value in points], values)
    return {
        "bytes_per_hour": round(line.slope * _HOUR) if line else None,
        "interval": [round(line.low * _HOUR), round(line.high * _HOUR)] if line else None,
        "grows": line.grows if line else None,
        "samples": len(points),
        "seconds": round(points[-1][0] - points[0][0], 3),
        "first_bytes": values[0],
        "last_bytes": values[-1],
        "largest_bytes": max(values),
    }


def gpu_sample(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return of an answer of the NVML probe what matters beside a load; None without GPUs."""
    gpus = [
        {
            "index": gpu.get("index"),
            "power_watts": (gpu.get("power") or {}).get("usage_watts"),
            "energy_joules": (gpu.get("power") or {}).get("energy_joules"),
            "temperature_celsius": (gpu.get("temperature") or {}).get("gpu_celsius"),
            "sm_mhz": (gpu.get("clocks") or {}).get("sm_mhz"),
            "gpu_percent": (gpu.get("utilization") or {}).get("gpu_percent"),
            "memory_used_bytes": (gpu.get("memory") or {}).get("used_bytes"),
        }
        for gpu in answer.get("gpus") or []
    ]
    return {"gpus": gpus} if gpus else None


def gpu_summary(samples: Sequence[Mapping[str, Any]], output_tokens: int) -> list[dict[str, Any]] | None:
    """Return one line per GPU: mean power, highest temperature and memory, lowest clock, energy of the run."""
    if not samples:
        return None
    found = []
    for place, first in enumerate(samples[0]["gpus"]):
        rows = [sample["gpus"][place] for sample in samples if place < len(sample["gpus"])]

        def values(name: str, rows: list[dict[str, Any]] = rows) -> list[float]:
            return [row[name] for row in rows if row[name] is not None]

        energy = values("energy_joules")
        joules = round(energy[-1] - energy[0], 3) if len(energy) > 1 else None
        found.append(
            {
                "index": first["index"],
                "samples": len(rows),
                "power_mean_watts": _mean(values("power_watts")),
                "temperature_max_celsius": max(values("temperature_celsius"), default=None),
                "gpu_mean_percent": _mean(values("gpu_percent")),
                "sm_min_mhz": min(values("sm_mhz"), default=None),
                "memory_used_max_bytes": max(values("memory_used_bytes"), default=None),
                "energy_joules": joules,
                "joules_per_output_token": round(joules / output_tokens, 4) if joules and output_tokens else None,
            }
        )
    return found


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None
