# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark pages in a real browser: nothing asked for, nothing wider than a phone, all readable, plots drawn."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[2] / ".build" / "collections")]
from chromium_pipe import Page, browser, find_chromium  # noqa: E402
from page_rules import LOW_CONTRAST, assert_fits  # noqa: E402

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine; install it with: apt-get install chromium"
)
NAMES = ("fleet", "comparison", "scenario")


def documents() -> dict[str, dict[str, Any]]:
    """Return a fleet with a good, a slow and a missing instance, a comparison of two sweeps, and a scenario."""
    from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_compare import compare
    from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_document import document_of, entry_of
    from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import get_tier
    from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import (
        bad,
        good,
        limits,
        report_of,
    )

    chooser, tier, made = random.Random(5), get_tier("standard"), "2026-11-21T12:00:00Z"

    def result(slower: float = 1.0, failures: int = 0, **more: Any) -> dict[str, Any]:
        stages = [{"users": users, "requests": 150} for users in (1, 2, 4, 8, 16)]
        records = [
            good(
                150 * stage + number,
                ttft=slower * chooser.lognormvariate(-2, 0.3) * (1 + stage),
                tpot=slower * chooser.lognormvariate(-4.5, 0.1),
                started=40.0 * stage + number / 4,
                stage=stage,
            )
            for stage in range(5)
            for number in range(150)
        ]
        records += [bad(750 + number, "timeout", started=200.0 + number, stage=4) for number in range(failures)]
        plan = {"mode": "closed", "stages": stages, "seed": 1}
        return report_of(records, plan=plan, limits=limits(ttft_seconds=2.0), **more)

    fleet = [
        entry_of("gpu1/chat", {"report": result()}, "lab", {**dict.fromkeys(tier), "ttft_p95_max_seconds": 5.0}),
        entry_of("gpu2/chat", {"report": result(6.0, failures=9)}, "standard", tier),
        entry_of(
            "gpu3/chat-with-a-rather-long-name", {"msg": "the host is unreachable: " + "x" * 90}, "standard", tier
        ),
    ]
    versions = {"ansible-core": "2.19"}
    before, after = result(), result(1.4)
    comparison = compare([before], [after])
    sides = [
        {"name": name, "status": "ok", "summary": "", "slo": None, "scenario": None, "report": report}
        for name, report in (("First result", before), ("Second result", after))
    ]
    side_by_side = {
        "title": "Comparison of two results", "made_at": made, "versions": versions, "status": comparison["verdict"],
        "summary": f"Worse: {comparison['reason']}.", "comparison": comparison, "entries": sides,
    }  # fmt: skip
    spike = entry_of("gpu1/chat", {"report": result(load={"scenario": "spike", "time_scale": 0.1})}, "standard", tier)
    return {
        "fleet": document_of(fleet, made, versions),
        "comparison": side_by_side,
        "scenario": document_of([spike], made, versions),
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_html import render_benchmark_html

    directory = tmp_path_factory.mktemp("benchmark")
    paths = {}
    for name, document in documents().items():
        paths[name] = directory / f"{name}.html"
        paths[name].write_text(render_benchmark_html(document), encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser(str(CHROMIUM)) as tab:
        yield tab


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_its_window_without_a_request_or_a_complaint(
    page: Page, pages: dict[str, Path], name: str, width: int
) -> None:
    assert_fits(page, pages[name], width)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_text_can_be_read_in_light_and_dark(page: Page, pages: dict[str, Path], name: str, dark: bool) -> None:
    page.open(pages[name], 1280, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert page.evaluate(LOW_CONTRAST) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_plot_has_a_title_a_description_and_a_line_inside_its_frame(
    page: Page, pages: dict[str, Path], name: str
) -> None:
    page.open(pages[name], 1280)
    assert page.evaluate("document.querySelectorAll('svg.plot').length") >= 6
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    outside = """[...document.querySelectorAll('svg.plot')].filter(plot => {
      const frame = plot.getBoundingClientRect();
      const lines = [...plot.querySelectorAll('.curve')];
      return !plot.querySelector('title').textContent || !plot.querySelector('desc').textContent || !lines.length
        || lines.some(line => { const box = line.getBoundingClientRect();
             return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1
               || box.top < frame.top - 1; });
    }).map(plot => plot.querySelector('title').textContent)"""
    assert page.evaluate(outside) == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_the_worst_comes_first_and_says_over_its_tier(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["fleet"], 390)
    assert page.evaluate("document.querySelector('h1').textContent").startswith("Over its tier: gpu2/chat.")
    assert "go back" not in page.evaluate("document.body.textContent")
    assert page.evaluate("document.querySelector('#outcome').dataset.status") == "missed"
