# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calm case: three hosts move to a good release, one after the other, and clients see nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable

from fleet import Client, Fleet
from rollouts import HOSTS, journal

QUEUE_TIMEOUT_SECONDS = 20


def test_good_upgrade_completes_without_a_failed_request_and_a_second_run_changes_nothing(
    fleet: Fleet, client: Client, other_release: list[str], settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    plan = fleet.playbook("upgrade", "--check", "--diff", *other_release)
    assert plan.code == 0, plan.output[-3000:]
    assert {h: s["current"] for h, s in fleet.releases().items()} == {h: s["current"] for h, s in before.items()}

    done = fleet.playbook("upgrade", *other_release)
    assert done.code == 0, done.output[-4000:]
    assert done.outcome == "completed"
    after = fleet.releases()
    assert {after[host]["state"] for host in HOSTS} == {"healthy"}
    assert after["gpu1"]["current"] != before["gpu1"]["current"]
    settled()
    traffic = client.finish()
    assert traffic.sent > 20 * 30, "the client must have sent all the time"
    assert traffic.failed == 0, traffic
    assert traffic.slowest_seconds < QUEUE_TIMEOUT_SECONDS

    again = fleet.playbook("upgrade", *other_release)
    assert again.code == 0, again.output[-3000:]
    assert again.changed == 0, again.output[-3000:]


def test_report_of_the_newest_rollout_is_whole_and_carries_no_text_of_prompts(fleet: Fleet) -> None:
    directory = fleet.newest_rollout()
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    everything = page + (directory / "report.json").read_text(encoding="utf-8")
    everything += "".join(path.read_text(encoding="utf-8") for path in (directory / "evidence").glob("*.json"))
    assert "The capital of France" not in everything
    assert journal(directory)[-1]["event"] == json.loads((directory / "report.json").read_text())["outcome"]


def test_rollback_goes_to_the_previous_release_and_is_verified(
    fleet: Fleet, client: Client, settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    done = fleet.playbook("rollback")
    assert done.code == 0, done.output[-4000:]
    assert done.outcome == "rolled_back_verified"
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["previous"] for host in HOSTS}
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic
