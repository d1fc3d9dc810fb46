# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts and bodies: the same everywhere, and none like another."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._workload import (
    WORDS,
    Workload,
    describe,
    make_prompt,
    request_body,
)

WORK = Workload("openai_chat", "chat", 4, 150, 32, 16, 4, 1, True, {"cache_prompt": False})


def test_prompts_are_pinned_by_the_seed() -> None:
    assert len(WORDS) == len(set(WORDS)) >= 128
    assert make_prompt(1, "measured", 0, 5) == make_prompt(1, "measured", 0, 5)
    assert len(make_prompt(1, "measured", 0, 32).split()) == 32


def test_no_two_prompts_share_their_first_words_so_no_prefix_cache_helps() -> None:
    prompts = [make_prompt(1, phase, index, 8) for phase in ("warmup", "measured") for index in range(500)]
    assert len({" ".join(prompt.split()[:6]) for prompt in prompts}) == 1000


def test_bodies_ask_for_greedy_streams_of_fixed_length_with_usage() -> None:
    body = json.loads(request_body(WORK, "measured", 3))
    assert body["temperature"] == 0 and body["stream"] is True and body["max_tokens"] == 16
    assert body["stream_options"] == {"include_usage": True}
    assert body["ignore_eos"] is True and body["cache_prompt"] is False
    assert body["messages"][0]["content"] == make_prompt(1, "measured", 3, 32)
    plain = json.loads(
        request_body(replace(WORK, api="openai_completions", ignore_eos=False, extra_body={}), "measured", 3)
    )
    assert plain["prompt"] == make_prompt(1, "measured", 3, 32)
    assert not {"messages", "ignore_eos", "cache_prompt"} & set(plain)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"model": "other"}, True),
        ({"users": 5}, False),
        ({"seed": 2}, False),
        ({"extra_body": {}}, False),
        ({"requests": 9}, False),
    ],
)
def test_the_hash_tells_loads_apart_but_not_models(change: dict[str, object], same: bool) -> None:
    assert (describe(replace(WORK, **change))["hash"] == describe(WORK)["hash"]) is same  # type: ignore[arg-type]
