# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How many hosts of a pool a rollout may take at the same time, by measured goodput and the rate they must answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity import largest_batch, replicas_for

SOURCE = "capacity"
ALLOW_VARIABLE = "local_llm_allow_short_pools"
_RATE, _GOODPUT = "peak_requests_per_second", "goodput_requests_per_second"


Entries = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Limit:
    """What limits how many servers of a pool may be away at the same time, and what each host takes away.

    returning: servers that do not serve now, and will once their host is done.
    """

    in_service: int
    rate: float
    goodput: float
    taken: Counter[str]
    returning: Counter[str]

    def away(self, batch: Sequence[str]) -> int:
        """Return how many servers are away while these hosts are worked on."""
        return sum(self.taken.get(host, 0) for host in batch)

    def servers(self, done: Sequence[str]) -> int:
        """Return the most servers that may be away once these hosts are done."""
        return largest_batch(
            self.in_service + sum(self.returning.get(host, 0) for host in done), self.rate, self.goodput
        )

    def exceeded(self, planned: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        """Return the batches that take too many servers, each after those before it."""
        return [
            batch
            for number, batch in enumerate(planned)
            if self.away(batch) > self.servers([host for before in planned[:number] for host in before])
        ]


def pool_limits(
    hosts: Entries,
    capacity: Mapping[str, Mapping[str, Any]],
    out_of_service: Collection[tuple[str, str]] = (),
    in_service: Collection[tuple[str, str]] = (),
    halted: Collection[tuple[str, str]] = (),
) -> dict[str, Limit]:
    """Return the limit of each pool whose goodput and rate are known.

    hosts: the entries of a plan. capacity: {pool: its setting capacity}. out_of_service: (pool, server) that clients do
    not reach before the rollout already; they answer nothing, so they can neither stand in nor be missed. in_service:
    the same of all that clients reach, also on hosts that are not in this plan (--limit); those stand in too. halted:
    (host, instance) that an earlier rollout left in the middle: nobody may count on them before they are done.
    """
    limits = {}
    for pool, known in capacity.items():
        rate, goodput = known.get(_RATE), known.get(_GOODPUT)
        if rate is None or goodput is None:
            continue
        members = {
            (host, name): entry["action"] != "none"
            for host, entries in hosts.items()
            for name, entry in entries.items()
            if entry["pool"] == pool and entry["from"] is not None and (pool, f"{host}-{name}") not in out_of_service
        }
        serving = members.keys() - set(halted)
        taken, returning = Counter[str](), Counter[str]()
        for (host, name), moves in members.items():
            (taken if (host, name) in serving else returning)[host] += moves
        planned = {f"{host}-{name}" for host, entries in hosts.items() for name in entries}
        others = sum(1 for known_pool, server in in_service if known_pool == pool and server not in planned)
        count = len(serving) + others
        limits[pool] = Limit(count, rate, goodput, taken, returning)
    return limits


def limit_batches(planned: Sequence[Sequence[str]], limits: Mapping[str, Limit]) -> list[list[str]]:
    """Return the batches, split where they would take too many servers of a pool. One host is always taken."""
    result: list[list[str]] = []
    for batch in planned:
        part: list[str] = []
        for host in batch:
            done = [one for before in result for one in before]
            if part and any(limit.away([*part, host]) > limit.servers(done) for limit in limits.values()):
                result.append(part)
                part = []
            part.append(host)
        if part:
            result.append(part)
    return result


def capacity_findings(
    planned: Sequence[Sequence[str]],
    limited: Sequence[Sequence[str]],
    limits: Mapping[str, Limit],
    allowed: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return why batches became smaller, and a fault for each pool that cannot spare what one host takes away."""
    found = []
    everyone = [host for batch in planned for host in batch]
    for pool, limit in limits.items():
        told = (
            f"{limit.in_service} in service, {limit.rate:g} requests/s at {limit.goodput:g} each need "
            f"{replicas_for(limit.rate, limit.goodput)}"
        )
        if limit.returning.total():
            told += f"; {limit.returning.total()} more left by an earlier rollout, counted once done"
        if limit.exceeded(limited):
            observed = f"{told}; not even one host can be spared"
            if pool in allowed:
                action = "Requests will wait or get 503 meanwhile, as allowed by name."
                found.append(_finding("warn", pool, observed, "a host to spare", action))
            else:
                action = f"Add a host first, lower {_RATE} to what a quiet hour has, or allow it by name: "
                found.append(
                    _finding("fail", pool, observed, "a host to spare", f"{action}{ALLOW_VARIABLE}: [{pool}].")
                )
        elif limit.exceeded(planned):
            action = f"Batches are made smaller: {', '.join(str(len(batch)) for batch in limited)}."
            found.append(
                _finding("warn", pool, told, f"at most {limit.servers(everyone)} away at the same time", action)
            )
    return found


def _finding(status: str, pool: str, observed: str, expected: str, action: str) -> dict[str, Any]:
    subject = f"pool {pool}"
    return finding("capacity", status, subject, observed=observed, expected=expected, action=action, source=SOURCE)
