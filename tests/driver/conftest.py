# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts, Debian 12 and 13, whose fake driver comes as packages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from driver_fleet import KEEP, LAB, OLD, DriverFleet


@pytest.fixture(scope="session")
def fleet() -> Iterator[DriverFleet]:
    """Two hosts with fake GPUs and a repository; built once for all tests here."""
    it = DriverFleet(LAB)
    it.furnish()
    yield it
    if not KEEP:
        it.lab_command("down")


@pytest.fixture
def on_old(fleet: DriverFleet) -> DriverFleet:
    """Hosts with the old driver, and no transaction open."""
    fleet.bring(OLD)
    return fleet
