# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a server's state and share mean in HAProxy's terms, and which commands lead from one to another.

Every pool has two backends with the same servers: pool_<pool> serves in full, canary_<pool> serves the share that the
map names. A server is a full member when it is ready in pool_<pool>; it serves a share of N percent when it is drained
there and has the weight N in canary_<pool>. The map holds per pool the sum of those weights. In canary_<pool> every
server appears once more as "fallback.<server>", a spare that follows the server's state in pool_<pool>.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

POOL_PREFIX = "pool_"
CANARY_PREFIX = "canary_"
FALLBACK_PREFIX = "fallback."

# Bits of srv_admin_state: forced, inherited, configured, resolution and host-name maintenance; forced, inherited drain.
MAINT_BITS = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
DRAIN_BITS = 0x08 | 0x10
OPERATIONAL_STATES = {0: "down", 1: "starting", 2: "up", 3: "stopping"}


@dataclass(frozen=True)
class ServerView:
    """One server of one pool as HAProxy runs it now."""

    pool: str
    server: str
    pool_admin: int
    pool_operational: int
    canary_admin: int
    canary_operational: int
    canary_weight: int

    @property
    def state(self) -> str:
        """Return ready, drain or maint."""
        if self.pool_admin & MAINT_BITS:
            return "maint"
        if self.pool_admin & DRAIN_BITS and not self.canary_share:
            return "drain"
        return "ready"

    @property
    def canary_share(self) -> int:
        """Return the weight in the canary backend that counts, in percent of the pool."""
        return 0 if self.canary_admin & (MAINT_BITS | DRAIN_BITS) else self.canary_weight

    @property
    def share_percent(self) -> int:
        """Return 100 for a full member, 1 to 99 for a share, 0 for a server that gets no new requests."""
        if self.state != "ready":
            return 0
        return self.canary_share if self.pool_admin & DRAIN_BITS else 100

    @property
    def operational_state(self) -> str:
        """Return what the health check says: up, down, starting or stopping (of the backend that serves)."""
        served_by_canary = 0 < self.share_percent < 100
        return OPERATIONAL_STATES.get(self.canary_operational if served_by_canary else self.pool_operational, "unknown")

    def summary(self) -> dict[str, object]:
        """Return what a caller needs in order to come back to this state."""
        return {"state": self.state, "share_percent": self.share_percent}


Views = dict[tuple[str, str], ServerView]


def views_from_rows(rows: Iterable[Mapping[str, str]]) -> Views:
    """Return the servers of all pools by (pool, server) from the rows of the server state."""
    pool_rows: dict[tuple[str, str], Mapping[str, str]] = {}
    canary_rows: dict[tuple[str, str], Mapping[str, str]] = {}
    for row in rows:
        backend, server = row["be_name"], row["srv_name"]
        if backend.startswith(POOL_PREFIX):
            pool_rows[(backend[len(POOL_PREFIX) :], server)] = row
        elif backend.startswith(CANARY_PREFIX) and not server.startswith(FALLBACK_PREFIX):
            canary_rows[(backend[len(CANARY_PREFIX) :], server)] = row
    views = {}
    for key, row in pool_rows.items():
        canary = canary_rows.get(key)
        if canary is None:
            raise GatewayError(
                f"Server {key[1]!r} is in the backend {POOL_PREFIX}{key[0]} but not in {CANARY_PREFIX}{key[0]}: "
                "the configuration is not the one of the role local_llm.ops.gateway; run that role on this gateway."
            )
        views[key] = ServerView(
            pool=key[0],
            server=key[1],
            pool_admin=int(row["srv_admin_state"]),
            pool_operational=int(row["srv_op_state"]),
            canary_admin=int(canary["srv_admin_state"]),
            canary_operational=int(canary["srv_op_state"]),
            canary_weight=int(canary["srv_uweight"]),
        )
    return views


def pick(views: Views, pool: str, server: str) -> ServerView:
    """Return one server, or raise with the names that are known."""
    servers = sorted(name for of_pool, name in views if of_pool == pool)
    if not servers:
        known = ", ".join(sorted({of_pool for of_pool, name in views})) or "none"
        raise GatewayError(
            f"The gateway has no pool {pool!r} with servers. Known pools: {known}. "
            "Correct the name, or run the role local_llm.ops.gateway after changing the inventory."
        )
    if server not in servers:
        raise GatewayError(
            f"Pool {pool!r} has no server {server!r} on this gateway. Known servers: {', '.join(servers)}. "
            "A server is called <inventory host name>-<instance name>; "
            "run the role local_llm.ops.gateway after changing the inventory."
        )
    return views[(pool, server)]


def desired_view(view: ServerView, state: str, share_percent: int) -> ServerView:
    """Return how the server must look; raise when state and share contradict each other."""
    if state == "ready" and not 1 <= share_percent <= 100:
        raise GatewayError(
            f"share_percent is {share_percent} for server {view.server!r}: state ready needs 1 to 100; "
            "for no traffic at all use state drain."
        )
    member = state == "ready" and share_percent == 100
    return ServerView(
        pool=view.pool,
        server=view.server,
        pool_admin=0 if member else (0x01 if state == "maint" else 0x08),
        pool_operational=view.pool_operational,
        canary_admin=0x01 if state == "maint" else 0,
        canary_operational=view.canary_operational,
        canary_weight=share_percent if state == "ready" and share_percent < 100 else 0,
    )


def pool_share(views: Views, pool: str) -> int:
    """Return the percentage of the pool's requests that go to its canary backend: the sum of its members' shares."""
    return sum(view.share_percent for view in views.values() if view.pool == pool and view.share_percent < 100)


def plan(views: Views, mapped: Mapping[str, str], target: ServerView, map_path: str) -> list[str]:
    """Return the socket commands that make the target true: first what opens, then the share, then what closes."""
    current = pick(views, target.pool, target.server)
    after = {**views, (target.pool, target.server): target}
    share = pool_share(after, target.pool)
    if share > 100:
        others = share - target.share_percent
        raise GatewayError(
            f"Pool {target.pool!r} would give its canaries {share} percent of the requests "
            f"({others} for others, {target.share_percent} for {target.server!r}). "
            f"Use a share_percent of at most {100 - others}, or take another canary out first."
        )
    opening: list[str] = []
    closing: list[str] = []
    pool_name = f"{POOL_PREFIX}{target.pool}/{target.server}"
    canary_name = f"{CANARY_PREFIX}{target.pool}/{target.server}"
    if _admin_word(current.pool_admin) != _admin_word(target.pool_admin):
        word = _admin_word(target.pool_admin)
        (opening if word == "ready" else closing).append(f"set server {pool_name} state {word}")
    if _admin_word(current.canary_admin) != _admin_word(target.canary_admin):
        word = _admin_word(target.canary_admin)
        (opening if word == "ready" else closing).append(f"set server {canary_name} state {word}")
    if current.canary_weight != target.canary_weight:
        order = f"set server {canary_name} weight {target.canary_weight}"
        (opening if target.canary_weight > current.canary_weight else closing).append(order)
    mapping = []
    if mapped.get(target.pool, "0") != str(share):
        verb = "set" if target.pool in mapped else "add"
        mapping = [f"{verb} map {map_path} {target.pool} {share}"]
    return opening + mapping + closing


def _admin_word(admin: int) -> str:
    if admin & MAINT_BITS:
        return "maint"
    return "drain" if admin & DRAIN_BITS else "ready"
