# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality suite: what passes, what fails, what cannot be judged; and that no text leaks."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _quality_pattern
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import quality_problem
from ansible_collections.local_llm.ops.plugins.module_utils._golden import Recorded, make_golden
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.module_utils._quality import (
    ask,
    embedder,
    judge_all,
    read_reply,
    request_payload,
)
from ansible_collections.local_llm.ops.plugins.module_utils._quality_judge import (
    EmbeddingError,
    Reply,
    Rules,
    judge_item,
)
from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import Item, parse_suite

PLAIN = Item("a", "say it", 8)
SCHEMA = {"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}}}


def item(**values: Any) -> Item:
    return parse_suite([{"id": "a", "prompt": "p", **values}])[0]


@pytest.mark.parametrize(
    ("values", "text", "recorded", "min_similarity", "status", "match"),
    [
        ({"expected": "yes"}, "yes", None, 1.0, "pass", "exact"),
        ({"expected": "yes"}, "yes!", None, 1.0, "fail", "none"),
        ({"expected": "yes"}, "yes!", None, 0.8, "pass", "similar"),
        ({"pattern": "(?i)paris"}, "It is PARIS.", None, 1.0, "pass", "none"),
        ({"pattern": "paris"}, "London", None, 1.0, "fail", "none"),
        ({"expected": "yes", "pattern": "no"}, "yes", None, 1.0, "fail", "exact"),
        ({}, "same", "same", 1.0, "pass", "exact"),
        ({}, "other", "same", 1.0, "fail", "none"),
        ({}, "other", None, 1.0, "error", "none"),
        ({"check": "exact", "expected": "yes"}, " yes\n", None, 1.0, "pass", "none"),
        ({"check": "exact", "expected": "yes"}, "yes!", None, 0.1, "fail", "none"),
        ({"check": "json_schema", "schema": SCHEMA}, '{"total": 12}', None, 1.0, "pass", "none"),
        ({"check": "json_schema", "schema": SCHEMA}, '```json\n{"total": 12}\n```', None, 1.0, "pass", "none"),
        ({"check": "json_schema", "schema": SCHEMA}, '{"total": "12"}', None, 1.0, "fail", "none"),
        ({"check": "json_schema", "schema": SCHEMA}, "The total is 12", None, 1.0, "fail", "none"),
        ({"check": "similarity", "min_similarity": 0.5, "expected": "a b c d"}, "A b c e", None, 1.0, "pass", "none"),
        ({"check": "similarity", "min_similarity": 0.9, "expected": "a b c d"}, "A b c e", None, 1.0, "fail", "none"),
        ({"check": "similarity", "min_similarity": 0.5}, "a b c e", "a b c d", 1.0, "pass", "none"),
        ({"check": "similarity", "min_similarity": 0.5}, "a b c e", None, 1.0, "error", "none"),
        ({"check": "refusal"}, "I'm sorry, but I can't help with that.", None, 1.0, "pass", "none"),
        ({"check": "refusal"}, "Sure! First, take a hammer.", None, 1.0, "fail", "none"),
        ({"check": "refusal", "refuse": False}, "I cannot help with that.", None, 1.0, "fail", "none"),
        ({"check": "refusal", "pattern": "(?i)das darf ich nicht"}, "Das darf ich nicht.", None, 1.0, "pass", "none"),
        ({"check": "any"}, "anything goes", None, 1.0, "pass", "none"),
        ({"check": "any"}, "!" * 24, None, 1.0, "fail", "none"),
        ({"pattern": "paris", "relative": True}, "London", "London", 1.0, "pass", "exact"),
        ({"pattern": "paris", "relative": True}, "London", "paris", 1.0, "fail", "none"),
        ({"pattern": "paris", "relative": True}, "paris!", "paris", 1.0, "fail", "none"),
        ({"pattern": "paris", "relative": True}, "London", None, 1.0, "error", "none"),
    ],
)
def test_items_are_judged(
    values: dict[str, Any], text: str, recorded: str | None, min_similarity: float, status: str, match: str
) -> None:
    kept = None if recorded is None else Recorded(recorded)
    result = judge_item(item(**values), Reply(text), kept, Rules(min_similarity))
    assert (result["status"], result["match"]) == (status, match), result["detail"]


CHECKS = Rules(mode="checks")


@pytest.mark.parametrize(
    ("values", "reply", "recorded", "status"),
    [
        ({}, Reply("other words"), Recorded("the words of old"), "pass"),
        ({}, Reply("other words"), None, "pass"),
        ({}, Reply("!" * 20), Recorded("the words of old"), "fail"),
        ({}, Reply("!" * 20), Recorded("?" * 20), "pass"),
        ({}, Reply("cut short", finish_reason="abort"), Recorded("the words of old"), "fail"),
        ({}, Reply("long", finish_reason="length"), Recorded("the words of old"), "pass"),
        ({"pattern": "paris", "relative": True}, Reply("it is paris"), Recorded("paris"), "pass"),
        ({"pattern": "paris", "relative": True}, Reply("London"), Recorded("paris"), "fail"),
        ({"pattern": "paris", "relative": True}, Reply("London"), Recorded("Rome"), "pass"),
        ({"pattern": "paris"}, Reply("London"), Recorded("Rome"), "fail"),
    ],
)
def test_another_origin_may_use_other_words_but_must_be_sane_and_no_worse(
    values: dict[str, Any], reply: Reply, recorded: Recorded | None, status: str
) -> None:
    result = judge_item(item(**values), reply, recorded, CHECKS)
    assert result["status"] == status, result["detail"]
    if recorded and not (values.get("pattern") and not values.get("relative")):
        assert result["similarity"] is not None, "how alike it is must be told all the same"


@pytest.mark.parametrize(
    ("values", "reply", "word"),
    [
        ({"latency_max_seconds": 1}, Reply("x", seconds=1.5), "took 1.5 s, allowed are 1 s"),
        ({"finished": True}, Reply("x", finish_reason="length"), "cut at max_tokens"),
    ],
)
def test_an_answer_can_be_too_late_or_too_long(values: dict[str, Any], reply: Reply, word: str) -> None:
    result = judge_item(item(check="any", **values), reply, None, Rules())
    assert result["status"] == "fail" and word in result["detail"]


def test_a_missing_recording_says_how_to_record() -> None:
    assert "record=true" in judge_item(PLAIN, Reply("x"), None, Rules())["detail"]


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
    result = judge_item(PLAIN, read_reply(answer), Recorded("x"), Rules())
    assert result["status"] == "error" and result["detail"].startswith(kind) and result["sha256"] is None
    assert "secret" not in result["detail"]


def vectors(*values: list[float]) -> Answer:
    data = [{"index": index, "embedding": value} for index, value in enumerate(values)]
    return Answer(200, json.dumps({"data": data}).encode())


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (vectors([1, 0], [1, 0.1]), "pass", ""),
        (vectors([1, 0], [0, 1]), "fail", "embedding similarity is 0.0"),
        (vectors([1, 0]), "error", "no list of vectors"),
        (vectors([0, 0], [0, 0]), "error", "cannot be compared"),
        (Answer(401), "error", "http_401"),
        (Answer(None, error="connection", detail="refused"), "error", "connection: refused"),
    ],
)
def test_an_embedding_endpoint_compares_meanings_or_says_why_not(answer: Answer, status: str, detail: str) -> None:
    sent: list[dict[str, Any]] = []

    def post(payload: dict[str, Any]) -> Answer:
        sent.append(payload)
        return answer

    rules = Rules(mode="checks", embed=embedder("e5", post))
    given = item(check="embedding", min_similarity=0.9, expected="old")
    result = judge_item(given, Reply("new"), None, rules)
    assert result["status"] == status and detail in result["detail"]
    assert sent[0]["model"] == "e5" and sent[0]["input"] == ["old", "new"]


def test_an_embedding_is_asked_once_for_the_same_texts() -> None:
    sent: list[dict[str, Any]] = []

    def post(payload: dict[str, Any]) -> Answer:
        sent.append(payload)
        return vectors([1.0], [1.0])

    embed = embedder("e5", post)
    assert embed(["a", "b"]) == embed(["a", "b"]) and len(sent) == 1
    with pytest.raises(EmbeddingError):
        embed(["one"])


def report_of(
    suite: list[dict[str, Any]],
    old: list[str] | None,
    new: list[str],
    min_pass_share: float = 1.0,
    mode: str = "checks",
) -> dict[str, Any]:
    """Return the report of a suite: what the old release answered and what the new one does."""
    items = parse_suite(suite)
    golden = None
    if old is not None:
        answers = {one.prompt_sha256: Recorded(text) for one, text in zip(items, old, strict=True)}
        golden = make_golden({"engine": "vllm", "engine_version": "1", "model": "m", "model_revision": "r"}, answers)
    replies = {one.id: Reply(text) for one, text in zip(items, new, strict=True)}
    return judge_all(items, replies, golden, Rules(mode=mode), min_pass_share)


def questions(count: int, **values: Any) -> list[dict[str, Any]]:
    return [{"id": str(n), "prompt": f"p{n}", "pattern": "yes", **values} for n in range(count)]


def test_results_carry_hashes_and_no_texts() -> None:
    suite: list[dict[str, Any]] = [
        {"id": "a", "prompt": "PROMPT", "expected": "EXPECTED", "pattern": "PATTERN|ANSWER"},
        {"id": "b", "prompt": "PROMPT 2"},
        {"id": "c", "messages": [{"role": "user", "content": "PROMPT"}], "check": "exact", "expected": "EXPECTED"},
        {"id": "d", "prompt": "PROMPT", "check": "json_schema", "schema": {"enum": ["EXPECTED"]}},
    ]
    text = json.dumps(report_of(suite, ["OLD"] * 4, ["ANSWER", "ANSWER", "ANSWER", '{"ANSWER": 1}'], mode="exact"))
    assert not [word for word in ("PROMPT", "EXPECTED", "PATTERN", "ANSWER", "OLD") if word in text]


def test_the_report_counts_by_weight_and_an_error_is_not_passed() -> None:
    suite = questions(3)
    suite[2]["weight"] = 2.0
    report = report_of(suite, None, ["yes", "no", "yes"], 0.75)
    assert (report["passed"], report["failed"], report["errors"], report["pass_share"]) == (2, 1, 0, 0.75)
    assert report["ok"] and not report["reasons"] and quality_problem(report) is None
    worse = report_of(suite, None, ["yes", "no", "yes"], 0.76)
    assert not worse["ok"] and "1 of 3 items did not pass, share 0.75" in worse["reasons"][0]


def test_a_critical_item_fails_the_suite_by_itself() -> None:
    suite = questions(20)
    suite[7]["critical"] = True
    report = report_of(suite, None, ["no" if n == 7 else "yes" for n in range(20)], 0.5)
    assert not report["ok"] and report["reasons"] == ["critical: 7"]


@pytest.mark.parametrize(
    ("worse", "better", "verdict"),
    [(0, 0, "no_proof"), (4, 0, "no_proof"), (5, 0, "regression"), (6, 1, "no_proof"), (7, 1, "regression"),
     (0, 5, "improvement")],
)  # fmt: skip
def test_a_suite_that_got_worse_as_a_whole_is_a_regression(worse: int, better: int, verdict: str) -> None:
    old = ["yes"] * worse + ["no"] * better + ["yes"] * 10
    new = ["no"] * worse + ["yes"] * better + ["yes"] * 10
    report = report_of(questions(len(old)), old, new, 0.0)
    compared = report["compared"]
    assert (compared["worse"], compared["better"], compared["pairs"]) == (worse, better, len(old))
    assert compared["verdict"] == verdict and report["ok"] == (verdict != "regression")
    assert compared["reference"] == {"engine": "vllm", "engine_version": "1", "model": "m", "model_revision": "r"}


@pytest.mark.parametrize("silent", [5, 15])
def test_an_item_that_gets_no_answer_any_more_counts_as_worse(silent: int) -> None:
    suite = questions(15)
    items = parse_suite(suite)
    golden = make_golden(None, {one.prompt_sha256: Recorded("yes") for one in items})
    replies = {one.id: Reply(None, "empty") if number < silent else Reply("yes") for number, one in enumerate(items)}
    report = judge_all(items, replies, golden, CHECKS, 0.0)
    assert (report["compared"]["worse"], report["compared"]["verdict"]) == (silent, "regression")
    assert not report["ok"]


def test_a_server_that_answers_nothing_is_not_ok_however_little_is_wanted() -> None:
    items = parse_suite(questions(3))
    report = judge_all(items, {one.id: Reply(None, "timeout") for one in items}, None, CHECKS, 0.0)
    assert not report["ok"] and "not one item could be judged" in report["reasons"][0]


def test_without_recorded_answers_nothing_is_compared() -> None:
    compared = report_of(questions(3), None, ["yes"] * 3)["compared"]
    assert (compared["mode"], compared["verdict"], compared["pairs"]) == ("none", "none", 0)


def test_requests_are_greedy_and_do_not_use_the_cache() -> None:
    payload = request_payload(PLAIN, "chat")
    assert payload["temperature"] == 0 and payload["seed"] == 1 and payload["cache_prompt"] is False
    talk = item(prompt=None, messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}])
    assert [part["role"] for part in request_payload(talk, "chat")["messages"]] == ["system", "user"]


def test_a_dead_server_is_not_asked_the_whole_suite() -> None:
    asked: list[dict[str, Any]] = []

    def post(payload: dict[str, Any]) -> Answer:
        asked.append(payload)
        return Answer(None, error="timeout", detail="late")

    replies = ask([Item(str(number), "p", 8) for number in range(50)], "chat", post)
    assert len(asked) == 2 and len(replies) == 50 and replies["49"].problem.startswith("not_tried")


def test_no_bound_is_held_against_the_first_request_after_a_start() -> None:
    asked: list[dict[str, Any]] = []

    def post(payload: dict[str, Any]) -> Answer:
        asked.append(payload)
        return Answer(200, b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}')

    ticks = iter([0.0, 0.5, 1.0, 1.25])
    items = [Item("a", "p", 8, latency_max_seconds=1.0), Item("b", "q", 8)]
    replies = ask(items, "chat", post, lambda: next(ticks))
    assert len(asked) == 3 and replies["a"].seconds == 0.5 and replies["b"].finish_reason == "stop"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("b a " * 10000, "a b " * 10000),
        # A model that repeats itself: difflib takes minutes for these.
        ("x" + "a" * 1990 + "y", "z" + "ab" * 990 + "w"),
        ("x" + "a" * 19000 + "y", "z" + "ab" * 9500 + "w"),
        ("no end", "!" * 50000),
    ],
)
def test_judging_long_answers_is_quick(old: str, new: str) -> None:
    started = time.monotonic()
    judge_item(PLAIN, Reply(new), Recorded(old), CHECKS)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "values",
    [
        {"pattern": r"(a+)+$"},
        {"check": "json_schema", "schema": {"pattern": r"(a+)+$"}},
        {"check": "refusal", "pattern": r"(a+)+$"},
    ],
)
def test_a_pattern_without_an_end_is_an_error_of_the_item_and_not_a_rollout_that_hangs(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_quality_pattern, "LIMIT_SECONDS", 0.2)
    text = "a" * 60 + "!"
    reply = Reply(json.dumps(text) if "schema" in values else text)
    result = judge_item(item(**values), reply, None, Rules())
    assert result["status"] == "error" and "came to no end" in result["detail"]


def test_a_fence_that_never_closes_is_no_json_at_once() -> None:
    started = time.monotonic()
    for text in ("```json\n" + " " * 200_000 + "x", "[" * 200_000):
        result = judge_item(item(check="json_schema", schema={"type": "object"}), Reply(text), None, Rules())
        assert (result["status"], result["detail"]) == ("fail", "the answer is no JSON")
    assert time.monotonic() - started < 2


def test_an_empty_answer_is_no_help_either() -> None:
    assert judge_item(item(check="refusal", refuse=False), Reply(" \n"), None, Rules())["status"] == "fail"
