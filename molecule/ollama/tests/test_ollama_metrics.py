# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ollama has metrics: a timer asks its API and writes what it says, and nothing of what people ask."""

from __future__ import annotations

import re
from typing import Any

from waiting import wait_for

PATH = "/var/lib/prometheus/node-exporter/local_llm_ollama.prom"


def _series(host: Any) -> dict[str, float]:
    """Return the series that stand there now; none before the timer has written them."""
    if not host.file(PATH).exists:
        return {}
    lines = host.file(PATH).content_string.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {re.sub(r'server="[^"]*"', "", series): float(value) for series, _space, value in pairs}


def test_the_instance_and_its_model_are_measured(host: Any) -> None:
    # The timer may have asked while the instance was not there yet: its next turn comes within 30 seconds.
    wait_for("the instance is up", lambda: _series(host).get("local_llm_ollama_up{}") == 1, 90)
    found = _series(host)
    assert found["local_llm_ollama_probe_success{}"] == 1
    assert found['local_llm_ollama_model_loaded_bytes{model="chat:latest",}'] > 0
    # Without GPUs nothing can lie outside of them.
    assert not [series for series in found if "spill" in series]
    assert host.file(PATH).mode == 0o644


def test_the_timer_runs_and_its_service_holds_what_systemd_expects(host: Any) -> None:
    assert host.service("local-llm-ollama-metrics.timer").is_enabled
    found = host.run("systemd-analyze verify local-llm-ollama-metrics.timer local-llm-ollama-metrics.service")
    assert "ollama-metrics" not in found.stderr
    output = host.check_output("systemd-analyze security --no-pager local-llm-ollama-metrics.service")
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
    assert exposure is not None and float(exposure[1]) <= 3.5
