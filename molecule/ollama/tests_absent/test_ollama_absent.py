# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of engine, instance and model is left."""

from __future__ import annotations

from typing import Any


def test_engine_instance_and_model_are_gone(host: Any) -> None:
    assert not host.file("/opt/local_llm/engines/ollama").exists
    assert not host.file("/var/lib/local_llm/instances/chat").exists
    assert not host.file("/var/lib/local_llm/models/tiny/r1").exists
    assert not host.service("local-llm@chat").is_running


def test_nothing_that_made_metrics_is_left(host: Any) -> None:
    assert not host.file("/usr/local/libexec/local_llm/ollama_metrics").exists
    assert not host.file("/usr/local/libexec/local_llm/ollama_lib").exists
    assert not host.file("/var/lib/prometheus/node-exporter/local_llm_ollama.prom").exists
    assert not host.file("/etc/systemd/system/local-llm-ollama-metrics.timer").exists
