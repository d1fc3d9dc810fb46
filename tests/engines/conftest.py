# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of one gateway and two hosts, whose engine the tests change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_fleet import KEEP, LAB, EngineFleet
from fixtures import client, rollout, settled

__all__ = ["client", "fleet", "rollout", "settled"]


@pytest.fixture(scope="session")
def fleet() -> Iterator[EngineFleet]:
    """One gateway and two bare hosts; a test says what they shall serve."""
    it = EngineFleet(LAB)
    it.up(["gw1=bookworm", "gpu1=trixie", "gpu2=trixie"])
    it.give_newer_suite()
    yield it
    if not KEEP:
        it.lab_command("down")
