# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A first release that does not answer as it should is stopped and stays out of its pool; the next run tries again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fleet import Fleet, PlaybookRun
from rollouts import gateway_servers
from waiting import wait_for

CHAT = {
    "name": "chat", "engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "served_name": "chat",
    "port": 8001, "gpus": "none", "pool": "chat", "slo_tier": "lab", "config": {"context_tokens": 1024},
}  # fmt: skip
# Answers every completion with 500 where the marker says so.
SECOND = {**CHAT, "name": "second", "engine_version": "0.7.0-marker", "served_name": "second", "port": 8055,
          "pool": "second"}  # fmt: skip
MARKER = "/etc/local-llm-fault"
BOTH = {"local_llm_instances": [CHAT, SECOND], "local_llm_pools": {"chat": {}, "second": {}}}


def site(fleet: Fleet, *extra: str) -> PlaybookRun:
    """Run site where the second instance is to come, and at the gateway."""
    return fleet.playbook("site", "--limit", "gpu1:gateway", *extra)


@pytest.fixture
def second(fleet: Fleet) -> Iterator[None]:
    """Take the second instance away after the test."""
    yield
    fleet.shell("gpu1", f"rm -f {MARKER}")
    fleet.ad_hoc("gpu1", "local_llm.ops.llm_release", json.dumps({"instance": "second", "state": "absent"}))
    assert site(fleet).code == 0


def state(fleet: Fleet) -> tuple[str, str, str]:
    """Return the state of the unit of the second instance, and what the gateway was told and sees of it."""
    unit = fleet.shell("gpu1", "systemctl is-active local-llm@second.service || true").strip()
    server = next(item for item in gateway_servers(fleet) if item["server"] == "gpu1-second")
    return unit, server["admin_state"], server["operational_state"]


def test_a_first_release_that_fails_its_golden_prompts_is_stopped_and_stays_out(fleet: Fleet, second: None) -> None:
    before = fleet.releases()
    fleet.shell("gpu1", f"echo 500 > {MARKER}")
    with_second = ("-e", json.dumps(BOTH))
    refused = site(fleet, *with_second)
    assert refused.code != 0
    told = " ".join(refused.output.split())
    assert "gpu1: second (release " in told and "llamacpp 0.7.0-marker, model tiny)" in told, refused.output[-4000:]
    assert "http_500" in told and "no gateway sends requests to it" in told
    wait_for("the gateway to see it down", lambda: state(fleet) == ("inactive", "drain", "down"), 30)
    left = fleet.shell("gpu1", "ls /var/lib/local_llm/instances/second; systemctl is-enabled local-llm@second || true")
    assert "current" not in left.split() and "armed.json" not in left.split() and "disabled" in left
    assert fleet.releases() == before, "the instance that serves was not touched"

    fleet.shell("gpu1", f"rm {MARKER}")
    mended = site(fleet, *with_second)
    assert mended.code == 0, mended.output[-4000:]
    assert state(fleet) == ("active", "ready", "up")
    again = site(fleet, *with_second)
    assert again.code == 0 and again.changed == 0, again.output[-4000:]


def test_a_server_that_a_person_had_taken_out_before_stays_out_also_after_a_try_that_failed(
    fleet: Fleet, second: None
) -> None:
    with_second = ("-e", json.dumps(BOTH))
    known = fleet.playbook("site", "--limit", "gateway", *with_second)
    assert known.code == 0, known.output[-4000:]
    order = json.dumps({"pool": "second", "server": "gpu1-second", "state": "drain"})
    fleet.ad_hoc("gateway", "local_llm.ops.gateway_backend", order)
    fleet.shell("gpu1", f"echo 500 > {MARKER}")
    refused = site(fleet, *with_second)
    assert refused.code != 0 and "http_500" in refused.output
    fleet.shell("gpu1", f"rm {MARKER}")
    mended = site(fleet, *with_second)
    assert mended.code == 0, mended.output[-4000:]
    told = " ".join(mended.output.split())
    assert "gpu1-second serves, and stays out of service (drain) as it was before" in told
    wait_for("the gateway to see it up", lambda: state(fleet) == ("active", "drain", "up"), 30)
