# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Metrics in Prometheus' text format: parsed into plain data, and summed by name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?\s*$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


@dataclass(frozen=True)
class Sample:
    """One line of metrics."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


def parse_metrics(text: str) -> list[Sample]:
    """Return the samples of a metrics page. Comments, and lines that are no sample, are passed over."""
    samples = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        labels = tuple((name, _unescape(raw)) for name, raw in _LABEL.findall(match["labels"] or ""))
        samples.append(Sample(match["name"], labels, value))
    return samples


def total(samples: list[Sample], name: str) -> float | None:
    """Return the sum over all samples of this name, or None when there is none or a value is no number."""
    values = [sample.value for sample in samples if sample.name == name]
    if not values or not all(math.isfinite(value) for value in values):
        return None
    return math.fsum(values)


def _unescape(raw: str) -> str:
    return re.sub(r"\\[n\"\\]", lambda match: _ESCAPES[match[0]], raw)
