# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ollama from a bare host to a bad release: a stand-in for its program, or the real one that a variable names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_fleet import EngineFleet
from fleet import Client
from rollouts import journal


@pytest.fixture(autouse=True)
def on_ollama(fleet: EngineFleet) -> None:
    """Begin with a fleet that serves with Ollama: by site when the hosts are bare."""
    fleet.begin("ollama")


def test_a_bare_host_serves_with_ollama_and_a_second_run_changes_nothing(fleet: EngineFleet) -> None:
    assert {fleet.description(host)["engine"] for host in fleet.hosts} == {"ollama"}
    answer = fleet.complete()
    assert answer["choices"][0]["message"]["content"] and answer["usage"]["completion_tokens"] > 0
    now = fleet.description(fleet.hosts[0])["config"]["parallel_requests"]
    again = fleet.site("ollama" if now == 2 else "ollama_next")
    assert (again.code, again.changed) == (0, 0), again.output[-4000:]


def test_an_upgrade_of_version_and_configuration_loses_no_request_and_a_bad_model_goes_back(
    fleet: EngineFleet, client: Client, settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    # The other of the two, whichever serves.
    now = fleet.description(fleet.hosts[0])["config"]["parallel_requests"]
    release, requests = ("ollama_next", 3) if now == 2 else ("ollama", 2)
    done = fleet.move(release)
    assert done.code == 0, done.output[-4000:]
    assert done.outcome == "completed"
    assert {fleet.description(host)["config"]["parallel_requests"] for host in fleet.hosts} == {requests}
    settled()
    again = fleet.move(release)
    assert (again.code, again.changed) == (0, 0), again.output[-4000:]

    good = fleet.releases()
    assert {state["previous"] for state in good.values()} == {state["current"] for state in before.values()}
    # A model with random weights knows no right answers: the words of the old one are asked for.
    bad = fleet.move("ollama_wrong", "-e", '{"local_llm_quality": {"compare": "exact"}}')
    assert bad.code != 0
    assert bad.outcome == "rolled_back_verified", bad.output[-4000:]
    judged = next(x for x in journal(bad.made_rollout) if x["event"] == "step_failed")
    wrong = [reason["measure"] for reason in judged["evidence"]["reasons"] if reason["status"] == "fail"]
    assert wrong == ["quality"], judged
    after = fleet.releases()
    assert {host: x["current"] for host, x in after.items()} == {host: x["current"] for host, x in good.items()}
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic
