# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that serves and is watched: one gateway, two hosts with llama-server, one monitoring host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from monitoring_fleet import KEEP, LAB, LAB_HOSTS, MonitoringFleet, Watched
from waiting import wait_for


@pytest.fixture(scope="session")
def watched() -> Iterator[Watched]:
    """Built once for all tests here; a time scale of 12 holds."""
    fleet = MonitoringFleet(LAB)
    fleet.up(LAB_HOSTS)
    with fleet.receiver() as webhook:
        for playbook in ("site", "monitoring"):
            done = fleet.playbook(playbook)
            assert done.code == 0, done.output[-6000:]
        it = Watched(fleet, webhook)
        wait_for("every target answers", fleet.all_answer, 60)
        yield it
    if not KEEP:
        fleet.lab_command("down")


@pytest.fixture
def calm(watched: Watched) -> Watched:
    """The fleet with nothing firing."""
    wait_for("nothing fires before the test", watched.is_calm, 120)
    return watched
