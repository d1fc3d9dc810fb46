# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The report as one HTML page that needs nothing else: no script, no request, one style sheet inside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from ansible_collections.local_llm.ops.plugins.plugin_utils import _report_words as words
from ansible_collections.local_llm.ops.plugins.plugin_utils._html_page import render_page
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_svg import PHASES, ecdf, timeline

# With more instances than this, only those that failed and the canary are unfolded.
UNFOLDED = 4
_TONE = {
    "completed": "good",
    "healthy": "good",
    "pass": "good",
    "rolled_back_verified": "warn",
    "inconclusive": "warn",
    "halted": "warn",
    "unfinished": "warn",
    "unknown": "bad",
    "rollback_failed": "bad",
    "fail": "bad",
    "error": "bad",
}
# How a verdict may call these measures.
_MEASURES = {"ttft_seconds": ("time to first token", "ttft"), "e2el_seconds": ("total latency", "e2el")}
_TITLES = {"ttft_seconds": "Time to first token", "e2el_seconds": "Time to the whole answer"}
_PURPOSE = "Rolled back on purpose, verified"
# How a verdict starts the names of the measures that are compared.
_FAMILIES = {"ttft": "time to first token", "tpot": "time per output token", "e2el": "total latency"}


def render_html(report: dict[str, Any]) -> str:
    """Return the page of a report made by build_report."""
    calm = report["on_purpose"]
    filters: dict[str, Callable[..., Any]] = {
        "seconds": words.seconds,
        "share": words.share,
        "figure": words.figure,
        "clock": words.clock,
        "moment": words.day_and_clock,
        "words": lambda name: _PURPOSE if calm and name == "rolled_back_verified" else words.words(name),
        "sentence": words.sentence,
        "step_words": words.step_words,
        "step_title": words.step_title,
        "measure_words": words.measure_words,
        "compared_words": compared_words,
        "facts": facts_text,
        "commands": commands,
        "tone": lambda name: "good" if calm and name == "rolled_back_verified" else _TONE.get(str(name), "plain"),
    }
    return render_page(
        "rollout_report.html.j2",
        filters,
        report=report,
        timeline=timeline(report["hosts"], report["started_at"], report["ended_at"], "timeline"),
        sections=[_section(entry, index, len(report["hosts"])) for index, entry in enumerate(report["hosts"])],
    )


def _section(entry: dict[str, Any], index: int, number: int) -> dict[str, Any]:
    """Return what the page shows of one instance besides its data: plots, and whether it is unfolded."""
    plots = []
    for key, title in _TITLES.items():
        samples = {
            phase: ((report or {}).get("samples") or {}).get(key) for phase, report in entry["benchmarks"].items()
        }
        limit = _limit(entry["verdict"], key)
        plot = ecdf(title, samples, limit, f"limit p95 {words.seconds(limit)}", f"host{index}-{key}")
        plots.append((title, plot))
    counts = [
        (phase, label, len(((entry["benchmarks"][phase] or {}).get("samples") or {}).get("ttft_seconds") or []))
        for phase, label in PHASES
    ]
    unfolded = number <= UNFOLDED or entry["canary"] or entry["outcome"] in ("unknown", "rollback_failed")
    unfolded = unfolded and entry["outcome"] != "untouched"
    verdict = (entry["verdict"] or {}).get("verdict")
    return {
        "plots": plots if any(plot for _title, plot in plots) else [],
        "changes": [change(row, entry["verdict"]) for row in entry["comparison"]],
        "legend": [item for item in counts if item[2]],
        "unfolded": bool(unfolded or verdict not in (None, "pass")),
    }


def _limit(verdict: dict[str, Any] | None, key: str) -> float | None:
    """Return the agreed p95 limit in seconds, as the verdict used it; what is relative to the baseline is none."""
    for reason in (verdict or {}).get("reasons") or []:
        name, threshold = str(reason.get("measure") or ""), reason.get("threshold")
        fits = name.startswith(_MEASURES[key]) and "p95" in name and "baseline" not in str(reason.get("rule") or "")
        if fits and isinstance(threshold, (int, float)) and threshold > 0:
            return float(threshold)
    return None


_COMMIT = re.compile("[0-9a-f]{40}")
_AGAINST = {"exact": "word for word against", "checks": "by checks against"}


def compared_words(quality: dict[str, Any]) -> str:
    """Write what golden answers were held against, and what the items that changed prove."""
    compared = quality["compared"]
    reference = compared["reference"] or {}
    parts = [reference[key] for key in ("engine", "engine_version", "model", "model_revision") if reference.get(key)]
    origin = " ".join(part[:12] if _COMMIT.fullmatch(part) else part for part in parts)
    told = f"{_AGAINST.get(compared['mode'], 'against')} {origin or 'what was recorded'}: "
    if not compared["worse"] and not compared["better"]:
        return f"{told}none of {words.figure(compared['pairs'])} items became worse or better."
    told += f"{words.figure(compared['worse'])} worse and {words.figure(compared['better'])} better of "
    told += f"{words.figure(compared['pairs'])} items"
    if compared["verdict"] == "regression":
        return f"{told}, a regression (McNemar's exact test)."
    if compared["verdict"] == "improvement":
        return f"{told}, an improvement (McNemar's exact test)."
    if compared["verdict"] == "no_proof" and compared["smallest_provable"]:
        least = words.figure(compared["smallest_provable"])
        return f"{told}; no proof of a change, which takes at least {least} worse and none better, or the reverse."
    return f"{told}."


def facts_text(facts: dict[str, Any]) -> str:
    """Write the small facts of a journal line as "name value, name value"."""
    parts = []
    for name, value in facts.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{key} {words.figure(item, name)}" for key, item in value.items())
            parts.append(f"{words.words(name)}: {inner}")
        else:
            parts.append(f"{words.words(name)} {words.figure(value, name)}")
    return "; ".join(parts)


def change(row: dict[str, Any], verdict: dict[str, Any] | None) -> tuple[str, str]:
    """Return (text, tone) of a change against the baseline; bad is what the verdict calls so, nothing else."""
    percent = row["change_percent"]
    if percent is None:
        return words.NONE, "plain"
    text = f"{percent:+.1f} %".replace("-", "\N{MINUS SIGN}")
    failed = [
        str(reason.get("measure") or "")
        for reason in (verdict or {}).get("reasons") or []
        if reason.get("status") == "fail"
    ]
    return text, "bad" if any(_same(row["measure"], name) for name in failed) else "plain"


def _same(measure: str, name: str) -> bool:
    """Return whether a measure of the comparison is the one that a verdict names in words."""
    family, _underscore, percentile = measure.removesuffix("_seconds").partition("_")
    if family in _FAMILIES:
        return name.startswith(_FAMILIES[family]) and name.endswith(percentile)
    if measure == "error_share":
        return name.startswith(("error rate", "failed share"))
    return name in (measure, measure.replace("_", " "))


def commands(text: str) -> Markup:
    """Set what stands between back quotes as code; escape everything."""
    parts = re.split(r"`([^`]*)`", text)
    pieces = [
        Markup("<code>{}</code>").format(part) if index % 2 else Markup.escape(part) for index, part in enumerate(parts)
    ]
    return Markup("").join(pieces)


def report_json(report: dict[str, Any]) -> str:
    """Return the report as JSON text."""
    return json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
