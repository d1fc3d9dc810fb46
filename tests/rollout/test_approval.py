# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With approval switched on, the rollout waits for a person after the canary; without a yes it halts, and can go on."""

from __future__ import annotations

from collections.abc import Callable

from fleet import Client, Fleet


def test_rollout_halts_after_the_canary_without_a_yes_and_goes_on_with_one(
    fleet: Fleet, client: Client, other_release: list[str], settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    asked = fleet.playbook("upgrade", *other_release, "-e", "local_llm_rollout_approval=true")
    assert asked.code != 0
    assert asked.outcome == "halted", asked.output[-3000:]
    halted = fleet.releases()
    assert halted["gpu1"]["state"] == "healthy", "the canary was proven and stays"
    assert halted["gpu1"]["current"] != before["gpu1"]["current"]
    assert halted["gpu2"]["current"] == before["gpu2"]["current"]
    assert "approved=true" in asked.output, "the message must say how to go on"

    agreed = fleet.playbook(
        "upgrade", *other_release, "-e", "local_llm_rollout_approval=true", "-e", "local_llm_rollout_approved=true"
    )
    assert agreed.code == 0, agreed.output[-3000:]
    assert agreed.outcome == "completed"
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic
