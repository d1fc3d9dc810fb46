# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented JSON shapes are those that the code writes: docs/reference_contracts.md and the code, key by key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.module_utils import _release as release
from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import Workload, describe
from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import SUMMARIES
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import closed_plan
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, chained_line
from ansible_collections.local_llm.ops.plugins.module_utils._driver import _shapes as driver_shapes
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _record as driver
from ansible_collections.local_llm.ops.plugins.module_utils._findings import FINDING_KEYS, SEVERITIES, finding
from ansible_collections.local_llm.ops.plugins.module_utils._golden import Recorded, make_golden
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import REMEDIES, Context
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import run_checks
from ansible_collections.local_llm.ops.plugins.module_utils._model_retention import ACTIONS as MODEL_ACTIONS
from ansible_collections.local_llm.ops.plugins.module_utils._model_retention import STATES as MODEL_STATES
from ansible_collections.local_llm.ops.plugins.module_utils._quality import judge_all
from ansible_collections.local_llm.ops.plugins.module_utils._quality_judge import Reply, Rules
from ansible_collections.local_llm.ops.plugins.module_utils._quality_origin import TOLD_KEYS, origin_of
from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import parse_suite
from ansible_collections.local_llm.ops.plugins.module_utils._release_evidence import KIND, evidence_name
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._decide import GIVE_UP, LET_IN
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._files import JOURNAL_KEYS
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._rules import ACTIONS as REMEDIATION_ACTIONS
from ansible_collections.local_llm.ops.plugins.module_utils._verdict import Tolerances, judge
from ansible_collections.local_llm.ops.plugins.plugin_utils import _models_report as models_report
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity import Demand, Supply, capacity_plan
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_report import build_capacity_report
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import load_driver_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan import plan_driver
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import STATUSES as HEALTH_STATUSES
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import build_health_report
from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import append_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge import compare
from ansible_collections.local_llm.ops.plugins.plugin_utils._models_report import build_models_report
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import good, limits, report_of
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu, snapshot
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils import driver_hosts
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.test_judge import report as paired

ROOT = Path(__file__).resolve().parents[2]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference_contracts.md").read_text(encoding="utf-8")
DESCRIPTION: dict[str, Any] = {
    "schema": 1, "engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "model_revision": "r1",
    "model_manifest_sha256": "a" * 64, "model_entry": "model.gguf", "served_name": "chat", "port": 8001, "gpus": "all",
    "config": {},
}  # fmt: skip


def section(title: str) -> str:
    """Return the text under a heading of the page."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/reference_contracts.md has no section '{title}'"
    return found.group(1)


def documented(title: str, what: str = "") -> set[str]:
    """Return the keys that a section lists, for the object itself or for a part of it."""
    head = f"Keys of {what}" if what else "Keys"
    found = re.search(rf"^{re.escape(head)}[^:]*:(.*?)\n\n", section(title), re.MULTILINE | re.DOTALL)
    assert found, f"section '{title}' has no line that begins with '{head}'"
    return set(re.findall(r"`([^`]+)`", found.group(1)))


def example(title: str) -> dict[str, Any]:
    """Return the example of a section."""
    found = re.search(r"^```json\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)
    assert found, f"section '{title}' has no example"
    shown: dict[str, Any] = json.loads(found.group(1))
    return shown


def a_benchmark() -> dict[str, Any]:
    report = report_of([good(number) for number in range(150)], limits=limits(ttft_seconds=1.0))
    return {**report, "workload": describe(Workload("openai_chat", "chat"), closed_plan(4, 150), 4)}


def a_golden_set() -> dict[str, Any]:
    (item,) = parse_suite([{"id": "sum", "prompt": "2 + 2 =", "max_tokens": 4, "expected": "4"}])
    return make_golden(origin_of(DESCRIPTION), {item.prompt_sha256: Recorded("4", "stop")}, recorded_at="2026-01-01")


def a_quality_report() -> dict[str, Any]:
    items = parse_suite([{"id": "sum", "prompt": "2 + 2 =", "max_tokens": 4, "expected": "4"}])
    return judge_all(items, {"sum": Reply("4")}, a_golden_set(), Rules(), 1.0)


def test_release_json_is_as_documented() -> None:
    written = json.loads(release.release_text(DESCRIPTION))
    assert set(written) == documented("release.json")
    assert set(written["description"]) == documented("release.json", "`description`") == set(release.DESCRIPTION_KEYS)
    assert set(example("release.json")["description"]) == set(release.DESCRIPTION_KEYS)


def test_state_json_is_as_documented() -> None:
    written = release.state_record(
        instance="chat", state="healthy", release=None, previous=None, rollout_id=None, updated_at="", detail=""
    )
    assert set(written) == documented("state.json") == set(example("state.json"))


def test_journal_line_is_as_documented(tmp_path: Path) -> None:
    written = append_line(tmp_path, {"rollout_id": "r", "event": "drained", "host": "gpu1", "instance": "chat"})
    assert set(written) == documented("Journal line") == set(example("Journal line"))
    assert written["schema"] == 1 and written["previous_sha256"] == CHAIN_START == "0" * 64


def test_remediation_journal_line_is_as_documented() -> None:
    title = "Remediation journal line"
    assert set(JOURNAL_KEYS) == documented(title) == set(example(title))
    for action in (*REMEDIATION_ACTIONS, GIVE_UP, LET_IN):
        assert f"`{action}`" in section(title)


def test_driver_transaction_and_its_journal_are_as_documented() -> None:
    title, line = "Driver transaction", "Driver journal line"
    made = driver.begin("t1", {"from": "1.0", "to": "2.0"}, None, "boot", False)
    assert set(made) == documented(title) == set(example(title))
    for state in (*driver.FORWARD, *driver.BACKWARD):
        assert f"`{state}`" in section(title)
    written = {*driver.journal_record(made, "planned", 0.0, ""), "seq", "previous_sha256"}
    assert written == documented(line) == set(example(line))


def test_journal_chain_is_over_the_whole_line_before() -> None:
    first, digest = chained_line(CHAIN_START, {"seq": 1})
    second, _digest = chained_line(digest, {"seq": 2})
    assert json.loads(second)["previous_sha256"] == digest
    assert "\n" not in first


@pytest.mark.parametrize("status", SEVERITIES)
def test_finding_is_as_documented(status: str) -> None:
    written = finding("port", status, "gpu1/chat")
    assert set(written) == set(FINDING_KEYS) == documented("Finding") == set(example("Finding"))
    assert f"`{written['status']}`" in section("Finding")
    assert f"`{written['severity']}`" in section("Finding")


def test_gpu_finding_is_as_documented() -> None:
    title = "GPU finding"
    found = run_checks(snapshot([gpu(0, ecc__volatile_uncorrected=1)]), Context())
    assert any(item["gpu"] for item in found)
    for written in [*found, example(title)]:
        assert set(written) == documented(title)
        assert set(written["gpu"] or {"index", "uuid", "pci_address"}) == documented(title, "`gpu`")
    assert all(f"`{remedy}`" in section(title) for remedy in REMEDIES)


def test_health_json_is_as_documented() -> None:
    title = "health.json"
    written = build_health_report({"gpu1": None}, made_at="2026-11-01T12:00:00Z")
    assert (written["schema"], written["kind"]) == (1, "health")
    assert set(written) == documented(title) == set(example(title))
    for host in [*written["hosts"], *example(title)["hosts"]]:
        assert set(host) == documented(title, "`hosts[]`")
    assert all(f"`{status}`" in section(title) for status in HEALTH_STATUSES)


@pytest.mark.parametrize(
    ("benchmark", "quality", "word"),
    [(True, True, "pass"), (False, True, "error"), (True, False, "error")],
)
def test_verdict_is_as_documented(benchmark: bool, quality: bool, word: str) -> None:
    written = judge(
        a_benchmark() if benchmark else None,
        a_quality_report() if quality else None,
        None,
        "lab",
        {"ttft_p95_max_seconds": 1},
    )
    assert written["verdict"] == word
    assert written["schema"] == 1
    assert set(written) == documented("Verdict") == set(example("Verdict"))
    assert written["reasons"]
    for reason in written["reasons"] + example("Verdict")["reasons"]:
        assert set(reason) == documented("Verdict", "`reasons[]`")
        assert f"`{reason['status']}`" in section("Verdict")


def test_statistics_of_a_verdict_are_as_documented() -> None:
    title = "Verdict"
    shown = example(title)["statistics"]
    for written in (compare([paired(slow=3)], [paired()], {}, Tolerances(), 4), compare([], [], {}, Tolerances())):
        assert set(written) == documented(title, "`statistics`") == set(shown)
        assert set(written["rise"] or shown["rise"]) == set(shown["rise"])
        assert set(written["money"] or shown["money"]) == set(shown["money"])
        assert set(written["median_ratios"] or shown["median_ratios"]) == set(shown["median_ratios"])
        assert f"`{written['decision']}`" in section(title)


def test_release_evidence_is_as_documented() -> None:
    title = "Release evidence"
    tasks = yaml.safe_load((ROOT / "roles" / "_release" / "tasks" / "store_evidence.yml").read_text(encoding="utf-8"))
    written = tasks[0]["vars"]["_release_evidence"]
    assert set(written) == documented(title) == set(example(title))
    assert written["kind"] == example(title)["kind"] == KIND
    assert (
        evidence_name("<id>") in section(title) and evidence_name("")[:-5] in tasks[0]["ansible.builtin.copy"]["dest"]
    )


def test_benchmark_report_is_as_documented() -> None:
    written = a_benchmark()
    title = "Benchmark report"
    assert (written["schema"], written["kind"]) == (1, "benchmark")
    assert set(written) == documented(title)
    assert set(written["workload"]) == documented(title, "`workload`") == set(example(title)["workload"])
    assert set(written["requests"]) == documented(title, "`requests`") == set(example(title)["requests"])
    for name in SUMMARIES:
        assert set(written[name]) == documented(title, "a summary"), name
    assert set(example(title)) == documented(title) - (set(SUMMARIES) - {"ttft_seconds"})
    assert set(written["samples"]) == set(example(title)["samples"])
    assert (
        set(written["load"]) | {"scenario", "time_scale"} == documented(title, "`load`") == set(example(title)["load"])
    )
    assert set(written["attainment"]) == documented(title, "`attainment`")
    assert set(written["timeline"]) == documented(title, "`timeline`") == set(example(title)["timeline"])
    for stage in [*written["stages"], *example(title)["stages"]]:
        assert set(stage) == documented(title, "`stages[]`")
    for check in [*written["validity"]["checks"], *example(title)["validity"]["checks"]]:
        assert set(check) == documented(title, "`validity.checks[]`")


def test_quality_report_is_as_documented() -> None:
    written = a_quality_report()
    title = "Quality report"
    assert (written["schema"], written["kind"]) == (1, "quality")
    assert set(written) == documented(title) == set(example(title))
    for item in written["items"] + example(title)["items"]:
        assert set(item) == documented(title, "`items[]`")
        assert f"`{item['status']}`" in section(title)
    for compared in (written["compared"], example(title)["compared"]):
        assert set(compared) == documented(title, "`compared`")
        assert f"`{compared['verdict']}`" in section(title)
        assert set(compared["reference"]) == set(TOLD_KEYS)


def test_golden_set_is_as_documented() -> None:
    written = a_golden_set()
    title = "Golden set"
    assert (written["schema"], written["kind"]) == (2, "golden")
    assert set(written) == documented(title) == set(example(title))
    assert set(written["origin"]) == documented(title, "`origin`") == set(example(title)["origin"])
    for entry in [*written["entries"].values(), *example(title)["entries"].values()]:
        assert set(entry) == documented(title, "an entry")


def test_capacity_is_as_documented() -> None:
    title = "Capacity plan"
    supply = Supply(8.0, replicas=12, max_concurrency=64, mean_seconds=1.5)
    written = capacity_plan(Demand(50, growth_percent_per_month=5.0), supply)
    assert (written["schema"], written["kind"]) == (1, "capacity")
    shown = example(title)
    assert set(written) == documented(title) == set(shown)
    assert {**written, "thresholds": written["thresholds"][1:2]} == shown
    for part in ("replicas", "rollout"):
        assert set(written[part]) == documented(title, f"`{part}`")
    for threshold in written["thresholds"]:
        assert set(threshold) == documented(title, "`thresholds[]`")
    document = build_capacity_report({"gpu1": [{"name": "chat", "pool": "chat"}]}, {}, {}, "2026-11-21T12:00:00Z")
    assert document == example("capacity.json") and set(document) == documented("capacity.json")
    assert set(document["pools"][0]) == documented("capacity.json", "`pools[]`")


@pytest.mark.parametrize(
    "title",
    [
        "Capacity plan",
        "capacity.json",
        "release.json",
        "state.json",
        "Journal line",
        "Verdict",
        "Benchmark report",
        "Quality report",
        "health.json",
        "Driver facts",
        "Driver plan",
    ],
)
def test_every_versioned_shape_says_its_schema(title: str) -> None:
    assert "schema" in documented(title)
    assert example(title)["schema"] == 1


def test_models_json_is_as_documented() -> None:
    title = "models.json"
    written = build_models_report({"gpu1": None}, made_at="2026-11-01T12:00:00Z")
    assert (written["schema"], written["kind"]) == (1, "models")
    assert set(written) == documented(title) == set(example(title))
    for host in [*written["hosts"], *example(title)["hosts"]]:
        assert set(host) == documented(title, "`hosts[]`")
    shown = example(title)["hosts"][0]["models"][0]
    assert set(models_report.MODEL_KEYS) == documented(title, "`models[]`") == set(shown)
    assert set(models_report.LEFTOVER_KEYS) == documented(title, "`leftovers[]`")
    assert set(models_report.ENGINE_KEYS) == documented(title, "`engines[]`")
    assert set(models_report.OLLAMA_KEYS) == documented(title, "`ollama_models[]`")
    for part in ("counts", "bytes", "to_do"):
        assert set(written[part]) == set(example(title)[part])
    assert all(f"`{word}`" in section(title) for word in (*MODEL_STATES, *MODEL_ACTIONS))


def test_driver_facts_are_as_documented() -> None:
    title = "Driver facts"
    shown = example(title)
    assert set(driver_shapes.FACTS_KEYS) == documented(title) == set(shown) == set(driver_hosts.host())
    for part, keys, one in (
        ("a package in `packages`", driver_shapes.PACKAGE_KEYS, next(iter(shown["packages"].values()))),
        ("`available`", driver_shapes.AVAILABLE_KEYS, next(iter(shown["available"].values()))[0]),
        ("`kernels[]`", driver_shapes.KERNEL_KEYS, shown["kernels"][0]),
        ("`dkms[]`", driver_shapes.DKMS_KEYS, shown["dkms"][0]),
        ("`gpus[]`", driver_shapes.GPU_KEYS, shown["gpus"][0]),
        ("`holders[]`", driver_shapes.HOLDER_KEYS, shown["holders"][0]),
    ):
        assert set(keys) == documented(title, part) - {"packages", "available"} == set(one)
    words = (*driver_shapes.ORIGINS, *driver_shapes.GENERATIONS, *driver_shapes.SERVICES, *driver_shapes.SERVICE_STATES)
    assert all(f"`{word}`" in section(title) for word in words)


def test_driver_plan_is_as_documented() -> None:
    title = "Driver plan"
    written = plan_driver(
        driver_hosts.host(available=driver_hosts.DEBIAN_OFFER), driver_hosts.wanted(), load_driver_facts()
    )
    assert set(written) == set(driver_shapes.PLAN_KEYS) == documented(title) == set(example(title))
    assert set(written["pin"][0]) == documented(title, "`pin[]`") == set(example(title)["pin"][0])
    assert set(written["downtime_seconds"]) == documented(title, "`downtime_seconds`")
    assert set(driver_shapes.DOWNTIME_KEYS) == set(example(title)["downtime_seconds"])
    assert all(f"`{word}`" in section(title) for word in driver_shapes.REBOOTS)
