# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Turn HAProxy's statistics into one entry per server and per pool, and into differences over a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_pools as pools
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_gateway import server_of_row
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import number

# Counters that only grow while a worker lives.
COUNTERS = ("requests_total", "http_5xx_total", "errors_total", "retries_total")
ERROR_COUNTERS = ("http_5xx_total", "errors_total")


def server_entries(
    views: pools.Views,
    rows: Iterable[dict[str, str]],
    old_rows: Iterable[dict[str, str]],
    leases: Mapping[tuple[str, str], dict[str, object]],
    pool: str | None = None,
) -> list[dict[str, Any]]:
    """Return one entry per server, sorted by pool and name; counters are of the present worker process."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for key, view in sorted(views.items()):
        if pool is None or view.pool == pool:
            entries[key] = {
                "pool": view.pool,
                "server": view.server,
                "admin_state": view.state,
                "operational_state": view.operational_state,
                "agent": None,
                "share_percent": view.share_percent,
                "in_flight": 0,
                "queue": 0,
                **dict.fromkeys(COUNTERS, 0),
                "lease": leases.get(key),
            }
    for row in rows:
        entry = entries.get(server_of_row(row) or ("", ""))
        if entry is not None:
            entry["agent"] = entry["agent"] or agent_of(row)
            entry["in_flight"] += number(row, "scur")
            entry["queue"] += number(row, "qcur")
            entry["requests_total"] += number(row, "stot")
            entry["http_5xx_total"] += number(row, "hrsp_5xx")
            entry["errors_total"] += number(row, "econ") + number(row, "eresp")
            entry["retries_total"] += number(row, "wretr") + number(row, "wredis")
    for row in old_rows:
        entry = entries.get(server_of_row(row) or ("", ""))
        if entry is not None:
            entry["in_flight"] += number(row, "scur")
    return list(entries.values())


def agent_of(row: Mapping[str, str]) -> dict[str, str] | None:
    """Return what the agent of a server said last; None when none is asked, or none has answered yet.

    state is down from its word down until its word up, also while it does not answer.
    """
    status, health = row.get("agent_status") or "", row.get("agent_health") or "1"
    if int(health) <= 0:
        return {"state": "down", "said": row.get("last_agt", "")}
    return {"state": "up", "said": row.get("last_agt", "")} if status.startswith("L7") else None


def pool_entries(
    views: pools.Views, rows: Iterable[dict[str, str]], shares: Mapping[str, str], pool: str | None = None
) -> list[dict[str, Any]]:
    """Return one entry per pool: what its clients got, with what the gateway itself answered for it."""
    entries: dict[str, dict[str, Any]] = {}
    for view in sorted(views.values(), key=lambda view: view.pool):
        if pool is None or view.pool == pool:
            entry = entries.setdefault(
                view.pool,
                {
                    "pool": view.pool,
                    "canary_share_percent": int(shares.get(view.pool, "0")),
                    "servers_up": 0,
                    "servers_ready": 0,
                    "queue": 0,
                    "requests_total": 0,
                    "http_5xx_total": 0,
                    "http_4xx_total": 0,
                },
            )
            ready = view.state == "ready"
            entry["servers_ready"] += 1 if ready else 0
            entry["servers_up"] += 1 if ready and view.operational_state == "up" else 0
    for row in rows:
        if row["svname"] != "BACKEND":
            continue
        for prefix in (pools.POOL_PREFIX, pools.CANARY_PREFIX):
            if row["pxname"].startswith(prefix) and row["pxname"][len(prefix) :] in entries:
                entry = entries[row["pxname"][len(prefix) :]]
                entry["queue"] += number(row, "qcur")
                entry["requests_total"] += number(row, "req_tot")
                entry["http_5xx_total"] += number(row, "hrsp_5xx")
                entry["http_4xx_total"] += number(row, "hrsp_4xx")
    return list(entries.values())


def grown(first: int, last: int) -> int:
    """Return how much a counter grew; a smaller value means a new worker that began at nothing."""
    return last - first if last >= first else last


def server_deltas(first: Iterable[Mapping[str, Any]], last: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return how much each counter of each server grew between two readings."""
    begin = {(entry["pool"], entry["server"]): entry for entry in first}
    deltas = []
    for entry in last:
        earlier = begin.get((entry["pool"], entry["server"]), {})
        delta = {name.removesuffix("_total"): grown(int(earlier.get(name, 0)), int(entry[name])) for name in COUNTERS}
        deltas.append({"pool": entry["pool"], "server": entry["server"], **delta})
    return deltas


def has_errors(deltas: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether any server answered 5xx or failed to answer."""
    return any(delta[name.removesuffix("_total")] > 0 for delta in deltas for name in ERROR_COUNTERS)


def add_up(totals: dict[tuple[str, str], dict[str, Any]], steps: Iterable[Mapping[str, Any]]) -> None:
    """Add the differences of one step to those of the steps before."""
    for step in steps:
        total = totals.setdefault((step["pool"], step["server"]), {"pool": step["pool"], "server": step["server"]})
        for name, value in step.items():
            if name not in ("pool", "server"):
                total[name] = total.get(name, 0) + value
