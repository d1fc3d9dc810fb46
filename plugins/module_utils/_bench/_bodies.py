# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The work that a benchmark sends: the shape of its prompts, request bodies, and a hash to tell equal loads by.

Shapes:
synthetic      prompt_tokens words, no two requests alike
shared_prefix  the same first prefix_tokens words for all requests of a group, then prompt_tokens words of its own
multi_turn     conversations of `turns` requests, each with the history before it. The assistant's part of the history
               is made from the seed and is not what the server answered: prompts stay the same from run to run, and the
               share that a prefix cache can find is the prompts' own
file           prompts of the user's, in turn, from the first again after the last
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._prompts import (
    PROMPTS_VERSION,
    GivenPrompt,
    make_prompt,
)
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex

API_PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_completions": "/v1/completions",
    "ollama": "/api/chat",
    "ollama_generate": "/api/generate",
}
CHAT_APIS = ("openai_chat", "ollama")
SHAPES = ("synthetic", "shared_prefix", "multi_turn", "file")
MEASURED, WARMUP = "measured", "warmup"

# Conversations that an open loop has under way at a time: a user's next turn comes this many requests after the last.
OPEN_CONVERSATIONS = 16


@dataclass(frozen=True)
class Workload:
    """What is sent. How much of it and when is the load plan's."""

    api: str
    model: str
    prompt_tokens: int = 32
    output_tokens: int = 32
    seed: int = 1
    shape: str = "synthetic"
    prefix_tokens: int = 0
    prefix_groups: int = 1
    turns: int = 1
    prompts: tuple[GivenPrompt, ...] = ()
    ignore_eos: bool = True
    extra_body: dict[str, Any] = field(default_factory=dict)

    @property
    def url_path(self) -> str:
        return API_PATHS[self.api]

    @property
    def is_ollama(self) -> bool:
        return self.api.startswith("ollama")


@dataclass(frozen=True)
class Place:
    """Where a request stands: its number, or its turn in a conversation."""

    index: int
    conversation: int = 0
    turn: int = 0


def workload_problem(workload: Workload) -> str | None:
    """Return why this work cannot be sent, with option, value and fix, or None."""
    if workload.api not in API_PATHS:
        return f"api: {workload.api!r} is not known; choose one of {', '.join(API_PATHS)}"
    if workload.shape not in SHAPES:
        return f"shape: {workload.shape!r} is not known; choose one of {', '.join(SHAPES)}"
    if workload.shape == "multi_turn" and workload.api not in CHAT_APIS:
        return f"shape: multi_turn needs messages, and api {workload.api} has none; use {' or '.join(CHAT_APIS)}"
    if workload.shape == "file" and not workload.prompts:
        return "shape: file has no prompts; give a file with at least one prompt"
    if workload.api not in CHAT_APIS and any(len(prompt.messages) > 1 for prompt in workload.prompts):
        return f"prompts: some have several messages, and api {workload.api} takes one text; use openai_chat"
    for name, low in (("prompt_tokens", 1), ("output_tokens", 1), ("prefix_groups", 1), ("turns", 1)):
        if getattr(workload, name) < low:
            return f"{name}: {getattr(workload, name)} is below {low}; use {low} or more"
    if workload.shape == "shared_prefix" and workload.prefix_tokens < 1:
        return f"prefix_tokens: {workload.prefix_tokens} is below 1; shape shared_prefix needs a prefix"
    return None


def place_in_open_loop(workload: Workload, index: int) -> Place:
    """Return the place of a request that belongs to no user: conversations are interleaved."""
    if workload.shape != "multi_turn":
        return Place(index)
    round_number, slot = divmod(index, OPEN_CONVERSATIONS)
    block, turn = divmod(round_number, workload.turns)
    return Place(index, block * OPEN_CONVERSATIONS + slot, turn)


def request_body(workload: Workload, phase: str, place: Place) -> bytes:
    """Return the body of one request: greedy, streamed, with usage at the end."""
    messages, output_tokens = _messages(workload, phase, place)
    body: dict[str, Any] = {"model": workload.model, "stream": True}
    if workload.is_ollama:
        body["options"] = {"temperature": 0, "num_predict": output_tokens, "seed": workload.seed}
    else:
        body.update(max_tokens=output_tokens, temperature=0, stream_options={"include_usage": True})
        if workload.ignore_eos:
            body["ignore_eos"] = True
    if workload.api in CHAT_APIS:
        body["messages"] = [{"role": role, "content": content} for role, content in messages]
    else:
        body["prompt"] = messages[-1][1]
    _merge(body, workload.extra_body)
    return json.dumps(body).encode("utf-8")


def _messages(workload: Workload, phase: str, place: Place) -> tuple[tuple[tuple[str, str], ...], int]:
    seed, words = workload.seed, workload.prompt_tokens
    if workload.shape == "file" and phase == MEASURED:
        given = workload.prompts[place.index % len(workload.prompts)]
        return given.messages, given.output_tokens or workload.output_tokens
    if workload.shape == "multi_turn":
        talk = f"{phase}/talk{place.conversation}"
        history: list[tuple[str, str]] = []
        for turn in range(place.turn):
            history.append(("user", make_prompt(seed, talk, turn, words)))
            history.append(("assistant", make_prompt(seed, f"{talk}/answer", turn, workload.output_tokens)))
        history.append(("user", make_prompt(seed, talk, place.turn, words)))
        return tuple(history), workload.output_tokens
    text = make_prompt(seed, phase, place.index, words)
    if workload.shape == "shared_prefix":
        prefix = make_prompt(seed, "prefix", place.index % workload.prefix_groups, workload.prefix_tokens)
        text = f"{prefix} {text}"
    return (("user", text),), workload.output_tokens


def _merge(body: dict[str, Any], extra: dict[str, Any]) -> None:
    """Put the user's fields in; Ollama's options are merged, not replaced."""
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(body.get(key), dict):
            body[key] = {**body[key], **value}
        else:
            body[key] = value


def describe(workload: Workload, plan: dict[str, Any], warmup_requests: int) -> dict[str, Any]:
    """Return the workload part of a report. Equal hashes mean equal load; the model's name is not part of the hash,
    because a rollout may well compare two models under the same load. Nor is the seed: other prompts of the same shape
    are the same load, and a server that caches prompts must be given others in each run. Who pairs requests by their
    number must compare the seed too. Of given prompts only a hash is in it."""
    stages = plan["stages"]
    users = [one["users"] for one in stages if one.get("users")]
    requests = [one.get("requests") for one in stages]
    shape = {
        "url_path": workload.url_path,
        "api": workload.api,
        "users": max(users) if plan["mode"] == "closed" and users else None,
        "requests": sum(requests) if all(requests) else None,
        "prompt_tokens": workload.prompt_tokens,
        "output_tokens": workload.output_tokens,
        "seed": workload.seed,
        "warmup_requests": warmup_requests,
        "ignore_eos": workload.ignore_eos,
        "extra_body": workload.extra_body,
        "shape": workload.shape,
        "prefix_tokens": workload.prefix_tokens,
        "prefix_groups": workload.prefix_groups,
        "turns": workload.turns,
    }
    given = [[list(map(list, prompt.messages)), prompt.output_tokens] for prompt in workload.prompts]
    prompts = sha256_hex(canonical_json(given)) if given else PROMPTS_VERSION
    hashed = {**shape, "prompts": prompts, "load": {**plan, "seed": None}, "seed": None}
    digest = sha256_hex(canonical_json(hashed))
    return {**shape, "model": workload.model, "hash": digest}
