# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""SLO tiers: the collection's own from slo_tiers.yml, with the user's on top. Controller only."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DATA_FILE = Path(__file__).with_name("slo_tiers.yml")


@dataclass(frozen=True)
class _Key:
    low: float
    high: float
    hint: str


_PERCENT_HINT = "give percent, such as 1 for 1 %"
_SECONDS_HINT = "give seconds, such as 0.5 for 500 ms"
TIER_KEYS: dict[str, _Key] = {
    "availability_min_percent": _Key(0, 100, "give percent, such as 99.9"),
    "ttft_p50_max_seconds": _Key(0, 3600, _SECONDS_HINT),
    "ttft_p95_max_seconds": _Key(0, 3600, _SECONDS_HINT),
    "latency_p50_max_seconds": _Key(0, 86400, _SECONDS_HINT),
    "latency_p95_max_seconds": _Key(0, 86400, _SECONDS_HINT),
    "tokens_per_second_p50_min": _Key(0, 1e6, "give output tokens per second of one request, such as 50"),
    "requests_per_minute_min": _Key(0, 1e7, "give requests per minute, such as 10"),
    "queue_depth_max": _Key(0, 1e6, "give waiting requests, such as 20"),
    "error_rate_max_percent": _Key(0, 100, _PERCENT_HINT),
    "timeout_rate_max_percent": _Key(0, 100, _PERCENT_HINT),
}
_PAIRS = (("ttft_p50_max_seconds", "ttft_p95_max_seconds"), ("latency_p50_max_seconds", "latency_p95_max_seconds"))

Tier = dict[str, float | None]


class SloError(ValueError):
    """A tier is malformed or not known; one line per problem, each with key, value and fix."""


def builtin_tiers() -> dict[str, Tier]:
    """Return the tiers of slo_tiers.yml, every key present."""
    data = yaml.safe_load(DATA_FILE.read_text(encoding="utf-8"))
    return {name: {key: values.get(key) for key in TIER_KEYS} for name, values in data["tiers"].items()}


def tier_problems(additions: Any) -> list[str]:
    """Return what is wrong with the user's tiers (local_llm_slo_tiers), one text per problem."""
    where = "local_llm_slo_tiers"
    if additions is None:
        return []
    if not isinstance(additions, dict):
        return [f"{where}: is a {type(additions).__name__}; write a dictionary of tiers, name: {{key: value}}"]
    builtin = builtin_tiers()
    problems: list[str] = []
    for name, values in additions.items():
        if not isinstance(values, dict):
            problems.append(
                f"{where}.{name}: is {values!r}; write a dictionary of limits, such as ttft_p50_max_seconds: 0.5"
            )
            continue
        found = [_value_problem(f"{where}.{name}.{key}", key, value, name, builtin) for key, value in values.items()]
        problems += [problem for problem in found if problem]
        if not any(found):
            problems += _order_problems(f"{where}.{name}", _merged(name, values, builtin))
    return problems


def merge_tiers(additions: Any = None) -> dict[str, Tier]:
    """Return all tiers by name. Raises SloError when an addition is malformed."""
    problems = tier_problems(additions)
    if problems:
        raise SloError("\n".join(problems))
    builtin = builtin_tiers()
    return {**builtin, **{name: _merged(name, values, builtin) for name, values in (additions or {}).items()}}


def get_tier(name: str, additions: Any = None) -> Tier:
    """Return one tier by its name."""
    tiers = merge_tiers(additions)
    if name not in tiers:
        near = difflib.get_close_matches(str(name), tiers, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise SloError(
            f"slo_tier: {name!r} is not known; use one of: {', '.join(sorted(tiers))}, "
            f"or add it to local_llm_slo_tiers{guess}"
        )
    return tiers[name]


def _merged(name: str, values: dict[str, Any], builtin: dict[str, Tier]) -> Tier:
    """Own values over those of `extends`; a tier with a built-in's name goes over that one."""
    base = builtin.get(values.get("extends", name), dict.fromkeys(TIER_KEYS))
    return {**base, **{key: value for key, value in values.items() if key in TIER_KEYS}}


def _value_problem(path: str, key: str, value: Any, tier: str, builtin: dict[str, Tier]) -> str | None:
    if key == "extends":
        if value in builtin:
            return None
        return f"{path}: {value!r} is no tier of the collection; use one of: {', '.join(builtin)}"
    if key not in TIER_KEYS:
        near = difflib.get_close_matches(str(key), TIER_KEYS, n=1)
        fix = f"did you mean {near[0]}?" if near else f"use one of: {', '.join(TIER_KEYS)}"
        return f"{path}: {value!r} is set for a key that does not exist; {fix}"
    known = TIER_KEYS[key]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"{path}: {value!r} is no number; {known.hint}, without quotes and without a unit"
    if not known.low <= value <= known.high:
        return f"{path}: {value!r} is outside {known.low:g} to {known.high:g}; {known.hint}"
    return None


def _order_problems(path: str, tier: Tier) -> list[str]:
    problems = []
    for lower, upper in _PAIRS:
        low, high = tier[lower], tier[upper]
        if low is not None and high is not None and low > high:
            problems.append(
                f"{path}.{lower}: {low!r} is above {upper} {high!r}; a p50 is never above its p95, swap or mend them"
            )
    return problems
