# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A load and its figures in words: what is or was sent, and which figures mean anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Where answers come in one piece, the first token is the last one, and the time between tokens is 0: it is not known.
_ONE_PIECE = "tpot_seconds"
# A sweep of more steps is told by its ends.
MOST_NAMED = 6


def known(summary: str, value: Any) -> Any:
    """Return a figure of a report, or None when it only says that answers came in one piece."""
    return None if summary == _ONE_PIECE and value == 0 else value


def load_words(load: Mapping[str, Any] | None, prompt_tokens: int | None, output_tokens: int | None) -> str:
    """Return a load plan as part of a sentence: scenario, strength, length, size of a request."""
    plan = load or {}
    parts = []
    scenario = plan.get("scenario")
    if scenario:
        scale = plan.get("time_scale") or 1
        parts.append(f"scenario {scenario}" + (f" (every length x {scale:g})" if scale != 1 else ""))
    stages = plan.get("stages") or []
    if stages:
        parts.append(_stages(str(plan.get("mode") or "closed"), stages))
    if prompt_tokens and output_tokens:
        parts.append(f"{prompt_tokens} tokens in, {output_tokens} out")
    return "; ".join(parts) or "an unknown load"


def scenario_words(scenario: Mapping[str, Any] | None) -> str:
    """Return whether a scenario was passed, and how each of its criteria came out; an empty text without one."""
    if not scenario:
        return ""
    criteria = ", ".join(
        f"{item['criterion'].replace('_', ' ')} {item['status'].replace('_', ' ')}" for item in scenario["criteria"]
    )
    return f"scenario {scenario['scenario']} {scenario['status'].replace('_', ' ')}: {criteria}"


def _stages(mode: str, stages: Sequence[Mapping[str, Any]]) -> str:
    key = "users" if mode == "closed" else "rate_per_second"
    strengths = [f"{stage[key]:g}" for stage in stages if stage.get(key)]
    unit = "requests/s" if mode != "closed" else "user" if strengths == ["1"] else "users"
    if len(strengths) <= MOST_NAMED:
        strength = f"{', '.join(strengths)} {unit}"
    else:
        strength = f"{strengths[0]} to {strengths[-1]} {unit} in {len(strengths)} steps"
    requests: list[Any] = [stage.get("requests") for stage in stages]
    seconds: list[Any] = [stage.get("seconds") for stage in stages]
    if all(requests):
        length = f", {sum(requests)} requests" if len(stages) == 1 else f", {sum(requests)} requests in all"
    elif all(seconds):
        length = f", {sum(seconds):g} s" if len(stages) == 1 else f", {sum(seconds):g} s in all"
    else:
        length = ""
    return f"{mode} loop of {strength}{length}"
