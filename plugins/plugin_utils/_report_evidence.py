# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The allow-list of evidence: a report shows the keys named here and drops every other one.

So that no prompt, completion or secret reaches a report, also not when a later version of a module returns more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_rounds import merge_rounds

MAX_TEXT = 400
MAX_SAMPLES = 1000
MAX_ITEMS = 500
MAX_LOG_LINES = 6
MAX_REASON = 1200

Leaf = Callable[[Any], Any]


def number(value: Any) -> float | int | None:
    """Keep a finite number; anything else becomes None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def text(value: Any) -> str | None:
    """Keep a short text on one line; cut a long one."""
    if not isinstance(value, str):
        return None
    line = " ".join(value.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def detail(value: Any) -> str | None:
    """Keep a detail; of a long one with lines of a log, keep the first line and as many of the last as fit."""
    if not isinstance(value, str) or len(" ".join(value.split())) <= MAX_TEXT:
        return text(value)
    first, *lines = value.splitlines() or [""]
    head = text(first) if not lines else _cut(" ".join(first.split()), MAX_TEXT // 2)
    kept: list[str] = []
    room = MAX_TEXT - len(head or "") - 3
    for line in reversed([" ".join(line.split()) for line in lines]):
        room -= len(line) + 1
        if room < 0:
            break
        kept.insert(0, line)
    return " ".join([head or "", "…", *kept]) if lines else head


def reason(value: Any) -> str | None:
    """Return the first line of a detail, whole unless it is very long."""
    first = next((line for line in value.splitlines() if line.strip()), "") if isinstance(value, str) else ""
    return _cut(" ".join(first.split()), MAX_REASON) or None


def log_lines(value: Any) -> list[str]:
    """Return the last lines of a detail that has several: a log, where the end tells most."""
    lines = value.splitlines()[1:] if isinstance(value, str) else []
    return [_cut(" ".join(line.split()), MAX_TEXT) for line in lines if line.strip()][-MAX_LOG_LINES:]


def _cut(line: str, length: int) -> str:
    return line if len(line) <= length else line[: length - 1] + "…"


def flag(value: Any) -> bool | None:
    """Keep a boolean."""
    return value if isinstance(value, bool) else None


def scalar(value: Any) -> Any:
    """Keep a boolean, a number or a short text."""
    if isinstance(value, bool):
        return value
    kept = number(value)
    return text(value) if kept is None else kept


def option(value: Any) -> str | None:
    """Keep the value of an option as short text."""
    if value is None:
        return None
    return text(value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str))


def counts(value: Any) -> dict[str, Any] | None:
    """Keep a mapping of names to numbers."""
    if not isinstance(value, Mapping):
        return None
    return {str(text(str(key))): number(item) for key, item in value.items() if number(item) is not None}


def samples(value: Any) -> list[float] | None:
    """Keep numbers, sorted; more than MAX_SAMPLES are thinned evenly and keep the smallest and the largest."""
    if not isinstance(value, list):
        return None
    kept = sorted(item for item in map(number, value) if item is not None)
    if len(kept) <= MAX_SAMPLES:
        return kept
    last = len(kept) - 1
    return [kept[round(index * last / (MAX_SAMPLES - 1))] for index in range(MAX_SAMPLES)]


def texts(value: Any) -> list[str] | None:
    """Keep a list of short texts."""
    if not isinstance(value, list):
        return None
    return [kept for kept in map(text, value[:MAX_ITEMS]) if kept is not None]


_STATISTICS = dict.fromkeys(("p50", "p90", "p95", "p99", "mean", "min", "max", "count"), number)

BENCHMARK: dict[str, Any] = {
    "schema": number,
    "kind": text,
    "engine_version_tool": text,
    "workload": {
        "url_path": text,
        "api": text,
        "model": text,
        "users": number,
        "requests": number,
        "prompt_tokens": number,
        "output_tokens": number,
        "seed": number,
        "warmup_requests": number,
        "hash": text,
    },
    "started_at": text,
    "duration_seconds": number,
    "requests": {"issued": number, "succeeded": number, "failed": number, "timeouts": number, "errors": counts},
    "ttft_seconds": _STATISTICS,
    "itl_seconds": _STATISTICS,
    "tpot_seconds": _STATISTICS,
    "e2el_seconds": _STATISTICS,
    "output_tokens_total": number,
    "output_tokens_per_second": number,
    "requests_per_second": number,
    "output_tokens_per_second_per_request": _STATISTICS,
    "token_source": text,
    "coalesced_share": number,
    "valid": flag,
    "invalid_reasons": texts,
    "samples": {"ttft_seconds": samples, "e2el_seconds": samples, "tpot_seconds": samples},
}
QUALITY: dict[str, Any] = {
    "schema": number,
    "kind": text,
    "suite_sha256": text,
    "items": [
        {
            "id": text,
            "status": text,
            "check": text,
            "critical": flag,
            "match": text,
            "similarity": number,
            "sha256": text,
            "expected_sha256": text,
            "reference_status": text,
        }
    ],
    "passed": number,
    "failed": number,
    "errors": number,
    "pass_share": number,
    "min_pass_share": number,
    "compared": {
        "mode": text,
        "reference": {"engine": text, "engine_version": text, "model": text, "model_revision": text},
        "pairs": number,
        "worse": number,
        "better": number,
        "p_value": number,
        "worse_p_value": number,
        "alpha": number,
        "verdict": text,
        "smallest_provable": number,
    },
    "reasons": texts,
    "ok": flag,
}
_BOUNDS = dict.fromkeys(("estimate", "lower", "upper"), number)
STATISTICS: dict[str, Any] = {
    "method": text,
    "decision": text,
    "certainty": number,
    "rounds": number,
    "rounds_max": number,
    "pairs": number,
    "counted_pairs": number,
    "worse": number,
    "better": number,
    "worse_by": counts,
    "bad_share": {"baseline": number, "new": number},
    "rise": {**_BOUNDS, "harmless": number, "tolerated": number},
    "money": {"worse": number, "acceptable": number, "needed": number},
    "limits_seconds": counts,
    "median_ratios": {"ttft": _BOUNDS, "tpot": _BOUNDS, "e2el": _BOUNDS},
    "more_pairs": number,
    "smallest_found": number,
    "sentence": text,
}
VERDICT: dict[str, Any] = {
    "schema": number,
    "verdict": text,
    "reasons": [{"measure": text, "observed": scalar, "threshold": scalar, "rule": text, "status": text}],
    "statistics": STATISTICS,
    "summary": text,
}
# What a plan says of one instance. Options of an engine are shown; secrets are not among them by design.
PLANNED: dict[str, Any] = {
    "from": text,
    "to": text,
    "action": text,
    "slo_tier": text,
    "changes": [{"key": text, "from": option, "to": option}],
}
LIVE: dict[str, Any] = dict.fromkeys(("requests", "failed", "others_requests", "others_failed"), number)
# Facts of single steps that a reader of the journal table wants to see.
FACTS: dict[str, Any] = {
    "step": text,
    "reason": text,
    "task": text,
    "category": text,
    "seconds": lambda value: counts(value) if isinstance(value, Mapping) else number(value),
    "share_percent": number,
    "in_flight": number,
    "waited_seconds": number,
    "watch_seconds": number,
    "requests": number,
    "pool_requests": number,
    "requests_wanted": number,
    "failed": number,
    "others_requests": number,
    "others_failed": number,
    "requests_total": number,
    "http_5xx_total": number,
    "errors_total": number,
    "http_status": number,
    "ok": flag,
    "output_tokens": number,
    "batch": scalar,
    "server": text,
    "pool": text,
    "release_id": text,
    "changed": flag,
    "deadline_at": text,
    # Health of the GPUs: the word, how many checks came out how, and what would mend it.
    "status": text,
    "summary": counts,
    "remedy": text,
}


def keep(value: Any, shape: Any) -> Any:
    """Return what of a value the shape names: a mapping of keys, [shape] for a list, or a function for a leaf.

    Every key of the shape is there afterwards; what the value lacks, or has in another type, is None.
    """
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            return None
        return {key: keep(value.get(key), inner) for key, inner in shape.items()}
    if isinstance(shape, list):
        if not isinstance(value, list):
            return None
        return [kept for kept in (keep(item, shape[0]) for item in value[:MAX_ITEMS]) if kept is not None]
    return shape(value)


def find_benchmark(evidence: Any, files: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the benchmark report that a journal line carries or points to."""
    return _find(evidence, files, lambda item: item.get("kind") == "benchmark", BENCHMARK)


def find_rounds(evidence: Any, files: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the benchmark report that a journal line carries or points to, as it is; an empty list without one."""
    found = _first(evidence, files, lambda item: item.get("kind") == "benchmark")
    return [] if found is None else [found]


def keep_benchmark(rounds: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what a report shows of the rounds of one measurement together."""
    kept: dict[str, Any] | None = keep(merge_rounds(rounds), BENCHMARK)
    return kept


def find_quality(evidence: Any, files: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the quality report that a journal line carries or points to."""
    return _find(evidence, files, lambda item: item.get("kind") == "quality", QUALITY)


def find_verdict(evidence: Any, files: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the verdict that a journal line carries or points to."""

    def matches(item: Mapping[str, Any]) -> bool:
        return isinstance(item.get("verdict"), str) and isinstance(item.get("reasons"), list)

    return _find(evidence, files, matches, VERDICT)


def find_live(line: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a line of the watch says of live requests; the newest line counts those before it too."""
    kept = keep(line.get("evidence"), LIVE) or {}
    if kept.get("requests") is None:
        return None
    return {**kept, "told": detail(line.get("detail")), "stopped": line.get("event") == "step_failed"}


def facts(evidence: Any) -> dict[str, Any]:
    """Return the small facts of a journal line's evidence, without empty ones."""
    kept = keep(evidence, FACTS) or {}
    return {key: value for key, value in kept.items() if value not in (None, {}, "")}


def resolve(value: Any, files: Mapping[str, Any]) -> Any:
    """Return what a value of a journal line stands for: the content of an evidence file, or the value itself."""
    if isinstance(value, str) and value.endswith(".json"):
        return files.get(value.rsplit("/", 1)[-1])
    return value


def _find(
    evidence: Any, files: Mapping[str, Any], matches: Callable[[Mapping[str, Any]], bool], shape: dict[str, Any]
) -> dict[str, Any] | None:
    found = _first(evidence, files, matches)
    kept: dict[str, Any] | None = None if found is None else keep(found, shape)
    return kept


def _first(
    evidence: Any, files: Mapping[str, Any], matches: Callable[[Mapping[str, Any]], bool]
) -> Mapping[str, Any] | None:
    if not isinstance(evidence, Mapping):
        return None
    for candidate in (evidence, *evidence.values()):
        found = resolve(candidate, files)
        if isinstance(found, Mapping) and matches(found):
            return found
    return None
