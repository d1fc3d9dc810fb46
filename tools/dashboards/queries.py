# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read queries back out of dashboards: which there are, which series they name, how they look with values filled in.

Needs nothing but Python, so that a test against a running Prometheus can use it anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = ROOT / "roles" / "monitoring" / "files" / "dashboards"
# What Grafana puts in, for queries that something else runs.
FILLED = {
    "pool": ".*",
    "host": ".*",
    "server": ".*",
    "price_per_kwh": "0.30",
    "__rate_interval": "5m",
    "__range": "1h",
}
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_NAME = re.compile(r"[A-Za-z_:][\w:]*")
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "group_left", "group_right", "by", "without"}


def documents(directory: Path = DASHBOARDS) -> list[dict[str, Any]]:
    """Return the dashboards of a directory, in the order of their file names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))]


def panels(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, those in closed rows too, without the rows."""
    found: list[dict[str, Any]] = []
    for panel in document.get("panels") or []:
        if panel.get("type") == "row":
            found += panel.get("panels") or []
        else:
            found.append(panel)
    return found


def panel_queries(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return every query of a dashboard's panels as {dashboard, panel, ref, expr}; dashboard is its uid."""
    return [
        {"dashboard": document["uid"], "panel": panel["title"], "ref": target["refId"], "expr": target["expr"]}
        for panel in panels(document)
        for target in panel.get("targets") or []
    ]


def annotation_queries(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the queries of a dashboard's annotations in the same shape; panel is the annotation's name."""
    return [
        {"dashboard": document["uid"], "panel": entry["name"], "ref": "annotation", "expr": entry["expr"]}
        for entry in (document.get("annotations") or {}).get("list") or []
        if entry.get("expr")
    ]


def filled(expr: str, values: Mapping[str, str] | None = None) -> str:
    """Return a query with Grafana's variables filled in. "$1" in a label_replace stays as it is."""
    known = {**FILLED, **(values or {})}

    def value(found: re.Match[str]) -> str:
        name = found.group(1) or found.group(2)
        if name not in known:
            raise KeyError(f"the query names ${name}, which has no value; give one of: {', '.join(sorted(known))}")
        return known[name]

    return _VARIABLE.sub(value, expr)


def metric_names(expr: str) -> set[str]:
    """Return the names of the series that a query reads."""
    text = _STRING.sub('""', filled(expr))
    text = re.sub(r"\{[^{}]*\}", "", text)
    text = re.sub(r"\[[^\[\]]*\]", "", text)
    text = _LABELS.sub(" ", text)
    found = set()
    for name in _NAME.finditer(text):
        before = text[: name.start()][-1:]
        called = text[name.end() :].lstrip().startswith("(")
        if not called and not before.isdigit() and before != "." and name.group().lower() not in _WORDS:
            found.add(name.group())
    return found


def expected_empty(
    entries: Iterable[Mapping[str, Any]], query: Mapping[str, str], holds: Collection[str] | None = None
) -> str:
    """Return why a query may find nothing, or "" when it must find something.

    entries: the panels of may_be_empty.yml. holds: the conditions that hold where the query runs; None: perhaps all.
    """
    for entry in entries:
        same = entry["dashboard"] == query["dashboard"] and entry["panel"] == query["panel"]
        if same and query["ref"] in entry.get("refs", [query["ref"]]) and (holds is None or entry["when"] in holds):
            return str(entry["reason"])
    return ""
