# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Two results side by side: a table and a verdict (better, same, worse, not comparable). Pure.

A measure counts as changed only when the whole interval of its ratio lies beyond the tolerance: with one report on each
side the interval comes from the order-statistic intervals of both (which is wide), with three or more on each side from
the runs themselves (Welch's interval of the logarithms).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, variance
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import student_quantile, wilson
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_words import known

BETTER, SAME, WORSE, NOT_COMPARABLE, UNKNOWN = "better", "same", "worse", "not_comparable", "unknown"
REPEATS_MIN = 3
# Two runs of one unchanged server on a quiet machine were seen to differ by a few percent.
TOLERANCE = 0.05

# (name, unit, place in a report, whether less is better, whether it decides the verdict)
ROWS: tuple[tuple[str, str, tuple[str, str], bool, bool], ...] = (
    ("time to first token p50", "s", ("ttft_seconds", "p50"), True, True),
    ("time to first token p95", "s", ("ttft_seconds", "p95"), True, True),
    ("time per output token p50", "s", ("tpot_seconds", "p50"), True, True),
    ("time per output token p95", "s", ("tpot_seconds", "p95"), True, True),
    ("whole answer p50", "s", ("e2el_seconds", "p50"), True, True),
    ("whole answer p95", "s", ("e2el_seconds", "p95"), True, True),
    ("from schedule to the end p95", "s", ("scheduled_latency_seconds", "p95"), True, True),
    ("output tokens/s", "tokens/s", ("output_tokens_per_second", ""), False, False),
    ("requests/s", "/s", ("requests_per_second", ""), False, False),
    ("goodput", "/s", ("goodput_requests_per_second", ""), False, False),
)

Report = Mapping[str, Any]


def compare(before: Sequence[Report], after: Sequence[Report], tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Return the comparison of two results; each is one report, or several runs of the same."""
    problem = comparison_problem(before, after)
    if problem:
        return _comparison(NOT_COMPARABLE, problem, [], [], tolerance, before, after)
    rows = [row for row in (_row(before, after, tolerance, *spec) for spec in ROWS) if row is not None]
    rows.append(_failures(before, after))
    deciding = [row for row in rows if row["decides"]]
    worse = [row["measure"] for row in deciding if row["judgement"] == WORSE]
    better = [row["measure"] for row in deciding if row["judgement"] == BETTER]
    if worse:
        reason = f"worse: {', '.join(worse)}" + (f"; better: {', '.join(better)}" if better else "")
        word = WORSE
    elif better:
        word, reason = BETTER, f"better: {', '.join(better)}"
    else:
        word, reason = SAME, f"nothing differs by more than {tolerance:.0%} for certain"
    if word != SAME and min(len(before), len(after)) < REPEATS_MIN:
        reason += f"; with fewer than {REPEATS_MIN} runs on a side nobody knows how much the runs differ by themselves"
    return _comparison(word, reason, rows, _stages(before[0], after[0]), tolerance, before, after)


def _comparison(
    word: str,
    reason: str,
    rows: list[dict[str, Any]],
    stages: list[dict[str, Any]],
    tolerance: float,
    before: Sequence[Report],
    after: Sequence[Report],
) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "benchmark_comparison",
        "verdict": word,
        "reason": reason,
        "tolerance": tolerance,
        "runs": [len(before), len(after)],
        "rows": rows,
        "stages": stages,
    }


def comparison_problem(before: Sequence[Report], after: Sequence[Report]) -> str | None:
    """Return why these results cannot be compared, with the fix, or None."""
    for side, reports in (("first", before), ("second", after)):
        if not reports:
            return f"the {side} result has no report"
        for report in reports:
            problem = benchmark_problem(report)
            if problem:
                return f"the {side} result is no benchmark report: {problem}"
            if not report["valid"]:
                why = "; ".join(str(reason) for reason in report["invalid_reasons"])
                return f"the {side} result is not valid ({why}); measure again"
    first = before[0]
    for report in [*before, *after]:
        tools = (first.get("engine_version_tool"), report.get("engine_version_tool"))
        if tools[0] != tools[1]:
            return f"{tools[0]} and {tools[1]} measure differently; measure both with one of them"
        if report["workload"]["hash"] != first["workload"]["hash"]:
            told = differences(first["workload"], report["workload"]) or "the load plan"
            return f"they bore different loads ({told}); measure both with the same one"
    return None


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return in what two descriptions of work differ."""
    names = [name for name in sorted({*first, *second}) if name not in ("hash", "model")]
    return ", ".join(
        f"{name} {first.get(name)!r} and {second.get(name)!r}" for name in names if first.get(name) != second.get(name)
    )


def _value(report: Report, place: tuple[str, str]) -> float | None:
    part = report.get(place[0])
    value = part.get(place[1]) if place[1] and isinstance(part, Mapping) else part
    value = known(place[0], value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _row(
    before: Sequence[Report],
    after: Sequence[Report],
    tolerance: float,
    name: str,
    unit: str,
    place: tuple[str, str],
    less_is_better: bool,
    decides: bool,
) -> dict[str, Any] | None:
    olds = [value for report in before if (value := _value(report, place)) is not None]
    news = [value for report in after if (value := _value(report, place)) is not None]
    if not olds or not news:
        return None
    old, new = fmean(olds), fmean(news)
    pair = ratio_interval(olds, news) if min(len(olds), len(news)) >= REPEATS_MIN else None
    repeated = pair is not None
    if pair is None:
        pair = _interval_of_reports(before[0], after[0], place)
    judgement = _judgement(old, new, pair, tolerance, less_is_better)
    return {
        "measure": name,
        "unit": unit,
        "before": round(old, 6),
        "after": round(new, 6),
        "ratio": round(new / old, 4) if old else None,
        "interval": [round(value, 4) for value in pair] if pair else None,
        "judgement": judgement,
        "decides": decides or repeated,
        "less_is_better": less_is_better,
    }


def _judgement(old: float, new: float, pair: tuple[float, float] | None, tolerance: float, less_is_better: bool) -> str:
    if pair is None:
        # without an interval a difference is shown and proves nothing
        close = bool(old) and abs(new / old - 1) <= tolerance
        return SAME if close or old == new else UNKNOWN
    if pair[0] > 1 + tolerance:
        return WORSE if less_is_better else BETTER
    if pair[1] < 1 - tolerance:
        return BETTER if less_is_better else WORSE
    return SAME


def ratio_interval(
    olds: Sequence[float], news: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval of new / old from repeated runs; None when a value is not above 0 or a side has one run."""
    if min(len(olds), len(news)) < 2 or min(*olds, *news) <= 0:
        return None
    sides = [[math.log(value) for value in values] for values in (olds, news)]
    spreads = [variance(side) / len(side) for side in sides]
    difference = fmean(sides[1]) - fmean(sides[0])
    total = sum(spreads)
    if total <= 0:
        return math.exp(difference), math.exp(difference)
    freedom = total**2 / sum(spread**2 / (len(side) - 1) for spread, side in zip(spreads, sides, strict=True))
    width = student_quantile(0.5 + confidence / 2, max(1, int(freedom))) * math.sqrt(total)
    return math.exp(difference - width), math.exp(difference + width)


def _interval_of_reports(before: Report, after: Report, place: tuple[str, str]) -> tuple[float, float] | None:
    """Return the interval of the ratio of two percentiles from the intervals of both."""
    old = (before.get("intervals") or {}).get(place[0]) or {}
    new = (after.get("intervals") or {}).get(place[0]) or {}
    mine, theirs = old.get(place[1]), new.get(place[1])
    if not mine or not theirs or mine[0] <= 0 or mine[1] <= 0:
        return None
    return theirs[0] / mine[1], theirs[1] / mine[0]


def _failures(before: Sequence[Report], after: Sequence[Report]) -> dict[str, Any]:
    """Judge the share of failed requests: changed when the intervals of both shares do not touch."""
    counts = [
        (sum(report["requests"]["failed"] for report in side), sum(report["requests"]["issued"] for report in side))
        for side in (before, after)
    ]
    shares = [failed / issued if issued else 0.0 for failed, issued in counts]
    pairs = [wilson(failed, issued) for failed, issued in counts]
    judgement = SAME
    if pairs[0] and pairs[1]:
        if pairs[1][0] > pairs[0][1]:
            judgement = WORSE
        elif pairs[1][1] < pairs[0][0]:
            judgement = BETTER
    return {
        "measure": "failed requests",
        "unit": "share",
        "before": round(shares[0], 6),
        "after": round(shares[1], 6),
        "ratio": round(shares[1] / shares[0], 4) if shares[0] else None,
        "interval": None,
        "judgement": judgement,
        "decides": True,
        "less_is_better": True,
    }


def _stages(before: Report, after: Report) -> list[dict[str, Any]]:
    """Return the stages of both, as far as both have them: load, and p50 and p95 of the whole answer."""
    pairs = zip(before.get("stages") or [], after.get("stages") or [], strict=False)
    return [
        {
            "users": old.get("users"),
            "rate_per_second": old.get("rate_per_second"),
            **{
                f"{side}_{name}": report[name.rsplit("_", 1)[0]].get(name.rsplit("_", 1)[1])
                for side, report in (("before", old), ("after", new))
                for name in ("ttft_seconds_p50", "e2el_seconds_p50", "e2el_seconds_p95")
            },
            "before_output_tokens_per_second": old.get("output_tokens_per_second"),
            "after_output_tokens_per_second": new.get("output_tokens_per_second"),
        }
        for old, new in pairs
    ]


def table(comparison: Mapping[str, Any]) -> list[str]:
    """Return the comparison as lines of text."""
    rows = comparison["rows"]
    word, reason = comparison["verdict"].replace("_", " "), comparison["reason"]
    lines = [reason if reason.startswith(word) else f"{word}: {reason}"]
    if rows:
        width = max(len(row["measure"]) for row in rows)
        lines.append(f"{'':{width}}  {'before':>12}  {'after':>12}  {'ratio':>7}  judgement")
    for row in rows:
        ratio = f"{row['ratio']:.3f}" if row["ratio"] is not None else "-"
        lines.append(
            f"{row['measure']:{width}}  {row['before']:>12.6g}  {row['after']:>12.6g}  {ratio:>7}  {row['judgement']}"
        )
    return lines
