# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality suite: what passes, what fails, what cannot be judged; and that no text leaks."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._evidence import quality_problem
from ansible_collections.local_llm.ops.plugins.module_utils._golden import (
    GoldenError,
    load_golden,
    make_golden,
    save_golden,
)
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.module_utils._quality import (
    Item,
    Reply,
    SuiteError,
    ask,
    build_report,
    judge_item,
    parse_suite,
    read_reply,
    request_payload,
    suite_sha256,
)

PLAIN = Item("a", "say it", 8, None, None)


def golden(text: str, item: Item = PLAIN) -> dict[str, Any]:
    return make_golden("chat", "x", {item.id: (item.prompt_sha256, text)})


@pytest.mark.parametrize(
    ("item", "text", "recorded", "min_similarity", "status", "match"),
    [
        (Item("a", "p", 8, "yes", None), "yes", None, 1.0, "pass", "exact"),
        (Item("a", "p", 8, "yes", None), "yes!", None, 1.0, "fail", "none"),
        (Item("a", "p", 8, "yes", None), "yes!", None, 0.8, "pass", "similar"),
        (Item("a", "p", 8, None, "(?i)paris"), "It is PARIS.", None, 1.0, "pass", "none"),
        (Item("a", "p", 8, None, "paris"), "London", None, 1.0, "fail", "none"),
        (Item("a", "p", 8, "yes", "no"), "yes", None, 1.0, "fail", "exact"),
        (PLAIN, "same", "same", 1.0, "pass", "exact"),
        (PLAIN, "other", "same", 1.0, "fail", "none"),
        (PLAIN, "other", None, 1.0, "error", "none"),
    ],
)
def test_items_are_judged(
    item: Item, text: str, recorded: str | None, min_similarity: float, status: str, match: str
) -> None:
    result = judge_item(item, Reply(text), golden(recorded) if recorded else None, min_similarity)
    assert (result["status"], result["match"]) == (status, match)


def test_similarity_is_one_only_for_equal_texts() -> None:
    long = "word " * 20000
    result = judge_item(Item("a", "p", 8, long, None), Reply(long[:-1]), None, 0.9999)
    assert result["match"] == "similar" and result["similarity"] < 1


@pytest.mark.parametrize(
    ("expected", "text", "low", "high"),
    [
        ("abcd", "bcde", 0.75, 0.75),
        ("aXb" * 100, "aYb" * 100, 0.6, 0.7),
        ("one two three four " * 300, "one two three five " * 300, 0.0, 0.9),
        (" ".join(str(n) for n in range(3000)), " ".join(str(n) for n in range(3000) if n % 10), 0.8, 0.96),
        ("a" * 50000, "b" * 50000, 0.0, 0.0),
    ],
)
def test_similarity_is_sane_and_quick_for_long_answers(expected: str, text: str, low: float, high: float) -> None:
    started = time.monotonic()
    result = judge_item(Item("a", "p", 8, expected, None), Reply(text), None, 1.0)
    assert low <= result["similarity"] <= high
    assert time.monotonic() - started < 2


def test_a_missing_recording_says_how_to_record() -> None:
    assert "record=true" in judge_item(PLAIN, Reply("x"), None, 1.0)["detail"]


def test_a_changed_prompt_is_not_held_against_the_model() -> None:
    changed = Item("a", "say it differently", 8, None, None)
    result = judge_item(changed, Reply("x"), golden("x"), 1.0)
    assert result["status"] == "error" and "changed since" in result["detail"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(None, error="timeout", detail="late"), "timeout"),
        (Answer(500, b"secret text"), "http_500"),
        (Answer(200, b"no json"), "bad_answer"),
        (Answer(200, b'{"choices": []}'), "bad_answer"),
        (Answer(200, b'{"choices": [{"message": {"content": ""}}]}'), "empty"),
    ],
)
def test_no_answer_is_an_error_of_the_item(answer: Answer, kind: str) -> None:
    result = judge_item(PLAIN, read_reply(answer), golden("x"), 1.0)
    assert result["status"] == "error" and result["detail"].startswith(kind) and result["sha256"] is None
    assert "secret" not in result["detail"]


def test_results_carry_hashes_and_no_texts() -> None:
    items = [Item("a", "PROMPT", 8, "EXPECTED", "PATTERN|ANSWER"), Item("b", "PROMPT", 8, "EXPECTED", None)]
    results = [judge_item(item, Reply("ANSWER"), None, 0.0) for item in items]
    text = json.dumps(build_report(items, results, 1.0))
    assert not [word for word in ("PROMPT", "EXPECTED", "PATTERN", "ANSWER") if word in text]


def test_the_report_counts_and_an_error_is_not_passed() -> None:
    items = [Item(name, "p", 8, "yes", None) for name in "abcd"]
    replies = [Reply("yes"), Reply("yes"), Reply("no"), Reply(None, "timeout: late")]
    results = [judge_item(item, reply, None, 1.0) for item, reply in zip(items, replies, strict=True)]
    report = build_report(items, results, 0.5)
    assert (report["passed"], report["failed"], report["errors"], report["pass_share"]) == (2, 1, 1, 0.5)
    assert report["ok"] and not build_report(items, results, 0.75)["ok"]
    assert quality_problem(report) is None


def test_requests_are_greedy_and_do_not_use_the_cache() -> None:
    payload = request_payload(PLAIN, "chat")
    assert payload["temperature"] == 0 and payload["seed"] == 1 and payload["cache_prompt"] is False


def test_a_dead_server_is_not_asked_the_whole_suite() -> None:
    asked: list[dict[str, Any]] = []

    def post(payload: dict[str, Any]) -> Answer:
        asked.append(payload)
        return Answer(None, error="timeout", detail="late")

    replies = ask([Item(str(number), "p", 8, None, None) for number in range(50)], "chat", post)
    assert len(asked) == 2 and len(replies) == 50 and replies["49"].problem.startswith("not_tried")


RAW = {"id": "a", "prompt": "p", "max_tokens": 8}


@pytest.mark.parametrize(
    ("suite", "word"),
    [
        ([], "empty"),
        ([RAW, RAW], r"suite\[1\] \(id 'a'\): id is empty or used twice"),
        ([{**RAW, "prompt": ""}], "prompt is empty"),
        ([{**RAW, "max_tokens": 0}], "max_tokens is 0"),
        ([{**RAW, "pattern": "("}], r"pattern '\(' is no regular expression"),
    ],
)
def test_a_suite_that_proves_nothing_is_refused(suite: list[dict[str, Any]], word: str) -> None:
    with pytest.raises(SuiteError, match=word):
        parse_suite(suite)


def test_the_suite_hash_changes_with_what_is_expected() -> None:
    assert suite_sha256([PLAIN]) != suite_sha256([Item("a", "say it", 8, "x", None)])


def test_the_golden_file_is_for_its_owner_only_and_comes_back_equal(tmp_path: Path) -> None:
    path = str(tmp_path / "golden.json")
    assert load_golden(path) is None
    save_golden(path, golden("text ä"))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert load_golden(path) == golden("text ä")
    assert os.listdir(tmp_path) == ["golden.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1}', "edited"])
def test_a_damaged_golden_file_is_an_error_and_never_an_empty_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "golden.json"
    if content == "edited":
        broken = golden("good")
        broken["entries"]["a"]["text"] = "bad"
        content = json.dumps(broken)
    path.write_text(content)
    with pytest.raises(GoldenError, match="record=true"):
        load_golden(str(path))
