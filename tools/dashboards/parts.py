# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of queries that several dashboards share."""

from __future__ import annotations

from ansible_collections.local_llm.ops.tools.dashboards.model import (
    BLUE,
    RED,
    Alert,
    Limit,
    Marker,
    Panel,
    Query,
    Variable,
)

POOL = Variable("pool", "Pool", "label_values(local_llm:instance_expected, pool)")
HOST = Variable("host", "Host", 'label_values(up{job="local_llm_node"}, host)')
# The gateway's series have no host of the server, so "All" must be the list of those that belong to the chosen hosts.
SERVER = Variable(
    "server",
    "Instance",
    'label_values(local_llm:instance_expected{pool=~"$pool",host=~"$host"}, server)',
    any_value="",
)
POOL_HOST = Variable("host", "Host", 'label_values(local_llm:instance_expected{pool=~"$pool"}, host)')

ENGINE = 'pool=~"$pool",host=~"$host",server=~"$server"'
ENGINE_JOB = f'job="local_llm_engine",{ENGINE}'
BACKENDS = 'job="local_llm_gateway",proxy=~"(pool|canary)_($pool)"'
SERVERS = f'{BACKENDS},server=~"(fallback[.])?($server)"'
RANGE = "[$__rate_interval]"


def by_pool(inner: str, how: str = "sum", also: str = "") -> str:
    """Return series of the gateway's backends added up by pool. also: labels that are kept besides."""
    return f'{how} by ({also}pool) (label_replace({inner}, "pool", "$1", "proxy", "(?:pool|canary)_(.+)"))'


def by_server(inner: str, how: str = "sum") -> str:
    """Return series of the gateway's servers added up by instance, spares of a canary among them, with the label `to`.

    The label must be a new one: under its old name a server and its spare would be the same series twice.
    """
    return f'{how} by (to) (label_replace({inner}, "to", "$1", "server", "(?:fallback[.])?(.+)"))'


def backend_rate(metric: str, more: str = "") -> str:
    """Return how fast a counter of the gateway's backends grows, by pool."""
    return by_pool(f"rate({metric}{{{BACKENDS}{more}}}{RANGE})")


def server_rate(metric: str, more: str = "") -> str:
    """Return how fast a counter of the gateway's servers grows, by instance."""
    return by_server(f"rate({metric}{{{SERVERS}{more}}}{RANGE})")


def share(part: str, whole: str) -> str:
    """Return a share; where there is nothing to share there is no value, and no division by zero."""
    return f"({part}) / ({whole} > 0)"


def or_zero(expr: str) -> str:
    """Return a number that is 0 where the query finds nothing."""
    return f"({expr}) or vector(0)"


def histogram(metric: str, share_of_requests: float, by: str, selector: str = ENGINE_JOB) -> str:
    """Return a quantile of an engine's histogram."""
    return f"histogram_quantile({share_of_requests:g}, sum by ({by}, le) (rate({metric}_bucket{{{selector}}}{RANGE})))"


def tier_limit(key: str, pool: str = 'pool=~"$pool"') -> Query:
    """Return the line of a limit of each pool's tier; no line where a tier has none."""
    return Query(f'max by (pool) (local_llm:tier_limit{{limit="{key}",{pool}}})', "{{pool}} limit")


def one(expr: str, legend: str = "") -> tuple[Query, ...]:
    """Return the queries of a panel that has one."""
    return (Query(expr, legend),)


def number(
    title: str,
    means: str,
    do: str,
    unit: str,
    queries: tuple[Query, ...],
    *,
    alerts: tuple[Alert, ...] = (),
    limits: tuple[Limit, ...] = (),
    decimals: int | None = None,
    width: int = 6,
    height: int = 5,
) -> Panel:
    """Return a panel with the last value as a large number."""
    return Panel(title, means, do, unit, queries, "stat", alerts, limits, {}, width, height, decimals)


def rollout_markers(by_pool: bool = True) -> tuple[Marker, ...]:
    """Return the lines where rollouts began and ended. by_pool: only of the chosen pools, where one has its pool."""
    started, ended = (STARTED, _of_pool(ENDED)) if by_pool else (_STARTED, ENDED)
    return (
        Marker(
            "Rollout begins",
            f"max by (rollout_id, pool, playbook) ({started}) * 1000",
            BLUE,
            "Rollout {{rollout_id}} begins",
            "{{playbook}} {{pool}}",
            ("rollout_id", "pool", "playbook"),
            at_value=True,
        ),
        Marker(
            "Rollout ends",
            f"max by (rollout_id, outcome) ({ended}) * 1000",
            "purple",
            "Rollout {{rollout_id}} ends",
            "{{outcome}}",
            ("rollout_id", "outcome"),
            at_value=True,
        ),
    )


def alert_marker(shown: bool) -> Marker:
    """Return the times in which an alert fired that wakes somebody."""
    return Marker(
        "Critical alerts",
        "max by (alertname, host, server, pool)"
        ' (ALERTS{alertname=~"LocalLlm.*",alertstate="firing",severity="critical"})',
        RED,
        "{{alertname}}",
        "{{host}} {{server}} {{pool}}",
        ("alertname",),
        shown=shown,
    )


def _of_pool(series: str) -> str:
    return f'{series}{{pool=~"$pool|"}}'


_STARTED = "local_llm_rollout_started_timestamp_seconds"
ENDED = "local_llm_rollout_ended_timestamp_seconds"
# A rollout that does not name its pool belongs to every choice of pools.
STARTED = _of_pool(_STARTED)
RUNNING_ROLLOUTS = or_zero(f"count(max by (rollout_id) ({_STARTED}) unless on (rollout_id) {ENDED})")
