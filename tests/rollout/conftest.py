# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that serves under a steady client, for the tests that upgrade and break it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import pytest
from fleet import Client, Fleet
from rollouts import HOSTS, Rollout, gateway_servers

LAB = os.environ.get("LOCAL_LLM_TEST_LAB", "rollout")
KEEP = os.environ.get("LOCAL_LLM_KEEP_LAB", "") != ""


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """One gateway and three hosts that serve; built once for all tests here."""
    it = Fleet(LAB)
    it.up()
    done = it.playbook("site")
    assert done.code == 0, done.output[-6000:]
    yield it
    if not KEEP:
        it.lab_command("down")


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Client]:
    """A steady client at 20 streaming requests per second, answered before the test begins."""
    with fleet.client(rate=20) as it:
        it.wait_answered(20)
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
def other_release(fleet: Fleet) -> list[str]:
    """Arguments for a good release that differs from the one that serves now."""
    place = "/var/lib/local_llm/instances/chat/current/release.json"
    now = {
        json.loads(fleet.shell(host, f"cat {place}"))["description"]["config"]["parallel_requests"] for host in HOSTS
    }
    return ["-e", f"lab_parallel_requests={next(n for n in (2, 3, 4, 5) if n not in now)}"]


@pytest.fixture
def settled(fleet: Fleet) -> Callable[[], None]:
    """Check what must hold after every rollout: one release in the pool, nothing armed, nobody left drained."""

    def check() -> None:
        states = fleet.releases()
        assert len({state["current"] for state in states.values()}) == 1, f"two releases in one pool: {states}"
        assert not any(state["armed"] for state in states.values()), f"a dead-man is still armed: {states}"
        servers = gateway_servers(fleet)
        assert len(servers) == len(HOSTS), servers
        for server in servers:
            assert server["admin_state"] == "ready", f"left out of service: {server}"
            assert server["share_percent"] == 100, f"left at a small share: {server}"
            assert server["lease"] is None, f"a lease still runs: {server}"

    return check
