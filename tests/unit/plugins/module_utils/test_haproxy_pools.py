# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands lead from one state to another, and what is refused."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_pools as pools
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

MAP = "/etc/haproxy/local_llm/shares.map"


def row(backend: str, server: str, admin: int = 0, weight: int = 1, operational: int = 2) -> dict[str, str]:
    return {
        "be_name": backend,
        "srv_name": server,
        "srv_admin_state": str(admin),
        "srv_op_state": str(operational),
        "srv_uweight": str(weight),
    }


def views(*servers: tuple[str, int, int, int]) -> pools.Views:
    """Build the pool chat from (name, admin state in the pool, admin state in the canary, canary weight)."""
    rows = []
    for name, admin, canary_admin, weight in servers:
        rows += [row("pool_chat", name, admin), row("canary_chat", name, canary_admin, weight)]
        rows.append(row("canary_chat", f"fallback.{name}", 16 if admin else 0))
    return pools.views_from_rows(rows)


@pytest.mark.parametrize(
    ("admin", "canary_admin", "weight", "state", "share"),
    [
        (0, 0, 0, "ready", 100),
        (0, 0, 30, "ready", 100),
        (8, 0, 30, "ready", 30),
        (8, 0, 0, "drain", 0),
        (8, 8, 30, "drain", 0),
        (8, 1, 30, "drain", 0),
        (1, 1, 0, "maint", 0),
        (4, 0, 0, "maint", 0),
        (9, 0, 0, "maint", 0),
        (16, 0, 0, "drain", 0),
    ],
)
def test_state_and_share_are_read_from_haproxys_bits(
    admin: int, canary_admin: int, weight: int, state: str, share: int
) -> None:
    view = views(("a", admin, canary_admin, weight))[("chat", "a")]
    assert view.summary() == {"state": state, "share_percent": share}


@pytest.mark.parametrize(
    ("start", "state", "share", "mapped", "orders"),
    [
        ((0, 0, 0), "ready", 100, {}, []),
        ((0, 0, 0), "drain", 100, {}, ["set server pool_chat/a state drain"]),
        (
            (0, 0, 0),
            "ready",
            30,
            {},
            [
                "set server canary_chat/a weight 30",
                f"add map {MAP} chat 30",
                "set server pool_chat/a state drain",
            ],
        ),
        (
            (8, 0, 30),
            "ready",
            100,
            {"chat": "30"},
            ["set server pool_chat/a state ready", f"set map {MAP} chat 0", "set server canary_chat/a weight 0"],
        ),
        ((8, 0, 30), "drain", 100, {"chat": "30"}, [f"set map {MAP} chat 0", "set server canary_chat/a weight 0"]),
        (
            (0, 0, 0),
            "maint",
            100,
            {},
            ["set server pool_chat/a state maint", "set server canary_chat/a state maint"],
        ),
        (
            (1, 1, 0),
            "ready",
            100,
            {"chat": "0"},
            ["set server pool_chat/a state ready", "set server canary_chat/a state ready"],
        ),
        ((8, 0, 30), "ready", 30, {"chat": "99"}, [f"set map {MAP} chat 30"]),
    ],
    ids=["nothing", "drain", "share", "full", "drain-canary", "maint", "from-maint", "mend-map"],
)
def test_orders_open_before_they_close(
    start: tuple[int, int, int], state: str, share: int, mapped: dict[str, str], orders: list[str]
) -> None:
    now = views(("a", *start), ("b", 0, 0, 0))
    target = pools.desired_view(now[("chat", "a")], state, share)
    assert pools.plan(now, mapped, target, MAP) == orders


@pytest.mark.parametrize("start", [(0, 0, 0), (8, 0, 30), (8, 0, 0), (1, 1, 0), (8, 8, 5)])
@pytest.mark.parametrize(("state", "share"), [("ready", 100), ("ready", 1), ("drain", 100), ("maint", 0)])
def test_what_is_wanted_reads_back_as_wanted(start: tuple[int, int, int], state: str, share: int) -> None:
    target = pools.desired_view(views(("a", *start))[("chat", "a")], state, share)
    assert target.summary() == {"state": state, "share_percent": share if state == "ready" else 0}


def test_the_pools_share_is_the_sum_of_its_canaries() -> None:
    now = views(("a", 8, 0, 20), ("b", 8, 0, 15), ("c", 0, 0, 0), ("d", 8, 0, 0))
    assert pools.pool_share(now, "chat") == 35


def test_shares_over_100_percent_are_refused_with_what_is_left() -> None:
    now = views(("a", 8, 0, 60), ("b", 0, 0, 0))
    target = pools.desired_view(now[("chat", "b")], "ready", 50)
    with pytest.raises(GatewayError, match="at most 40"):
        pools.plan(now, {}, target, MAP)


@pytest.mark.parametrize("share", [0, -1, 101])
def test_ready_without_a_possible_share_is_refused(share: int) -> None:
    with pytest.raises(GatewayError, match="state drain"):
        pools.desired_view(views(("a", 0, 0, 0))[("chat", "a")], "ready", share)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    now = views(("a", 0, 0, 0), ("b", 0, 0, 0))
    with pytest.raises(GatewayError, match="Known servers: a, b"):
        pools.pick(now, "chat", "c")
    with pytest.raises(GatewayError, match="Known pools: chat"):
        pools.pick(now, "code", "a")


def test_a_foreign_configuration_is_refused() -> None:
    with pytest.raises(GatewayError, match=r"run that role"):
        pools.views_from_rows([row("pool_chat", "a")])
