# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What an engine's /metrics holds, by version, from slo_metrics.yml; and the names that a rule must not use.

Controller only.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

with contextlib.suppress(ImportError):
    # ansible-core brings it along; only ansible-test's import check runs without it, and uses nothing of it.
    from packaging.specifiers import SpecifierSet

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import version_number

DATA_FILE = Path(__file__).with_name("slo_metrics.yml")
_SERIES = ("_bucket", "_sum", "_count")
# A name of an engine always carries the engine's prefix; names of recording rules begin with local_llm:.
_ENGINE_NAME = re.compile(r"(?<![\w:])((?:vllm|llamacpp):[A-Za-z_][\w]*)")


@dataclass(frozen=True)
class Signal:
    """A metric of an engine with the labels that select it."""

    metric: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineMetrics:
    """What one version of an engine shows. verified: one of us has looked at it on a running engine."""

    engine: str
    version: str
    metrics: Mapping[str, str]
    buckets: Mapping[str, tuple[float, ...]]
    custom_buckets: Mapping[str, Any] | None
    signals: Mapping[str, Signal]
    renamed: Mapping[str, str]
    verified: bool
    known: bool


def engine_metrics(engine: str, version: str) -> EngineMetrics | None:
    """Return what this version shows; the newest known range, with known=False, when nothing is known about it."""
    ranges = _document()["engines"].get(engine)
    if not ranges:
        return None
    for entry in ranges:
        number = version_number(version, entry["numbering"])
        if number is not None and SpecifierSet(entry["versions"]).contains(number, prereleases=True):
            custom = entry["custom_buckets"]
            if custom and not SpecifierSet(custom["versions"]).contains(number, prereleases=True):
                custom = None
            return _engine_metrics(engine, version, entry, custom, True)
    return _engine_metrics(engine, version, ranges[0], None, False)


def has_metrics(engine: str, version: str) -> bool:
    """Tell whether an engine has a page of metrics; Ollama has none, the rules read the gateway for it."""
    metrics = engine_metrics(engine, version)
    return metrics is not None and bool(metrics.metrics)


def series_names(metrics: EngineMetrics) -> set[str]:
    """Return every name that a query may use."""
    names = set(metrics.metrics)
    for name, kind in metrics.metrics.items():
        if kind == "histogram":
            names.update(name + suffix for suffix in _SERIES)
    return names


def metric_problems(where: str, expression: str, engines: Iterable[EngineMetrics]) -> list[str]:
    """Return what is wrong with the engine metrics that an expression names, one text per problem."""
    problems = []
    known = list(engines)
    for name in dict.fromkeys(_ENGINE_NAME.findall(expression)):
        for metrics in known:
            if name.partition(":")[0] != metrics.engine or name in series_names(metrics):
                continue
            instead = metrics.renamed.get(name) or nearest(name, sorted(series_names(metrics)))
            fix = f"use {instead}" if instead else "take the rule out, or serve with an engine that has it"
            problems.append(f"{where}: {name} does not exist in {metrics.engine} {metrics.version}; {fix}")
    return problems


def gpu_metrics() -> dict[str, dict[str, Any]]:
    """Return the naming scheme of GPU metrics, with DCGM's names."""
    found: dict[str, dict[str, Any]] = _document()["gpu"]["metrics"]
    return found


def all_engine_ranges() -> list[tuple[str, dict[str, Any]]]:
    """Return (engine, range) of the whole file, for tests that hold it against other sources."""
    return [(engine, entry) for engine, ranges in _document()["engines"].items() for entry in ranges]


def _engine_metrics(
    engine: str, version: str, entry: Mapping[str, Any], custom: Mapping[str, Any] | None, known: bool
) -> EngineMetrics:
    signals = {name: Signal(value["metric"], value.get("labels") or {}) for name, value in entry["signals"].items()}
    buckets = {name: tuple(float(bound) for bound in bounds) for name, bounds in entry["buckets"].items()}
    return EngineMetrics(
        engine,
        version,
        entry["metrics"],
        buckets,
        custom,
        signals,
        entry["renamed"],
        entry.get("verified", True) and known,
        known,
    )


@functools.lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: dict[str, Any] = yaml.load(DATA_FILE.read_text(encoding="utf-8"), Loader=loader)
    for engine, ranges in document["engines"].items():
        named = {entry["name"]: entry for entry in ranges if "name" in entry}
        document["engines"][engine] = [{**named.get(entry.get("extends"), {}), **entry} for entry in ranges]
    return document
