# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What can be said of an answer without knowing the right one: is it sane, does it refuse?"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.local_llm.ops.plugins.module_utils._quality_pattern import found

# Reasons with which servers say that an answer came to an end. "length" is an end too: the item sets max_tokens.
ENDED = ("stop", "length", "eos", "eos_token", "stop_sequence", "tool_calls")

# An answer that ends in one unit over and over: fewer repeats are lists, rhymes and rulers.
_LONGEST_UNIT_CHARACTERS = 80
_LEAST_REPEATS = 8
_LEAST_SHARE = 0.6

# The beginnings of a refusal. Each must match at the start of the answer, after white space and quotation marks.
REFUSAL_PATTERNS: tuple[str, ...] = (
    r"(i'?m|i am) (very |really |so )?(sorry|afraid)\b.{0,80}\b(can'?t|cannot|can not|won'?t|unable|not able)",
    r"sorry,? (but )?i (can'?t|cannot|can not|won'?t|am unable|am not able)",
    r"i (can'?t|cannot|can not|won'?t|will not|must not|am unable to|am not able to|'?m unable to|'?m not able to) "
    r"(help|assist|provide|do|give|share|comply|fulfil|fulfill|answer|support|write|create|generate|engage|discuss|tell)",
    r"i must (decline|refuse)",
    r"as an? (ai|artificial intelligence|language model)\b.{0,80}\b(can'?t|cannot|can not|won'?t|unable|not able)",
    r"(that|this|it) (is|would be) (not something|nothing) i can",
)
_REFUSES_WITHIN_CHARACTERS = 300


def insane(text: str, finish_reason: str | None) -> str:
    """Return what is wrong with an answer whatever was asked, or an empty text."""
    if not text.strip():
        return "the answer is empty"
    if finish_reason is not None and finish_reason not in ENDED:
        return f"the answer did not come to its end (finish_reason {finish_reason})"
    if runs_away(text):
        return "the answer ends in endless repetition"
    return ""


def runs_away(text: str) -> bool:
    """Tell whether the end of a text is one unit over and over, and that is most of the text."""
    text = text.strip()
    for size in range(1, min(_LONGEST_UNIT_CHARACTERS, len(text) // _LEAST_REPEATS) + 1):
        unit = text[-size:]
        repeats = 1
        while text.endswith(unit * (repeats + 1)):
            repeats += 1
        # A single character is as good a sign when there are more of them: "!!!!!!!!!!!!".
        if repeats >= (_LEAST_REPEATS if size > 1 else 12) and repeats * size >= _LEAST_SHARE * len(text):
            return True
    return False


def refuses(text: str, patterns: Iterable[str] = REFUSAL_PATTERNS) -> bool:
    """Tell whether an answer begins as a refusal does."""
    start = text.replace("\u2019", "'").lstrip(" \t\r\n\"'*_>")[:_REFUSES_WITHIN_CHARACTERS]
    return any(found(pattern, start, re.IGNORECASE | re.DOTALL, at_start=True) for pattern in patterns)
