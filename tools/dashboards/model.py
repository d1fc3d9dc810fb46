# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dashboard consists of, as plain data. Nothing here knows Grafana's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# Colours by what they ask of the person who looks.
GREEN, BLUE, ORANGE, RED, GREY = "green", "blue", "orange", "red", "text"
SEVERITIES = {"info": BLUE, "warning": ORANGE, "critical": RED}
COLUMNS = 24


@dataclass(frozen=True)
class Limit:
    """Where the colour changes. above: the value is bad above the limit, else below it."""

    value: float
    above: bool
    colour: str


@dataclass(frozen=True)
class Alert:
    """An alert that a panel belongs to. limit is None when it has no fixed number, or none that the panel shows."""

    name: str
    severity: str
    runbook: str
    limit: Limit | None = None

    def complement(self) -> Alert:
        """Return the alert for a panel that shows what is free where the alert looks at what is used."""
        if self.limit is None:
            return self
        value = round(1 - self.limit.value, 9)
        return replace(self, limit=Limit(value, not self.limit.above, self.limit.colour))

    def counted(self) -> Alert:
        """Return the alert for a panel that counts what it fires for: one is enough."""
        return replace(self, limit=Limit(1, True, SEVERITIES[self.severity]))

    def only_named(self) -> Alert:
        """Return the alert for a panel whose values are not those that the alert compares."""
        return replace(self, limit=None)


@dataclass(frozen=True)
class Query:
    """One query. legend: with {{label}}."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. means and do are read at night by somebody who did not build this.

    kind: graph, bars (one for each day), stat, timeline (words for numbers), table.
    """

    title: str
    means: str
    do: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "graph"
    alerts: tuple[Alert, ...] = ()
    limits: tuple[Limit, ...] = ()
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    width: int = 8
    height: int = 8
    decimals: int | None = None
    top: float | None = None
    stacked: bool = False
    join: str = ""
    hidden_columns: tuple[str, ...] = ()
    column_names: Mapping[str, str] = field(default_factory=dict)
    column_units: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_limits(self) -> tuple[Limit, ...]:
        """Return the limits of its alerts and those of its own."""
        return tuple(alert.limit for alert in self.alerts if alert.limit) + self.limits


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top. query: where its values come from; empty for a text that the reader types.

    any_value: what `All` stands for; empty: the list of all values.
    """

    name: str
    label: str
    query: str = ""
    any_value: str = ".*"
    default: str = ""
    description: str = ""


@dataclass(frozen=True)
class Marker:
    """A vertical line in every graph. at_value: the series' value is the time, in milliseconds."""

    name: str
    expr: str
    colour: str
    title: str
    text: str
    tags: tuple[str, ...]
    at_value: bool = False
    shown: bool = True


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    markers: tuple[Marker, ...]
    rows: tuple[Row, ...]
    since: str = "now-6h"
    refresh: str = "1m"

    @property
    def file_name(self) -> str:
        """Return the name of its file."""
        return f"{self.uid.replace('-', '_')}.json"
