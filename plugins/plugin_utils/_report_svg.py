# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Plots as SVG text: where the time went (one row per instance), and how latencies are spread (ECDF).

Colours come from classes that the page's style sheet defines, so that light and dark both fit. Every text is escaped.
"""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup, escape

from ansible_collections.local_llm.ops.plugins.plugin_utils._report_journal import parse_time
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_words import clock, seconds, step_title

ROW_HEIGHT = 18
MIN_BAR_PERCENT = 0.3
PHASES = (("baseline", "before"), ("new", "new release"), ("after_rollback", "after the rollback"))
MAX_POINTS = 200

# The plot of latencies: a fixed drawing that the page scales.
WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 350, 22, 174


def timeline(hosts: list[dict[str, Any]], started_at: str | None, ended_at: str | None, identity: str) -> Markup:
    """Return the timeline of some instances on the time axis of the whole rollout; empty when there is no time."""
    start, end = parse_time(started_at), parse_time(ended_at)
    if start is None or end is None or end <= start or not hosts:
        return Markup("")
    span = (end - start).total_seconds()
    rows: list[Markup] = []
    height = 24
    for entry in hosts:
        rows.append(
            Markup(
                '<text class="label" x="0" y="{}">{}</text><rect class="track" x="0" y="{}" width="100%" height="{}"/>'
            ).format(height + 12, row_label(entry), height + 18, ROW_HEIGHT)
        )
        rows.extend(_bars(entry["steps"], start.timestamp(), span, height + 18))
        height += ROW_HEIGHT + 32
    ticks = _time_ticks(span, height)
    labels = ", ".join(row_label(entry) for entry in hosts)
    text = f"Time from {clock(started_at)} to {clock(ended_at)} UTC, one row for each of: {labels}."
    return figure("timeline", identity, "Timeline", text, f'width="100%" height="{height}"', [*ticks, *rows])


def row_label(entry: dict[str, Any]) -> str:
    """Return how a row of the timeline is called."""
    name = f"{entry['instance']} on {entry['host']}" if entry["instance"] else str(entry["host"])
    return f"{name} (canary)" if entry["canary"] else name


def _bars(steps: list[dict[str, Any]], origin: float, span: float, top: int) -> list[Markup]:
    bars: list[Markup] = []
    for step in steps:
        begin, end = parse_time(step["started_at"]), parse_time(step["ended_at"])
        if begin is None or end is None:
            continue
        wall = (end - begin).total_seconds()
        measured = min(step["measured_seconds"] or 0.0, wall)
        title = f"{step_title(step)}: {seconds(wall)}"
        parts = [(step["category"], wall)]
        if step["category"] in ("engine", "measurement", "waiting"):
            parts = [("orchestration", wall - measured), (step["category"], measured)]
        offset = begin.timestamp() - origin
        for category, length in parts:
            if length > 0:
                bars.append(_bar(category, offset / span * 100, length / span * 100, top, title))
            offset += length
        good = step["state"] in ("healthy", "rolled_back_verified")
        if good or step.get("failed"):
            bars.append(_mark(good, (end.timestamp() - origin) / span * 100, top, title))
    return bars


def _bar(category: str | None, left: float, width: float, top: int, title: str) -> Markup:
    width = max(width, MIN_BAR_PERCENT)
    left = min(max(left, 0.0), 100 - width)
    return Markup(
        '<rect class="bar {}" x="{:.3f}%" y="{}" width="{:.3f}%" height="{}"><title>{}</title></rect>'
    ).format(category or "orchestration", left, top, width, ROW_HEIGHT, title)


def _mark(good: bool, left: float, top: int, title: str) -> Markup:
    """Return a sign over the bar: a tick for a good end, a cross for a bad one."""
    anchor = "end" if left > 96 else "start" if left < 4 else "middle"
    return Markup('<text class="mark {}" x="{:.3f}%" y="{}" text-anchor="{}">{}<title>{}</title></text>').format(
        "good" if good else "bad", left, top - 3, anchor, "✓" if good else "✗", title
    )


def _time_ticks(span: float, height: int) -> list[Markup]:
    step = nice_step(span / 5, time=True)
    ticks: list[Markup] = []
    for index in range(int(span / step + 1e-9) + 1):
        percent = index * step / span * 100
        anchor = "start" if percent < 4 else "end" if percent > 92 else "middle"
        label = "0" if index == 0 else _tick_time(index * step, step)
        ticks.append(
            Markup(
                '<line class="grid" x1="{p:.3f}%" x2="{p:.3f}%" y1="18" y2="{h}"/>'
                '<text class="tick" x="{p:.3f}%" y="12" text-anchor="{a}">{t}</text>'
            ).format(p=percent, h=height - 8, a=anchor, t=label)
        )
    return ticks


def _tick_time(value: float, step: float) -> str:
    """Write a tick in the largest unit in which every tick is a round figure."""
    if step < 60:
        return f"{value:g} s"
    if step < 1800:
        return f"{value / 60:g} min"
    return f"{value / 3600:g} h"


def nice_step(rough: float, time: bool = False) -> float:
    """Return a round step near a rough one: 1, 2 or 5 times a power of ten; for times 15 s, 30 s, minutes and so on."""
    if time and rough > 10:
        ladder = (15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
        return float(next((value for value in ladder if value >= rough), 86400 * math.ceil(rough / 86400)))
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999999)


def ecdf(
    title: str, samples: dict[str, list[float] | None], limit: float | None, limit_label: str, identity: str
) -> Markup:
    """Return the shares of requests that were at least this fast, for each phase that has samples; else nothing.

    samples: seconds by phase (see PHASES). limit: an agreed limit in seconds, drawn as a line.
    """
    curves = {phase: sorted(values) for phase, _label in PHASES if (values := samples.get(phase))}
    if not curves:
        return Markup("")
    positive = [value for values in curves.values() for value in values if value > 0]
    largest = max([values[-1] for values in curves.values()] + ([limit] if limit else []))
    smallest = min(positive, default=0.0)
    log_scale = bool(positive) and largest > 20 * smallest
    unit, factor = ("ms", 1000.0) if largest < 1.5 else ("s", 1.0)
    axis = _Axis(smallest if log_scale else 0.0, largest or 1.0, factor, log_scale)
    parts = [*_share_grid(), *axis.ticks(unit)]
    for phase, _label in PHASES:
        if phase in curves:
            parts.append(Markup('<path class="curve {}" d="{}"/>').format(phase, _ecdf_path(curves[phase], axis)))
    if limit:
        x = axis.position(limit)
        anchor, shift = ("end", -4) if x > (LEFT + RIGHT) / 2 else ("start", 4)
        parts.append(
            Markup(
                '<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{t}" y2="{b}"/>'
                '<text class="limit-label" x="{tx:.1f}" y="{ty}" text-anchor="{a}">{label}</text>'
            ).format(x=x, t=TOP, b=BOTTOM, tx=x + shift, ty=BOTTOM - 6, a=anchor, label=limit_label)
        )
    described = "; ".join(
        f"{label}: {len(curves[phase])} requests, half within {seconds(_middle(curves[phase]))}, "
        f"slowest {seconds(curves[phase][-1])}"
        for phase, label in PHASES
        if phase in curves
    )
    text = f"Share of requests by {title.lower()}. {described}."
    if log_scale:
        text += " The time axis is logarithmic."
    return figure("plot", identity, title, text, f'viewBox="0 0 {WIDTH} {HEIGHT}"', parts)


class _Axis:
    """The time axis of a plot, linear from zero or logarithmic."""

    def __init__(self, low: float, high: float, factor: float, log_scale: bool) -> None:
        self.factor, self.log_scale = factor, log_scale
        self.low = low
        self.high = high * (1.25 if log_scale else 1.06)

    def position(self, value: float) -> float:
        """Return where a value in seconds lies on the drawing."""
        if self.log_scale:
            part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = value / self.high
        return LEFT + min(max(part, 0.0), 1.0) * (RIGHT - LEFT)

    def ticks(self, unit: str) -> list[Markup]:
        """Return lines, figures and the unit."""
        marks: list[Markup] = []
        for value in self._tick_values():
            marks.append(
                Markup(
                    '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{t}" y2="{b}"/>'
                    '<text class="tick" x="{x:.1f}" y="{ty}" text-anchor="middle">{v:g}</text>'
                ).format(x=self.position(value), t=TOP, b=BOTTOM, ty=BOTTOM + 15, v=round(value * self.factor, 6))
            )
        name = f"time in {unit}, logarithmic" if self.log_scale else f"time in {unit}"
        marks.append(
            Markup('<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>').format(RIGHT, BOTTOM + 31, name)
        )
        return marks

    def _tick_values(self) -> list[float]:
        if not self.log_scale:
            step = nice_step(self.high / 5)
            return [index * step for index in range(int(self.high / step + 1e-9) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            values = [factor * 10.0**decade for decade in decades for factor in factors]
            kept = [value for value in values if self.low <= value <= self.high]
            if len(kept) <= 8:
                break
        return kept


def _share_grid() -> list[Markup]:
    marks: list[Markup] = []
    for part in (0.0, 0.5, 0.95, 1.0):
        y = BOTTOM - part * (BOTTOM - TOP)
        # 95 % and 100 % lie close together: only the lower one of the two gets its figure.
        label = f"{part * 100:.0f} %" if part != 1.0 else ""
        marks.append(
            Markup(
                '<line class="grid" x1="{l}" x2="{r}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="tick" x="{tx}" y="{ty:.1f}" text-anchor="end">{t}</text>'
            ).format(l=LEFT, r=RIGHT, y=y, tx=LEFT - 5, ty=y + 4, t=label)
        )
    marks.append(Markup('<text class="axis" x="{}" y="{}">share of requests</text>').format(LEFT, TOP - 9))
    return marks


def _ecdf_path(values: list[float], axis: _Axis) -> str:
    """Return a stair that rises by one n-th at each sample; long lists are drawn with MAX_POINTS stairs."""
    number = len(values)
    wanted = min(number, MAX_POINTS)
    points = sorted({round((index + 1) * number / wanted) - 1 for index in range(wanted)})
    path = [f"M{axis.position(values[0]):.1f} {BOTTOM}"]
    for index in points:
        path.append(f"H{axis.position(values[index]):.1f}V{BOTTOM - (index + 1) / number * (BOTTOM - TOP):.1f}")
    path.append(f"H{RIGHT}")
    return "".join(path)


def _middle(values: list[float]) -> float:
    return values[(len(values) - 1) // 2]


def figure(kind: str, identity: str, title: str, text: str, size: str, parts: list[Markup]) -> Markup:
    """Return an SVG that a screen reader can name and describe."""
    return Markup(
        '<svg class="{kind}" role="img" aria-labelledby="{i}-title {i}-desc" {size}>'
        '<title id="{i}-title">{title}</title><desc id="{i}-desc">{text}</desc>{parts}</svg>'
    ).format(kind=kind, i=escape(identity), size=Markup(size), title=title, text=text, parts=Markup("").join(parts))
