# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Prompts made on the spot from a seed, the same on every machine, and prompts out of a file of the user's."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

# Names the way prompts are made; part of a workload's hash. Change it whenever other prompts come out.
PROMPTS_VERSION = "words/2"

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
WORDS = tuple(_WORD_TEXT.split())[:128]
# One word per byte: the highest bit is not looked at.
_BY_BYTE = WORDS + WORDS


class PromptsError(ValueError):
    """A file of prompts cannot be used; the text names the line and the fix, and holds nothing of a prompt."""


@dataclass(frozen=True)
class GivenPrompt:
    """A prompt of the user's: messages of role and text, and how many tokens to generate (None: the workload's)."""

    messages: tuple[tuple[str, str], ...]
    output_tokens: int | None = None


def make_prompt(seed: int, phase: str, index: int, words: int) -> str:
    """Return so many words: the same for the same arguments on every machine, other words for any other.

    `phase` is warmup or measured, so that warm-up shares no prompt with what is measured.
    """
    if words <= 0:
        return ""
    chosen = random.Random(f"{seed}/{phase}/{index}").getrandbits(8 * words).to_bytes(words, "little")
    return " ".join([_BY_BYTE[byte] for byte in chosen])


def read_prompts(text: str, name: str) -> tuple[GivenPrompt, ...]:
    """Return the prompts of a JSON-lines file. `name` is what the errors call it.

    A line is a string, or an object with `prompt` (string) or `messages` (list of role and content), and, when wanted,
    `output_tokens`.
    """
    prompts = [
        _given(_parse(line, name, number), f"{name}: line {number}")
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    ]
    if not prompts:
        raise PromptsError(f'{name}: it holds no prompt; write one JSON value per line, such as {{"prompt": "..."}}')
    return tuple(prompts)


def _parse(line: str, name: str, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as exc:
        raise PromptsError(
            f'{name}: line {number} is no JSON; write one JSON value per line, such as {{"prompt": "..."}}'
        ) from exc


def _given(value: Any, where: str) -> GivenPrompt:
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict):
        raise PromptsError(f"{where} is neither a string nor an object; write an object with prompt or messages")
    tokens = value.get("output_tokens")
    if tokens is not None and (not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1):
        raise PromptsError(f"{where}: output_tokens is no whole number above 0; mend it or leave it out")
    if isinstance(value.get("prompt"), str):
        messages: tuple[tuple[str, str], ...] = (("user", value["prompt"]),)
    else:
        messages = _messages(value.get("messages"), where)
    if not any(content.strip() for _role, content in messages):
        raise PromptsError(f"{where}: the prompt is empty; give it text or drop the line")
    return GivenPrompt(messages, tokens)


def _messages(value: Any, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise PromptsError(f"{where} has neither prompt (a string) nor messages (a list); give one of them")
    messages = []
    for message in value:
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise PromptsError(f"{where}: a message lacks role or content as strings; give both")
        messages.append((role, content))
    return tuple(messages)
