# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that serves and is watched: a gateway, two hosts with llama-server and fake GPUs, a monitoring host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from monitoring_fleet import GPU_PROFILES, KEEP, LAB, LAB_HOSTS, MonitoringFleet, Upgraded, Watched, at_work
from waiting import wait_for


@pytest.fixture(scope="session")
def watched() -> Iterator[Watched]:
    """Built once for all tests here; a time scale of 12 holds."""
    fleet = MonitoringFleet(LAB)
    fleet.up(LAB_HOSTS)
    fleet.give(**{host: at_work(profile) for host, profile in GPU_PROFILES.items()})
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
def upgraded(watched: Watched) -> Upgraded:
    """One good upgrade of the fleet, while it is watched."""
    before = watched.fleet.current_releases()
    done = watched.fleet.upgrade("good")
    assert done.code == 0, done.output[-6000:]
    return Upgraded(before, watched.fleet.current_releases())


@pytest.fixture
def calm(watched: Watched) -> Watched:
    """The fleet with nothing firing."""
    wait_for("nothing fires before the test", watched.is_calm, 120)
    return watched
