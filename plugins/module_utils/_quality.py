# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Ask a quality suite greedily, judge the answers, and report: hashes and figures, never texts.

Prompts go one after the other, because batching may change the last bits of a sum, and with them a greedy choice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._golden import recorded
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.module_utils._mcnemar import (
    ALPHA,
    Paired,
    p_value,
    paired_verdict,
    smallest_provable,
    worse_p_value,
)
from ansible_collections.local_llm.ops.plugins.module_utils._quality_judge import (
    EmbeddingError,
    Reply,
    Rules,
    judge_item,
    passes_alone,
)
from ansible_collections.local_llm.ops.plugins.module_utils._quality_origin import told
from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import Item, suite_sha256

SEED = 1
URL_PATH = "/v1/chat/completions"
EMBEDDINGS_PATH = "/v1/embeddings"

Post = Callable[[dict[str, Any]], Answer]
_SILENT_ITEMS = 2


def request_payload(item: Item, model: str) -> dict[str, Any]:
    """Return the greedy request of an item. cache_prompt false keeps llama.cpp from answering out of its cache."""
    return {
        "model": model,
        "messages": item.asked,
        "max_tokens": item.max_tokens,
        "temperature": 0,
        "seed": SEED,
        "cache_prompt": False,
        "stream": False,
    }


def read_reply(answer: Answer, seconds: float | None = None) -> Reply:
    """Return the text of a chat completion, or why there is none. What the server wrote is not repeated."""
    if answer.status is None:
        return Reply(None, f"{answer.error}: {answer.detail}", seconds=seconds)
    if answer.status != 200:
        problem = f"http_{answer.status}: the server refused; check url, model and api_key, then its log"
        return Reply(None, problem, seconds=seconds)
    body = answer.json()
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or message.get("reasoning_content") or message.get("reasoning")
        finish = choice.get("finish_reason")
    except (TypeError, KeyError, IndexError, AttributeError):
        problem = "bad_answer: the answer is no chat completion; is this an OpenAI-compatible server?"
        return Reply(None, problem, seconds=seconds)
    if not isinstance(text, str) or not text:
        return Reply(None, "empty: the answer has no text", seconds=seconds)
    return Reply(text, finish_reason=finish if isinstance(finish, str) else None, seconds=seconds)


def ask(items: list[Item], model: str, post: Post, clock: Callable[[], float] = time.monotonic) -> dict[str, Reply]:
    """Ask every item in turn. After two items in a row without any answer the rest is not tried."""
    replies: dict[str, Reply] = {}
    silent = 0
    if any(item.latency_max_seconds is not None for item in items):
        # The first request after a start may pay for what others then find ready; no bound is held against it.
        silent = 1 if post(request_payload(items[0], model)).status is None else 0
    for item in items:
        if silent >= _SILENT_ITEMS:
            replies[item.id] = Reply(None, "not_tried: the two requests before this one got no answer at all")
            continue
        began = clock()
        answer = post(request_payload(item, model))
        silent = silent + 1 if answer.status is None else 0
        replies[item.id] = read_reply(answer, round(clock() - began, 3))
    return replies


def embedder(model: str, post: Post) -> Callable[[Sequence[str]], list[list[float]]]:
    """Return what asks an OpenAI-style embedding endpoint for the vectors of texts."""

    known: dict[tuple[str, ...], list[list[float]]] = {}

    def embed(texts: Sequence[str]) -> list[list[float]]:
        if tuple(texts) in known:
            return known[tuple(texts)]
        answer = post({"model": model, "input": list(texts), "encoding_format": "float"})
        if answer.status != 200:
            why = f"{answer.error}: {answer.detail}" if answer.status is None else f"http_{answer.status}"
            raise EmbeddingError(f"embedding: {why}; check url, model and api_key of embedding")
        try:
            parts = sorted(answer.json()["data"], key=lambda part: part.get("index", 0))
            vectors = [[float(value) for value in part["embedding"]] for part in parts]
        except (TypeError, KeyError, AttributeError, ValueError):
            vectors = []
        if len(vectors) != len(texts) or not all(math.isfinite(value) for vector in vectors for value in vector):
            raise EmbeddingError("embedding: the answer is no list of vectors; is this an OpenAI-style /v1/embeddings?")
        known[tuple(texts)] = vectors
        return vectors

    return embed


def judge_all(
    items: list[Item], replies: dict[str, Reply], golden: dict[str, Any] | None, rules: Rules, min_pass_share: float
) -> dict[str, Any]:
    """Return the quality report of these answers held against a golden set, or against none."""
    results = []
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for item in items:
        kept = recorded(golden, item.prompt_sha256)
        result = judge_item(item, replies[item.id], kept, rules)
        results.append(result)
        if result["reference_status"] is not None:
            new = passes_alone(item, replies[item.id], result, rules, kept)
            counts[(result["reference_status"] == "pass", new)] += 1
    paired = Paired(counts[(True, True)], counts[(True, False)], counts[(False, True)], counts[(False, False)])
    compared = {
        "mode": rules.mode if golden else "none",
        "reference": told(golden["origin"]) if golden else None,
        "pairs": paired.pairs,
        "worse": paired.worse,
        "better": paired.better,
        "p_value": round(p_value(paired.worse, paired.better), 6),
        "worse_p_value": round(worse_p_value(paired.worse, paired.better), 6),
        "alpha": ALPHA,
        "verdict": paired_verdict(paired),
        "smallest_provable": smallest_provable(),
    }
    return build_report(items, results, min_pass_share, compared)


def build_report(
    items: list[Item], results: list[dict[str, Any]], min_pass_share: float, compared: dict[str, Any]
) -> dict[str, Any]:
    """Return the quality report. An item with an error is not passed, so a dead server is never ok."""
    weights = [item.weight for item in items]
    good = [result["status"] == "pass" for result in results]
    share = sum(weight for weight, passed in zip(weights, good) if passed) / sum(weights)
    # Rounded down, and with a little room for sums of weights that are not exact.
    share = 1.0 if all(good) else math.floor(share * 10000 + 1e-6) / 10000
    reasons = []
    if share < min_pass_share:
        reasons.append(f"{good.count(False)} of {len(good)} items did not pass, share {share}, needed {min_pass_share}")
    if all(result["status"] == "error" for result in results):
        reasons.append("not one item could be judged, so nothing is proven")
    critical = [result["id"] for result in results if result["critical"] and result["status"] != "pass"]
    if critical:
        reasons.append(f"critical: {', '.join(critical)}")
    if compared["verdict"] == "regression":
        reasons.append(
            f"worse than the recorded answers on {compared['worse']} of {compared['pairs']} items, better on "
            f"{compared['better']} (McNemar p = {compared['worse_p_value']:.2g})"
        )
    return {
        "schema": 1,
        "kind": "quality",
        "suite_sha256": suite_sha256(items),
        "items": results,
        "passed": good.count(True),
        "failed": sum(result["status"] == "fail" for result in results),
        "errors": sum(result["status"] == "error" for result in results),
        "pass_share": share,
        "min_pass_share": min_pass_share,
        "compared": compared,
        "reasons": reasons,
        "ok": not reasons,
    }
