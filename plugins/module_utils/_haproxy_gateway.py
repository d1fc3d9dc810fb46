# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One gateway: read it, change it, read it back, keep the change on disk, and give back what a lease ran out on.

The modules and the script on the gateway that watches leases use this same class.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import Callable, TypeVar

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_pools as pools
from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_store as store
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import (
    AdminSocket,
    GatewayError,
    check_reply,
    number,
    parse_map,
    parse_old_workers,
    parse_servers_state,
    parse_stat,
)

POLL_SECONDS = 0.1
Value = TypeVar("Value")


@dataclass(frozen=True)
class Change:
    """What a call found, ordered and left behind."""

    found: pools.ServerView
    after: pools.ServerView
    before: dict[str, object]
    orders: list[str]
    lease: store.Lease | None
    changed: bool


@dataclass(frozen=True)
class Gateway:
    """Where the parts of one gateway are."""

    socket_path: str = "/run/haproxy/admin.sock"
    master_socket_path: str = "/run/haproxy-master.sock"
    directory: str = "/var/lib/local_llm/gateway"
    map_path: str = "/etc/haproxy/local_llm/shares.map"
    config_path: str = "/etc/haproxy/haproxy.cfg"

    @property
    def admin(self) -> AdminSocket:
        """Return the admin socket."""
        return AdminSocket(self.socket_path)

    @property
    def state_path(self) -> str:
        """Return the path of the server-state-file."""
        return os.path.join(self.directory, "server-state")

    def views(self) -> pools.Views:
        """Return all servers as they are now."""
        return pools.views_from_rows(parse_servers_state(self.admin.command("show servers state")))

    def view(self, pool: str, server: str) -> pools.ServerView:
        """Return one server as it is now."""
        return pools.pick(self.views(), pool, server)

    def shares(self) -> dict[str, str]:
        """Return the run-time map of shares."""
        return parse_map(self.admin.command(f"show map {self.map_path}"))

    def stat_rows(self) -> list[dict[str, str]]:
        """Return the statistics of the present worker."""
        return parse_stat(self.admin.command("show stat"))

    def old_worker_rows(self) -> list[dict[str, str]]:
        """Return the statistics of workers that still finish streams after a reload."""
        if not os.path.exists(self.master_socket_path):
            return []
        master = AdminSocket(self.master_socket_path)
        rows = []
        for pid in parse_old_workers(master.command("show proc")):
            reply = master.command(f"@!{pid} show stat")
            # A worker that ended meanwhile holds no stream.
            if reply.startswith("# "):
                rows.extend(parse_stat(reply))
        return rows

    def in_flight(self, pool: str, server: str) -> int:
        """Return how many requests the server is answering, in both backends and in workers that a reload replaced."""
        return sum(
            number(row, "scur")
            for row in self.stat_rows() + self.old_worker_rows()
            if server_of_row(row) == (pool, server)
        )

    def preview(self, pool: str, server: str, state: str, share_percent: int, lease_seconds: int) -> Change:
        """Return what apply would do, without doing it."""
        views = self.views()
        found = pools.pick(views, pool, server)
        target = pools.desired_view(found, state, share_percent)
        orders = pools.plan(views, self.shares(), target, self.map_path)
        standing = store.read_lease(self.directory, pool, server)
        before = standing.before() if standing else found.summary()
        lease = self._new_lease(pool, server, before, lease_seconds)
        changed = bool(orders) or bool(lease) or bool(standing) or not self._persisted(views)
        return Change(found, target, before, orders, lease, changed)

    def apply(self, pool: str, server: str, state: str, share_percent: int, lease_seconds: int) -> Change:
        """Make it so, read it back and keep it, under the gateway's lock."""
        with store.locked(self.directory):
            change = self.preview(pool, server, state, share_percent, lease_seconds)
            if change.lease:
                # First the promise to come back, then the change it covers.
                store.write_lease(self.directory, change.lease)
            for order in change.orders:
                self.admin.order(order)
            after = self._read_back(change.after)
            if change.changed:
                self.persist()
            if not change.lease:
                store.remove_lease(self.directory, pool, server)
            return replace(change, after=after)

    def persist(self) -> None:
        """Write the map and the server-state-file, so that a reload, a restart or a power cut loses nothing."""
        shares = "".join(f"{key} {value}\n" for key, value in sorted(self.shares().items()))
        if store.read_text(self.map_path) != shares:
            store.atomic_write(self.map_path, shares, 0o644)
        command = "show servers state"
        state = check_reply(self.admin.command(command), command, "1")
        ports = store.config_ports(store.read_text(self.config_path) or "")
        store.atomic_write(self.state_path, store.with_config_ports(state + "\n", ports))

    def reconcile(self) -> None:
        """Give the server-state-file the ports of the configuration, while HAProxy is not running."""
        state = store.read_text(self.state_path)
        if state:
            ports = store.config_ports(store.read_text(self.config_path) or "")
            store.atomic_write(self.state_path, store.with_config_ports(state, ports))

    def wait_idle(self, pool: str, server: str, seconds: float) -> int:
        """Wait until the server answers nothing any more; raise when requests remain."""
        return self._wait(
            seconds,
            lambda: self.in_flight(pool, server),
            lambda left: left == 0,
            lambda left: (
                f"After {seconds:g} seconds server {server!r} of pool {pool!r} still has {left} requests in flight. "
                "It stays in its new state. Give wait_idle_seconds more time than the longest answer takes, "
                "or stop those clients."
            ),
        )

    def wait_up(self, pool: str, server: str, seconds: float) -> str:
        """Wait until the health check says up; raise when it does not."""
        return self._wait(
            seconds,
            lambda: self.view(pool, server).operational_state,
            lambda word: word == "up",
            lambda word: (
                f"After {seconds:g} seconds the gateway's health check still finds server {server!r} of pool "
                f"{pool!r} {word}. Check that the gateway reaches the instance's address and port, and /health "
                "there; and, where agents are asked, what gateway_info tells of this one."
            ),
        )

    def restore_expired(self, now: float) -> list[str]:
        """Give back the values from before every lease that ran out; return one line for each."""
        lines = []
        leases, problems = store.list_leases(self.directory)
        lines.extend(problems)
        for lease in leases:
            if lease.expires_at <= now:
                lines.append(self._restore(lease, now))
        return [line for line in lines if line]

    def _restore(self, lease: store.Lease, now: float) -> str:
        with store.locked(self.directory):
            current = store.read_lease(self.directory, lease.pool, lease.server)
            if current is None or current.expires_at > now:
                return ""
            views = self.views()
            if (lease.pool, lease.server) not in views:
                store.remove_lease(self.directory, lease.pool, lease.server)
                return f"lease expired: server {lease.server} is no longer in pool {lease.pool}; the lease is dropped"
            found = views[(lease.pool, lease.server)]
            target = pools.desired_view(found, current.state, current.share_percent)
            for order in pools.plan(views, self.shares(), target, self.map_path):
                self.admin.order(order)
            self._read_back(target)
            self.persist()
            store.remove_lease(self.directory, lease.pool, lease.server)
        return (
            f"lease expired: pool {lease.pool} server {lease.server} went from {found.state} ({found.share_percent} %) "
            f"back to {current.state} ({current.share_percent} %), because nobody renewed the lease of "
            f"{current.lease_seconds} seconds"
        )

    def _read_back(self, target: pools.ServerView) -> pools.ServerView:
        views = self.views()
        seen = pools.pick(views, target.pool, target.server)
        if seen.summary() != target.summary():
            raise GatewayError(
                f"Server {target.server!r} of pool {target.pool!r} should be {target.summary()} "
                f"but HAProxy reports {seen.summary()} after the change. Something else changes this gateway too."
            )
        share, mapped = str(pools.pool_share(views, target.pool)), self.shares().get(target.pool, "0")
        if mapped != share:
            raise GatewayError(
                f"The share of pool {target.pool!r} should be {share} but {self.map_path} says {mapped}."
            )
        return seen

    def _persisted(self, views: pools.Views) -> bool:
        text = store.read_text(self.state_path)
        if not text:
            return False
        try:
            kept = pools.views_from_rows(parse_servers_state(text))
        except (GatewayError, KeyError, ValueError):
            return False
        shares = "".join(f"{key} {value}\n" for key, value in sorted(self.shares().items()))
        return {key: (view.summary(), view.canary_weight) for key, view in kept.items()} == {
            key: (view.summary(), view.canary_weight) for key, view in views.items()
        } and store.read_text(self.map_path) == shares

    def _new_lease(self, pool: str, server: str, before: dict[str, object], lease_seconds: int) -> store.Lease | None:
        if lease_seconds <= 0:
            return None
        return store.Lease(
            pool=pool,
            server=server,
            expires_at=time.time() + lease_seconds,
            lease_seconds=lease_seconds,
            state=str(before["state"]),
            share_percent=int(str(before["share_percent"])),
        )

    @staticmethod
    def _wait(
        seconds: float,
        probe: Callable[[], Value],
        done: Callable[[Value], bool],
        message: Callable[[Value], str],
    ) -> Value:
        deadline = time.monotonic() + seconds
        while True:
            value = probe()
            if done(value):
                return value
            if time.monotonic() >= deadline:
                raise GatewayError(message(value))
            time.sleep(POLL_SECONDS)


def server_of_row(row: dict[str, str]) -> tuple[str, str] | None:
    """Return (pool, server) of a statistics row, counting a spare as the server it stands for; None for other rows."""
    backend, server = row["pxname"], row["svname"]
    if server in ("BACKEND", "FRONTEND"):
        return None
    for prefix in (pools.POOL_PREFIX, pools.CANARY_PREFIX):
        if backend.startswith(prefix):
            bare = server[len(pools.FALLBACK_PREFIX) :] if server.startswith(pools.FALLBACK_PREFIX) else server
            return backend[len(prefix) :], bare
    return None
