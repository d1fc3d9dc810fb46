# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which objectives a pool has, on which metrics they rest, and what is wrong with them. Controller only.

An objective is two rates: how much happened, and how much of it was bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_buckets import (
    bucket_problem,
    common_bounds,
    le_text,
    neighbours,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import Member, Pool

ENGINE_JOB, GATEWAY_JOB = "local_llm_engine", "local_llm_gateway"
P95_PERCENT = 95.0
# Stands for the release of an instance in tests.
TEST_RELEASE = "a1b2c3d4e5f6"
PERIOD_DAYS = 30


@dataclass(frozen=True)
class Window:
    """A pair of windows: the long one proves that it matters, the short one that it goes on."""

    long: str
    short: str
    long_hours: float
    budget_percent: float

    @property
    def factor(self) -> float:
        """Return how many times faster than allowed the budget burns when the alert comes."""
        return round(self.budget_percent / 100 * PERIOD_DAYS * 24 / self.long_hours, 6)


# How much of the budget of 30 days may be gone in the long window.
PAGE = (Window("1h", "5m", 1, 2), Window("6h", "30m", 6, 5))
TICKET = (Window("1d", "2h", 24, 10), Window("3d", "6h", 72, 10))


@dataclass(frozen=True)
class Feed:
    """A series for a test, with what it counts in a minute when all is well and when all is bad."""

    series: str
    good: float
    bad: float


@dataclass(frozen=True)
class Objective:
    """One objective of a pool. total and bad are rates over five minutes."""

    pool: Pool
    name: str
    key: str
    percent: float
    labels: Mapping[str, str]
    total: str
    bad: str
    what: str
    feeds: tuple[Feed, ...]

    @property
    def budget(self) -> float:
        """Return the share that may be bad."""
        return round(1 - self.percent / 100, 9)


def pool_objectives(pool: Pool) -> tuple[list[Objective], list[str], list[str]]:
    """Return the objectives of a pool, what is wrong with them, and what should be known about them."""
    found: list[Objective] = []
    problems: list[str] = []
    notes: list[str] = []
    available = pool.tier.get("availability_min_percent")
    if available is not None:
        found.append(_availability(pool, available))
    errors = pool.tier.get("error_rate_max_percent")
    if errors == 0:
        # A benchmark can ask for none at all; thirty days cannot.
        notes.append(
            f"pool {pool.name}: no objective for error_rate_max_percent: 0 leaves no budget; the benchmark holds it"
        )
        errors = None
    for engine, members in pool.engines().items():
        if errors is not None:
            found.append(_errors(pool, engine, members, 100 - errors))
        slow = [("ttft", "ttft_p95_max_seconds", "ttft", "the first token came too late")]
        if pool.fixed_shape:
            slow.append(("latency", "latency_p95_max_seconds", "whole_answer", "the whole answer came too late"))
        for name, key, signal, what in slow:
            limit = pool.tier.get(key)
            if limit is None:
                continue
            where = f"pool {pool.name} ({engine})"
            if not all(signal in member.metrics.signals for member in members):
                notes.append(
                    f"{where}: no objective for {key}: {engine} has no histogram of it; the benchmark holds it"
                )
                continue
            bound = _bound(pool, members, key, limit, signal, problems, notes)
            if bound is not None:
                found.append(_slow(pool, members, name, key, signal, bound, what))
    return [item for item in found if not _unreachable(item, problems)], problems, notes


def _unreachable(item: Objective, problems: list[str]) -> bool:
    """Tell whether a page can never come: no more than everything can be bad."""
    where = f"pool {item.pool.name}: {item.key}"
    value = item.pool.tier.get(item.key)
    factor = max(window.factor for window in PAGE)
    if item.budget <= 0:
        problems.append(f"{where} is {value:g}: nothing may ever fail, so there is no budget to burn; leave some room")
        return True
    if factor * item.budget < 1:
        return False
    least = 100 - 100 / factor
    fix = f"set it above {least:.2f}" if item.key.startswith("avail") else f"set it below {100 - least:.2f}"
    problems.append(
        f"{where} is {value:g}: the budget can burn at most {1 / item.budget:.3g} times too fast, the alert comes at "
        f"{factor:g}, so it never comes; {fix}, or leave it out (null)"
    )
    return True


def _bound(
    pool: Pool, members: list[Member], key: str, limit: float, signal: str, problems: list[str], notes: list[str]
) -> float | None:
    metric = members[0].metrics.signals[signal].metric
    bounds = common_bounds([member.metrics.buckets[member.metrics.signals[signal].metric] for member in members])
    versions = ", ".join(sorted({f"{member.engine} {member.version}" for member in members}))
    custom = members[0].metrics.custom_buckets
    problem = bucket_problem(
        f"pool {pool.name}", key, limit, f"{metric} of {versions}", bounds, custom["argument"] if custom else ""
    )
    _below, above = neighbours(bounds, limit)
    if problem is None:
        return limit
    if key in pool.own or above is None:
        problems.append(problem)
        return None
    notes.append(f"{problem}. It is a limit of the tier {pool.tier_name} as shipped, so the rules count at {above:g}")
    return above


def _rate(metric: str, *matchers: str) -> str:
    return f"sum(rate({metric}{{{','.join(matchers)}}}[5m]))"


def _availability(pool: Pool, percent: float) -> Objective:
    answers, where = "haproxy_backend_http_responses_total", (f'job="{GATEWAY_JOB}"', pool.backends)
    total, bad = _rate(answers, *where, 'code!="4xx"'), _rate(answers, *where, 'code="5xx"')
    what = "the gateway or an engine answered 5xx"
    if pool.count_overload:
        # Of the answers 4xx, those that no server gave are the gateway's own: too many requests waited.
        all_4xx = _rate(answers, *where, 'code="4xx"')
        from_servers = _rate("haproxy_server_http_responses_total", *where, 'code="4xx"')
        turned_away = f"clamp_min({all_4xx} - {from_servers}, 0)"
        total, bad = f"{total} + {turned_away}", f"{bad} + {turned_away}"
        what += ", or sent the request away because too many waited"
    place = f'job="{GATEWAY_JOB}",host="gw1",proxy="pool_{pool.name}"'
    server = f'server="{pool.members[0].server}"'
    feeds = (
        Feed(f'{answers}{{{place},code="2xx"}}', 1000, 0),
        Feed(f'{answers}{{{place},code="5xx"}}', 0, 1000),
        Feed(f'{answers}{{{place},code="4xx"}}', 10, 10),
        Feed(f'haproxy_server_http_responses_total{{{place},{server},code="4xx"}}', 10, 10),
    )
    return Objective(pool, "availability", "availability_min_percent", percent, pool.labels, total, bad, what, feeds)


def _errors(pool: Pool, engine: str, members: list[Member], percent: float) -> Objective:
    signals = members[0].metrics.signals
    if all("requests_failed" in member.metrics.signals for member in members):
        ended, failed = signals["requests_ended"], signals["requests_failed"]
        where = (f'job="{ENGINE_JOB}"', f'pool="{pool.name}"', f'engine="{engine}"')
        total, bad = _rate(ended.metric, *where), _rate(failed.metric, *where, _pairs(failed.labels))
        place = _member_labels(members[0])
        feeds: tuple[Feed, ...] = (
            Feed(f'{ended.metric}{{{place},finished_reason="stop"}}', 1000, 0),
            Feed(f"{failed.metric}{{{place},{_pairs(failed.labels)}}}", 0, 1000),
        )
    else:
        # It does not count its errors: what the gateway saw of its servers, broken off answers too.
        servers = "|".join(sorted(member.server.replace(".", "[.]") for member in members))
        where = (f'job="{GATEWAY_JOB}"', pool.backends, f'server=~"(fallback[.])?({servers})"')
        answers, broken_off = "haproxy_server_http_responses_total", "haproxy_server_server_aborts_total"
        total = _rate(answers, *where, 'code!="4xx"')
        failed_answers = _rate(answers, *where, 'code="5xx"')
        bad = f"{failed_answers} + {_rate(broken_off, *where)}"
        place = f'job="{GATEWAY_JOB}",host="gw1",proxy="pool_{pool.name}",server="{members[0].server}"'
        feeds = (
            Feed(f'{answers}{{{place},code="2xx"}}', 1000, 0),
            Feed(f'{answers}{{{place},code="5xx"}}', 0, 1000),
            Feed(f"{broken_off}{{{place}}}", 0, 0),
        )
    what = "the engine failed, also in the middle of an answer"
    labels = _engine_labels(pool, engine, members)
    return Objective(pool, "errors", "error_rate_max_percent", percent, labels, total, bad, what, feeds)


def _slow(pool: Pool, members: list[Member], name: str, key: str, signal: str, bound: float, what: str) -> Objective:
    engine = members[0].engine
    metric = members[0].metrics.signals[signal].metric
    where = (f'job="{ENGINE_JOB}"', f'pool="{pool.name}"', f'engine="{engine}"')
    le = f'le="{le_text(bound)}"'
    total, in_time = _rate(f"{metric}_count", *where), _rate(f"{metric}_bucket", *where, le)
    place = _member_labels(members[0])
    feeds = (Feed(f"{metric}_count{{{place}}}", 1000, 1000), Feed(f"{metric}_bucket{{{place},{le}}}", 1000, 0))
    labels = _engine_labels(pool, engine, members)
    bad = f"clamp_min({total} - {in_time}, 0)"
    return Objective(pool, name, key, P95_PERCENT, labels, total, bad, f"{what} (limit {bound:g} s)", feeds)


def _engine_labels(pool: Pool, engine: str, members: list[Member]) -> dict[str, str]:
    return {**pool.labels, "engine": engine, "model": ",".join(sorted({member.model for member in members}))}


def _member_labels(member: Member) -> str:
    return _pairs({"job": ENGINE_JOB, **member.labels, "release": TEST_RELEASE})


def _pairs(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())
