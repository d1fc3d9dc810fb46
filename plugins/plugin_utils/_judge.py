# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The canary judge: is the new release worse than the old one, by pairs of the same prompts? docs/canary_judge.md.

What it guarantees, whenever and how often one looks, while the rounds say nothing about each other (requests of one
round may: what comes in groups counts less, see _judge_groups.py):
  fail   a release whose bad share is at most `bad_share_increase_harmless` higher fails in at most 5 of 100 rollouts;
  pass   a release that makes more than `bad_share_increase_max` of the requests worse passes in at most 5 of 100.
Between the two margins either word may come. What proves neither in the rounds that there are is inconclusive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._evidence import benchmark_problem
from ansible_collections.local_llm.ops.plugins.module_utils._verdict import Tolerances, usable
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_decide import (
    ALPHA,
    NEEDED,
    Decision,
    decide,
    more_pairs,
    rise_bounds,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_effects import ratios
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_groups import weighted_rounds
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_pairs import (
    Limits,
    PairError,
    Round,
    calm_rounds,
    limits_of,
    partners,
    same_load,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_power import smallest_found

METHOD = "paired_bets/2"
_DISTURBED = "The old release was disturbed in the rounds that this would be held against. Take one more round."
# Where pairs count less than this, the sentence says so.
GROUPED = 0.75
_MEASURE_WORDS = {"ttft": "time to first token", "tpot": "time per output token", "e2el": "time to the whole answer"}


def compare(
    new: Sequence[Mapping[str, Any]],
    old: Sequence[Mapping[str, Any]],
    tier: Mapping[str, Any],
    tolerances: Tolerances,
    rounds_max: int = 1,
    attempts: int = 1,
) -> dict[str, Any]:
    """Return the statistics of a verdict: the reports of the new release, one per round, against those of the old one.

    attempts: how many such comparisons, each of other rounds, may end with a pass; together they are wrong in 5 of 100.
    Keys: see docs/reference_contracts.md. "decision" is pass, fail, inconclusive or error. Never raises for what the
    reports look like.
    """
    for name, reports in (("new", new), ("old", old)):
        problem = next(filter(None, map(benchmark_problem, reports)), None)
        if problem or not reports:
            return _nothing("error", f"A report of the {name} release cannot be read: {problem or 'there is none'}.")
    found = partners(new, old)
    if not found:
        return _nothing("inconclusive", _why_no_partner(new, old))
    try:
        # From all rounds before the switch: limits that move from look to look would be a choice by the outcome.
        measured = same_load(old, found[0][0])
        limits = limits_of(measured, tolerances, tier)
        calm = calm_rounds(measured, limits)
        found = partners(new, calm)
        if not found:
            return _nothing("inconclusive", _DISTURBED)
        rounds = weighted_rounds(found, calm, limits, tolerances)
    except PairError as error:
        return _nothing("error" if "samples.requests" in str(error) else "inconclusive", f"{_upper(str(error))}.")
    rounds_max = max(rounds_max, len(rounds))
    decision = decide(rounds, tolerances, rounds_max, attempts)
    return _statistics(decision, rounds, limits, found, tolerances, rounds_max, attempts)


def _why_no_partner(new: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]]) -> str:
    for name, reports in (("new", new), ("old", old)):
        if not any(usable(report) for report in reports):
            reasons = "; ".join(str(reason) for report in reports for reason in report["invalid_reasons"])
            return f"No measurement of the {name} release is valid ({reasons or 'no reason given'})."
    return (
        "The two releases were measured under another load or with another tool. Measure both with the same "
        "local_llm_benchmark."
    )


def _nothing(decision: str, sentence: str) -> dict[str, Any]:
    """Return statistics that prove nothing."""
    empty = dict.fromkeys(
        (
            "worse", "better", "worse_by", "bad_share", "rise", "money", "limits_seconds", "median_ratios",
            "more_pairs", "smallest_found", "counted_pairs",
        )
    )  # fmt: skip
    return {
        "method": METHOD, "decision": decision, "certainty": 1 - ALPHA, "rounds": 0, "rounds_max": 0, "pairs": 0,
        **empty, "sentence": sentence,
    }  # fmt: skip


def _statistics(
    decision: Decision,
    rounds: Sequence[Round],
    limits: Limits,
    found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    tolerances: Tolerances,
    rounds_max: int,
    attempts: int,
) -> dict[str, Any]:
    used = rounds[: decision.rounds]
    pairs, worse, better = (sum(getattr(one, key) for one in used) for key in ("size", "worse", "better"))
    shares = [sum(pair[side] for one in used for pair in one.pairs) / pairs for side in (0, 1)]
    proven = tolerances.bad_share_increase_harmless if decision.word == "fail" else None
    least, most = rise_bounds(used, rounds_max, attempts, proven)
    why = sum((one.why for one in used), Counter[str]())
    weight = used[-1].weights[0 if decision.word == "fail" else 1]
    statistics: dict[str, Any] = {
        "method": METHOD,
        "decision": decision.word,
        "certainty": 1 - ALPHA,
        "rounds": decision.rounds,
        "rounds_max": rounds_max,
        "pairs": pairs,
        "counted_pairs": int(pairs * weight),
        "worse": worse,
        "better": better,
        "worse_by": dict(sorted(why.items(), key=lambda item: (-item[1], item[0]))),
        "bad_share": {"baseline": round(shares[0], 4), "new": round(shares[1], 4)},
        "rise": {
            "estimate": round((worse - better) / pairs, 4),
            "lower": None if least is None else round(least, 4),
            "upper": round(most, 4),
            "harmless": tolerances.bad_share_increase_harmless,
            "tolerated": tolerances.bad_share_increase_max,
        },
        "money": {
            "worse": _short(decision.money_worse),
            "acceptable": _short(decision.money_acceptable),
            "needed": _short(NEEDED * attempts),
        },
        "limits_seconds": {measure: round(value, 6) for measure, value in limits.seconds.items()},
        "median_ratios": ratios(
            [old for old, _new in found[: len(used)]], [new for _old, new in found[: len(used)]], ALPHA
        ),
        "more_pairs": more_pairs(used, tolerances) if decision.word == "inconclusive" else None,
        "smallest_found": smallest_found(int(used[0].size * used[-1].weights[0]), rounds_max, tolerances),
    }
    return {**statistics, "sentence": sentence_of(statistics, limits)}


def sentence_of(statistics: Mapping[str, Any], limits: Limits) -> str:
    """Return what the pairs say, for people."""
    pairs, worse = statistics["pairs"], statistics["worse"]
    counted = f"{worse} of {pairs} pairs are worse"
    main = next(iter(statistics["worse_by"]), None)
    if main is not None:
        about = _MEASURE_WORDS.get(main, main)
        counted += f", mostly by {about}" if len(statistics["worse_by"]) > 1 else f", by {about}"
        if main in limits.told:
            counted += f" ({limits.told[main]})"
    if statistics["counted_pairs"] < GROUPED * pairs:
        counted += f"; slow requests come in groups, so {pairs} pairs count as {statistics['counted_pairs']}"
    rise = statistics["rise"]
    percent = f"{statistics['certainty']:.0%}".replace("%", " %")
    most = f"with {percent} certainty at most {_points(rise['upper'])} more requests are bad than before"
    if statistics["decision"] == "pass":
        return f"{_upper(most)}; {counted}."
    if statistics["decision"] == "fail":
        return (
            f"Worse than before, seen in more than one round: {counted}. With {percent} certainty at least "
            f"{_points(rise['lower'] or 0.0)} more requests are bad."
        )
    more = statistics["more_pairs"]
    needed = f"About {more} more pairs would tell" if more else "More pairs of this kind would not let it pass"
    return f"The pairs do not tell yet: {counted}; {most}, tolerated are {_points(rise['tolerated'])}. {needed}."


def _points(share: float) -> str:
    return f"{100 * share:.1f} percentage points"


def _short(value: float) -> float:
    return float(f"{min(value, 1e12):.4g}")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
