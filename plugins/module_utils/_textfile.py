# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Metrics for node_exporter's textfile collector: rendered, and written so that it never sees half a file."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

DIRECTORY = "/var/lib/prometheus/node-exporter"


@dataclass(frozen=True)
class Family:
    """One metric: its name, its type (gauge or counter), what it means, and (labels, value) of each series."""

    name: str
    kind: str
    what: str
    series: Sequence[tuple[Mapping[str, str], float]]


def render(families: Sequence[Family]) -> str:
    """Return the text; a family without series is left out."""
    lines = []
    for family in families:
        if not family.series:
            continue
        lines.append(f"# HELP {family.name} {_escaped(family.what)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.series:
            inside = ",".join(f'{key}="{_quoted(labels[key])}"' for key in sorted(labels))
            lines.append(f"{family.name}{{{inside}}} {_number(value)}" if inside else f"{family.name} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def write(directory: str, name: str, text: str) -> bool:
    """Replace the file in one step, readable by the exporter. Return False when there is no such directory."""
    if not os.path.isdir(directory):
        return False
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, os.path.join(directory, name))
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return True


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(int(value)) if float(value).is_integer() else repr(float(value))
