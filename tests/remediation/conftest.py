# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway and one host that helps itself, on the lab's machines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from remedy_fleet import KEEP, LAB, Remedied


@pytest.fixture(scope="session")
def fleet() -> Iterator[Remedied]:
    """One gateway and one host; built once for all tests here."""
    it = Remedied(LAB)
    it.command("lab.py", "up", "--lab", LAB, "--host=gw1=bookworm", "--host=gpu1=trixie")
    it.site()
    yield it
    if not KEEP:
        it.lab_command("down")


@pytest.fixture(autouse=True)
def fresh(fleet: Remedied) -> None:
    """Every test begins with an engine that serves and with limits that were never used."""
    fleet.reset()
