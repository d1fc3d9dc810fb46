# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that playbooks hand over key by key: a typo or a wrong type is told with key, value and fix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_settings import (
    CHECKS,
    RUN,
    mirror_findings,
    setting_findings,
)

ROOT = Path(__file__).parents[4]
OPEN = {"mode": "open", "stages": [{"rate_per_second": 20, "seconds": 120}]}


def lines(name: str, value: Any) -> list[str]:
    return [finding_line(item) for item in setting_findings({"gpu1": {name: value}, "gpu2": {name: value}})]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("benchmark_run", "peak", ["local_llm_benchmark_run on gpu1, gpu2", "peak", "as a mapping"]),
        ("benchmark_run", {"scenaro": "peak"}, ["local_llm_benchmark_run.scenaro", "peak", "Did you mean scenario?"]),
        ("benchmark_run", {"scenario": "peek"}, ["local_llm_benchmark_run.scenario", "peek", "Did you mean peak?"]),
        ("benchmark_run", {"from": "moon"}, ["local_llm_benchmark_run.from", "moon", "load_generators"]),
        ("benchmark_run", {"time_scale": "fast"}, ["local_llm_benchmark_run.time_scale", "fast", "a number"]),
        ("benchmark_run", {"time_scale": [1]}, ["local_llm_benchmark_run.time_scale", "[1]", "a number"]),
        ("benchmark_run", {"turns": 2.5}, ["local_llm_benchmark_run.turns", "2.5", "a whole number"]),
        ("benchmark_run", {"turns": True}, ["local_llm_benchmark_run.turns", "True", "a whole number"]),
        ("benchmark_run", {"rebaseline": "maybe"}, ["local_llm_benchmark_run.rebaseline", "maybe", "true or false"]),
        ("benchmark_run", {"sweep": [1, 2]}, ["local_llm_benchmark_run.sweep", "[1, 2]", "a mapping"]),
        ("benchmark_run", {"sweep": {"user": [1]}}, ["local_llm_benchmark_run.sweep.user", "Did you mean users?"]),
        ("benchmark_run", {"sweep": {"users": [1, "x"]}}, ["sweep.users[1]", "x", "a whole number"]),
        ("benchmark_run", {"load": {"mode": "open"}}, ["local_llm_benchmark_run.load.stages", "missing"]),
        (
            "benchmark_run",
            {"load": {**OPEN, "stages": [{"rate_per_secnd": 1}]}},
            ["load.stages[0].rate_per_secnd", "Did you mean rate_per_second?"],
        ),
        ("benchmark_run", {"sweep": {"rates": [2, -3.0]}}, ["benchmark_run.sweep.rates[1] on", "-3", "0.001 to 2000"]),
        ("benchmark_run", {"search": {"start_rate": 0}}, ["benchmark_run.search.start_rate on", "0.001 to 2000"]),
        ("benchmark", {"requests": "0"}, ["local_llm_benchmark.requests on", "0", "Use a value between"]),
        ("benchmark", {"request": 100}, ["local_llm_benchmark.request ", "Did you mean requests?"]),
        ("benchmark", {"rounds": "many"}, ["local_llm_benchmark.rounds", "many", "a whole number"]),
        ("gpu_benchmark", {"profle": "quick"}, ["local_llm_gpu_benchmark.profle", "Did you mean profile?"]),
        ("gpu_benchmark", {"profile": "quik"}, ["local_llm_gpu_benchmark.profile", "quik", "Did you mean quick?"]),
        ("tolerances", {"ratio_maxx": 2}, ["local_llm_tolerances.ratio_maxx", "did you mean ratio_max?"]),
        ("tolerances", {"ratio_max": "2"}, ["local_llm_tolerances.ratio_max", "'2'", "without quotes"]),
        ("tolerances", 2, ["local_llm_tolerances on", "2", "a mapping"]),
        ("model_fan_out", "miror", ["local_llm_model_fan_out on", "miror", "Did you mean mirror?"]),
        ("model_fan_out", "ftp", ["local_llm_model_fan_out on", "ftp", "Choose one of controller, copy, mirror."]),
        ("model_share_bytes_per_second", "50 MB", ["local_llm_model_share_bytes_per_second on", "50 MB", "in digits"]),
        ("model_share_bytes_per_second", -1, ["local_llm_model_share_bytes_per_second on", "-1", "in digits"]),
        ("model_share_bytes_per_second", 5e7, ["local_llm_model_share_bytes_per_second on", "in digits"]),
    ],
)
def test_a_wrong_setting_is_told_with_key_value_and_fix(name: str, value: Any, words: list[str]) -> None:
    found = lines(f"local_llm_{name}", value)
    assert len(found) == 1 and all(word in found[0] for word in words), found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("benchmark_run", {"load": OPEN, "seed": "7", "fail": "no", "scenario": None}),
        ("benchmark_run", {"search": {"start_rate": 2}, "slo": {"ttft_seconds": 1}, "cold_start": {"restart": True}}),
        ("benchmark", {"users": 2, "requests": "150", "pause_seconds": 0}),
        ("benchmark_run", {"sweep": {"rates": "1,2.5", "requests": None}}),
        ("gpu_benchmark", {"profile": "standard", "dtypes": "fp16", "gpus": 0}),
        ("tolerances", {"ratio_max": 2}),
        ("model_fan_out", "copy"),
        ("model_share_bytes_per_second", 50000000),
        ("model_share_bytes_per_second", "0"),
    ],
)
def test_what_ansible_would_take_passes(name: str, value: Any) -> None:
    assert lines(f"local_llm_{name}", value) == []


def test_a_mirror_needs_an_address() -> None:
    way = {"local_llm_model_fan_out": "mirror"}
    (found,) = mirror_findings({"gpu1": way, "gpu2": way, "gpu3": {"local_llm_model_fan_out": "copy"}})
    line = finding_line(found)
    assert "local_llm_model_mirror_url on gpu1, gpu2" in line and "or take another way" in line
    assert mirror_findings({"gpu1": {**way, "local_llm_model_mirror_url": "http://10.0.0.5/models"}, "gpu2": {}}) == []


def test_the_keys_of_a_run_are_those_that_role_and_playbook_hand_over() -> None:
    files = [*(ROOT / "roles/_release").rglob("*.yml"), ROOT / "playbooks/benchmark.yml"]
    texts = " ".join(path.read_text(encoding="utf-8") for path in files)
    given = r"(?:_release_run|\(local_llm_benchmark_run \| default\(\{\}\)\))\.(?!keys\b)([a-z_]+)"
    used = set(re.findall(given, texts))
    assert used == set(RUN)


def test_every_checked_setting_is_documented() -> None:
    text = (ROOT / "docs/reference_variables.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in CHECKS)
