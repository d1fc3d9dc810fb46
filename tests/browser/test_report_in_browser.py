# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real browser: nothing asked for, nothing complained of, nothing wider than a phone, all readable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve()
CHECKOUT = HERE.parents[2]
sys.path[:0] = [
    str(HERE.parent),
    str(CHECKOUT / "tests" / "fakes" / "example_rollout"),
    str(CHECKOUT / ".build" / "collections"),
]
import make  # noqa: E402
from chromium_pipe import Page, browser, find_chromium  # noqa: E402
from page_rules import LOW_CONTRAST, assert_fits  # noqa: E402

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine; install it with: apt-get install chromium"
)
OUTCOMES = {
    "completed": "Completed",
    "rolled_back": "Rolled back and verified",
    "unreachable": "Halted",
    "on_purpose": "Rolled back on purpose",
    "wrong_answers": "Rolled back and verified",
    "live_errors": "Rolled back and verified",
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from ansible_collections.local_llm.ops.plugins.plugin_utils._report_files import make_report, write_files

    directory = tmp_path_factory.mktemp("pages")
    make.main(directory)
    damaged = directory / "damaged"
    make.unreachable(damaged)
    journal = damaged / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"event":"baseline"', '"event":"x"')[:-30])
    paths = {}
    for name in (*make.ROLLOUTS, "damaged"):
        _report, texts = make_report(directory / name, {})
        write_files(directory / name, texts, ["report.html"])
        paths[name] = directory / name / "report.html"
    return paths


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser(str(CHROMIUM)) as tab:
        yield tab


@pytest.mark.parametrize("name", [*make.ROLLOUTS, "damaged"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_its_window_without_a_request_or_a_complaint(
    page: Page, pages: dict[str, Path], name: str, width: int
) -> None:
    assert_fits(page, pages[name], width)


@pytest.mark.parametrize("name", make.ROLLOUTS)
def test_outcome_stands_on_top_and_plots_are_drawn(page: Page, pages: dict[str, Path], name: str) -> None:
    page.open(pages[name], 390)
    assert page.evaluate("document.querySelector('h1').textContent").startswith(OUTCOMES[name])
    assert page.evaluate("document.querySelector('h1').getBoundingClientRect().top") < 120
    assert page.evaluate("document.querySelectorAll('svg.timeline .bar').length") > 10
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg.plot .curve')]"
        ".map(e => e.getBoundingClientRect()).map(b => [b.width, b.height])"
    )
    assert len(sizes) >= 4
    assert all(width > 100 and height > 50 for width, height in sizes)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", [*make.ROLLOUTS, "damaged"])
def test_every_text_can_be_read_in_light_and_dark(page: Page, pages: dict[str, Path], name: str, dark: bool) -> None:
    page.open(pages[name], 1280, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert page.evaluate(LOW_CONTRAST) == []


def test_a_damaged_journal_is_told_before_the_hosts(page: Page, pages: dict[str, Path]) -> None:
    page.open(pages["damaged"], 390)
    assert "Line" in page.evaluate("document.querySelector('#damaged').textContent")
    order = page.evaluate("[...document.querySelectorAll('main > [id]')].map(e => e.id)")
    assert order.index("damaged") < order.index("hosts")
    assert page.evaluate("document.querySelector('#outcome').dataset.outcome") == "unfinished"
