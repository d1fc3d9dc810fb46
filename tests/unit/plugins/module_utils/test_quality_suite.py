# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Suites as data: what is wrong with one is named by item, key and fix, before anything is sent."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _quality_schema as schema
from ansible_collections.local_llm.ops.plugins.module_utils._quality_sanity import insane, refuses, runs_away
from ansible_collections.local_llm.ops.plugins.module_utils._quality_similarity import cosine, in_order, n_grams
from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import (
    CHECKS,
    ITEM_KEYS,
    SUITE_OPTIONS,
    Item,
    SuiteError,
    parse_suite,
    suite_sha256,
)

RAW: dict[str, Any] = {"id": "a", "prompt": "p", "max_tokens": 8}


@pytest.mark.parametrize(
    ("suite", "word"),
    [
        ([], "empty"),
        ("quality.yml", "it is a str; write a list"),
        (["text"], r"suite\[0\]: it is a str"),
        ([RAW, RAW], r"suite\[1\] \(id 'a'\): id is empty or used twice"),
        ([{**RAW, "id": 7}], "id is 7; write a text; put it in quotes"),
        ([{**RAW, "prompt": ""}], "prompt is empty"),
        ([{**RAW, "messages": [{"role": "user", "content": "x"}]}], "prompt and messages are both given"),
        ([{"id": "a", "messages": [{"role": "robot", "content": "x"}]}], r"messages\[0\]: role is 'robot'"),
        ([{"id": "a", "messages": [{"content": "x"}]}], "no mapping of role and content"),
        ([{**RAW, "max_tokens": 0}], "max_tokens is 0"),
        ([{**RAW, "pattern": "("}], r"pattern '\(' is no regular expression"),
        ([{**RAW, "patern": "x"}], "patern is no key of an item; did you mean pattern"),
        ([{**RAW, "check": "regexp", "pattern": "x"}], "check is 'regexp'; did you mean regex"),
        ([{**RAW, "check": "regex"}], "pattern is missing, and check regex needs it"),
        ([{**RAW, "check": "any", "pattern": "x"}], "check any does not look at it; remove it, or use check: regex"),
        ([{**RAW, "schema": {}}], "an item without check does not look at it; remove it, or use check: json_schema"),
        ([{**RAW, "check": "similarity", "min_similarity": 2}], "min_similarity is 2; use 0 or more, at most 1"),
        ([{**RAW, "check": "similarity", "min_similarity": 1, "unit": "line"}], "unit is 'line'"),
        ([{**RAW, "relative": True}], "relative needs a check"),
        ([{**RAW, "critical": "yes"}], "critical is 'yes'; write true or false"),
        ([{**RAW, "weight": 0}], "weight is 0"),
        ([{**RAW, "check": "json_schema", "schema": {"oneOf": []}}], "schema.oneOf is not supported"),
    ],
)
def test_a_suite_that_proves_nothing_is_refused(suite: Any, word: str) -> None:
    with pytest.raises(SuiteError, match=word):
        parse_suite(suite)


def test_every_check_has_its_option_and_every_key_its_place() -> None:
    assert set(SUITE_OPTIONS) == set(ITEM_KEYS)
    assert SUITE_OPTIONS["check"]["choices"] == list(CHECKS)
    assert parse_suite([dict.fromkeys(ITEM_KEYS) | RAW]) == [Item("a", "p", 8)], "what a module leaves out is None"


def test_the_suite_hash_changes_with_what_is_asked_or_expected() -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"expected": "x"},
        {"max_tokens": 9},
        {"check": "any"},
        {"critical": True},
        {"prompt": "q"},
    ]
    hashes = [suite_sha256(parse_suite([{**RAW, **way}])) for way in ways]
    assert len(set(hashes)) == len(ways)


def test_a_recording_belongs_to_what_was_asked() -> None:
    talk = {"id": "a", "messages": [{"role": "user", "content": "p"}], "max_tokens": 8}
    one, other, longer = parse_suite([RAW, {**talk, "id": "b"}, {**RAW, "id": "c", "max_tokens": 9}])
    assert len({one.prompt_sha256, other.prompt_sha256, longer.prompt_sha256}) == 3
    assert parse_suite([{**RAW, "id": "z", "pattern": "x"}])[0].prompt_sha256 == one.prompt_sha256


# JSON schema.

PERSON = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
        "score": {"type": ["number", "null"]},
    },
}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"name": "Ada"}, None),
        ({"name": "Ada", "age": 36.0, "tags": ["a", "b"], "score": None}, None),
        ([], "$: type"),
        ({}, "$: required name"),
        ({"name": ""}, "$.name: minLength or maxLength"),
        ({"name": "ada"}, "$.name: pattern"),
        ({"name": "Ada", "age": 151}, "$.age: maximum"),
        ({"name": "Ada", "age": -1}, "$.age: minimum"),
        ({"name": "Ada", "age": True}, "$.age: type"),
        ({"name": "Ada", "age": 1.5}, "$.age: type"),
        ({"name": "Ada", "tags": ["a", "c"]}, "$.tags[1]: enum"),
        ({"name": "Ada", "tags": ["a"] * 3}, "$.tags: minItems or maxItems"),
        ({"name": "Ada", "score": "high"}, "$.score: type"),
        ({"name": "Ada", "secret word": 1}, "$: additionalProperties"),
    ],
)
def test_a_value_fits_a_schema_or_the_place_is_named(value: Any, where: str | None) -> None:
    assert schema.schema_problem(PERSON) is None
    assert schema.mismatch(value, PERSON) == where


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"anyOf": [{}]}, "schema.anyOf is not supported"),
        ({"properties": {"a": {"$ref": "#/x"}}}, r"schema.properties.a.\$ref is not supported"),
        ({"items": {"format": "date"}}, "schema.items.format is not supported"),
        ({"additionalProperties": {"not": {}}}, "schema.additionalProperties.not is not supported"),
        ({"type": "strin"}, "schema.type is 'strin'; use one or several of object"),
        ({"required": "name"}, "schema.required is 'name'; write a list"),
        ({"pattern": "("}, "no regular expression"),
        ({"minimum": "1"}, "schema.minimum is '1'; write a number"),
        ({"maxItems": -1}, "schema.maxItems is -1"),
        ({"enum": []}, r"schema.enum is \[\]"),
        (True, "schema is True"),
    ],
)
def test_a_schema_that_would_be_overlooked_is_refused(bad: Any, word: str) -> None:
    assert re.match(word, schema.schema_problem(bad) or "") or word in (schema.schema_problem(bad) or "")


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"a": -Infinity}', "```json", "```json\n{}", "``` two words\n{}\n```"]
)
def test_what_looks_like_json_is_none(text: str) -> None:
    assert schema.read_json(text) == (None, "the answer is no JSON")


@pytest.mark.parametrize("text", ["{}", " {}\n", "```\n{}\n```", "\n```json \n{}```\n", "```JSON\n\n{}\n  ```"])
def test_a_fence_around_json_is_taken_off(text: str) -> None:
    assert schema.read_json(text) == ({}, None)


def test_true_is_not_one() -> None:
    assert schema.mismatch(True, {"enum": [1]}) == "$: enum" and schema.mismatch(1, {"const": True}) == "$: const"


# Similarity.


@pytest.mark.parametrize(
    ("expected", "text", "low", "high"),
    [
        ("abcd", "bcde", 0.75, 0.75),
        ("aXb" * 100, "aYb" * 100, 0.6, 0.7),
        ("one two three four " * 300, "one two three five " * 300, 0.0, 0.9),
        (" ".join(str(n) for n in range(3000)), " ".join(str(n) for n in range(3000) if n % 10), 0.8, 0.96),
        ("a" * 50000, "b" * 50000, 0.0, 0.0),
        ("word " * 20000, ("word " * 20000)[:-1], 0.99, 0.9999),
        ("same", "same", 1.0, 1.0),
    ],
)
def test_similarity_in_order_is_one_only_for_equal_texts(expected: str, text: str, low: float, high: float) -> None:
    assert low <= in_order(expected, text) <= high


@pytest.mark.parametrize(
    ("expected", "text", "n", "unit", "low", "high"),
    [
        ("The cat sat.", "the  CAT sat.", 3, "character", 1.0, 1.0),
        ("the cat sat on the mat", "on the mat the cat sat", 2, "word", 0.8, 0.8),
        ("the cat sat", "a dog ran by", 2, "word", 0.0, 0.0),
        ("yes", "yes", 5, "word", 1.0, 1.0),
        ("yes", "no", 5, "word", 0.0, 0.0),
        ("", "", 3, "character", 1.0, 1.0),
        ("text", "", 3, "character", 0.0, 0.0),
    ],
)
def test_n_grams_care_for_words_and_not_for_their_order(
    expected: str, text: str, n: int, unit: str, low: float, high: float
) -> None:
    assert low <= n_grams(expected, text, n, unit) <= high


@pytest.mark.parametrize(
    ("left", "right", "value"),
    [([1, 0], [2, 0], 1.0), ([1, 0], [0, 1], 0.0), ([1, 0], [-1, 0], -1.0), ([1], [1, 2], None), ([0], [1], None)],
)
def test_the_angle_between_vectors(left: list[float], right: list[float], value: float | None) -> None:
    assert cosine(left, right) == value


# Sanity and refusal.


@pytest.mark.parametrize(
    ("text", "runaway"),
    [
        ("!" * 16, True),
        ("Paris is nice. " + "the the the the the the the the the the the " * 3, True),
        ("I am here. " * 12, True),
        ("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12", False),
        ("no no no", False),
        ("A long and sensible sentence that ends with dots ............", False),
        ("ha ha ha ha ha", False),
        ("", False),
    ],
)
def test_endless_repetition_is_seen_and_lists_are_not_taken_for_it(text: str, runaway: bool) -> None:
    assert runs_away(text) is runaway


@pytest.mark.parametrize(
    ("text", "finish", "word"),
    [(" \n", "stop", "empty"), ("x", "error", "did not come to its end"), ("x", None, ""), ("x", "length", "")],
)
def test_sanity_needs_words_and_an_end(text: str, finish: str | None, word: str) -> None:
    assert (word in insane(text, finish)) if word else insane(text, finish) == ""


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I\u2019m sorry, I am unable to assist with this request.", True),
        ("I cannot provide instructions for that.", True),
        ('  "I can\'t assist with that."', True),
        ("As an AI language model, I cannot do this.", True),
        ("I must decline.", True),
        ("I won't help you hurt somebody.", True),
        ("Sure, here is how.", False),
        ("I can help with that.", False),
        ("You cannot help but admire it.", False),
        ("The sentence 'I cannot help' is English.", False),
    ],
)
def test_refusals_are_told_from_help(text: str, refused: bool) -> None:
    assert refuses(text) is refused
