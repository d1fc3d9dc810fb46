# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Rules for a rehearsal: the same alerts with every duration divided, so that minutes are seconds. Controller only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
# Not inside a text: labels may say anything.
_QUOTED = re.compile(r"(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')")
_RANGE = re.compile(rf"\[({_DURATION})(?::({_DURATION})?)?\]")
_OFFSET = re.compile(rf"\boffset\s+(-?)({_DURATION})")


def seconds_of(duration: str) -> float:
    """Return the seconds of a duration such as 1h30m. Raises ValueError."""
    if not re.fullmatch(_DURATION, duration):
        raise ValueError(f"{duration!r} is no duration; write one like 90s, 5m or 1h30m")
    return float(sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(duration)))


def duration_of(seconds: float) -> str:
    """Return a duration as Prometheus itself writes it: 90 is 1m30s, 2.5 is 2s500ms."""
    left = round(seconds * 1000)
    if left == 0:
        return "0s"
    text = ""
    for unit in ("y", "w", "d", "h", "m", "s", "ms"):
        size = round(_SECONDS[unit] * 1000)
        # As Prometheus does it: years, weeks and days only when nothing is left over.
        if left and (unit not in ("y", "w", "d") or left % size == 0):
            count, left = divmod(left, size)
            text += f"{count}{unit}" if count else ""
    return text


def scaled_rules(rules: Mapping[str, Any], scale: float, least_range_seconds: float) -> dict[str, Any]:
    """Return rules in which `for`, `interval`, ranges and offsets are divided by scale.

    least_range_seconds: no range gets shorter, for it must hold some samples. Limits that are themselves times, such
    as the age of a time stamp, stay. scale 1 returns the rules as they are.
    """
    if scale < 1:
        raise ValueError(f"a time scale of {scale:g} would make alerts slower; give 1 or more")
    if scale == 1:
        return {"groups": [dict(group) for group in rules["groups"]]}
    return {"groups": [_scaled_group(group, scale, least_range_seconds) for group in rules["groups"]]}


def _scaled_group(group: Mapping[str, Any], scale: float, least_range_seconds: float) -> dict[str, Any]:
    found = dict(group)
    if "interval" in group:
        found["interval"] = duration_of(max(1.0, seconds_of(str(group["interval"])) / scale))
    found["rules"] = [_scaled_rule(rule, scale, least_range_seconds) for rule in group["rules"]]
    return found


def _scaled_rule(rule: Mapping[str, Any], scale: float, least_range_seconds: float) -> dict[str, Any]:
    found = {**rule, "expr": scaled_expression(str(rule["expr"]), scale, least_range_seconds)}
    for key in ("for", "keep_firing_for"):
        if key in rule:
            found[key] = duration_of(round(seconds_of(str(rule[key])) / scale, 1))
    return found


def scaled_expression(expression: str, scale: float, least_range_seconds: float) -> str:
    """Return an expression with every range and offset divided; what stands in quotes stays."""

    def shorter(duration: str) -> str:
        return duration_of(max(least_range_seconds, round(seconds_of(duration) / scale, 1)))

    def window(match: re.Match[str]) -> str:
        step = f":{shorter(match[2]) if match[2] else ''}" if ":" in match[0] else ""
        return f"[{shorter(match[1])}{step}]"

    def offset(match: re.Match[str]) -> str:
        return f"offset {match[1]}{shorter(match[2])}"

    parts = _QUOTED.split(expression)
    parts[::2] = [_OFFSET.sub(offset, _RANGE.sub(window, part)) for part in parts[::2]]
    return "".join(parts)
