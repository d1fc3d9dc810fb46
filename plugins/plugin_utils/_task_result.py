# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Did a step really happen? Read from the registered result of its task; what proves nothing counts as a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MAX_TEXT = 1000


@dataclass(frozen=True)
class Problem:
    """Why a result is no proof."""

    # failed, unreachable, skipped, missing or verdict
    kind: str
    reason: str


def result_problem(result: Any) -> Problem | None:
    """Return why a registered result does not prove that its step was done, or None when it does."""
    if not isinstance(result, Mapping):
        return Problem("missing", f"no task result was handed over, but {_text(result)}")
    if not result:
        return Problem("missing", "the task result is empty: the task did not run")
    if result.get("unreachable"):
        return Problem("unreachable", f"unreachable: {_message(result)}")
    items = result.get("results")
    if isinstance(items, Sequence) and not isinstance(items, str):
        if not items:
            return Problem("missing", "the task looped over nothing, so nothing was done")
        for item in items:
            problem = result_problem(item)
            if problem is not None:
                return Problem(problem.kind, f"item {_item_name(item)}: {problem.reason}")
    if result.get("failed"):
        return Problem("failed", _message(result))
    if result.get("skipped"):
        return Problem("skipped", f"the task was skipped: {result.get('skip_reason') or 'its condition was false'}")
    if result.get("ansible_job_id") and not result.get("finished"):
        return Problem("missing", "the task runs in the background and has not finished")
    if "failed" not in result and "changed" not in result:
        return Problem("missing", "this is no task result: it has neither failed nor changed")
    verdict = result.get("verdict")
    if isinstance(verdict, Mapping) and verdict.get("verdict") != "pass":
        return Problem("verdict", f"the verdict is {verdict.get('verdict')}: {_text(verdict.get('summary') or '')}")
    return None


def _message(result: Mapping[str, Any]) -> str:
    for key in ("msg", "reason", "stderr", "module_stderr", "exception"):
        text = str(result.get(key) or "").strip()
        if text:
            return _text(text)
    return "no message"


def _item_name(item: Any) -> str:
    """Return what an item of a loop was about: the value of its loop variable."""
    if not isinstance(item, Mapping):
        return "?"
    label = item.get("_ansible_item_label", item.get(str(item.get("ansible_loop_var", "item"))))
    if isinstance(label, Mapping):
        label = label.get("name", label)
    return _text(label)[:100]


def _text(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
