# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From evidence to a verdict: pass, fail, inconclusive or error. judge() takes plain data and gives plain data.

The limits of the tier, errors and golden answers are held against the figures as they are. Whether a release is slower
than the one before it is a question for statistics: plugin_utils/_judge.py answers it on the controller, and its answer
comes in as `statistics`.

Order of the words: a known breach is a fail, whatever else is missing, because going back is the safe side. Then error
(evidence missing or unreadable), then inconclusive (evidence too thin to tell), then pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._validity import REASON_ALL_FAILED, REASON_GAVE_UP
from ansible_collections.local_llm.ops.plugins.module_utils._chance import chance_of
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import (
    benchmark_problem,
    is_number,
    quality_problem,
)
from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest


@dataclass(frozen=True)
class Tolerances:
    """What one request must take longer to count as slower, and how many may.

    A request is slow when it takes more than `ratio_max` times the baseline's own p95 AND more than the floor on top.
    ratio_max 1.5: repeated runs of one unchanged server on a shared machine were seen to differ by a factor of 1.3.
    ttft_floor_seconds 0.1: a person does not notice a tenth of a second; 2 ms to 4 ms is no regression.
    tpot_floor_seconds 0.005: 5 ms per token is what separates 200 from 100 tokens/s.
    e2el_floor_seconds 0.5: about 100 tokens of 5 ms.
    error_share_increase_max 0.01: errors that the baseline did not have, as a share of all requests.
    bad_share_increase_max 0.05: a release that makes so many more requests bad must not pass. When everything is slower
    by ratio_max, just 5 % are: those that were above the p95 before.
    bad_share_increase_harmless 0.01: a release with no more of a rise than this must not be taken back.
    baseline_required: whether a missing or invalid baseline makes the verdict inconclusive (a rollout wants it) or is
    only noted (a release may be measured by itself).
    """

    ratio_max: float = 1.5
    ttft_floor_seconds: float = 0.1
    tpot_floor_seconds: float = 0.005
    e2el_floor_seconds: float = 0.5
    error_share_increase_max: float = 0.01
    bad_share_increase_max: float = 0.05
    bad_share_increase_harmless: float = 0.01
    baseline_required: bool = False


class ToleranceError(ValueError):
    """A tolerance is unknown or has a value that cannot be used."""


def parse_tolerances(raw: dict[str, Any] | None) -> Tolerances:
    """Return tolerances from a dictionary with any of their names; the others keep their defaults."""
    known = {field.name for field in fields(Tolerances)}
    for key, value in (raw or {}).items():
        if key not in known:
            near = nearest(str(key), known)
            hint = f"did you mean {near}?" if near else f"use one of: {', '.join(sorted(known))}"
            raise ToleranceError(f"tolerances.{key}: not known; {hint}")
        if key == "baseline_required":
            if not isinstance(value, bool):
                raise ToleranceError(f"tolerances.{key}: {value!r} is neither true nor false")
        elif not is_number(value) or value < (1 if key == "ratio_max" else 0):
            low = "1" if key == "ratio_max" else "0"
            raise ToleranceError(f"tolerances.{key}: {value!r} is no number of {low} or more; write it without quotes")
    parsed = Tolerances(**(raw or {}))
    if not parsed.bad_share_increase_harmless < parsed.bad_share_increase_max < 1:
        raise ToleranceError(
            f"tolerances.bad_share_increase_max: {parsed.bad_share_increase_max} is not between "
            f"bad_share_increase_harmless ({parsed.bad_share_increase_harmless}) and 1; give a share such as 0.05"
        )
    return parsed


# Answers that come in one piece: the client sees its first token with the last one. That is how the server, or what
# stands before it, behaves, and no fault of the measurement; the time per token is not known then.
ONE_PIECE = "one_piece"
# The reason that the statistics give.
PAIRS = "pairs against the baseline"

# SLO key -> (what it is called, where it is in a benchmark report, unit)
_SLO_LATENCIES: dict[str, tuple[str, str, str]] = {
    "ttft_p50_max_seconds": ("time to first token p50", "ttft_seconds", "p50"),
    "ttft_p95_max_seconds": ("time to first token p95", "ttft_seconds", "p95"),
    "latency_p50_max_seconds": ("total latency p50", "e2el_seconds", "p50"),
    "latency_p95_max_seconds": ("total latency p95", "e2el_seconds", "p95"),
}


@dataclass(frozen=True)
class _Judgement:
    reason: dict[str, Any]
    error: bool = False


def _reason(measure: str, observed: Any, threshold: Any, rule: str, status: str) -> _Judgement:
    """A reason of the verdict. An error is told as inconclusive there, and by the verdict's own word."""
    shown = "inconclusive" if status == "error" else status
    return _Judgement(
        {"measure": measure, "observed": observed, "threshold": threshold, "rule": rule, "status": shown},
        error=status == "error",
    )


def judge(
    benchmark: dict[str, Any] | None,
    quality: dict[str, Any] | None,
    baseline: dict[str, Any] | None,
    tier_name: str,
    tier: dict[str, Any],
    tolerances: Tolerances | None = None,
    require_quality: bool = True,
    statistics: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the verdict on this evidence. Never raises for what the evidence looks like.

    statistics: what _judge.compare() says of the same reports; without them nothing is called slower or not slower.
    """
    limits = tolerances or Tolerances()
    found: list[_Judgement] = []
    problem = benchmark_problem(benchmark)
    if benchmark is None or problem:
        found.append(_reason("benchmark", problem, None, "a benchmark report of this release", "error"))
    else:
        found += _judge_validity(benchmark)
        found += _judge_slo(benchmark, tier_name, tier)
        found += _judge_baseline(benchmark, baseline, limits, statistics)
        found += _judge_statistics(benchmark, statistics, limits)
    found += _judge_quality(quality, require_quality)
    word = _word(found)
    reasons = [judgement.reason for judgement in found]
    return {
        "schema": 1,
        "verdict": word,
        "reasons": reasons,
        "statistics": statistics,
        "summary": _summary(word, reasons, benchmark, quality, statistics),
    }


def _word(found: list[_Judgement]) -> str:
    statuses = {judgement.reason["status"] for judgement in found}
    if "fail" in statuses:
        return "fail"
    if any(judgement.error for judgement in found):
        return "error"
    return "inconclusive" if "inconclusive" in statuses else "pass"


def _trusted(benchmark: Mapping[str, Any]) -> bool:
    """Tell whether its latencies may be held against the release. Failures of the server do not make them untrue."""
    own_faults = (REASON_ALL_FAILED, REASON_GAVE_UP, ONE_PIECE)
    return all(str(reason).startswith(own_faults) for reason in benchmark["invalid_reasons"])


def usable(benchmark: Mapping[str, Any]) -> bool:
    """Tell whether a report may be compared: it is valid, but for answers that come in one piece."""
    reasons = benchmark["invalid_reasons"]
    only_pieces = bool(reasons) and all(str(reason).startswith(ONE_PIECE) for reason in reasons)
    return bool(benchmark["valid"]) or (only_pieces and benchmark["requests"]["succeeded"] > 0)


def counts(benchmark: Mapping[str, Any]) -> bool:
    """Tell whether a report of the new release is evidence: it may be compared, or it is the server that failed."""
    reasons = benchmark["invalid_reasons"]
    return usable(benchmark) or bool(reasons and benchmark["requests"]["issued"] and _trusted(benchmark))


def _judge_validity(benchmark: dict[str, Any]) -> list[_Judgement]:
    if usable(benchmark):
        return []
    observed = "; ".join(str(reason) for reason in benchmark["invalid_reasons"]) or "no reason given"
    if _trusted(benchmark) and benchmark["requests"]["issued"] and not benchmark["requests"]["succeeded"]:
        return [_reason("benchmark", observed, None, "at least one request is answered", "fail")]
    return [_reason("benchmark", observed, None, "the measurement itself is valid", "inconclusive")]


def _judge_slo(benchmark: dict[str, Any], tier_name: str, tier: dict[str, Any]) -> list[_Judgement]:
    """Compare what the benchmark measures with the tier. Availability and queue depth are not measured here."""
    trusted = _trusted(benchmark)
    found = []

    def compare(measure: str, observed: Any, limit: Any, sign: str, timing: bool) -> None:
        if limit is None or (timing and not benchmark["requests"]["succeeded"]):
            return
        rule = f"{sign} {limit} (tier {tier_name})"
        if observed is None:
            found.append(_reason(measure, None, limit, f"{rule}; too few samples to tell", "inconclusive"))
            return
        good = observed <= limit if sign == "<=" else observed >= limit
        bad = "fail" if trusted or not timing else "inconclusive"
        found.append(_reason(measure, observed, limit, rule, "pass" if good else bad))

    for key, (measure, report_key, which) in _SLO_LATENCIES.items():
        compare(measure, benchmark[report_key].get(which), tier.get(key), "<=", True)
    speed = benchmark["output_tokens_per_second_per_request"].get("p50")
    compare("tokens/s of a request p50", speed, tier.get("tokens_per_second_p50_min"), ">=", True)
    rate = benchmark.get("requests_per_second")
    rate = round(60 * rate, 3) if rate is not None else None
    compare("requests per minute", rate, tier.get("requests_per_minute_min"), ">=", True)
    requests = benchmark["requests"]
    for measure, key, count in (
        ("error rate in percent", "error_rate_max_percent", requests["failed"] - requests["timeouts"]),
        ("timeout rate in percent", "timeout_rate_max_percent", requests["timeouts"]),
    ):
        limit, issued = tier.get(key), requests["issued"]
        compare(measure, round(100 * count / issued, 3) if issued else None, limit, "<=", False)
        if limit is None or found[-1].reason["status"] != "fail":
            continue
        if chance_of(count, issued, limit / 100) > TOO_RARE:
            rule = f"<= {limit} (tier {tier_name}); {count} of {issued} may be chance"
            found[-1] = _reason(measure, found[-1].reason["observed"], limit, rule, "inconclusive")
    return found


# One error in 150 requests is 0.7 percent, and a release that keeps a limit of 0.5 shows it in every second round. A
# share over the limit is a fail where it is rarer than this for a release that just keeps it: small enough for 4 looks.
TOO_RARE = 0.005


def only_late(verdict: dict[str, Any]) -> bool:
    """Tell whether a verdict fails for nothing but latencies over the tier's limits: a disturbance does that, too."""
    failing = [reason for reason in verdict["reasons"] if reason["status"] == "fail"]
    latencies = {measure for measure, _key, _which in _SLO_LATENCIES.values()}
    return bool(failing) and all(reason["measure"] in latencies for reason in failing)


def _judge_baseline(
    benchmark: dict[str, Any], baseline: Any, limits: Tolerances, statistics: dict[str, Any] | None
) -> list[_Judgement]:
    """Compare errors with the release that served before. Latencies are for the statistics.

    Where requests were paired, errors are among them: then only the pairs prove a rise. A share over the limit is no
    pass all the same.
    """
    missing = "inconclusive" if limits.baseline_required else "pass"
    if baseline is None:
        return [_reason("baseline", None, None, "no baseline to compare with", missing)]
    problem = benchmark_problem(baseline)
    if problem:
        return [_reason("baseline", problem, None, "a readable baseline report", "error")]
    if not usable(baseline):
        why = "; ".join(str(reason) for reason in baseline["invalid_reasons"])
        return [_reason("baseline", why, None, "not compared: the baseline is not valid", missing)]
    before, after = baseline["requests"], benchmark["requests"]
    if not before["issued"] or not after["issued"]:
        return []
    was, now = before["failed"] / before["issued"], after["failed"] / after["issued"]
    threshold = round(was + limits.error_share_increase_max, 4)
    rule = f"at most {limits.error_share_increase_max} above the baseline's {round(was, 4)}"
    over = "inconclusive" if statistics and statistics.get("pairs") else "fail"
    return [_reason("failed share", round(now, 4), threshold, rule, "pass" if now <= threshold else over)]


def _judge_statistics(
    benchmark: dict[str, Any], statistics: dict[str, Any] | None, limits: Tolerances
) -> list[_Judgement]:
    """Return what the pairs of requests prove."""
    if statistics is None or not benchmark["requests"]["succeeded"]:
        return []
    decision = statistics["decision"]
    rise = statistics["rise"]
    # The bound that the word rests on: above what is harmless it is a fail, below what is tolerated a pass.
    observed, threshold = None, None
    if rise is not None:
        lower, upper = rise["lower"], rise["upper"]
        observed, threshold = (lower, rise["harmless"]) if decision == "fail" else (upper, rise["tolerated"])
    return [_reason(PAIRS, observed, threshold, statistics["sentence"], decision)]


def _judge_quality(quality: Any, required: bool) -> list[_Judgement]:
    if quality is None and not required:
        return []
    problem = quality_problem(quality)
    if problem:
        return [_reason("quality", problem, None, "a quality report of this release", "error")]
    observed, threshold = quality["pass_share"], quality["min_pass_share"]
    if quality["ok"]:
        return [_reason("quality", observed, threshold, "share of golden prompts answered right", "pass")]
    # An item with an answer but an error could not be judged (nothing recorded): that is the suite's fault, no proof
    # against the release. An item without an answer is the release's.
    unjudged = [item for item in quality["items"] if item.get("status") == "error" and item.get("sha256") is not None]
    if len(unjudged) == quality["errors"] and not quality["failed"]:
        details = "; ".join(sorted({str(item.get("detail", "")) for item in unjudged}))
        return [_reason("quality", details, None, "every golden prompt can be judged", "error")]
    rule = f"{quality['failed']} wrong and {quality['errors']} without result of {len(quality['items'])} golden prompts"
    return [_reason("quality", observed, threshold, rule, "fail")]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _told(reason: dict[str, Any]) -> str:
    """Return one reason as part of a sentence."""
    if reason["measure"] == PAIRS:
        return str(reason["rule"]).rstrip(".")
    if reason["observed"] is None:
        return f"{reason['measure']}: {reason['rule']}"
    if reason["threshold"] is None:
        return f"{reason['measure']}: {reason['observed']}"
    observed, threshold = _number(reason["observed"]), _number(reason["threshold"])
    return f"{reason['measure']} is {observed}, allowed is {threshold} ({reason['rule']})"


def _summary(
    word: str,
    reasons: list[dict[str, Any]],
    benchmark: dict[str, Any] | None,
    quality: dict[str, Any] | None,
    statistics: dict[str, Any] | None,
) -> str:
    if word == "pass" and benchmark is not None:
        parts = [f"{benchmark['requests']['succeeded']} of {benchmark['requests']['issued']} requests answered"]
        ttft = benchmark["ttft_seconds"].get("p50")
        if ttft is not None:
            parts.append(f"time to first token p50 {1000 * ttft:.0f} ms")
        if quality is not None:
            parts.append(f"{quality['passed']} of {len(quality['items'])} golden prompts right")
        if statistics is None or statistics["decision"] != "pass":
            return f"Pass: {', '.join(parts)}, not compared with a baseline."
        return f"Pass: {', '.join(parts)}. {statistics['sentence']}"
    wanted = "fail" if word == "fail" else "inconclusive"
    told = [_told(reason) for reason in reasons if reason["status"] == wanted]
    more = f" And {len(told) - 1} more, see reasons." if len(told) > 1 else ""
    opening, advice = _SENTENCES[word]
    return f"{opening} {told[0]}.{more} {advice}"


_SENTENCES = {
    "fail": ("Fail:", "The release must go back."),
    "inconclusive": ("Cannot tell:", "Nothing is proved either way; measure again or decide by hand."),
    "error": ("No verdict:", "The evidence is missing or unreadable; mend that and measure again."),
}
