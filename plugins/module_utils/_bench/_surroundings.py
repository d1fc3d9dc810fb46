# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Eyes on the host that a benchmark runs on: metrics of the engine, memory of the service, GPUs, restarts."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._job import Surroundings
from ansible_collections.local_llm.ops.plugins.module_utils._bench._server_counters import GAUGES, read_metrics
from ansible_collections.local_llm.ops.plugins.module_utils._bench._telemetry import (
    MIN_GPU_INTERVAL_SECONDS,
    NVIDIA_DRIVER,
    Read,
    gpu_sample,
    interval_for,
    service_memory,
)
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint, parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_child
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Run as RunCommand
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Systemd

GPU_DEADLINE_SECONDS = 15.0


def engine_endpoint(params: Mapping[str, Any], endpoint: Endpoint) -> Endpoint:
    """Return where the engine's own pages are: engine_url, else the address of the load."""
    if not params.get("engine_url"):
        return endpoint
    return parse_endpoint(params["engine_url"], params["api_key"], params["validate_certs"], params["ca_path"])


def surroundings(
    params: Mapping[str, Any], endpoint: Endpoint, run_command: RunCommand, expected_seconds: float
) -> Surroundings:
    """Return what can be watched here. An instance that is not on this host is simply not watched."""
    every = interval_for(expected_seconds)
    readers: dict[str, tuple[float, Read]] = {}
    read: Read | None = None
    if params.get("engine"):
        engine, pages = str(params["engine"]), engine_endpoint(params, endpoint)

        def read_now() -> dict[str, Any] | None:
            return read_metrics(engine, pages)

        def read_gauges() -> dict[str, Any] | None:
            found = read_now()
            return {name: found[name] for name in GAUGES} if found else None

        read = read_now
        readers["server"] = (max(every, 5.0), read_gauges)
    mark: Callable[[], str] | None = None
    unit = unit_of(params.get("instance"), run_command)
    if unit:
        group, instance = unit["ControlGroup"], str(params["instance"])
        readers["memory"] = (every, lambda: service_memory(group))
        mark = functools.partial(unit_mark, instance, run_command)
    if params.get("gpu_telemetry") and os.path.isdir(NVIDIA_DRIVER):
        ask = _nvml_child.Ask(deadline_seconds=GPU_DEADLINE_SECONDS, topology=False)
        readers["gpu"] = (max(every, MIN_GPU_INTERVAL_SECONDS), lambda: gpu_sample(_nvml_child.probe(ask)))
    return Surroundings(read, readers, mark)


def unit_of(instance: Any, run_command: RunCommand) -> dict[str, str] | None:
    """Return what systemd says of an instance that runs on this host; None when there is none."""
    if not instance:
        return None
    try:
        shown = Systemd(run_command).show(str(instance))
    except (ReleaseError, OSError):
        return None
    return shown if shown.get("ControlGroup") and shown.get("ActiveState") == "active" else None


def unit_mark(instance: str, run_command: RunCommand) -> str:
    """Return what changes with every start of the service."""
    shown = unit_of(instance, run_command) or {}
    return f"{shown.get('InvocationID', '')}/{shown.get('NRestarts', '')}"
