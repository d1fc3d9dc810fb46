# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the controller makes of the options of llm_benchmark: scenario to load, tier to limits, prompts checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._options import (
    OptionError,
    check_options,
    expected_seconds,
    max_seconds_of,
    plan_of,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._prompts import PromptsError, read_prompts
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import EndpointError, parse_endpoint
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_scenarios import ScenarioError, scenario_load
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_words import load_words
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError, get_tier

# One request keeps the limits of a tier when it keeps those of its p95.
_TIER_LIMITS = {"ttft_seconds": "ttft_p95_max_seconds", "e2el_seconds": "latency_p95_max_seconds"}
MAX_PROMPTS_BYTES = 512 << 20
# A run that takes longer than this goes to the background of its host, and is looked at from here.
WATCH_FROM_SECONDS = 60.0
# One that ends with its requests is mostly over long before its limit.
WATCH_FROM_LIMIT_SECONDS = 300.0


class RefusedError(ValueError):
    """These options cannot be used; the text says which, why, and what to do."""


def resolve(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for the host: a scenario has become a load, a tier limits. Raises RefusedError."""
    found = dict(arguments)
    try:
        parse_endpoint(found["url"], found["api_key"], found["validate_certs"], None)
        check_options({**found, "slo": found["slo"] or {"attainment": 0.95, "ttft_seconds": 1.0}})
        if found["scenario"]:
            found["load"] = scenario_load(found["scenario"], found["time_scale"])
        if found["slo_tier"]:
            found["slo"] = limits_of_tier(found["slo"], get_tier(found["slo_tier"], found["slo_tiers"]))
        check_options(found)
    except (OptionError, ScenarioError, SloError, EndpointError) as error:
        raise RefusedError(str(error)) from error
    # What was resolved here means nothing on the host.
    found["slo_tiers"] = {}
    return found


def limits_of_tier(slo: Mapping[str, Any] | None, tier: Mapping[str, Any]) -> dict[str, Any]:
    """Return limits of one request: what the task gives, else the p95 limits of the tier."""
    given = dict(slo or {})
    for name, key in _TIER_LIMITS.items():
        if given.get(name) is None and tier.get(key) is not None:
            given[name] = float(tier[key])
    return {key: value for key, value in given.items() if value is not None}


def check_prompts(path: Path, name: str) -> None:
    """Raise RefusedError when the file holds no prompts that can be sent."""
    try:
        size = path.stat().st_size
        if size > MAX_PROMPTS_BYTES:
            raise RefusedError(
                f"{name}: it is {size >> 20} MiB, and {MAX_PROMPTS_BYTES >> 20} MiB are allowed; give fewer prompts"
            )
        read_prompts(path.read_text(encoding="utf-8"), name)
    except OSError as error:
        raise RefusedError(f"{name}: it cannot be read ({error.strerror}); name a file on the controller") from error
    except UnicodeDecodeError as error:
        raise RefusedError(f"{name}: it is no UTF-8 text; save it as UTF-8") from error
    except PromptsError as error:
        raise RefusedError(str(error)) from error


def longest_seconds(arguments: Mapping[str, Any]) -> float:
    """Return how long the run may take at most, all told: what decides whether it is watched from here."""
    plan = plan_of(arguments)
    cold = arguments.get("cold_start") or {}
    extra = (cold.get("ready_timeout_seconds") or 0.0) * bool(cold.get("restart")) + (cold.get("idle_seconds") or 0.0)
    if arguments.get("search"):
        return float(arguments.get("max_seconds") or 6 * 3600.0) + extra
    measured = max_seconds_of(arguments, plan)
    planned = expected_seconds(plan)
    return (measured if planned is None else min(measured, planned)) + arguments["request_timeout_seconds"] + extra


def would_measure(arguments: Mapping[str, Any]) -> str:
    """Return in words what a run with these options, resolved, would send and hold against its limits."""
    load: dict[str, Any] = {**plan_of(arguments), **{key: arguments.get(key) for key in ("scenario", "time_scale")}}
    if arguments.get("search"):
        return f"the highest rate within its limits, from {arguments['search']['start_rate']:g} requests/s up"
    words = load_words(load, arguments["prompt_tokens"], arguments["output_tokens"])
    seconds = max_seconds_of(arguments, load)
    cold = arguments.get("cold_start") or {}
    restart = "a restart of its service; then " if cold.get("restart") else ""
    return f"{restart}{words}; at most {seconds:g} s"


def worth_watching(arguments: Mapping[str, Any]) -> bool:
    """Tell whether a run may take so long that a person wants to see how far it is."""
    if arguments.get("search") or (arguments.get("cold_start") or {}).get("idle_seconds", 0) > WATCH_FROM_SECONDS:
        return True
    plan = plan_of(arguments)
    planned = expected_seconds(plan)
    if planned is None:
        return max_seconds_of(arguments, plan) > WATCH_FROM_LIMIT_SECONDS
    return planned > WATCH_FROM_SECONDS
