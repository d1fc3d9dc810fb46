# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How alike two texts are, 0 to 1: by what matches in order, by n-grams, or by the angle of two embeddings."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

# Texts up to this length are compared by characters, longer ones by words, as many as this.
LONG_TEXT = 20_000
UNITS = ("character", "word")


def in_order(expected: str, text: str) -> float:
    """Return twice the characters that match in order over all characters, rounded down so that 1.0 means equal."""
    if expected == text:
        return 1.0
    same = _common_start(expected, text)
    left, right = expected[same:], text[same:]
    tail = _common_start(left[::-1], right[::-1])
    left, right = left[: len(left) - tail], right[: len(right) - tail]
    matching = same + tail + _matching_characters(left, right)
    return min(int(20000 * matching / (len(expected) + len(text))) / 10000, 0.9999)


def n_grams(expected: str, text: str, n: int, unit: str) -> float:
    """Return the share of n-grams in common (Dice: twice the common ones over all), case and white space set aside.

    A text shorter than n counts as one single gram.
    """
    left, right = _grams(expected, n, unit), _grams(text, n, unit)
    total = sum(left.values()) + sum(right.values())
    if not total:
        return 1.0
    return int(20000 * sum((left & right).values()) / total) / 10000


def cosine(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return the cosine of the angle between two vectors, None when they cannot be compared."""
    norm = math.sqrt(sum(value * value for value in left)) * math.sqrt(sum(value * value for value in right))
    if len(left) != len(right) or not norm or not math.isfinite(norm):
        return None
    return max(-1.0, min(1.0, sum(a * b for a, b in zip(left, right)) / norm))


def _grams(text: str, n: int, unit: str) -> Counter[tuple[str, ...]]:
    words = text.casefold().split()
    parts: Sequence[str] = words if unit == "word" else " ".join(words)
    if len(parts) <= n:
        return Counter([tuple(parts)]) if parts else Counter()
    return Counter(tuple(parts[start : start + n]) for start in range(len(parts) - n + 1))


def _common_start(left: str, right: str) -> int:
    """Return how many characters the two have in common at their start."""
    for position, (one, other) in enumerate(zip(left, right)):
        if one != other:
            return position
    return min(len(left), len(right))


def _matching_characters(left: str, right: str) -> float:
    """Return the characters that match in order; in long texts by whole words, whose share stands for theirs."""
    if max(len(left), len(right)) <= LONG_TEXT:
        return _longest_common(left, right)
    words = [re.findall(r"\S+", part) for part in (left, right)]
    total = len(words[0]) + len(words[1])
    common = _longest_common(words[0][:LONG_TEXT], words[1][:LONG_TEXT])
    return common / total * (len(left) + len(right)) if total else 0.0


def _longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Return the length of the longest common subsequence (Hyyro's bit vectors).

    Quick whatever the texts are: difflib takes minutes where a model repeats itself.
    """
    places: dict[str, int] = {}
    for position, part in enumerate(left):
        places[part] = places.get(part, 0) | 1 << position
    every = (1 << len(left)) - 1
    free = every
    for part in right:
        taken = free & places.get(part, 0)
        free = (free + taken | free - taken) & every
    return len(left) - bin(free).count("1")
