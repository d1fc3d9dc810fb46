# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet with fake GPUs that serves, for the tests of health, recovery and rollouts with GPUs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet import Client
from gpu_fleet import KEEP, LAB, GpuFleet, healthy
from rollouts import HOSTS, gateway_servers

IN_SERVICE = {"admin_state": "ready", "operational_state": "up", "share_percent": 100, "lease": None}


@pytest.fixture(scope="session")
def fleet() -> Iterator[GpuFleet]:
    """One gateway and three hosts with fake GPUs, all serving; built once for all tests here."""
    it = GpuFleet(LAB)
    it.up()
    it.give(**dict.fromkeys(HOSTS, healthy()))
    done = it.playbook("site")
    assert done.code == 0, done.output[-6000:]
    yield it
    if not KEEP:
        it.lab_command("down")


@pytest.fixture
def restored(fleet: GpuFleet) -> Iterator[None]:
    """Healthy GPUs before and after a test, and every host back in service. Most tests leave nothing to start."""
    fleet.give(**dict.fromkeys(HOSTS, healthy()))
    yield
    fleet.give(**dict.fromkeys(HOSTS, healthy()))
    if any(server[key] != value for server in gateway_servers(fleet) for key, value in IN_SERVICE.items()):
        done = fleet.playbook("start")
        assert done.code == 0, done.output[-3000:]


@pytest.fixture
def client(fleet: GpuFleet) -> Iterator[Client]:
    """A steady client that was answered."""
    with fleet.client(rate=10) as it:
        it.wait_answered(10)
        yield it
