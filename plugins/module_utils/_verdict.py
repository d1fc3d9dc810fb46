# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From evidence to a verdict: pass, fail, inconclusive or error. Point estimates with tolerances, no statistics yet.

The one place where measurements are judged; replace it whole. judge() takes plain data and gives plain data.

Order of the words: a known breach is a fail, whatever else is missing, because going back is the safe side. Then error
(evidence missing or unreadable), then inconclusive (evidence too thin to tell), then pass.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._benchmark_report import REASON_ALL_FAILED, REASON_GAVE_UP
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import (
    benchmark_problem,
    is_number,
    quality_problem,
)


@dataclass(frozen=True)
class Tolerances:
    """What counts as slower than the baseline: more than `ratio_max` times as much AND more than the floor on top.

    ratio_max 1.5: repeated runs of one unchanged server on a shared machine were seen to differ by a factor of 1.3.
    ttft_floor_seconds 0.1: a person does not notice a tenth of a second; 2 ms to 4 ms is no regression.
    tpot_floor_seconds 0.005: 5 ms per token is what separates 200 from 100 tokens/s.
    e2el_floor_seconds 0.5: about 100 tokens of 5 ms.
    error_share_increase_max 0.01: errors that the baseline did not have, as a share of all requests.
    baseline_required: whether a missing or invalid baseline makes the verdict inconclusive (a verified rollback wants
    it) or is only noted (an upgrade away from a broken release must be possible).
    """

    ratio_max: float = 1.5
    ttft_floor_seconds: float = 0.1
    tpot_floor_seconds: float = 0.005
    e2el_floor_seconds: float = 0.5
    error_share_increase_max: float = 0.01
    baseline_required: bool = False


class ToleranceError(ValueError):
    """A tolerance is unknown or has a value that cannot be used."""


def parse_tolerances(raw: dict[str, Any] | None) -> Tolerances:
    """Return tolerances from a dictionary with any of their names; the others keep their defaults."""
    known = {field.name for field in fields(Tolerances)}
    for key, value in (raw or {}).items():
        if key not in known:
            raise ToleranceError(f"tolerances.{key}: not known; use one of: {', '.join(sorted(known))}")
        if key == "baseline_required":
            if not isinstance(value, bool):
                raise ToleranceError(f"tolerances.{key}: {value!r} is neither true nor false")
        elif not is_number(value) or value < (1 if key == "ratio_max" else 0):
            low = "1" if key == "ratio_max" else "0"
            raise ToleranceError(f"tolerances.{key}: {value!r} is no number of {low} or more; write it without quotes")
    return Tolerances(**(raw or {}))


# SLO key -> (what it is called, where it is in a benchmark report, unit)
_SLO_LATENCIES: dict[str, tuple[str, str, str]] = {
    "ttft_p50_max_seconds": ("time to first token p50", "ttft_seconds", "p50"),
    "ttft_p95_max_seconds": ("time to first token p95", "ttft_seconds", "p95"),
    "latency_p50_max_seconds": ("total latency p50", "e2el_seconds", "p50"),
    "latency_p95_max_seconds": ("total latency p95", "e2el_seconds", "p95"),
}
_REGRESSIONS: tuple[tuple[str, str, str, str], ...] = (
    ("time to first token p50", "ttft_seconds", "p50", "ttft_floor_seconds"),
    ("time to first token p95", "ttft_seconds", "p95", "ttft_floor_seconds"),
    ("time per output token p50", "tpot_seconds", "p50", "tpot_floor_seconds"),
    ("total latency p50", "e2el_seconds", "p50", "e2el_floor_seconds"),
    ("total latency p95", "e2el_seconds", "p95", "e2el_floor_seconds"),
)


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
) -> dict[str, Any]:
    """Return the verdict on this evidence. Never raises for what the evidence looks like."""
    limits = tolerances or Tolerances()
    found: list[_Judgement] = []
    problem = benchmark_problem(benchmark)
    if benchmark is None or problem:
        found.append(_reason("benchmark", problem, None, "a benchmark report of this release", "error"))
    else:
        found += _judge_validity(benchmark)
        found += _judge_slo(benchmark, tier_name, tier)
        found += _judge_baseline(benchmark, baseline, limits)
    found += _judge_quality(quality, require_quality)
    word = _word(found)
    reasons = [judgement.reason for judgement in found]
    return {
        "schema": 1,
        "verdict": word,
        "reasons": reasons,
        "summary": _summary(word, reasons, benchmark, quality, baseline),
    }


def _word(found: list[_Judgement]) -> str:
    statuses = {judgement.reason["status"] for judgement in found}
    if "fail" in statuses:
        return "fail"
    if any(judgement.error for judgement in found):
        return "error"
    return "inconclusive" if "inconclusive" in statuses else "pass"


def _trusted(benchmark: dict[str, Any]) -> bool:
    """Tell whether its latencies may be held against the release. Failures of the server do not make them untrue."""
    own_faults = (REASON_ALL_FAILED, REASON_GAVE_UP)
    return all(str(reason).startswith(own_faults) for reason in benchmark["invalid_reasons"])


def _judge_validity(benchmark: dict[str, Any]) -> list[_Judgement]:
    if benchmark["valid"]:
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
    for measure, key, share in (
        ("error rate in percent", "error_rate_max_percent", _error_share(benchmark)),
        ("timeout rate in percent", "timeout_rate_max_percent", _timeout_share(benchmark)),
    ):
        compare(measure, None if share is None else round(100 * share, 3), tier.get(key), "<=", False)
    return found


def _error_share(benchmark: dict[str, Any]) -> float | None:
    requests = benchmark["requests"]
    return (requests["failed"] - requests["timeouts"]) / requests["issued"] if requests["issued"] else None


def _timeout_share(benchmark: dict[str, Any]) -> float | None:
    requests = benchmark["requests"]
    return requests["timeouts"] / requests["issued"] if requests["issued"] else None


def _judge_baseline(benchmark: dict[str, Any], baseline: Any, limits: Tolerances) -> list[_Judgement]:
    """Compare with the release that served before. Both must have borne the same load."""
    missing = "inconclusive" if limits.baseline_required else "pass"
    if baseline is None:
        return [_reason("baseline", None, None, "no baseline to compare with", missing)]
    problem = benchmark_problem(baseline)
    if problem:
        return [_reason("baseline", problem, None, "a readable baseline report", "error")]
    if not baseline["valid"]:
        why = "; ".join(str(reason) for reason in baseline["invalid_reasons"])
        return [_reason("baseline", why, None, "not compared: the baseline is not valid", missing)]
    for key, what in (("workload", "load"), ("engine_version_tool", "tool")):
        mine, theirs = (
            report[key]["hash"] if key == "workload" else report.get(key) for report in (benchmark, baseline)
        )
        if mine != theirs:
            rule = f"the baseline was taken with another {what}; take it again with this one"
            return [_reason("baseline", str(mine)[:12], str(theirs)[:12], rule, "inconclusive")]
    found = [_judge_slower(benchmark, baseline, limits, *regression) for regression in _REGRESSIONS]
    before, after = baseline["requests"], benchmark["requests"]
    if before["issued"] and after["issued"]:
        was, now = before["failed"] / before["issued"], after["failed"] / after["issued"]
        threshold = round(was + limits.error_share_increase_max, 4)
        rule = f"at most {limits.error_share_increase_max} above the baseline's {round(was, 4)}"
        found.append(_reason("failed share", round(now, 4), threshold, rule, "pass" if now <= threshold else "fail"))
    return [judgement for judgement in found if judgement is not None]


def _judge_slower(
    benchmark: dict[str, Any],
    baseline: dict[str, Any],
    limits: Tolerances,
    measure: str,
    key: str,
    which: str,
    floor_name: str,
) -> _Judgement | None:
    before, after = baseline[key].get(which), benchmark[key].get(which)
    if before is None or not benchmark["requests"]["succeeded"]:
        return None
    floor: float = getattr(limits, floor_name)
    threshold = round(max(before * limits.ratio_max, before + floor), 6)
    rule = f"against the baseline's {before}: at most {limits.ratio_max} times, or {floor} s more"
    if after is None:
        return _reason(measure, None, threshold, f"{rule}; too few samples to tell", "inconclusive")
    bad = "fail" if _trusted(benchmark) else "inconclusive"
    return _reason(measure, after, threshold, rule, "pass" if after <= threshold else bad)


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
    baseline: dict[str, Any] | None,
) -> str:
    if word == "pass" and benchmark is not None:
        parts = [f"{benchmark['requests']['succeeded']} of {benchmark['requests']['issued']} requests answered"]
        ttft = benchmark["ttft_seconds"].get("p50")
        if ttft is not None:
            parts.append(f"time to first token p50 {1000 * ttft:.0f} ms")
        if quality is not None:
            parts.append(f"{quality['passed']} of {len(quality['items'])} golden prompts right")
        compared = any("against the baseline" in reason["rule"] for reason in reasons)
        parts.append("no slower than the baseline" if compared else "not compared with a baseline")
        return f"Pass: {', '.join(parts)}."
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
