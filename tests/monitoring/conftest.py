# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that serves and is watched: a gateway, two hosts with fake GPUs, a monitoring host.

Each step is made once for all tests: Ollama serves, llama.cpp takes its place, the rules are made for that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from monitoring_fleet import (
    ENGINE,
    FIRST_ENGINE,
    GPU_PROFILES,
    KEEP,
    LAB,
    LAB_HOSTS,
    SHOWN_RUNS,
    WITH_OWN_RULES,
    MonitoringFleet,
    Moved,
    Ruled,
    Watched,
    at_work,
)
from waiting import wait_for


@pytest.fixture(scope="session")
def watched() -> Iterator[Watched]:
    """The fleet with its first engine, or with that of a lab which was kept; a time scale of 12 holds."""
    fleet = MonitoringFleet(LAB)
    fleet.up(LAB_HOSTS)
    fleet.give(**{host: at_work(profile) for host, profile in GPU_PROFILES.items()})
    fleet.find_engine()
    with fleet.receiver() as webhook:
        for playbook in ("site", "monitoring"):
            done = fleet.playbook(playbook)
            assert done.code == 0, done.output[-6000:]
        it = Watched(fleet, webhook)
        wait_for("every target answers", fleet.all_answer, 60)
        yield it
    if not KEEP:
        fleet.lab_command("down")


@pytest.fixture(scope="session")
def on_ollama(watched: Watched) -> Watched:
    """The fleet before the change of its engine."""
    if watched.fleet.serves != FIRST_ENGINE:
        watched.fleet.change_engine(FIRST_ENGINE)
        done = watched.fleet.playbook("monitoring")
        assert done.code == 0, done.output[-6000:]
    return watched


@pytest.fixture(scope="session")
def moved(on_ollama: Watched) -> Moved:
    """The change of the engine, under live requests; monitoring is not told of it but by the rollout itself."""
    fleet = on_ollama.fleet
    before = fleet.current_releases()
    with fleet.client(rate=fleet.client_rate) as client:
        client.wait_answered(10)
        done = fleet.change_engine(ENGINE)
        traffic = client.finish()
    return Moved(before, fleet.current_releases(), done, traffic)


@pytest.fixture(scope="session")
def ruled(watched: Watched, request: pytest.FixtureRequest) -> Ruled:
    """The fleet with its second engine and the rules for it, and with rules of one's own."""
    fleet = watched.fleet
    if fleet.serves != ENGINE:
        request.getfixturevalue("moved")
    before = fleet.shell("mon1", SHOWN_RUNS)
    # Nothing changes on the other hosts, and targets keep what the rollout wrote into them.
    done = fleet.playbook("monitoring", *WITH_OWN_RULES, "--limit", "mon1")
    assert done.code == 0, done.output[-6000:]
    wait_for("nothing fires any more", watched.is_calm, 120)
    watched.leave_alone()
    return Ruled(done, before, fleet.shell("mon1", SHOWN_RUNS))


@pytest.fixture
def calm(watched: Watched, ruled: Ruled) -> Iterator[Watched]:
    """The fleet with nothing firing, for a test that breaks something."""
    wait_for("nothing fires before the test", watched.is_calm, 120)
    yield watched
    watched.leave_alone()
