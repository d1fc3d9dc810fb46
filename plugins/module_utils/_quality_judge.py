# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Judge one answer: by the checks of its item, against the recorded answer, and for sanity. Results carry no text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._golden import Recorded
from ansible_collections.local_llm.ops.plugins.module_utils._quality_pattern import PatternTooSlow, found
from ansible_collections.local_llm.ops.plugins.module_utils._quality_sanity import REFUSAL_PATTERNS, insane, refuses
from ansible_collections.local_llm.ops.plugins.module_utils._quality_schema import mismatch, read_json
from ansible_collections.local_llm.ops.plugins.module_utils._quality_similarity import cosine, in_order, n_grams
from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import Item

# Returns one vector for each text, or raises EmbeddingError.
Embed = Callable[[Sequence[str]], list[list[float]]]

_NOT_RECORDED = (
    "no golden answer is recorded for this prompt; run once with record=true against a release you trust, or give "
    "the item a check"
)


class EmbeddingError(Exception):
    """The embedding endpoint gave no usable answer; the text says why."""


@dataclass(frozen=True)
class Reply:
    """What the server answered: the text, or why there is none."""

    text: str | None
    problem: str = ""
    finish_reason: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Rules:
    """How strictly answers are held against recorded ones: mode exact or checks, see compare_mode().

    first: digests of the prompts whose answer of now is to become the recorded one. Nothing stands against such an
    answer but itself, so it must be sane.
    """

    min_similarity: float = 1.0
    mode: str = "exact"
    embed: Embed | None = None
    first: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Checked:
    """What a check said: ok None when it could not say anything, with the reason in detail."""

    ok: bool | None
    detail: str = ""
    similarity: float | None = None


def judge_item(item: Item, reply: Reply, golden: Recorded | None, rules: Rules) -> dict[str, Any]:
    """Return the result of one item. golden: what was recorded for its prompt, None when nothing was."""
    reference = item.expected if item.expected is not None else golden.text if golden else None
    result: dict[str, Any] = {
        "id": item.id, "status": "error", "match": "none", "similarity": None, "sha256": None,
        "expected_sha256": None if reference is None else sha256_hex(reference), "detail": reply.problem,
        "check": "+".join(item.checks) or "recorded", "critical": item.critical, "reference_status": None,
        "seconds": reply.seconds, "finish_reason": reply.finish_reason,
    }  # fmt: skip
    if reply.text is None:
        # Worse than a recorded answer that passed, so it counts in the comparison of both.
        result["reference_status"] = _reference_status(_old(item, golden, rules), golden)
        return result
    result["sha256"] = sha256_hex(reply.text)
    if reference is not None:
        result["match"] = "exact" if reference == reply.text else "none"
    new = _check(item, reply.text, golden, rules)
    result["similarity"] = new.similarity
    if item.check is None and new.similarity is not None:
        result["match"] = _match(new.similarity, rules)
    if new.ok is None and new.detail:
        return {**result, "detail": new.detail}
    old = _old(item, golden, rules)
    result["reference_status"] = _reference_status(old, golden)
    failures = _own_failures(item, reply, new)
    held = new.ok is False and not (item.relative and old is not None and old.ok is False)
    if held and item.relative and golden is None:
        return {**result, "detail": _NOT_RECORDED}
    failures += [new.detail] if held else []
    if not item.checks or item.relative:
        if golden is None and rules.mode == "exact":
            return {**result, "detail": _NOT_RECORDED}
        if golden is not None:
            failures += _compare(result, reply.text, golden, rules)
    if item.prompt_sha256 in rules.first:
        failures += _sanity(reply, None)
    elif rules.mode == "checks" or item.check == "any":
        failures += _sanity(reply, golden)
    detail = "; ".join(failures)
    if not failures and new.ok is False:
        detail = f"{new.detail}, as the recorded answer"
    return {**result, "status": "fail" if failures else "pass", "detail": detail}


def passes_alone(item: Item, reply: Reply, result: dict[str, Any], rules: Rules, golden: Recorded | None) -> bool:
    """Tell whether an answer passes its checks and is sane, whatever was recorded: what McNemar's test counts."""
    if reply.text is None or result["sha256"] is None:
        return False
    return _check(item, reply.text, golden, rules).ok is not False and not insane(reply.text, reply.finish_reason)


def _check(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    """Return what the checks of an item say of a text."""
    parts = [_CHECKS[name](item, text, golden, rules) for name in item.checks]
    unable = [part for part in parts if part.ok is None]
    if unable:
        return unable[0]
    similarity = next((part.similarity for part in parts if part.similarity is not None), None)
    failed = [part.detail for part in parts if not part.ok]
    return _Checked(not failed if parts else None, "; ".join(failed), similarity)


def _old(item: Item, golden: Recorded | None, rules: Rules) -> _Checked | None:
    """Return what the checks say of the recorded answer, None when there is none."""
    if golden is None:
        return None
    # Compared with itself it is equal; the endpoint need not be asked for that.
    if item.check in ("similarity", "embedding") and item.expected is None:
        return _Checked(True)
    return _check(item, golden.text, golden, rules)


def _reference_status(old: _Checked | None, golden: Recorded | None) -> str | None:
    if old is None:
        return None
    return "pass" if old.ok is not False and not _insane(golden) else "fail"


def _own_failures(item: Item, reply: Reply, checked: _Checked) -> list[str]:
    failures = []
    if item.finished and reply.finish_reason == "length":
        failures.append(f"the answer was cut at max_tokens {item.max_tokens}, and it should have come to its end")
    late = item.latency_max_seconds
    if late is not None and reply.seconds is not None and reply.seconds > late:
        failures.append(f"it took {reply.seconds} s, allowed are {late} s")
    return failures


def _compare(result: dict[str, Any], text: str, golden: Recorded, rules: Rules) -> list[str]:
    """Put match and similarity to the recorded answer into the result; return what fails by it."""
    similarity = in_order(golden.text, text)
    result["similarity"], result["expected_sha256"] = similarity, sha256_hex(golden.text)
    result["match"] = _match(similarity, rules)
    if rules.mode == "exact" and result["match"] == "none":
        return [f"similarity to the recorded answer is {similarity}, below {rules.min_similarity}"]
    return []


def _match(similarity: float, rules: Rules) -> str:
    return "exact" if similarity == 1 else "similar" if similarity >= rules.min_similarity else "none"


def _sanity(reply: Reply, golden: Recorded | None) -> list[str]:
    """Return what is not sane about an answer, unless the recorded one has the same fault."""
    fault = insane(reply.text or "", reply.finish_reason)
    return [fault] if fault and fault != _insane(golden) else []


def _insane(golden: Recorded | None) -> str:
    return insane(golden.text, golden.finish_reason) if golden else ""


def _expected(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    similarity = in_order(item.expected or "", text)
    if similarity >= rules.min_similarity:
        return _Checked(True, similarity=similarity)
    detail = f"similarity to the expected answer is {similarity}, below {rules.min_similarity}"
    return _Checked(False, detail, similarity)


def _exact(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    same = (item.expected or "").strip() == text.strip()
    return _Checked(same, "" if same else "the answer is not the expected one")


def _regex(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    try:
        matches = found(item.pattern or "", text)
    except PatternTooSlow as exc:
        return _Checked(None, str(exc))
    return _Checked(matches, "" if matches else "the answer does not match the pattern")


def _json_schema(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    value, problem = read_json(text)
    if problem is None:
        try:
            where = mismatch(value, item.schema)
        except PatternTooSlow as exc:
            return _Checked(None, str(exc))
        problem = f"the answer does not fit the schema ({where})" if where else None
    return _Checked(problem is None, problem or "")


def _similarity(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    reference = _reference(item, golden)
    if reference is None:
        return _Checked(None, _NOT_RECORDED)
    return _enough(n_grams(reference, text, item.n, item.unit), item, f"{item.n}-gram similarity")


def _embedding(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    reference = _reference(item, golden)
    if reference is None:
        return _Checked(None, _NOT_RECORDED)
    if rules.embed is None:
        return _Checked(None, "no embedding endpoint is given; set embedding with url and model")
    try:
        vectors = rules.embed([reference, text])
    except EmbeddingError as exc:
        return _Checked(None, str(exc))
    value = cosine(vectors[0], vectors[1])
    if value is None:
        return _Checked(None, "embedding: the two vectors cannot be compared; is the model an embedding model?")
    return _enough(round(max(0.0, value), 4), item, "embedding similarity")


def _refusal(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    if not text.strip():
        return _Checked(False, "the answer is empty")
    try:
        refused = refuses(text, REFUSAL_PATTERNS if item.pattern is None else (item.pattern,))
    except PatternTooSlow as exc:
        return _Checked(None, str(exc))
    return _Checked(refused == item.refuse, f"the answer {'refuses' if refused else 'does not refuse'}")


def _any(item: Item, text: str, golden: Recorded | None, rules: Rules) -> _Checked:
    return _Checked(True)


def _reference(item: Item, golden: Recorded | None) -> str | None:
    return item.expected if item.expected is not None else golden.text if golden else None


def _enough(value: float, item: Item, what: str) -> _Checked:
    needed = item.min_similarity or 0.0
    return _Checked(value >= needed, f"{what} is {value}, below {needed}" if value < needed else "", value)


_CHECKS: dict[str, Callable[[Item, str, Recorded | None, Rules], _Checked]] = {
    "expected": _expected,
    "exact": _exact,
    "regex": _regex,
    "json_schema": _json_schema,
    "similarity": _similarity,
    "embedding": _embedding,
    "refusal": _refusal,
    "any": _any,
}
