# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bad release never reaches the clients: every host ends verified on the old release, and no request fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import HOSTS, Client, Fleet, release_arguments


@pytest.mark.parametrize("release", ["exits", "never_ready", "slow", "wrong_answers"])
def test_bad_release_is_taken_back_from_the_canary(
    fleet: Fleet, client: Client, settled: Callable[[], None], release: str
) -> None:
    before = fleet.releases()
    done = fleet.playbook("upgrade", *release_arguments(release))
    assert done.code != 0, done.output[-3000:]
    assert fleet.outcome() == "rolled_back_verified", done.output[-3000:]
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    assert after["gpu1"]["state"] == "rolled_back_verified"
    settled()
    traffic = client.traffic()
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
    assert fleet.outcome() == "rolled_back_verified", done.output[-3000:]
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    assert after["gpu1"]["state"] == "rolled_back_verified", "the canary was promoted and must go back"
    assert after["gpu3"]["state"] not in ("rolled_back_verified",) or before["gpu3"]["state"] == "rolled_back_verified"
    settled()
    assert client.traffic().failed == 0, client.traffic()
