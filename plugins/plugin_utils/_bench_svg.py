# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Plots of benchmark results as SVG text: latency against load, and a run over time. Every text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_words import known
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    figure,
    nice_step,
)

# Class of a curve in the style sheet, by which side of a comparison it is.
SIDES = ("baseline", "new")
SIDE_NAMES = {"baseline": "first result", "new": "second result"}

Points = list[tuple[float, float]]


def load_points(report: Mapping[str, Any], summary: str, which: str) -> Points:
    """Return (load, seconds) of the stages of a report that have the figure, by rising load."""
    points = []
    for stage in report.get("stages") or []:
        load = stage.get("users") or stage.get("rate_per_second")
        value = known(summary, (stage.get(summary) or {}).get(which))
        if load and value is not None:
            points.append((float(load), float(value)))
    return sorted(points)


def load_plot(reports: Sequence[Mapping[str, Any]], summary: str, which: str, title: str, identity: str) -> Markup:
    """Return seconds against load for one or two sweeps; nothing with fewer than two points."""
    found = {side: load_points(report, summary, which) for side, report in zip(SIDES, reports, strict=False)}
    curves = {side: points for side, points in found.items() if len({load for load, _value in points}) > 1}
    if not curves:
        return Markup("")
    open_loop = (reports[0].get("load") or {}).get("mode") == "open"
    x_name = "requests per second asked for" if open_loop else "users"
    return _plot(curves, title, x_name, identity, dots=True)


def time_plots(report: Mapping[str, Any], identity: str) -> list[tuple[str, Markup]]:
    """Return (title, plot) of a run over time: latency, requests under way, and failures when there were any."""
    line = report.get("timeline")
    if not line or len(line["started"]) < 2:
        return []
    length = line["bucket_seconds"]

    def points(values: Sequence[float | None]) -> Points:
        return [((index + 0.5) * length, float(value)) for index, value in enumerate(values) if value is not None]

    kinds: list[tuple[str, str, Sequence[float | None], bool]] = [
        ("Whole answer, median", "e2el", line["e2el_median_seconds"], True),
        ("First token, median", "ttft", line["ttft_median_seconds"], True),
        ("Requests under way", "flight", line["in_flight"], False),
    ]
    if any(line["failed"]):
        kinds.append(("Failures per second", "failed", [count / length for count in line["failed"]], False))
    plots = [
        (title, _plot({"baseline": points(values)}, title, "seconds of the run", f"{identity}-time-{name}", seconds))
        for title, name, values, seconds in kinds
    ]
    return [(title, plot) for title, plot in plots if plot]


def _plot(
    curves: Mapping[str, Points], title: str, x_name: str, identity: str, seconds: bool = True, dots: bool = False
) -> Markup:
    """Return lines in a plain frame, both axes from zero."""
    every = [point for points in curves.values() for point in points]
    if not every:
        return Markup("")
    right = max(x for x, _y in every) or 1.0
    top = (max(y for _x, y in every) or 1.0) * 1.08
    unit, factor = ("ms", 1000.0) if seconds and top < 1.5 else ("s" if seconds else "", 1.0)

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + x / right * (RIGHT - LEFT), BOTTOM - y / top * (BOTTOM - TOP)

    parts = [*_x_ticks(right, x_name), *_y_ticks(top, factor, unit)]
    for side, points in curves.items():
        placed = [place(x, y) for x, y in sorted(points)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        parts.append(Markup('<path class="curve {}" d="M{}"/>').format(side, path))
        if dots:
            parts += [
                Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(side, x, y) for x, y in placed
            ]
    told = "; ".join(
        f"{SIDE_NAMES[side] if len(curves) > 1 else 'the run'}: from {min(y for _x, y in points) * factor:.4g} to "
        f"{max(y for _x, y in points) * factor:.4g} {unit}".rstrip()
        for side, points in curves.items()
    )
    return figure("plot", identity, title, f"{title} by {x_name}. {told}.", f'viewBox="0 0 {WIDTH} {HEIGHT}"', parts)


def _x_ticks(right: float, name: str) -> list[Markup]:
    step = nice_step(right / 5, time=name.startswith("seconds"))
    marks = []
    for index in range(int(right / step + 1e-9) + 1):
        x = LEFT + index * step / right * (RIGHT - LEFT)
        marks.append(
            Markup(
                '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{t}" y2="{b}"/>'
                '<text class="tick" x="{x:.1f}" y="{ty}" text-anchor="middle">{v:g}</text>'
            ).format(x=x, t=TOP, b=BOTTOM, ty=BOTTOM + 15, v=round(index * step, 6))
        )
    marks.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>').format(RIGHT, BOTTOM + 31, name)
    )
    return marks


def _y_ticks(top: float, factor: float, unit: str) -> list[Markup]:
    step = nice_step(top / 4)
    marks = []
    for index in range(int(top / step + 1e-9) + 1):
        y = BOTTOM - index * step / top * (BOTTOM - TOP)
        marks.append(
            Markup(
                '<line class="grid" x1="{l}" x2="{r}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="tick" x="{tx}" y="{ty:.1f}" text-anchor="end">{v:g}</text>'
            ).format(l=LEFT, r=RIGHT, y=y, tx=LEFT - 5, ty=y + 4, v=round(index * step * factor, 6))
        )
    if unit:
        marks.append(Markup('<text class="axis" x="{}" y="{}">{}</text>').format(LEFT, TOP - 9, unit))
    return marks
