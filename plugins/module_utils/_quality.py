# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A quality suite: fixed prompts, greedy answers, compared with what is expected or was recorded.

Results carry hashes and similarities, never texts. Prompts go one after the other, because batching may change the
last bits of a sum, and with them a greedy choice.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer

SEED = 1
URL_PATH = "/v1/chat/completions"
LONG_TEXT_CHARACTERS = 2000

Post = Callable[[dict[str, Any]], Answer]


class SuiteError(ValueError):
    """The suite cannot be used; the text names the item, the value and the fix."""


@dataclass(frozen=True)
class Item:
    """One prompt. Judged by `pattern` and `expected` when given; by the golden file when neither is."""

    id: str
    prompt: str
    max_tokens: int
    expected: str | None
    pattern: str | None

    @property
    def prompt_sha256(self) -> str:
        return sha256_hex(canonical_json([self.prompt, self.max_tokens]))


@dataclass(frozen=True)
class Reply:
    """What the server answered: the text, or why there is none."""

    text: str | None
    problem: str = ""


def parse_suite(suite: list[dict[str, Any]]) -> list[Item]:
    """Return the items of a suite, or raise SuiteError for the first that cannot be used."""
    if not suite:
        raise SuiteError("suite: it is empty, and nothing would be proved; give at least one item with id and prompt")
    items: list[Item] = []
    for number, raw in enumerate(suite):
        item = Item(raw["id"], raw["prompt"], raw["max_tokens"], raw.get("expected"), raw.get("pattern"))
        where = f"suite[{number}] (id {item.id!r})"
        if not item.id or item.id in (seen.id for seen in items):
            raise SuiteError(f"{where}: id is empty or used twice; give every item its own id")
        if not item.prompt:
            raise SuiteError(f"{where}: prompt is empty; write what to ask")
        if item.max_tokens < 1:
            raise SuiteError(f"{where}: max_tokens is {item.max_tokens}; use 1 or more")
        try:
            re.compile(item.pattern or "")
        except re.error as exc:
            raise SuiteError(f"{where}: pattern {item.pattern!r} is no regular expression ({exc}); mend it") from exc
        items.append(item)
    return items


def suite_sha256(items: list[Item]) -> str:
    """Return the hash of everything that decides what is asked and expected."""
    return sha256_hex(
        canonical_json([[item.id, item.prompt, item.max_tokens, item.expected, item.pattern] for item in items])
    )


def request_payload(item: Item, model: str) -> dict[str, Any]:
    """Return the greedy request of an item. cache_prompt false keeps llama.cpp from answering out of its cache."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": item.prompt}],
        "max_tokens": item.max_tokens,
        "temperature": 0,
        "seed": SEED,
        "cache_prompt": False,
        "stream": False,
    }


def read_reply(answer: Answer) -> Reply:
    """Return the text of a chat completion, or why there is none. What the server wrote is not repeated."""
    if answer.status is None:
        return Reply(None, f"{answer.error}: {answer.detail}")
    if answer.status != 200:
        return Reply(None, f"http_{answer.status}: the server refused; check url, model and api_key, then its log")
    body = answer.json()
    try:
        message = body["choices"][0]["message"]
        text = message.get("content") or message.get("reasoning_content") or message.get("reasoning")
    except (TypeError, KeyError, IndexError, AttributeError):
        return Reply(None, "bad_answer: the answer is no chat completion; is this an OpenAI-compatible server?")
    if not isinstance(text, str) or not text:
        return Reply(None, "empty: the answer has no text")
    return Reply(text)


def ask(items: list[Item], model: str, post: Post) -> dict[str, Reply]:
    """Ask every item in turn. After two items in a row without any answer the rest is not tried."""
    replies: dict[str, Reply] = {}
    silent = 0
    for item in items:
        if silent >= 2:
            replies[item.id] = Reply(None, "not_tried: the two items before this one got no answer at all")
            continue
        answer = post(request_payload(item, model))
        silent = silent + 1 if answer.status is None else 0
        replies[item.id] = read_reply(answer)
    return replies


def judge_item(item: Item, reply: Reply, golden: dict[str, Any] | None, min_similarity: float) -> dict[str, Any]:
    """Return the result of one item: id, status, match, similarity, sha256, expected_sha256, detail."""
    result: dict[str, Any] = {
        "id": item.id, "status": "error", "match": "none", "similarity": None, "sha256": None, "expected_sha256": None,
        "detail": reply.problem,
    }  # fmt: skip
    reference, problem = _reference(item, golden)
    if reference is not None:
        result["expected_sha256"] = sha256_hex(reference)
    if reply.text is None:
        return result
    result["sha256"] = sha256_hex(reply.text)
    if problem:
        return {**result, "detail": problem}
    failures = []
    if item.pattern is not None and re.search(item.pattern, reply.text) is None:
        failures.append("the answer does not match the pattern")
    if reference is not None:
        similarity = _similarity(reference, reply.text)
        exact = reference == reply.text
        result["similarity"] = similarity
        result["match"] = "exact" if exact else "similar" if similarity >= min_similarity else "none"
        if result["match"] == "none":
            failures.append(f"similarity to the expected answer is {similarity}, below {min_similarity}")
    return {**result, "status": "fail" if failures else "pass", "detail": "; ".join(failures)}


def _reference(item: Item, golden: dict[str, Any] | None) -> tuple[str | None, str]:
    """Return (text to compare with or None, problem)."""
    if item.expected is not None or item.pattern is not None:
        return item.expected, ""
    entry = golden["entries"].get(item.id) if golden else None
    if entry is None:
        return (
            None,
            "no golden answer is recorded; run once with record=true against a release you trust, or give expected",
        )
    if entry["prompt_sha256"] != item.prompt_sha256:
        return None, "prompt or max_tokens changed since the golden answer was recorded; record again with record=true"
    return entry["text"], ""


def _similarity(expected: str, text: str) -> float:
    """Return 0..1: twice the matching characters over all characters, rounded down so that 1.0 means equal."""
    if expected == text:
        return 1.0
    same = _common_start(expected, text)
    left, right = expected[same:], text[same:]
    tail = _common_start(left[::-1], right[::-1])
    left, right = left[: len(left) - tail], right[: len(right) - tail]
    matching = same + tail + _matching_characters(left, right)
    return min(int(20000 * matching / (len(expected) + len(text))) / 10000, 0.9999)


def _common_start(left: str, right: str) -> int:
    """Return how many characters the two have in common at their start."""
    for position, (one, other) in enumerate(zip(left, right)):
        if one != other:
            return position
    return min(len(left), len(right))


def _matching_characters(left: str, right: str) -> int:
    """Return the characters that match in order; in long texts by whole words, because by characters takes minutes."""
    if max(len(left), len(right)) <= LONG_TEXT_CHARACTERS:
        blocks = difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
        return sum(block.size for block in blocks)
    words = [re.findall(r"\S+\s*|\s+", part) for part in (left, right)]
    word_blocks = difflib.SequenceMatcher(None, words[0], words[1]).get_matching_blocks()
    return sum(len(word) for block in word_blocks for word in words[0][block.a : block.a + block.size])


def build_report(items: list[Item], results: list[dict[str, Any]], min_pass_share: float) -> dict[str, Any]:
    """Return the quality report. An item with an error is not passed, so a dead server is never ok."""
    passed = sum(result["status"] == "pass" for result in results)
    share = passed / len(results)
    return {
        "schema": 1,
        "kind": "quality",
        "suite_sha256": suite_sha256(items),
        "items": results,
        "passed": passed,
        "failed": sum(result["status"] == "fail" for result in results),
        "errors": sum(result["status"] == "error" for result in results),
        "pass_share": round(share, 4),
        "min_pass_share": min_pass_share,
        "ok": share >= min_pass_share,
    }
