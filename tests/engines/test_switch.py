# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another engine, and another way to install one, are upgrades like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_fleet import PATTERNS, EngineFleet
from fleet import Client

# From Ollama to llama.cpp out of an archive, to the package and back, and back to Ollama.
PATH = ("llamacpp", "llamacpp_package", "llamacpp", "ollama")
VERSIONS = {"llamacpp": "0.7.0", "llamacpp_package": "0.7.0-deb"}


@pytest.fixture(autouse=True)
def on_ollama(fleet: EngineFleet) -> None:
    """Begin with a fleet that serves with Ollama."""
    fleet.begin("ollama")


def test_an_instance_changes_its_engine_and_goes_back_without_a_failed_request(
    fleet: EngineFleet, client: Client, settled: Callable[[], None]
) -> None:
    for release in PATH:
        done = fleet.move(release, *PATTERNS)
        assert done.code == 0, done.output[-6000:]
        assert done.outcome == "completed"
        for host in fleet.hosts:
            now = fleet.description(host)
            assert now["engine"] == release.partition("_")[0]
            assert now["engine_version"] == VERSIONS.get(release, now["engine_version"])
        settled()
        assert fleet.complete()["choices"][0]["message"]["content"]
        if release == "llamacpp_package":
            # Nothing on hosts and gateway waits for site: they are prepared for any engine.
            same = fleet.site(release)
            assert (same.code, same.changed) == (0, 0), same.output[-4000:]
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_a_key_that_nobody_would_send_is_refused_before_anything_is_touched(
    fleet: EngineFleet, settled: Callable[[], None]
) -> None:
    before, host = fleet.releases(), fleet.hosts[0]
    key = "/etc/credstore/local-llm.chat.api_key"
    fleet.shell(host, f"install -d -m 0700 /etc/credstore; install -m 0600 /dev/null {key}")
    try:
        for done in (fleet.move("llamacpp"), fleet.site("ollama")):
            assert done.code != 0
            assert key in done.output and "gateway_api_keys" in done.output, done.output[-3000:]
    finally:
        fleet.shell(host, f"rm {key}")
    assert fleet.releases() == before
    settled()
