# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Metrics of Ollama, which has none of its own: what its pages say, as series for node_exporter's textfile collector.

No prompt and no answer is ever read: the optional probe asks for one token after one fixed word and drops it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.module_utils._textfile import Family

FILE_NAME = "local_llm_ollama.prom"
PROBE_PATH = "/v1/chat/completions"
# (path, JSON body or None) -> (answer, seconds)
Ask = Callable[[str, Optional[dict[str, Any]]], tuple[Answer, float]]


@dataclass(frozen=True)
class Instance:
    """One instance with the engine Ollama. has_gpus: parts of a model outside of GPU memory are then a fault."""

    server: str
    served_name: str
    address: str
    port: int
    has_gpus: bool


@dataclass(frozen=True)
class Look:
    """What one instance answered."""

    server: str
    up: bool
    version: str
    models: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]
    has_gpus: bool
    probe: tuple[bool, float] | None


def find_instances(base: str, host: str) -> list[Instance]:
    """Return the instances below BASE/instances whose current release runs Ollama; damaged ones are left out."""
    found = []
    directory = os.path.join(base, "instances")
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except FileNotFoundError:
        return []
    for name in names:
        try:
            with open(os.path.join(directory, name, "current", "release.json"), encoding="utf-8") as stream:
                description = json.load(stream)["description"]
            if description["engine"] != "ollama":
                continue
            found.append(
                Instance(
                    server=f"{host}-{name}",
                    served_name=str(description["served_name"]),
                    address=_address(os.path.join(directory, name, "host.env")),
                    port=int(description["port"]),
                    has_gpus=description["gpus"] not in ("none", []),
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def look(instance: Instance, ask: Ask, probe: bool) -> Look:
    """Ask one instance. The probe comes last, so that it does not slow the other questions down."""
    answer, version_seconds = ask("/api/version", None)
    said = answer.json()
    version = said.get("version") if isinstance(said, dict) else None
    seconds = {"/api/version": version_seconds}
    models: list[Mapping[str, Any]] = []
    up = answer.status == 200 and isinstance(version, str)
    if up:
        answer, seconds["/api/ps"] = ask("/api/ps", None)
        listed = answer.json()
        entries = listed.get("models") if isinstance(listed, dict) else None
        models = [entry for entry in entries or () if isinstance(entry, dict)]
        up = answer.status == 200
    probed = None
    if probe and up:
        body = {
            "model": instance.served_name,
            "messages": [{"role": "user", "content": "ping"}],
            "max_tokens": 1,
            "temperature": 0,
        }
        answer, spent = ask(PROBE_PATH, body)
        probed = (answer.status == 200, spent)
    return Look(
        instance.server, up, version if isinstance(version, str) else "", models, seconds, instance.has_gpus, probed
    )


def families(looks: Sequence[Look], now: float) -> list[Family]:
    """Return the metrics of all instances. A model that is no longer loaded has no series any more."""
    loaded: list[tuple[dict[str, str], float]] = []
    in_vram: list[tuple[dict[str, str], float]] = []
    spilled: list[tuple[dict[str, str], float]] = []
    ends: list[tuple[dict[str, str], float]] = []
    for one in looks:
        for model in one.models:
            labels = {"server": one.server, "model": str(model.get("name") or model.get("model") or "")}
            size, vram = model.get("size"), model.get("size_vram")
            if not isinstance(size, int) or not isinstance(vram, int):
                continue
            loaded.append((labels, size))
            in_vram.append((labels, vram))
            if one.has_gpus and size > 0:
                spilled.append((labels, round(max(0.0, 1 - vram / size), 6)))
            at = _unix_time(model.get("expires_at"))
            if at is not None:
                ends.append((labels, at))
    probes = [(one.server, one.probe) for one in looks if one.probe is not None]
    name = "local_llm_ollama_"
    return [
        Family(
            f"{name}up",
            "gauge",
            "1 when Ollama's API answers",
            [({"server": one.server}, float(one.up)) for one in looks],
        ),
        Family(
            f"{name}version_info",
            "gauge",
            "The version that runs",
            [({"server": one.server, "version": one.version}, 1) for one in looks if one.version],
        ),
        Family(
            f"{name}models_loaded",
            "gauge",
            "Models in memory",
            [({"server": one.server}, len(one.models)) for one in looks if one.up],
        ),
        Family(f"{name}model_loaded_bytes", "gauge", "Memory of a loaded model", loaded),
        Family(f"{name}model_vram_bytes", "gauge", "The part of it in GPU memory", in_vram),
        Family(
            f"{name}model_spill_ratio",
            "gauge",
            "Share of a loaded model outside of GPU memory, 0 to 1; only of instances that have GPUs",
            spilled,
        ),
        Family(
            f"{name}model_expires_timestamp_seconds", "gauge", "When the model leaves the memory if nobody asks", ends
        ),
        Family(
            f"{name}answer_seconds",
            "gauge",
            "How long the last answer took, by path",
            [
                ({"server": one.server, "path": path}, round(s, 6))
                for one in looks
                for path, s in sorted(one.seconds.items())
            ],
        ),
        Family(
            f"{name}probe_success",
            "gauge",
            "1 when one real token was made",
            [({"server": server}, float(probe[0])) for server, probe in probes],
        ),
        Family(
            f"{name}probe_seconds",
            "gauge",
            "How long that token took",
            [({"server": server}, round(probe[1], 6)) for server, probe in probes],
        ),
        Family(f"{name}last_run_timestamp_seconds", "gauge", "When Ollama was last asked", [({}, round(now, 3))]),
    ]


def _address(path: str) -> str:
    """Return where the engine listens, as a client on this host reaches it."""
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return "127.0.0.1"
    for line in lines:
        if line.startswith("LOCAL_LLM_ADDRESS="):
            address = line.partition("=")[2].strip().strip('"')
            return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    return "127.0.0.1"


def _unix_time(text: Any) -> float | None:
    """Return the time that /api/ps names; it has nine digits after the second, which older Pythons do not read."""
    if not isinstance(text, str):
        return None
    head, _dot, tail = text.partition(".")
    zone = tail.lstrip("0123456789")
    try:
        return datetime.fromisoformat((head + zone if tail else text).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
