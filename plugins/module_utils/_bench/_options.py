# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The options of llm_benchmark: what may be given, what cannot be, and the load plan that comes of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import API_PATHS, SHAPES
from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import RequestLimits
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_options import CLIENT_ARGUMENTS, client_problem
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import closed_plan
from ansible_collections.local_llm.ops.plugins.module_utils._bench._search import Search, requests_needed
from ansible_collections.local_llm.ops.plugins.module_utils._bench._sweep import sweep_plan
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import ENDPOINT_ARGS

MAX_USERS = 500
MAX_RATE = 2000.0
MAX_SECONDS = 7 * 86_400.0
MAX_REQUESTS = 1_000_000
# Without a word about it, a run of users and requests ends after this time.
PLAIN_MAX_SECONDS = 120.0
ARRIVALS = ["constant", "poisson"]
# The options that say how strong the load is; at most one of them.
LOADS = ("load", "sweep", "search", "scenario")

_STAGE: dict[str, dict[str, Any]] = {
    "users": {"type": "int"},
    "rate_per_second": {"type": "float"},
    "requests": {"type": "int"},
    "seconds": {"type": "float"},
    "arrivals": {"type": "str", "choices": ARRIVALS, "default": "poisson"},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    **ENDPOINT_ARGS,
    **CLIENT_ARGUMENTS,
    "api": {"type": "str", "choices": list(API_PATHS), "default": "openai_chat"},
    "model": {"type": "str", "required": True},
    "users": {"type": "int", "default": 4},
    "requests": {"type": "int", "default": 150},
    "max_seconds": {"type": "float"},
    "load": {
        "type": "dict",
        "options": {
            "mode": {"type": "str", "choices": ["closed", "open"], "required": True},
            "stages": {"type": "list", "elements": "dict", "required": True, "options": _STAGE},
        },
    },
    "sweep": {
        "type": "dict",
        "options": {
            "users": {"type": "list", "elements": "int"},
            "rates": {"type": "list", "elements": "float"},
            "requests": {"type": "int"},
            "seconds": {"type": "float"},
            "arrivals": {"type": "str", "choices": ARRIVALS, "default": "poisson"},
        },
    },
    "search": {
        "type": "dict",
        "options": {
            "start_rate": {"type": "float", "default": 1.0},
            "max_rate": {"type": "float", "default": 64.0},
            "requests": {"type": "int"},
            "resolution": {"type": "float", "default": 1.1},
            "confirmations": {"type": "int", "default": 3},
            "arrivals": {"type": "str", "choices": ARRIVALS, "default": "poisson"},
        },
    },
    "scenario": {"type": "str"},
    "time_scale": {"type": "float", "default": 1.0},
    "prompt_tokens": {"type": "int", "default": 32, "no_log": False},
    "output_tokens": {"type": "int", "default": 32, "no_log": False},
    "shape": {"type": "str", "choices": [shape for shape in SHAPES if shape != "file"], "default": "synthetic"},
    "prefix_tokens": {"type": "int", "default": 256, "no_log": False},
    "prefix_groups": {"type": "int", "default": 1},
    "turns": {"type": "int", "default": 4},
    "prompts_path": {"type": "path"},
    "warmup_requests": {"type": "int"},
    "request_timeout_seconds": {"type": "float", "default": 30.0},
    "seed": {"type": "int", "default": 1},
    "ignore_eos": {"type": "bool", "default": True},
    "extra_body": {"type": "dict", "default": {"cache_prompt": False}},
    "slo": {
        "type": "dict",
        "options": {
            "ttft_seconds": {"type": "float"},
            "tpot_seconds": {"type": "float"},
            "e2el_seconds": {"type": "float"},
            "attainment": {"type": "float", "default": 0.95},
        },
    },
    "slo_tier": {"type": "str"},
    "slo_tiers": {"type": "dict", "default": {}},
    "engine": {"type": "str", "choices": ["llamacpp", "ollama", "vllm"]},
    "engine_url": {"type": "str"},
    "instance": {"type": "str"},
    "gpu_telemetry": {"type": "bool", "default": True},
    "cold_start": {
        "type": "dict",
        "options": {
            "restart": {"type": "bool", "default": False},
            "idle_seconds": {"type": "float", "default": 0.0},
            "ready_timeout_seconds": {"type": "float", "default": 300.0},
        },
    },
    "start_at_unix_seconds": {"type": "float"},
    "max_error_share": {"type": "float", "default": 1.0},
    "result_path": {"type": "path"},
    "samples_path": {"type": "path"},
    "progress_path": {"type": "path"},
}
# option -> (smallest, largest)
RANGES: dict[str, tuple[float, float]] = {
    "users": (1, MAX_USERS),
    "requests": (1, MAX_REQUESTS),
    "max_seconds": (0.1, MAX_SECONDS),
    "time_scale": (0.00001, 100),
    "prompt_tokens": (4, 1_000_000),
    "output_tokens": (1, 1_000_000),
    "prefix_tokens": (1, 1_000_000),
    "prefix_groups": (1, 100_000),
    "turns": (1, 1000),
    "warmup_requests": (0, MAX_REQUESTS),
    "request_timeout_seconds": (0.1, 3600),
    "max_error_share": (0, 1),
    "load.stages[].users": (1, MAX_USERS),
    "load.stages[].rate_per_second": (0.001, MAX_RATE),
    "load.stages[].requests": (1, MAX_REQUESTS),
    "load.stages[].seconds": (0.05, MAX_SECONDS),
    "sweep.users": (1, MAX_USERS),
    "sweep.rates": (0.001, MAX_RATE),
    "sweep.requests": (1, MAX_REQUESTS),
    "sweep.seconds": (0.05, MAX_SECONDS),
    "search.start_rate": (0.001, MAX_RATE),
    "search.max_rate": (0.001, MAX_RATE),
    "search.requests": (10, MAX_REQUESTS),
    "search.resolution": (1.01, 4),
    "search.confirmations": (0, 20),
    "slo.ttft_seconds": (0.0001, 3600),
    "slo.tpot_seconds": (0.00001, 3600),
    "slo.e2el_seconds": (0.0001, 86_400),
    "slo.attainment": (0.01, 0.9999),
    "cold_start.idle_seconds": (0, 86_400),
    "cold_start.ready_timeout_seconds": (1, 86_400),
}


class OptionError(ValueError):
    """Options that cannot be used; the text names the option, its value and the fix."""


def check_options(params: Mapping[str, Any]) -> None:
    """Raise OptionError for the first option that cannot be used."""
    given = [name for name in LOADS if params.get(name) is not None]
    # the controller turns a scenario into a load, and hands both over
    if len(given) > 1 and given != ["load", "scenario"]:
        raise OptionError(f"{' and '.join(given)}: give only one of {', '.join(LOADS)}")
    for where, value, low, high in out_of_range(params):
        raise OptionError(f"{where}: {value} is outside {low:g} to {high:g}; use a value between")
    load = params.get("load")
    if load is not None:
        _check_stages(load)
    sweep = params.get("sweep")
    if sweep is not None and bool(sweep.get("users")) == bool(sweep.get("rates")):
        raise OptionError(
            "sweep: give either users, a list of numbers of users, or rates, a list of requests per second"
        )
    search = params.get("search")
    if search is not None:
        if search["start_rate"] > search["max_rate"]:
            raise OptionError(
                f"search.start_rate: {search['start_rate']:g} is above max_rate {search['max_rate']:g}; swap them"
            )
        if not limits_of(params).given:
            raise OptionError("search: it needs limits to hold the rate against; give slo or slo_tier")
        first, longest = expected_seconds(probe_plan(params, search["start_rate"], 1)), params.get("max_seconds")
        if first is not None and longest is not None and first > longest:
            raise OptionError(
                f"max_seconds: {longest:g} is less than the first probe of the search takes ({first:.0f} s); "
                "give more, a higher search.start_rate, or fewer search.requests"
            )
    if params.get("cold_start") is not None and params["cold_start"]["restart"] and not params.get("instance"):
        raise OptionError("cold_start.restart: it needs instance, the name of the instance to restart")
    problem = client_problem(params)
    if problem:
        raise OptionError(problem)


def out_of_range(params: Mapping[str, Any]) -> Iterator[tuple[str, Any, float, float]]:
    """Yield (option, value, smallest, largest) of every number that cannot be used. A text that is a number counts."""
    for path, (low, high) in RANGES.items():
        for where, value in _values(params, path.split(".")):
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not low <= number <= high:
                yield where, value, low, high


def _check_stages(load: Mapping[str, Any]) -> None:
    if not load["stages"]:
        raise OptionError("load.stages: it is empty; give at least one stage")
    wanted, other = ("users", "rate_per_second") if load["mode"] == "closed" else ("rate_per_second", "users")
    for number, stage in enumerate(load["stages"]):
        where = f"load.stages[{number}]"
        if stage.get(wanted) is None or stage.get(other) is not None:
            raise OptionError(f"{where}: a stage of mode {load['mode']} needs {wanted}, and has no {other}")
        if stage.get("requests") is None and stage.get("seconds") is None:
            raise OptionError(f"{where}: it never ends; give requests, seconds or both")


def _values(params: Any, path: list[str], where: str = "") -> list[tuple[str, Any]]:
    """Return (name, value) of everything a path leads to; x[] goes into a list, and the end of a path may be one."""
    if params is None:
        return []
    if not path:
        # One text is a list that Ansible splits at its commas.
        if isinstance(params, str) and "," in params:
            params = params.split(",")
        if isinstance(params, list):
            return [(f"{where}[{number}]", value) for number, value in enumerate(params)]
        return [(where, params)]
    key, rest = path[0], path[1:]
    inner = params.get(key.replace("[]", ""))
    here = f"{where}.{key}" if where else key
    if key.endswith("[]"):
        stem = here[:-2]
        return [pair for number, item in enumerate(inner or []) for pair in _values(item, rest, f"{stem}[{number}]")]
    return _values(inner, rest, here)


def limits_of(params: Mapping[str, Any]) -> RequestLimits:
    """Return what one request must keep to be good."""
    slo = params.get("slo") or {}
    return RequestLimits(
        slo.get("ttft_seconds"), slo.get("tpot_seconds"), slo.get("e2el_seconds"), slo.get("attainment") or 0.95
    )


def plan_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the load plan; for a search the plan of its first probe."""
    seed = params["seed"]
    if params.get("load"):
        stages = [{name: stage.get(name) for name in _STAGE} for stage in params["load"]["stages"]]
        return {"mode": params["load"]["mode"], "stages": stages, "seed": seed}
    sweep = params.get("sweep")
    if sweep:
        requests = sweep.get("requests") or (None if sweep.get("seconds") else params["requests"])
        return sweep_plan(
            sweep.get("users") or (), sweep.get("rates") or (), requests, sweep.get("seconds"), sweep["arrivals"], seed
        )
    if params.get("search"):
        return probe_plan(params, params["search"]["start_rate"], seed)
    return closed_plan(params["users"], params["requests"], None, seed)


def probe_plan(params: Mapping[str, Any], rate: float, seed: int) -> dict[str, Any]:
    """Return the load plan of one probe of a search: as many requests as a verdict needs."""
    search = params["search"]
    requests = search.get("requests") or max(100, requests_needed(limits_of(params).attainment))
    return sweep_plan(rates=[rate], requests=requests, arrivals=search["arrivals"], seed=seed)


def search_of(params: Mapping[str, Any]) -> Search | None:
    """Return the bounds of the search, or None when none was asked for."""
    search = params.get("search")
    if not search:
        return None
    return Search(
        start_rate=search["start_rate"],
        max_rate=search["max_rate"],
        wanted_share=limits_of(params).attainment,
        resolution=search["resolution"],
        confirmations=search["confirmations"],
    )


def most_users(plan: Mapping[str, Any]) -> int:
    """Return the largest number of users of a plan; 1 for an open loop."""
    return max((stage.get("users") or 1 for stage in plan["stages"]), default=1)


def expected_seconds(plan: Mapping[str, Any]) -> float | None:
    """Return how long a plan takes by its own account; None when that depends on the server."""
    total = 0.0
    for stage in plan["stages"]:
        ends = [stage["seconds"]] if stage.get("seconds") else []
        if stage.get("requests") and stage.get("rate_per_second"):
            ends.append(stage["requests"] / stage["rate_per_second"])
        if not ends:
            return None
        total += min(ends)
    return total


def max_seconds_of(params: Mapping[str, Any], plan: Mapping[str, Any]) -> float:
    """Return after which time no more request is sent."""
    if params.get("max_seconds") is not None:
        return float(params["max_seconds"])
    if not any(params.get(name) for name in LOADS):
        return PLAIN_MAX_SECONDS
    expected = expected_seconds(plan)
    if expected is None or params.get("search"):
        return PLAIN_MAX_SECONDS * max(1, len(plan["stages"]))
    return 1.2 * expected + 30


def warmup_of(params: Mapping[str, Any], plan: Mapping[str, Any]) -> int:
    """Return how many requests are sent before: one for each of the first users, and at least 4."""
    if params.get("warmup_requests") is not None:
        return int(params["warmup_requests"])
    return max(4, plan["stages"][0].get("users") or 4)
