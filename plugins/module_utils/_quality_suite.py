# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A quality suite as data: what is asked, and by which check the answer is judged. Refused whole, before it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.module_utils._quality_schema import schema_problem
from ansible_collections.local_llm.ops.plugins.module_utils._quality_similarity import UNITS

DEFAULT_MAX_TOKENS = 32
DEFAULT_N = 3
ROLES = ("system", "user", "assistant")

# The fields that belong to each check; those before the bar are needed. Without a check the fields decide.
CHECKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "exact": (("expected",), ()),
    "regex": (("pattern",), ()),
    "json_schema": (("schema",), ()),
    "similarity": (("min_similarity",), ("expected", "n", "unit")),
    "embedding": (("min_similarity",), ("expected",)),
    "refusal": ((), ("refuse", "pattern")),
    "any": ((), ()),
}
_CHECK_FIELDS = ("expected", "pattern", "schema", "min_similarity", "n", "unit", "refuse")
_TYPES: dict[str, tuple[Any, str]] = {
    "id": (str, "a text; put it in quotes"),
    "prompt": (str, "a text"),
    "messages": (list, "a list of {role, content}"),
    "max_tokens": (int, "a whole number"),
    "check": (str, f"one of {', '.join(CHECKS)}"),
    "expected": (str, "a text; put it in quotes"),
    "pattern": (str, "a regular expression in quotes"),
    "schema": (dict, "a mapping"),
    "min_similarity": ((int, float), "a number from 0 to 1"),
    "n": (int, "a whole number"),
    "unit": (str, f"one of {', '.join(UNITS)}"),
    "refuse": (bool, "true or false"),
    "finished": (bool, "true or false"),
    "latency_max_seconds": ((int, float), "a number of seconds"),
    "critical": (bool, "true or false"),
    "relative": (bool, "true or false"),
    "weight": ((int, float), "a number above 0"),
}
ITEM_KEYS = tuple(_TYPES)


# The same as options of a module.
SUITE_OPTIONS: dict[str, dict[str, Any]] = {
    "id": {"type": "str", "required": True},
    "prompt": {"type": "str"},
    "messages": {
        "type": "list",
        "elements": "dict",
        "options": {
            "role": {"type": "str", "choices": list(ROLES), "required": True},
            "content": {"type": "str", "required": True},
        },
    },
    "max_tokens": {"type": "int", "default": DEFAULT_MAX_TOKENS, "no_log": False},
    "check": {"type": "str", "choices": list(CHECKS)},
    "expected": {"type": "str"},
    "pattern": {"type": "str"},
    "schema": {"type": "dict"},
    "min_similarity": {"type": "float"},
    "n": {"type": "int"},
    "unit": {"type": "str", "choices": list(UNITS)},
    "refuse": {"type": "bool"},
    "finished": {"type": "bool", "default": False},
    "latency_max_seconds": {"type": "float"},
    "critical": {"type": "bool", "default": False},
    "relative": {"type": "bool", "default": False},
    "weight": {"type": "float", "default": 1.0},
}


class SuiteError(ValueError):
    """The suite cannot be used; the text names the item, the key, the value and the fix."""


@dataclass(frozen=True)
class Item:
    """One thing to ask. `checks` judge the answer; with none of them, or with `relative`, the recorded answer does."""

    id: str
    prompt: str = ""
    max_tokens: int = DEFAULT_MAX_TOKENS
    expected: str | None = None
    pattern: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    check: str | None = None
    schema: Any = None
    min_similarity: float | None = None
    n: int = DEFAULT_N
    unit: str = UNITS[0]
    refuse: bool = True
    finished: bool = False
    latency_max_seconds: float | None = None
    critical: bool = False
    relative: bool = False
    weight: float = 1.0

    @property
    def checks(self) -> tuple[str, ...]:
        """Return the checks that judge the answer by itself; "expected" is `expected` without a check."""
        if self.check:
            return (self.check,)
        given = (("expected", self.expected), ("regex", self.pattern))
        return tuple(name for name, value in given if value is not None)

    @property
    def asked(self) -> list[dict[str, str]]:
        """Return the messages of the request."""
        if self.messages:
            return [{"role": role, "content": content} for role, content in self.messages]
        return [{"role": "user", "content": self.prompt}]

    @property
    def prompt_sha256(self) -> str:
        asked = [list(message) for message in self.messages] if self.messages else self.prompt
        return sha256_hex(canonical_json([asked, self.max_tokens]))

    @property
    def needs_recording(self) -> bool:
        """Tell whether it cannot be judged at all without a recorded answer."""
        compared = self.check in ("similarity", "embedding") and self.expected is None
        return compared or self.relative or not self.checks


def parse_suite(suite: Any, where: str = "suite") -> list[Item]:
    """Return the items of a suite, or raise SuiteError for the first that cannot be used."""
    if not isinstance(suite, list):
        raise SuiteError(f"{where}: it is a {type(suite).__name__}; write a list of items, each with id and prompt")
    if not suite:
        raise SuiteError(
            f"{where}: it is empty, and nothing would be proved; give at least one item with id and prompt"
        )
    items: list[Item] = []
    for number, raw in enumerate(suite):
        if not isinstance(raw, Mapping):
            raise SuiteError(f"{where}[{number}]: it is a {type(raw).__name__}; write a mapping with id and prompt")
        at = f"{where}[{number}] (id {raw.get('id')!r})"
        item = _parse_item({key: value for key, value in raw.items() if value is not None}, at)
        if not item.id or item.id in (seen.id for seen in items):
            raise SuiteError(f"{at}: id is empty or used twice; give every item its own id")
        items.append(item)
    return items


def suite_sha256(items: list[Item]) -> str:
    """Return the hash of everything that decides what is asked and expected."""
    return sha256_hex(canonical_json([{key: getattr(item, key) for key in ITEM_KEYS} for item in items]))


def _parse_item(raw: dict[str, Any], at: str) -> Item:
    _check_types(raw, at)
    if bool(raw.get("prompt")) == bool(raw.get("messages")):
        both = "prompt and messages are both given" if raw.get("prompt") else "prompt is empty and messages is missing"
        raise SuiteError(f"{at}: {both}; write one of them: what to ask")
    messages = tuple(_message(part, f"{at}: messages[{number}]") for number, part in enumerate(raw.get("messages", [])))
    _check_fields(raw, at)
    _check_ranges(raw, at)
    try:
        re.compile(raw.get("pattern", ""))
    except re.error as exc:
        raise SuiteError(f"{at}: pattern {raw['pattern']!r} is no regular expression ({exc}); mend it") from exc
    problem = schema_problem(raw["schema"]) if "schema" in raw else None
    if problem:
        raise SuiteError(f"{at}: {problem}")
    return Item(**{**raw, "messages": messages})


def _check_types(raw: Mapping[str, Any], at: str) -> None:
    for key, value in raw.items():
        if key not in _TYPES:
            near = nearest(str(key), ITEM_KEYS)
            hint = f"did you mean {near}?" if near else f"known keys: {', '.join(ITEM_KEYS)}"
            raise SuiteError(f"{at}: {key} is no key of an item; {hint}")
        kind, words = _TYPES[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise SuiteError(f"{at}: {key} is {value!r}; write {words}")
    if not raw.get("id"):
        raise SuiteError(f"{at}: id is empty or used twice; give every item its own id")


def _check_fields(raw: Mapping[str, Any], at: str) -> None:
    """Refuse a check without its fields, and fields that the check would not look at."""
    check = raw.get("check")
    if check is not None and check not in CHECKS:
        near = nearest(check, CHECKS)
        hint = f"did you mean {near}?" if near else f"use one of {', '.join(CHECKS)}"
        raise SuiteError(f"{at}: check is {check!r}; {hint}")
    needed, more = CHECKS[check] if check else ((), ("expected", "pattern"))
    for field in needed:
        if field not in raw:
            raise SuiteError(f"{at}: {field} is missing, and check {check} needs it; add it")
    for field in _CHECK_FIELDS:
        if field in raw and field not in (*needed, *more):
            uses = [name for name, (first, second) in CHECKS.items() if field in (*first, *second)]
            told = f"check {check} does not look at it" if check else "an item without check does not look at it"
            raise SuiteError(f"{at}: {field} is given, but {told}; remove it, or use check: {' or '.join(uses)}")
    if raw.get("relative") and not (check or "expected" in raw or "pattern" in raw):
        raise SuiteError(f"{at}: relative needs a check to compare old and new by; add pattern, expected or check")


def _check_ranges(raw: Mapping[str, Any], at: str) -> None:
    for key, low, high in (
        ("max_tokens", 1, 1_000_000),
        ("n", 1, 10),
        ("min_similarity", 0, 1),
        ("latency_max_seconds", 0.001, 86400),
        ("weight", 0.001, 1000),
    ):
        if key in raw and not low <= raw[key] <= high:
            raise SuiteError(f"{at}: {key} is {raw[key]}; use {low} or more, at most {high}")
    if raw.get("unit", UNITS[0]) not in UNITS:
        raise SuiteError(f"{at}: unit is {raw['unit']!r}; use one of {', '.join(UNITS)}")


def _message(part: Any, at: str) -> tuple[str, str]:
    if not isinstance(part, Mapping) or set(part) != {"role", "content"}:
        raise SuiteError(f"{at}: it is no mapping of role and content; write {{role: user, content: ...}}")
    if part["role"] not in ROLES or not isinstance(part["content"], str) or not part["content"]:
        raise SuiteError(f"{at}: role is {part['role']!r}; use one of {', '.join(ROLES)}, and a content that is a text")
    return part["role"], part["content"]
