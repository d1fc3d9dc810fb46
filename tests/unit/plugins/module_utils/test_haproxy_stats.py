# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One entry per server from the rows of two backends, and differences over a while."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_pools as pools
from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_stats as stats

VIEWS = {("chat", "a"): pools.ServerView("chat", "a", 8, 0, 0, 2, 30)}


def row(backend: str, server: str, **columns: int) -> dict[str, str]:
    return {"pxname": backend, "svname": server, **{name: str(value) for name, value in columns.items()}}


ROWS = [
    row("pool_chat", "a", scur=1, qcur=0, stot=10, hrsp_5xx=1, econ=1, eresp=0, wretr=1, wredis=0),
    row("canary_chat", "a", scur=2, qcur=1, stot=5, hrsp_5xx=0, econ=0, eresp=2, wretr=0, wredis=1),
    row("canary_chat", "fallback.a", scur=4, qcur=0, stot=1),
    row("pool_chat", "BACKEND", qcur=3, req_tot=12, hrsp_5xx=2, hrsp_4xx=4),
    row("llm", "FRONTEND", scur=9),
]


def test_both_backends_the_spare_and_old_workers_count_for_one_server() -> None:
    (entry,) = stats.server_entries(VIEWS, ROWS, [row("pool_chat", "a", scur=8, stot=99)], {})
    assert entry == {
        "pool": "chat",
        "server": "a",
        "admin_state": "ready",
        "operational_state": "up",
        "agent": None,
        "share_percent": 30,
        "in_flight": 15,
        "queue": 1,
        "requests_total": 16,
        "http_5xx_total": 1,
        "errors_total": 3,
        "retries_total": 2,
        "lease": None,
    }


@pytest.mark.parametrize(
    ("columns", "agent"),
    [
        ({}, None),
        ({"agent_status": "", "agent_health": ""}, None),
        ({"agent_status": "L7OK", "agent_health": "1", "last_agt": "via agent : up"}, ("up", "via agent : up")),
        (
            {"agent_status": "L7STS", "agent_health": "0", "last_agt": "via agent : down (x)"},
            ("down", "via agent : down (x)"),
        ),
        # It does not answer any more: what it said last holds.
        ({"agent_status": "L4CON", "agent_health": "0", "last_agt": "refused"}, ("down", "refused")),
        ({"agent_status": "L4CON", "agent_health": "1", "last_agt": "refused"}, None),
    ],
)
def test_what_an_agent_said_last_holds_until_it_says_something_else(
    columns: dict[str, str], agent: tuple[str, str] | None
) -> None:
    found = stats.agent_of({"pxname": "pool_chat", "svname": "a", **columns})
    assert (found and (found["state"], found["said"])) == agent


def test_a_pool_counts_what_the_gateway_answered_itself() -> None:
    (entry,) = stats.pool_entries(VIEWS, ROWS, {"chat": "30"})
    assert (entry["requests_total"], entry["http_5xx_total"], entry["http_4xx_total"], entry["queue"]) == (12, 2, 4, 3)
    assert (entry["servers_ready"], entry["servers_up"], entry["canary_share_percent"]) == (1, 1, 30)


def test_another_pool_is_left_out() -> None:
    assert stats.server_entries(VIEWS, ROWS, [], {}, "code") == []
    assert stats.pool_entries(VIEWS, ROWS, {}, "code") == []


@pytest.mark.parametrize(("first", "last", "growth"), [(5, 9, 4), (5, 5, 0), (5, 2, 2)])
def test_a_counter_that_a_reload_set_to_nothing_counts_from_there(first: int, last: int, growth: int) -> None:
    assert stats.grown(first, last) == growth


def test_errors_between_two_readings_are_seen() -> None:
    before = stats.server_entries(VIEWS, ROWS, [], {})
    quiet = stats.server_deltas(before, before)
    assert not stats.has_errors(quiet)
    failing = stats.server_deltas(before, [{**before[0], "http_5xx_total": 2, "requests_total": 17}])
    assert stats.has_errors(failing)
    totals: dict[tuple[str, str], dict[str, object]] = {}
    stats.add_up(totals, failing)
    stats.add_up(totals, failing)
    assert totals == {
        ("chat", "a"): {"pool": "chat", "server": "a", "requests": 2, "http_5xx": 2, "errors": 0, "retries": 0}
    }
