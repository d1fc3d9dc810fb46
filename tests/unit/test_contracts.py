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

from ansible_collections.local_llm.ops.plugins.module_utils import _release as release
from ansible_collections.local_llm.ops.plugins.module_utils._benchmark_report import build_report as benchmark_report
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, chained_line
from ansible_collections.local_llm.ops.plugins.module_utils._findings import FINDING_KEYS, SEVERITIES, finding
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import REMEDIES, Context
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import run_checks
from ansible_collections.local_llm.ops.plugins.module_utils._http_stream import RequestRecord
from ansible_collections.local_llm.ops.plugins.module_utils._load import Run
from ansible_collections.local_llm.ops.plugins.module_utils._quality import Reply, judge_item, parse_suite
from ansible_collections.local_llm.ops.plugins.module_utils._quality import build_report as quality_report
from ansible_collections.local_llm.ops.plugins.module_utils._verdict import judge
from ansible_collections.local_llm.ops.plugins.module_utils._workload import Workload
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import STATUSES as HEALTH_STATUSES
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import build_health_report
from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import append_line
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu, snapshot

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference_contracts.md").read_text(encoding="utf-8")
SUMMARIES = ("ttft_seconds", "itl_seconds", "tpot_seconds", "e2el_seconds", "output_tokens_per_second_per_request")
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
    records = tuple(
        RequestRecord(number, number * 0.5, 0.2, None, 0.1, 0.2, (0.01,) * 10, 0, 11, 7, 11) for number in range(150)
    )
    work = Workload("openai_chat", "chat", 4, 150, 32, 11, 4, 1)
    return benchmark_report(work, Run(records=records, seconds=80.0, cpu_seconds=0.5), "2026-01-01T00:00:00+00:00")


def a_quality_report() -> dict[str, Any]:
    items = parse_suite([{"id": "sum", "prompt": "2 + 2 =", "max_tokens": 4, "expected": "4"}])
    results = [judge_item(item, Reply(answer), None, 1.0) for item, answer in zip(items, ("4",), strict=True)]
    return quality_report(items, results, 1.0)


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


def test_quality_report_is_as_documented() -> None:
    written = a_quality_report()
    title = "Quality report"
    assert (written["schema"], written["kind"]) == (1, "quality")
    assert set(written) == documented(title) == set(example(title))
    for item in written["items"] + example(title)["items"]:
        assert set(item) == documented(title, "`items[]`")
        assert f"`{item['status']}`" in section(title)


@pytest.mark.parametrize(
    "title",
    ["release.json", "state.json", "Journal line", "Verdict", "Benchmark report", "Quality report", "health.json"],
)
def test_every_versioned_shape_says_its_schema(title: str) -> None:
    assert "schema" in documented(title)
    assert example(title)["schema"] == 1
