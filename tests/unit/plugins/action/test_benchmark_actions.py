# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark's controller-side actions hand back and write: merged reports, comparisons, the fleet's page."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.action import benchmark_compare, benchmark_merge, benchmark_report
from ansible_collections.local_llm.ops.plugins.module_utils._bench._samples import write_samples
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import a_run, good, report_of


def act(module: Any, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    """Call an action as a task does, options filled in."""
    action = module.ActionModule.__new__(module.ActionModule)
    action._task = SimpleNamespace(check_mode=check_mode)
    arguments = {name: spec.get("default") for name, spec in module.ActionModule.ARGUMENTS.items()}
    result: dict[str, Any] = action.act({**arguments, **given}, {})
    return result


@pytest.fixture
def samples(tmp_path: Path) -> dict[str, str]:
    """Return raw samples of two generators that ran together, one of them slower."""
    paths = {}
    for name, ttft in (("load1", 0.1), ("load2", 9.0)):
        records = [good(number, ttft=ttft) for number in range(20)]
        paths[name] = str(tmp_path / f"{name}.jsonl.gz")
        write_samples(paths[name], report_of(records), a_run(records))
    return paths


def test_generators_are_merged_request_by_request_and_held_against_the_tier(
    samples: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "together.json"
    found = act(benchmark_merge, samples=samples, slo_tier="standard", result_path=str(path))
    report = found["report"]
    assert not found["failed"] and report["requests"]["issued"] == 40 and report["ttft_seconds"]["count"] == 40
    assert report["attainment"]["good"] == 20 and report["attainment"]["share"] == 0.5
    assert [one["name"] for one in report["generators"]] == ["load1", "load2"]
    assert json.loads(path.read_text()) == report
    path.unlink()
    act(benchmark_merge, check_mode=True, samples=samples, result_path=str(path))
    assert not path.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samples": {}}, "samples: it is empty"),
        ({"samples": {"load1": "/nowhere.gz"}}, "samples.load1: "),
        ({"slo_tier": "platinum"}, "slo_tier: 'platinum' is not known"),
        ({"slo": {"ttft_seconds": "fast"}}, "a value is no number"),
    ],
)
def test_what_cannot_be_merged_is_told_by_its_option(samples: dict[str, str], given: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        act(benchmark_merge, **{"samples": samples, **given})
    assert said in str(caught.value)


def test_a_comparison_fails_the_task_when_it_is_worse_or_impossible(tmp_path: Path) -> None:
    old, new = (report_of([good(number, ttft=ttft) for number in range(150)]) for ttft in (0.1, 0.4))
    worse = act(benchmark_compare, before=old, after=new, directory=str(tmp_path / "page"))
    assert worse["failed"] and worse["verdict"] == "worse" and "Page: " in worse["table"][-1]
    assert (tmp_path / "page" / "comparison.html").is_file()
    assert not act(benchmark_compare, before=old, after=copy.deepcopy(old))["failed"]
    invalid = {**new, "valid": False, "invalid_reasons": ["client_limited: x"]}
    refused = act(benchmark_compare, before=old, after=invalid)
    assert refused["failed"] and refused["verdict"] == "not_comparable"


def test_only_a_valid_result_becomes_the_baseline_and_the_first_one_stays(tmp_path: Path) -> None:
    first = report_of([good(number) for number in range(150)])
    invalid = {**first, "valid": False, "invalid_reasons": ["foreign_traffic: x"]}
    for report, new in ((invalid, 0), (first, 1), (first, 0)):
        one = {"report": report, "slo_tier": "standard", "release": "a" * 12, "hardware": {"cpu": "x"}, "msg": ""}
        found = act(
            benchmark_report,
            results={"gpu1": {"chat": one}},
            hosts=["gpu1"],
            directory=str(tmp_path),
            fail=False,
            show=False,
        )
        assert found["new_baselines"] == new
    assert len(list((tmp_path / "baselines").iterdir())) == 1 and (tmp_path / "gpu1-chat.json").is_file()
