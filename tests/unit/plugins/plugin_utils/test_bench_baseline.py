# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A result that is worse than its baseline comes with the figures, also where it is still within its tier."""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_document import changes_told, document_of, entry_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_document import table as document_table
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_html import render_benchmark_html
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.test_bench_results import results

TIER = {"ttft_p95_max_seconds": 5.0}


def document(ttft: float) -> dict[str, object]:
    entry = entry_of("gpu1/chat", {"report": results(ttft=ttft)}, "lab", TIER, {"report": results()})
    return document_of([entry], "2026-11-21T12:00:00Z", {})


def test_a_result_that_is_worse_than_its_baseline_is_told_with_figures() -> None:
    lines = document_table(document(0.2))
    told = [line for line in lines if "against its baseline" in line]
    assert told and any("time to first token p50" in line and "was 10" in line and "worse" in line for line in told)


def test_the_page_has_a_table_of_the_baseline() -> None:
    page = render_benchmark_html(document(0.2))
    assert 'Against its baseline: <span class="bad">worse</span>' in page
    assert '<th scope="col" class="number">Baseline</th>' in page and 'class="bad">worse</td>' in page


def test_the_same_result_again_has_no_figures_to_tell() -> None:
    assert not [line for line in document_table(document(0.1)) if "against its baseline" in line]
    assert changes_told(None) == []
