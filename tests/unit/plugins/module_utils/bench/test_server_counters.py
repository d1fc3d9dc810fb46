# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's own counters before and after a run, held against ours."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._server_counters import (
    compare_counts,
    read_settled,
    rise,
    went_back,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import bad, good


def test_the_servers_counts_are_held_against_ours() -> None:
    before = {"generated_tokens_total": 100, "requests_finished_total": 5, "prompt_tokens_total": 50}
    after = {"generated_tokens_total": 322, "requests_finished_total": 26, "prompt_tokens_total": 190}
    delta = rise(before, after)
    assert delta is not None and delta["generated_tokens_total"] == 222 and delta["preemptions_total"] is None
    found = compare_counts(delta, [good(number) for number in range(20)])
    assert found is not None and found["generated_tokens_foreign"] == 2 and found["requests_foreign"] == 1
    forgiving = compare_counts(delta, [*[good(number) for number in range(20)], bad(20, "timeout")])
    assert forgiving is not None and forgiving["generated_tokens_foreign"] == 0
    assert went_back({"generated_tokens_total": -1}) and not went_back(None) and rise(None, after) is None


def test_metrics_are_read_once_the_server_is_done() -> None:
    pages = iter([(2, 10), (1, 20), (0, 30), (0, 30), (0, 30)])

    def read() -> dict[str, Any]:
        running, tokens = next(pages)
        return {"requests_running": running, "requests_waiting": 0, "generated_tokens_total": tokens}

    found = read_settled(read, sleep=lambda _seconds: None, clock=lambda: 0.0)
    assert found is not None and (found["requests_running"], found["generated_tokens_total"]) == (0, 30)
    assert next(pages, None) == (0, 30), "it looked on although the server was done"
    pages = iter([(1, number) for number in range(100)])
    late = read_settled(read, sleep=lambda _seconds: None, clock=iter(range(100)).__next__)
    assert late is not None and late["requests_running"] == 1, "a server that is never done is not waited for"
    assert read_settled(lambda: None) is None
