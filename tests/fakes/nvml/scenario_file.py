# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenario of the fake libnvidia-ml as keys and values: read, write, look up, change. The format is in README.md."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

Scenario = dict[str, str]
DEFAULT_PATH = Path("/etc/fake-nvml/scenario")


def parse(text: str) -> Scenario:
    """Return the keys and values of a scenario file."""
    scenario: Scenario = {}
    for line in text.splitlines():
        key, _blank, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            scenario[key] = value.strip()
    return scenario


def read(path: Path = DEFAULT_PATH) -> Scenario:
    """Return the scenario in a file."""
    return parse(Path(path).read_text(encoding="utf-8"))


def render(scenario: Scenario) -> str:
    """Return the text of a scenario file."""
    return "# fake libnvidia-ml: what it answers\n" + "".join(f"{key} {value}\n" for key, value in scenario.items())


def write(scenario: Scenario, path: Path = DEFAULT_PATH) -> None:
    """Write a scenario file atomically, so that a library that reads it never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    number, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with open(number, "w", encoding="utf-8") as handle:
        handle.write(render(scenario))
    os.chmod(scratch, 0o644)
    os.replace(scratch, path)


def changed(scenario: Scenario, **changes: object) -> Scenario:
    """Return a copy with host or driver values set; a double underscore stands for a dot, None removes the key."""
    result = dict(scenario)
    for name, value in changes.items():
        result.pop(name.replace("__", "."), None)
        if value is not None:
            result[name.replace("__", ".")] = str(value)
    return result


def gpu_change(scenario: Scenario, gpu: int | None, values: Mapping[str, object]) -> Scenario:
    """Return a copy with values set for one GPU (None: for all). A value None removes what that GPU alone has."""
    if gpu is not None and not 0 <= gpu < gpu_count(scenario):
        raise ValueError(f"There is no GPU {gpu}: the scenario has {gpu_count(scenario)}.")
    result = dict(scenario)
    for key, value in values.items():
        if gpu is None:  # what single GPUs say would win
            for index in range(gpu_count(scenario)):
                result.pop(f"gpu.{index}.{key}", None)
        name = f"gpu.{'*' if gpu is None else gpu}.{key}"
        if value is not None:
            result[name] = str(value)
        else:
            result.pop(name, None)
    return result


def gpu_value(scenario: Scenario, gpu: int, key: str) -> str | None:
    """Return what a GPU answers, as the library looks it up; None: not supported."""
    value = scenario.get(f"gpu.{gpu}.{key}", scenario.get(f"gpu.*.{key}"))
    return None if value == "-" else value


def gpu_count(scenario: Scenario) -> int:
    """Return how many GPUs NVML counts."""
    return int(scenario.get("count", "0"))


def log(scenario: Scenario, *messages: str) -> Scenario:
    """Return a copy whose kernel log has these messages at its end."""
    result = dict(scenario)
    number = sum(key.startswith("host.log.") for key in result)
    for offset, message in enumerate(messages):
        result[f"host.log.{number + offset}"] = message
    return result


def log_messages(scenario: Scenario) -> list[str]:
    """Return the messages of the kernel log, oldest first."""
    keys = [key for key in scenario if key.startswith("host.log.")]
    return [scenario[key] for key in sorted(keys, key=lambda key: int(key.rsplit(".", 1)[1]))]


def gpu_address(scenario: Scenario, gpu: int) -> str:
    """Return the PCI address of a GPU, such as 0000:18:00.0."""
    return gpu_value(scenario, gpu, "pci.address") or ""


def processes(scenario: Scenario, gpu: int) -> list[tuple[str, int]]:
    """Return (kind, pid) of the processes that NVML lists for a GPU."""
    found: list[tuple[str, int]] = []
    while (line := gpu_value(scenario, gpu, f"process.{len(found)}")) is not None:
        kind, pid, _used = line.split()
        found.append((kind, int(pid)))
    return found
