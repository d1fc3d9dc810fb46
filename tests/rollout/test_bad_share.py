# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that answers 15 of 100 requests badly, where the old one did so with 5, is never promoted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fleet import Fleet
from rollouts import HOSTS, journal

pytestmark = pytest.mark.extra

OLD, NEW = "0.7.0-bad5", "0.7.0-bad15"
MARKER = "/etc/local-llm-fault"
# Half of the requests, so that few seconds show enough of them; the dead-man leaves room for a prolonged watch.
WATCH = {
    "local_llm_canary_share_percent": 50,
    "local_llm_watch_seconds": 10,
    "local_llm_watch_limit_seconds": 60,
    "local_llm_commit_timeout_seconds": 300,
}


def with_limit(error_percent: float) -> list[str]:
    """Return arguments for a tier that allows so many errors."""
    tier = {"ttft_p50_max_seconds": 0.7, "ttft_p95_max_seconds": 1.2, "latency_p95_max_seconds": 10}
    tiers = {"lab": {**tier, "error_rate_max_percent": error_percent}}
    return ["-e", json.dumps({"local_llm_slo_tiers": tiers, **WATCH})]


def begin_with(fleet: Fleet, *extra: str) -> None:
    """Give every host another first release, without a rollout."""
    for host in HOSTS:
        fleet.ad_hoc(host, "local_llm.ops.llm_release", json.dumps({"instance": "chat", "state": "absent"}))
    done = fleet.playbook("site", *extra)
    assert done.code == 0, done.output[-4000:]


@pytest.fixture(scope="module")
def five_of_100(fleet: Fleet) -> Iterator[None]:
    """Let all hosts serve the release that answers 5 of 100 badly, to whom the marker says."""
    begin_with(fleet, "-e", f"lab_engine_version={OLD}")
    yield
    for host in HOSTS:
        fleet.shell(host, f"rm -f {MARKER}")
    begin_with(fleet)


def failed_steps(lines: list[dict[str, Any]]) -> dict[str, str]:
    """Return {step: verdict} of what could not be proven on the canary."""
    return {
        line["evidence"]["step"]: str(line["evidence"].get("verdict"))
        for line in lines
        if line["event"] == "step_failed" and line["host"] == "gpu1"
    }


# "all": the probes see it, and the tier would bear it. "clients": only live requests see it.
@pytest.mark.parametrize(("who", "limit_percent", "step"), [("all", 30, "verdict"), ("clients", 1, "watched")])
def test_a_rise_from_5_to_15_of_100_bad_requests_is_never_promoted(
    fleet: Fleet, five_of_100: None, settled: Callable[[], None], who: str, limit_percent: float, step: str
) -> None:
    for host in HOSTS:
        fleet.shell(host, f"echo {who} > {MARKER}")
    before = fleet.releases()
    with fleet.client(rate=fleet.client_rate) as client:
        client.wait_answered(fleet.client_rate, seconds=60)
        done = fleet.playbook("upgrade", "-e", f"lab_engine_version={NEW}", *with_limit(limit_percent))
        traffic = client.finish()
    assert done.code != 0, done.output[-4000:]
    assert done.outcome in ("rolled_back_verified", "halted"), done.output[-4000:]
    lines = journal(done.made_rollout)
    assert step in failed_steps(lines), failed_steps(lines)
    assert not [line for line in lines if line["event"] == "committed"], "it must not be promoted"
    assert not [line for line in lines if line["event"] == "drained" and line["host"] != "gpu1"]
    if who == "clients":
        assert failed_steps(lines)["watched"] == "fail" and done.outcome == "rolled_back_verified"
        told = next(line["detail"] for line in lines if line["event"] == "step_failed")
        assert re.search(r"gpu1-chat: .* failed, 1 % is allowed; .*by chance that is seen in", told), told
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    settled()
    assert traffic.failed < 0.15 * traffic.sent, traffic
