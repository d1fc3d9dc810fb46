# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The work that a benchmark sends: prompts made from a seed, request bodies, and a hash to tell equal loads by."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex

API_PATHS = {"openai_chat": "/v1/chat/completions", "openai_completions": "/v1/completions"}

# Short common words, about one token each for the tokenizers of real models. 128 of them: a word is 7 bits, so the
# prompts of one run part within their first few words and no prefix cache has a block of them to share.
_WORD_TEXT = (
    "time year day way man world life hand part child eye place work week case point home water room mother area money "
    "story fact month lot right study book job word side kind head house friend father power hour game line end city "
    "name team minute idea body back face level office door health art war party result change morning reason girl "
    "guy moment air force foot boy age music car road tree river stone wind rain snow fire light bird fish horse dog "
    "cat milk bread salt oil iron gold glass paper wood wall roof floor table chair window street bridge field hill "
    "lake sea ship train plane engine wheel clock bell drum song voice letter shirt "
    "sugar cotton leaf seed garden farm winter summer north south"
)
WORDS = tuple(_WORD_TEXT.split())


@dataclass(frozen=True)
class Workload:
    """A closed loop of `users`, each sending its next request when the last one has ended."""

    api: str
    model: str
    users: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    warmup_requests: int
    seed: int
    ignore_eos: bool = True
    extra_body: dict[str, Any] = field(default_factory=dict)

    @property
    def url_path(self) -> str:
        return API_PATHS[self.api]


def make_prompt(seed: int, phase: str, index: int, words: int) -> str:
    """Return the prompt of one request: the same for the same arguments on every machine, other words for any other.

    `phase` is warmup or measured, so that warm-up shares no prompt with what is measured.
    """
    chooser = random.Random(f"{seed}/{phase}/{index}")
    return " ".join(chooser.choice(WORDS) for _unused in range(words))


def request_body(workload: Workload, phase: str, index: int) -> bytes:
    """Return the body of one request: greedy, streamed, with usage at the end."""
    prompt = make_prompt(workload.seed, phase, index, workload.prompt_tokens)
    body: dict[str, Any] = {
        "model": workload.model,
        "max_tokens": workload.output_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if workload.api == "openai_chat":
        body["messages"] = [{"role": "user", "content": prompt}]
    else:
        body["prompt"] = prompt
    if workload.ignore_eos:
        body["ignore_eos"] = True
    body.update(workload.extra_body)
    return json.dumps(body).encode("utf-8")


def describe(workload: Workload) -> dict[str, Any]:
    """Return the workload part of a report. Equal hashes mean equal load; the model's name is not part of the hash,
    because a rollout may well compare two models under the same load."""
    shape = {
        "url_path": workload.url_path,
        "api": workload.api,
        "users": workload.users,
        "requests": workload.requests,
        "prompt_tokens": workload.prompt_tokens,
        "output_tokens": workload.output_tokens,
        "seed": workload.seed,
        "warmup_requests": workload.warmup_requests,
        "ignore_eos": workload.ignore_eos,
        "extra_body": workload.extra_body,
    }
    return {**shape, "model": workload.model, "hash": sha256_hex(canonical_json({**shape, "prompts": "words/1"}))}
