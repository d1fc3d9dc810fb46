# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a driver rollout ends, and what its report says on top."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_outcome import conclude_driver
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_rollout import NAME
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_driver_words import (
    driver_next_steps,
    driver_summary,
)

HOSTS = ("gpu1", "gpu2", "gpu3")
PLAN = {
    "kind": "driver",
    "batches": [[host] for host in HOSTS],
    "hosts": {host: {NAME: {"action": "upgrade", "from": "1", "to": "2"}} for host in HOSTS},
}


def lines(*states: str | None) -> list[dict[str, Any]]:
    blank = {"instance": NAME, "event": "x", "detail": "", "evidence": {}}
    found = [{**blank, "host": host, "state": state} for host, state in zip(HOSTS, states, strict=False) if state]
    bad = [line for line in found if line["state"] in ("rolled_back_verified", "rollback_failed", "unknown")]
    failed = [{**line, "event": "failed", "detail": "Step: installed: DKMS said no"} for line in bad]
    return [*failed, *found]


@pytest.mark.parametrize(
    ("states", "state", "unlocked", "words"),
    [
        (("healthy", "healthy", "healthy"), "completed", True, "run the wanted driver"),
        (("rolled_back_verified",), "rolled_back_verified", True, "gpu1 went back to the old driver, verified"),
        (("healthy", "rolled_back_verified"), "rolled_back_verified", True, "gpu1 keep the new driver"),
        (("healthy", "rollback_failed"), "rollback_failed", False, "gpu2 could not be brought back"),
        (("healthy", "unknown"), "halted", False, "Nothing is known of gpu2"),
        (("healthy",), "halted", True, "gpu2, gpu3 were not touched"),
        (("staged", "staged", "staged"), "halted", True, "were not touched"),
    ],
)
def test_every_end_says_who_runs_what_and_what_to_do(
    states: tuple[str, ...], state: str, unlocked: bool, words: str
) -> None:
    end = conclude_driver(PLAN, lines(*states))
    assert (end["state"], end["release_lock"]) == (state, unlocked)
    assert words in end["message"]
    if state != "completed":
        assert "run driver again" in end["message"]


def report(outcome: str, *outcomes: str) -> dict[str, Any]:
    hosts = [{"host": host, "outcome": word, "release": "2"} for host, word in zip(HOSTS, outcomes, strict=False)]
    return {"outcome": outcome, "hosts": hosts, "cause": None}


@pytest.mark.parametrize(
    ("made", "summary", "step"),
    [
        (
            report("rolled_back_verified", "healthy", "rolled_back_verified"),
            "1 back on the old driver",
            "nothing is urgent",
        ),
        (report("rollback_failed", "rollback_failed"), "Rollback failed on gpu1", "Act now: gpu1 stays drained"),
        (report("halted", "unknown", "untouched"), "1 not reached", "Bring gpu1 back"),
        (report("halted", "untouched"), "1 not reached", "No host was left half done"),
        (report("unfinished", "unknown"), "ends without an outcome", "goes on where it stopped"),
    ],
)
def test_the_report_says_it_in_words_of_drivers(made: dict[str, Any], summary: str, step: str) -> None:
    assert summary in driver_summary(made, "gpu1 failed", "3 min")
    assert step in driver_next_steps(made)


def test_a_completed_rollout_names_its_driver() -> None:
    assert driver_summary(report("completed", "healthy"), "", "3 min") == "Completed: 1 host runs driver 2 after 3 min."
