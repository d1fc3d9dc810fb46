# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Page, plots and words of the report."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, chained_line
from ansible_collections.local_llm.ops.plugins.plugin_utils import _report_words as words
from ansible_collections.local_llm.ops.plugins.plugin_utils._report import build_report
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_html import commands, render_html
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_svg import ecdf, nice_step, timeline

EVIL = "<script>alert(1)</script>\"'><img src=//x.invalid onerror=alert(2)>"


class Collector(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def evil_page() -> str:
    record = {
        "schema": 1,
        "seq": 1,
        "at": "2026-01-05T10:00:00Z",
        "rollout_id": EVIL,
        "host": EVIL,
        "instance": EVIL,
        "event": "failed",
        "state": EVIL,
        "release": EVIL,
        "previous_release": EVIL,
        "seconds": 1.0,
        "detail": EVIL,
        "evidence": {
            "step": EVIL,
            "reason": EVIL,
            "verdict": {
                "verdict": EVIL,
                "summary": EVIL,
                "reasons": [{"measure": EVIL, "observed": EVIL, "threshold": EVIL, "rule": EVIL, "status": EVIL}],
            },
            "report": {
                "kind": "benchmark",
                "valid": False,
                "invalid_reasons": [EVIL],
                "samples": {"ttft_seconds": [0.1]},
            },
        },
    }
    other = {**record, "seq": 2, "event": EVIL}
    first, digest = chained_line(CHAIN_START, record)
    return render_html(build_report(f"{first}\n{chained_line(digest, other)[0]}\n", {}, {EVIL: EVIL}))


def test_everything_from_the_journal_is_escaped() -> None:
    page = Collector()
    page.feed(evil_page())
    assert not {"script", "img", "iframe", "link", "object", "base"} & set(page.tags)
    assert not [name for name, _value in page.attributes if name.startswith("on") or name in ("src", "href", "style")]


def test_the_policy_of_the_page_allows_its_own_style_sheet_and_nothing_else() -> None:
    text = render_html(build_report(""))
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert len(style) == 1
    assert policy is not None
    assert policy[1].replace("&#39;", "'").startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "url(" not in style[0]
    assert "@import" not in style[0]


SAMPLES: dict[str, list[float] | None] = {
    "baseline": [0.1 + 0.001 * index for index in range(150)],
    "new": [0.2 + 0.002 * index for index in range(150)],
    "after_rollback": None,
}


def test_a_plot_is_well_formed_named_described_and_has_units() -> None:
    root = ElementTree.fromstring(str(ecdf("Time to first token", SAMPLES, 0.3, "limit p95 300 ms", "p")))
    texts = [element.text or "" for element in root.iter()]
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "p-title p-desc"
    assert "time in ms" in texts
    assert "share of requests" in texts
    assert "limit p95 300 ms" in texts
    assert any("before: 150 requests, half within 174 ms, slowest 249 ms" in text for text in texts)
    assert len([element for element in root.iter() if (element.get("class") or "").startswith("curve")]) == 2


@pytest.mark.parametrize(
    "values", [[0.0], [0.0, 0.0], [5.0], [1e-6, 900.0], [0.25] * 4000, [0.001 * index for index in range(1, 4000)]]
)
def test_a_plot_of_odd_samples_stays_inside_its_frame(values: list[float]) -> None:
    text = str(ecdf("T", {"baseline": values}, None, "", "p"))
    ElementTree.fromstring(text)
    path = re.search(r'class="curve baseline" d="([^"]+)"', text)
    assert path is not None
    assert all(43 <= float(x) <= 351 for x in re.findall(r"[HM]([\d.]+)", path[1]))
    assert all(21 <= float(y) <= 175 for y in re.findall(r"V([\d.]+)", path[1]))
    assert len(path[1]) < 8000


def test_without_samples_there_is_no_plot() -> None:
    assert str(ecdf("T", {"baseline": None, "new": []}, 0.3, "", "p")) == ""


def test_bars_of_the_timeline_lie_inside_the_rollout() -> None:
    step: dict[str, Any] = {
        "step": "switched",
        "state": "healthy",
        "category": "engine",
        "started_at": "2026-01-05T10:00:00Z",
        "ended_at": "2026-01-05T10:00:10Z",
        "measured_seconds": 4.0,
    }
    host = {"host": "a<b", "instance": "i", "canary": True, "steps": [step]}
    root = ElementTree.fromstring(str(timeline([host], "2026-01-05T10:00:00Z", "2026-01-05T10:00:20Z", "t")))
    bars = [
        (item.get("class"), item.get("x"), item.get("width")) for item in root.iter() if "bar" in item.get("class", "")
    ]
    assert bars == [("bar orchestration", "0.000%", "30.000%"), ("bar engine", "30.000%", "20.000%")]
    assert any(item.text == "i on a<b (canary)" for item in root.iter())


def test_no_timeline_without_times() -> None:
    assert str(timeline([], None, None, "t")) == ""


@pytest.mark.parametrize(
    ("rough", "time", "step"),
    [
        (0.013, False, 0.02),
        (0.1, False, 0.1),
        (7, False, 10),
        (7, True, 10),
        (28, True, 30),
        (1000, True, 1200),
        (200000, True, 259200),
    ],
)
def test_ticks_are_round(rough: float, time: bool, step: float) -> None:
    assert nice_step(rough, time) == pytest.approx(step)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, words.NONE),
        (0, "0 ms"),
        (0.0042, "4.2 ms"),
        (0.123, "123 ms"),
        (0.9999, "1.00 s"),
        (9.996, "10.0 s"),
        (59.99, "60.0 s"),
        (59.996, "1 min 00 s"),
        (3600, "1 h 00 min"),
        (-0.5, "-500 ms"),
    ],
)
def test_durations_get_the_unit_that_reads_best(value: Any, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "measure", "text"),
    [
        (0.551, "time to first token p95", "551 ms"),
        (2.0, "error rate in percent", "2 %"),
        (0.015, "failed share", "1.50 %"),
        (1.0, "quality", "100 %"),
        (41.26, "tokens/s of a request p50", "41.26"),
        (8.66, "requests_per_second", "8.7 /s"),
        (True, "x", "yes"),
        ("none", "quality", "none"),
        (None, "quality", words.NONE),
    ],
)
def test_figures_carry_the_unit_of_their_measure(value: Any, measure: str, text: str) -> None:
    assert words.figure(value, measure) == text


def test_commands_are_set_as_code_and_escaped() -> None:
    assert str(commands("run `a <b>` <now>")) == "run <code>a &lt;b&gt;</code> &lt;now&gt;"


def test_a_long_reason_is_cut_in_the_headline_only() -> None:
    reason = "a reason of many words " * 12
    record = {
        "schema": 1,
        "seq": 1,
        "rollout_id": "r",
        "host": "h",
        "instance": "i",
        "event": "failed",
        "at": "2026-01-05T10:00:00Z",
        "detail": reason,
        "evidence": {},
    }
    report = build_report(chained_line(CHAIN_START, record)[0] + "\n")
    assert len(report["summary"]) < 300
    assert report["cause"]["reason"] == reason.strip()
