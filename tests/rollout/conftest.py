# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that serves under a steady client, for the tests that upgrade and break it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from fixtures import client, rollout, settled
from fleet import Fleet
from model_source import source
from rollouts import HOSTS

__all__ = ["client", "fleet", "other_release", "rollout", "settled", "source"]

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
def other_release(fleet: Fleet) -> list[str]:
    """Arguments for a good release that differs from the one that serves now."""
    place = "/var/lib/local_llm/instances/chat/current/release.json"
    now = {
        json.loads(fleet.shell(host, f"cat {place}"))["description"]["config"]["parallel_requests"] for host in HOSTS
    }
    return ["-e", f"lab_parallel_requests={next(n for n in (2, 3, 4, 5) if n not in now)}"]
