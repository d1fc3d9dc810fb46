# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metric names behind the rules are those that real engines showed, and those of engine_facts.yml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import facts_for
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_buckets import common_bounds, le_text, neighbours
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import (
    all_engine_ranges,
    engine_metrics,
    metric_problems,
    series_names,
)

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.mark.parametrize(
    ("engine", "version", "place"), [("vllm", "0.32.0", "vllm_0.32.0"), ("llamacpp", "0.7.0", "llamacpp_b11669")]
)
def test_the_file_has_exactly_what_the_engine_showed(engine: str, version: str, place: str) -> None:
    shown = re.findall(r"^# TYPE (\S+) (\S+)$", (FIXTURES / place / "metrics.txt").read_text(encoding="utf-8"), re.M)
    metrics = engine_metrics(engine, version)
    assert metrics is not None and metrics.metrics == dict(shown) and metrics.verified


@pytest.mark.parametrize(
    ("engine", "version"),
    [("vllm", "0.32.0"), ("vllm", "0.22.1"), ("vllm", "0.15.0"), ("llamacpp", "0.7.0"), ("llamacpp", "b9000")],
)
def test_the_names_agree_with_the_facts_about_engines(engine: str, version: str) -> None:
    metrics, facts = engine_metrics(engine, version), facts_for(engine, version)
    assert metrics is not None and facts is not None
    names = series_names(metrics) | {name.removesuffix("_total") for name in metrics.metrics}
    wanted = {name for name in (*facts["metrics"].values(), *facts["more_metrics"].values()) if name}
    assert wanted <= names, wanted - names


def test_every_signal_and_every_bucket_belongs_to_a_metric_of_its_range() -> None:
    for engine, entry in all_engine_ranges():
        names = set(entry["metrics"]) | {
            f"{name}{suffix}"
            for name, kind in entry["metrics"].items()
            if kind == "histogram"
            for suffix in ("_sum", "_count")
        }
        assert {signal["metric"] for signal in entry["signals"].values()} <= names, engine
        assert set(entry["buckets"]) <= set(entry["metrics"]), engine
        assert set(entry["renamed"].values()) <= set(entry["metrics"]), engine
        for bounds in entry["buckets"].values():
            assert bounds == sorted(set(bounds))


def test_a_version_with_a_name_of_its_own_is_found_by_its_number() -> None:
    metrics = engine_metrics("vllm", "0.33.0-cu129")
    assert metrics is not None and metrics.known and metrics.custom_buckets is not None
    older = engine_metrics("vllm", "0.30.0")
    assert older is not None and older.custom_buckets is None
    assert engine_metrics("tgi", "1.0") is None


def test_names_of_recording_rules_are_not_taken_for_names_of_engines() -> None:
    metrics = engine_metrics("vllm", "0.32.0")
    assert metrics is not None
    assert metric_problems("x", "local_llm:requests_running + vllm:prompt_tokens_total", [metrics]) == []
    assert "vllm:prompt_token_total" in metric_problems("x", "rate(vllm:prompt_token_total[5m])", [metrics])[0]


@pytest.mark.parametrize(("limit", "expected"), [(1, (1, 1)), (2, (1, 2.5)), (0.1, (None, 0.5)), (9, (5, None))])
def test_the_bounds_beside_a_limit(limit: float, expected: tuple[float | None, float | None]) -> None:
    assert neighbours((0.5, 1, 2.5, 5), limit) == expected


def test_only_bounds_that_all_instances_have_can_be_used() -> None:
    assert common_bounds([(0.5, 1, 2), (0.5, 2, 4)]) == (0.5, 2)
    assert le_text(1) == "1.0" and le_text(0.25) == "0.25"
