# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bad release never reaches the clients: every host ends verified on the old release, and no request fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fleet import Client, Fleet
from rollouts import HOSTS, journal, release_arguments

Lines = list[dict[str, Any]]


def of_canary(lines: Lines, event: str) -> Lines:
    """Return the canary's journal lines of one event."""
    return [line for line in lines if (line["host"], line["event"]) == ("gpu1", event)]


def failed_in_the_switch(lines: Lines, directory: Path) -> None:
    """The release did not become ready, so nothing was measured on it."""
    assert of_canary(lines, "drained"), "it must have got as far as the switch"
    assert not of_canary(lines, "switched"), "a release that never became ready must not count as switched"
    (failed,) = of_canary(lines, "failed")
    assert failed["detail"].startswith("Switch: "), failed


def failed_the_verdict(lines: Lines, measure: str, directory: Path) -> None:
    """The release became ready and was refused for what was measured."""
    assert of_canary(lines, "switched")
    assert not of_canary(lines, "verdict"), "the verdict must not count as proven"
    (judged,) = [line for line in of_canary(lines, "step_failed") if line["evidence"]["step"] == "verdict"]
    verdict = judged["evidence"]
    if "report" in verdict:  # too large for its line
        verdict = json.loads((directory / verdict["report"]).read_text(encoding="utf-8"))
    wrong = [reason["measure"] for reason in verdict["reasons"] if reason["status"] == "fail"]
    assert any(name.startswith(measure) for name in wrong), wrong


WHY: dict[str, Callable[..., None]] = {
    "exits": failed_in_the_switch,
    "never_ready": failed_in_the_switch,
    "slow": partial(failed_the_verdict, measure="time to first token"),
    "wrong_answers": partial(failed_the_verdict, measure="quality"),
}


@pytest.mark.parametrize("release", WHY)
def test_bad_release_is_taken_back_from_the_canary(
    fleet: Fleet, client: Client, settled: Callable[[], None], release: str
) -> None:
    before = fleet.releases()
    done = fleet.playbook("upgrade", *release_arguments(release))
    assert done.code != 0, done.output[-3000:]
    assert done.outcome == "rolled_back_verified", done.output[-3000:]
    WHY[release](journal(done.made_rollout), directory=done.made_rollout)
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    assert after["gpu1"]["state"] == "rolled_back_verified"
    settled()
    traffic = client.finish()
    assert traffic.sent > 200
    assert traffic.failed == 0, traffic


def test_release_that_fails_on_the_second_batch_takes_the_canary_back_too(
    fleet: Fleet, client: Client, settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    fleet.shell("gpu2", "touch /etc/local-llm-fault")
    try:
        done = fleet.playbook("upgrade", *release_arguments("fails_on_marker"))
    finally:
        fleet.shell("gpu2", "rm /etc/local-llm-fault")
    assert done.code != 0
    assert done.outcome == "rolled_back_verified", done.output[-3000:]
    lines = journal(done.made_rollout)
    healthy = next(i for i, line in enumerate(lines) if (line["host"], line["state"]) == ("gpu1", "healthy"))
    failed = next(i for i, line in enumerate(lines) if (line["host"], line["event"]) == ("gpu2", "failed"))
    assert healthy < failed, "gpu2 must fail only after the canary was healthy"
    assert not [line for line in lines if (line["host"], line["event"]) == ("gpu1", "failed")]
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    assert after["gpu1"]["state"] == "rolled_back_verified", "the canary was promoted and must go back"
    assert after["gpu3"]["state"] not in ("rolled_back_verified",) or before["gpu3"]["state"] == "rolled_back_verified"
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic
