# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health page in a real browser: nothing asked for, nothing wider than a phone, all readable, the worst on top."""

from __future__ import annotations

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


REPAIR = {
    "at_seconds": 1793534580.0, "rung": "reset_gpu", "pci_address": "0000:18:00.0", "gpu_uuid": "GPU-0",
    "reason": "ecc_uncorrected", "xid": None, "result": "verified",
}  # fmt: skip


def answer(*changed: tuple[int, str, Any]) -> dict[str, Any]:
    """Return what gpu_health answers for eight GPUs, some of them changed: (index, path in the snapshot, value)."""
    from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context, worst_remedy
    from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import (
        overall_status,
        run_checks,
        summarise,
    )
    from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu, snapshot

    cards = [gpu(index, **{path: value for card, path, value in changed if card == index}) for index in range(8)]
    host = snapshot(cards)
    findings = run_checks(host, Context())
    gpus = [{key: card[key] for key in ("index", "uuid", "name", "serial")} for card in cards]
    return {
        "findings": findings,
        "status": overall_status(host, Context(), findings),
        "summary": summarise(findings),
        "remedy": worst_remedy(findings),
        "gpus": [{**one, "pci_address": card["pci"]["address"]} for one, card in zip(gpus, cards, strict=True)],
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from ansible_collections.local_llm.ops.plugins.plugin_utils._health_html import render_health_html
    from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import build_health_report

    sick = answer((3, "row_remap__failed", True), (3, "ecc__volatile_uncorrected", 2), (5, "persistence_mode", False))
    fleets: dict[str, dict[str, Any]] = {
        "healthy": {f"gpu{number}": answer() for number in range(1, 4)},
        "out_of_service": {
            "gpu1": {**answer(), "repairs": [REPAIR]},
            "gpu2": sick,
            "gpu3": {"unreachable": True, "msg": "timed out"},
        },
    }
    directory = tmp_path_factory.mktemp("health")
    paths = {}
    for name, answers in fleets.items():
        paths[name] = directory / f"{name}.html"
        report = build_health_report(answers, made_at="2026-11-01T12:00:00Z", versions={"ansible-core": "2.19"})
        assert report["status"] == name
        paths[name].write_text(render_health_html(report), encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser(str(CHROMIUM)) as tab:
        yield tab


@pytest.mark.parametrize("name", ["healthy", "out_of_service"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_its_window_without_a_request_or_a_complaint(
    page: Page, pages: dict[str, Path], name: str, width: int
) -> None:
    assert_fits(page, pages[name], width)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["healthy", "out_of_service"])
def test_every_text_can_be_read_in_light_and_dark(page: Page, pages: dict[str, Path], name: str, dark: bool) -> None:
    page.open(pages[name], 1280, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert page.evaluate(LOW_CONTRAST) == []


def test_the_sick_host_comes_first_and_is_unfolded(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["out_of_service"], 390)
    assert page.evaluate("document.querySelector('h1').textContent").startswith("Must leave service: gpu2")
    assert page.evaluate("document.querySelector('tbody th').textContent") == "gpu2"
    assert page.evaluate("[...document.querySelectorAll('details[open]')].map(e => e.id)") == ["gpu2"]
    assert "row_remap_failed" in page.evaluate("document.querySelector('#gpu2').textContent")
    assert "reset of the GPU 0000:18:00.0" in page.evaluate("document.querySelector('#repairs').textContent")
