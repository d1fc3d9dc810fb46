# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rollout tells what golden answers were held against, and why they did not suffice."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, chained_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._report import build_report
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_html import compared_words, render_html

REFERENCE = {"engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "model_revision": "r1", "text": "SECRET"}
COMPARED = {
    "mode": "exact", "reference": REFERENCE, "pairs": 30, "worse": 7, "better": 0, "p_value": 0.0156,
    "worse_p_value": 0.0078, "alpha": 0.05, "verdict": "regression", "smallest_provable": 5,
}  # fmt: skip
QUALITY = {
    "schema": 1, "kind": "quality", "suite_sha256": "0" * 64,
    "items": [{"id": "sum", "status": "fail", "check": "recorded", "critical": True, "reference_status": "pass"}],
    "passed": 23, "failed": 7, "errors": 0, "pass_share": 0.77, "min_pass_share": 1.0, "compared": COMPARED,
    "reasons": ["7 of 30 items did not pass, share 0.77, needed 1.0", "critical item sum failed"], "ok": False,
}  # fmt: skip


def report(quality: dict[str, Any]) -> dict[str, Any]:
    record = {
        "schema": 1, "seq": 1, "at": "2026-01-05T10:00:00Z", "rollout_id": "r", "host": "gpu1", "instance": "chat",
        "event": "quality", "state": "verifying", "release": "a", "previous_release": "b", "seconds": 1.0, "detail": "",
        "evidence": quality,
    }  # fmt: skip
    return build_report(f"{chained_line(CHAIN_START, record)[0]}\n", {}, {})


def test_the_report_keeps_what_was_compared_and_why_it_failed() -> None:
    kept = report(QUALITY)["hosts"][0]["quality"]["new"]
    assert kept["reasons"] == QUALITY["reasons"]
    assert kept["compared"]["verdict"] == "regression" and "text" not in kept["compared"]["reference"]
    assert kept["items"][0]["critical"] is True and kept["items"][0]["reference_status"] == "pass"


def test_the_page_tells_what_was_compared_and_why_it_failed() -> None:
    page = render_html(report(QUALITY))
    assert "New release: 7 of 30 items did not pass, share 0.77, needed 1.0; critical item sum failed." in page
    assert "New release, word for word against llamacpp 0.7.0 tiny r1: 7 worse and 0 better of 30 items" in page
    assert "SECRET" not in page


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "a regression (McNemar&#39;s exact test)."),
        (
            {"verdict": "no_proof"},
            "; no proof of a change, which takes at least 5 worse and none better, or the reverse.",
        ),
        ({"mode": "checks", "verdict": "none"}, "by checks against llamacpp 0.7.0 tiny r1: 7 worse"),
        ({"reference": None}, "against what was recorded: 7 worse"),
        ({"worse": 0, "verdict": "no_proof"}, "none of 30 items became worse or better."),
        ({"reference": {**REFERENCE, "model_revision": "0123456789" * 4}}, "llamacpp 0.7.0 tiny 012345678901: 7"),
    ],
)
def test_what_changed_is_told_in_a_sentence(changes: dict[str, Any], told: str) -> None:
    text = compared_words({"compared": {**COMPARED, **changes}})
    assert told.replace("&#39;", "'") in text and text.endswith(".")


@pytest.mark.parametrize("quality", [{**QUALITY, "compared": None}, {**QUALITY, "compared": {"mode": "none"}}])
def test_nothing_compared_is_nothing_told(quality: dict[str, Any]) -> None:
    assert "worse and" not in render_html(report(quality))
