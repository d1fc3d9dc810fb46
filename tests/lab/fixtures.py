# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of every test that upgrades a lab under load. They need a fixture `fleet`; a conftest.py imports them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fleet import Client, Fleet
from rollouts import Rollout, gateway_servers


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Client]:
    """A steady client of streaming requests, answered before the test begins."""
    with fleet.client(rate=fleet.client_rate) as it:
        it.wait_answered(fleet.client_rate, seconds=60)
        yield it


@pytest.fixture
def rollout(fleet: Fleet) -> Iterator[Callable[..., Rollout]]:
    """Start upgrades; whatever still runs when the test is over is ended."""
    started: list[Rollout] = []

    def start(*extra: str, playbook: str = "upgrade") -> Rollout:
        started.append(Rollout(fleet, *extra, playbook=playbook))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def settled(fleet: Fleet) -> Callable[[], None]:
    """Check what must hold after every rollout: one release in the pool, nothing armed, nobody left drained."""

    def check() -> None:
        states = fleet.releases()
        assert len({state["current"] for state in states.values()}) == 1, f"two releases in one pool: {states}"
        assert not any(state["armed"] for state in states.values()), f"a dead-man is still armed: {states}"
        servers = gateway_servers(fleet)
        assert len(servers) == len(states), servers
        for server in servers:
            assert server["admin_state"] == "ready", f"left out of service: {server}"
            assert server["share_percent"] == 100, f"left at a small share: {server}"
            assert server["lease"] is None, f"a lease still runs: {server}"

    return check
