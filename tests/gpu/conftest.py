# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet with fake GPUs that serves, for the tests of health, recovery and rollouts with GPUs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gpu_fleet import KEEP, LAB, GpuFleet, healthy
from rollouts import HOSTS


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
