# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Benchmark results as one HTML page: what was found, whether it may be believed, plots, and a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ansible_collections.local_llm.ops.plugins.plugin_utils import _bench_svg as plots
from ansible_collections.local_llm.ops.plugins.plugin_utils import _report_words as words
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_words import known, load_words
from ansible_collections.local_llm.ops.plugins.plugin_utils._html_page import render_page
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_svg import ecdf

_TONES = {
    "met": "good",
    "passed": "good",
    "better": "good",
    "same": "good",
    "ok": "good",
    "missed": "bad",
    "failed": "bad",
    "worse": "bad",
    "fail": "bad",
    "not_measured": "warn",
    "not_comparable": "warn",
    "unknown": "plain",
    "warn": "warn",
}
SHOWN_WORDS = {
    "met": "within its tier",
    "missed": "over its tier",
    "not_measured": "not measured",
    "not_comparable": "not comparable",
}
_SPREADS = (
    ("ttft_seconds", "Time to first token", "ttft_p95_max_seconds"),
    ("tpot_seconds", "Time per output token", ""),
    ("e2el_seconds", "Whole answer", "latency_p95_max_seconds"),
)
_ROWS = (
    ("Time to first token", "ttft_seconds"),
    ("Time per output token", "tpot_seconds"),
    ("Whole answer", "e2el_seconds"),
    ("Whole answer, from its schedule", "scheduled_latency_seconds"),
    ("Per output token, whole answer", "normalised_latency_seconds"),
    ("Gaps between events", "itl_seconds"),
)


def render_benchmark_html(document: Mapping[str, Any]) -> str:
    """Return the page of a document: title, made_at, status, summary, entries (see entry_of), comparison or None."""
    return render_page(
        "benchmark_report.html.j2",
        {
            "moment": words.day_and_clock,
            "tone": lambda name: _TONES.get(str(name), "plain"),
            "words": lambda name: SHOWN_WORDS.get(str(name), str(name).replace("_", " ")),
            "time": _time,
            "number": _number,
            "plain_value": _plain_value,
        },
        document=document,
        entries=[_view(entry, f"e{number}") for number, entry in enumerate(document["entries"])],
        compared=_compared(document.get("comparison"), document["entries"]),
    )


def _view(entry: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """Return what the template shows of one result."""
    report = entry.get("report")
    if not report:
        return {**entry, "identity": identity, "report": None}
    return {
        **entry,
        "identity": identity,
        "figures": [
            (name, {which: known(key, value) for which, value in report[key].items()})
            for name, key in _ROWS
            if report.get(key) and report[key]["count"]
        ],
        "load_words": load_words(report.get("load"), None, None),
        "spreads": _spreads([report], entry.get("limits") or {}, identity),
        "over_time": plots.time_plots(report, identity),
        "by_load": _by_load([report], identity),
        "checks": (report.get("validity") or {}).get("checks") or [],
    }


def _spreads(
    reports: Sequence[Mapping[str, Any]], limits: Mapping[str, Any], identity: str
) -> list[tuple[str, Markup]]:
    """Return (title, plot) of how latencies are spread: one curve for a result, two for a comparison."""
    sides = ("new",) if len(reports) == 1 else plots.SIDES
    found = []
    for key, title, limit_key in _SPREADS:
        samples: dict[str, list[float] | None] = {
            side: [value for value in (report.get("samples") or {}).get(key) or () if known(key, value) is not None]
            for side, report in zip(sides, reports, strict=True)
        }
        limit = limits.get(limit_key)
        found.append(
            (title, ecdf(title, samples, limit, "p95 of the tier", f"{identity}-{key.split('_', maxsplit=1)[0]}"))
        )
    return [(title, plot) for title, plot in found if plot]


def _by_load(reports: Sequence[Mapping[str, Any]], identity: str) -> list[tuple[str, Markup]]:
    found = [
        (title, plots.load_plot(reports, summary, "p50", title, f"{identity}-load-{summary.split('_', maxsplit=1)[0]}"))
        for summary, title in (
            ("ttft_seconds", "Time to first token p50"),
            ("tpot_seconds", "Time per output token p50"),
            ("e2el_seconds", "Whole answer p50"),
        )
    ]
    return [(title, plot) for title, plot in found if plot]


def _compared(comparison: Mapping[str, Any] | None, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not comparison:
        return None
    reports = [entry["report"] for entry in entries if entry.get("report")][:2]
    pair = len(reports) == 2
    return {
        **comparison,
        "spreads": _spreads(reports, {}, "c") if pair else [],
        "by_load": _by_load(reports, "c") if pair else [],
    }


def _time(value: float | None) -> str:
    return words.NONE if value is None else words.seconds(value)


def _number(value: Any) -> str:
    if value is None:
        return words.NONE
    return f"{value:,.4g}".replace(",", " ") if isinstance(value, float) else str(value)


def _plain_value(value: Any) -> str:
    """Write what a check saw: plain text for a reader, never Python's own form of a dictionary."""
    if value is None:
        return words.NONE
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_plain_value(item)}" for key, item in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value)
