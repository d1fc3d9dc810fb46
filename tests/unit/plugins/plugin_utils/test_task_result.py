# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step counts as done only when its result says so."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._task_result import result_problem

GOOD = {"changed": True, "failed": False}


@pytest.mark.parametrize(
    "result",
    [
        GOOD,
        {"changed": False, "failed": False, "verdict": {"verdict": "pass"}},
        {"changed": True, "results": [{**GOOD, "item": "gw1"}, {**GOOD, "item": "gw2"}]},
        {"failed": False, "ansible_job_id": "j", "finished": 1, "changed": True},
    ],
)
def test_a_positive_result_is_proof(result: Any) -> None:
    assert result_problem(result) is None


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        (None, "missing", "None"),
        ("text", "missing", "text"),
        ([], "missing", "[]"),
        ({}, "missing", "did not run"),
        ({"msg": "hello"}, "missing", "no task result"),
        ({"failed": True, "msg": "disk full"}, "failed", "disk full"),
        ({"failed": True, "stderr": "boom"}, "failed", "boom"),
        ({"failed": True}, "failed", "no message"),
        ({"unreachable": True, "msg": "no route", "changed": False}, "unreachable", "no route"),
        ({"skipped": True, "changed": False, "skip_reason": "Conditional"}, "skipped", "Conditional"),
        ({"changed": False, "results": []}, "missing", "looped over nothing"),
        (
            {"changed": True, "results": [{**GOOD, "item": "gw1"}, {"failed": True, "msg": "x", "item": "gw2"}]},
            "failed",
            "item gw2: x",
        ),
        (
            {"changed": True, "results": [{"skipped": True, "changed": False, "gw": "g", "ansible_loop_var": "gw"}]},
            "skipped",
            "item g:",
        ),
        ({"changed": True, "results": [{"unreachable": True, "msg": "gone", "item": "g"}]}, "unreachable", "gone"),
        ({"changed": True, "ansible_job_id": "j", "finished": 0}, "missing", "background"),
        ({**GOOD, "verdict": {"verdict": "inconclusive", "summary": "few samples"}}, "verdict", "few samples"),
        ({**GOOD, "verdict": {"verdict": None}}, "verdict", "None"),
    ],
)
def test_anything_else_is_no_proof(result: Any, kind: str, words: str) -> None:
    problem = result_problem(result)
    assert problem is not None
    assert problem.kind == kind
    assert words in problem.reason


def test_a_long_message_is_cut() -> None:
    problem = result_problem({"failed": True, "msg": "x " * 5000})
    assert problem is not None
    assert len(problem.reason) <= 1000
