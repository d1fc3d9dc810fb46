# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts and bodies: the same everywhere, none like another, and what a user gives is checked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import (
    MEASURED,
    OPEN_CONVERSATIONS,
    WARMUP,
    Place,
    Workload,
    describe,
    place_in_open_loop,
    request_body,
    workload_problem,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._prompts import (
    WORDS,
    GivenPrompt,
    PromptsError,
    make_prompt,
    read_prompts,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import closed_plan, open_plan

WORK = Workload("openai_chat", "chat", 32, 16, extra_body={"cache_prompt": False})


def body(work: Workload, place: Place, phase: str = MEASURED) -> dict[str, Any]:
    return json.loads(request_body(work, phase, place))


def messages(work: Workload, place: Place, phase: str = MEASURED) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in body(work, place, phase)["messages"]]


def test_prompts_are_pinned_by_the_seed() -> None:
    assert len(WORDS) == len(set(WORDS)) == 128
    # Another text here needs another PROMPTS_VERSION: old reports are then no longer of the same load.
    assert make_prompt(1, "measured", 0, 5) == "wood cotton glass place shirt"
    assert len(make_prompt(1, "measured", 0, 32).split()) == 32


def test_no_two_prompts_share_their_first_words_so_no_prefix_cache_helps() -> None:
    prompts = [make_prompt(1, phase, index, 8) for phase in (WARMUP, MEASURED) for index in range(500)]
    assert len({" ".join(prompt.split()[:6]) for prompt in prompts}) == 1000


def test_bodies_ask_for_greedy_streams_of_fixed_length_with_usage() -> None:
    made = body(WORK, Place(3))
    assert made["temperature"] == 0 and made["stream"] is True and made["max_tokens"] == 16
    assert made["stream_options"] == {"include_usage": True}
    assert made["ignore_eos"] is True and made["cache_prompt"] is False
    assert made["messages"] == [{"role": "user", "content": make_prompt(1, MEASURED, 3, 32)}]
    plain = body(replace(WORK, api="openai_completions", ignore_eos=False, extra_body={}), Place(3))
    assert plain["prompt"] == make_prompt(1, MEASURED, 3, 32)
    assert not {"messages", "ignore_eos", "cache_prompt"} & set(plain)


def test_ollamas_bodies_have_their_limits_in_options_and_the_users_are_merged() -> None:
    work = Workload("ollama", "chat", 8, 16, extra_body={"options": {"num_ctx": 512}, "keep_alive": "5m"})
    made = body(work, Place(0))
    assert made["options"] == {"temperature": 0, "num_predict": 16, "seed": 1, "num_ctx": 512}
    assert made["keep_alive"] == "5m" and made["stream"] is True and len(made["messages"]) == 1
    generate = body(replace(work, api="ollama_generate"), Place(0))
    assert generate["prompt"] == made["messages"][0]["content"] and "messages" not in generate


def test_a_shared_prefix_is_the_same_within_a_group_and_the_rest_is_not() -> None:
    work = replace(WORK, shape="shared_prefix", prefix_tokens=40, prefix_groups=2, prompt_tokens=5)
    words = [messages(work, Place(index))[0][1].split() for index in range(4)]
    assert all(len(each) == 45 for each in words)
    assert words[0][:40] == words[2][:40] != words[1][:40] == words[3][:40]
    assert words[0][40:] != words[2][40:]
    assert messages(work, Place(0), WARMUP)[0][1].split()[:40] == words[0][:40]


def test_a_turn_carries_the_history_before_it_whatever_the_server_answered() -> None:
    work = replace(WORK, shape="multi_turn", turns=3, prompt_tokens=5, output_tokens=4)
    third = messages(work, Place(7, conversation=2, turn=2))
    assert [role for role, _text in third] == ["user", "assistant", "user", "assistant", "user"]
    assert [len(text.split()) for _role, text in third] == [5, 4, 5, 4, 5]
    assert third[:3] == messages(work, Place(4, conversation=2, turn=1))
    assert messages(work, Place(0, conversation=0))[0] != messages(work, Place(0, conversation=1))[0]


def test_an_open_loop_interleaves_conversations_and_each_turn_comes_once() -> None:
    work = replace(WORK, shape="multi_turn", turns=3)
    places = [place_in_open_loop(work, index) for index in range(6 * OPEN_CONVERSATIONS)]
    assert len({(place.conversation, place.turn) for place in places}) == len(places)
    assert [place.turn for place in places if place.conversation == 1] == [0, 1, 2]
    assert place_in_open_loop(WORK, 9) == Place(9)


def test_given_prompts_come_in_turn_and_not_in_the_warmup() -> None:
    given = read_prompts('"one"\n\n{"prompt": "two", "output_tokens": 3}\n', "prompts_path: p.jsonl")
    work = replace(WORK, shape="file", prompts=given)
    assert [messages(work, Place(index))[0][1] for index in range(3)] == ["one", "two", "one"]
    assert [body(work, Place(index))["max_tokens"] for index in range(2)] == [16, 3]
    assert messages(work, Place(0), WARMUP)[0][1] not in ("one", "two")
    assert "one" not in json.dumps(describe(work, closed_plan(1, 1), 0))


def test_given_messages_are_sent_as_they_are() -> None:
    line = '{"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why"}]}'
    work = replace(WORK, shape="file", prompts=read_prompts(line, "p"))
    assert messages(work, Place(0)) == [("system", "be brief"), ("user", "why")]
    problem = workload_problem(replace(work, api="openai_completions"))
    assert problem is not None and "takes one text" in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no prompt"),
        (" \n\n", "holds no prompt"),
        ('"good"\n{secret', "line 2 is no JSON"),
        ("7", "line 1 is neither a string nor an object"),
        ("{}", "line 1 has neither prompt"),
        ('{"prompt": " "}', "line 1: the prompt is empty"),
        ('{"messages": []}', "line 1 has neither prompt"),
        ('{"messages": [{"role": "user"}]}', "lacks role or content"),
        ('{"prompt": "secret", "output_tokens": 0}', "output_tokens is no whole number above 0"),
    ],
)
def test_a_bad_file_of_prompts_is_refused_by_line_and_without_its_text(text: str, words: str) -> None:
    with pytest.raises(PromptsError, match=words) as caught:
        read_prompts(text, "prompts_path: p.jsonl")
    assert str(caught.value).startswith("prompts_path: p.jsonl") and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"api": "grpc"}, "api: 'grpc' is not known"),
        ({"shape": "odd"}, "shape: 'odd' is not known"),
        ({"shape": "multi_turn", "api": "openai_completions"}, "multi_turn needs messages"),
        ({"shape": "file"}, "shape: file has no prompts"),
        ({"output_tokens": 0}, "output_tokens: 0 is below 1"),
        ({"shape": "shared_prefix"}, "prefix_tokens: 0 is below 1"),
    ],
)
def test_work_that_cannot_be_sent_is_refused_with_option_value_and_fix(change: dict[str, Any], words: str) -> None:
    assert words in (workload_problem(replace(WORK, **change)) or "")


def test_possible_work_is_taken() -> None:
    given = (GivenPrompt((("user", "x"),)),)
    for work in (WORK, replace(WORK, shape="multi_turn", turns=4), replace(WORK, shape="file", prompts=given)):
        assert workload_problem(work) is None


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"model": "other"}, True),
        ({"seed": 2}, True),
        ({"extra_body": {}}, False),
        ({"shape": "multi_turn"}, False),
        ({"prompts": (GivenPrompt((("user", "x"),)),)}, False),
    ],
)
def test_the_hash_tells_loads_apart_but_neither_models_nor_seeds(change: dict[str, Any], same: bool) -> None:
    plan = closed_plan(4, 150)
    assert (describe(replace(WORK, **change), plan, 4)["hash"] == describe(WORK, plan, 4)["hash"]) is same
    assert describe(WORK, closed_plan(5, 150), 4)["hash"] != describe(WORK, plan, 4)["hash"]


def test_users_and_requests_of_the_description_are_those_of_the_plan() -> None:
    closed = describe(WORK, closed_plan(4, 150), 4)
    assert (closed["users"], closed["requests"], closed["model"]) == (4, 150, "chat")
    opened = describe(WORK, open_plan(2.0, seconds=5), 4)
    assert (opened["users"], opened["requests"]) == (None, None)
