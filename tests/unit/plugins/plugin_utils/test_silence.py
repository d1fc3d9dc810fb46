# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Silences: one server, always with an end; an answer that is none gives a sentence and no exception."""

from __future__ import annotations

from datetime import UTC, datetime

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.plugin_utils._silence import (
    read_id,
    refusal,
    silence_body,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_a_silence_is_for_one_server_and_has_an_end() -> None:
    body = silence_body("gpu1-chat", "rollout x", 90, NOW)
    assert body["matchers"] == [{"name": "server", "value": "gpu1-chat", "isRegex": False, "isEqual": True}]
    assert (body["startsAt"], body["endsAt"]) == ("2026-11-21T12:00:00.000Z", "2026-11-21T12:01:30.000Z")
    assert "id" not in body and silence_body("s", "c", 1, NOW, "abc")["id"] == "abc"


def test_the_id_comes_only_from_an_answer_that_has_one() -> None:
    assert read_id(Answer(200, b'{"silenceID":"abc"}')) == "abc"
    for answer in (Answer(200, b"[]"), Answer(200, b"x"), Answer(400, b'{"silenceID":"abc"}'), Answer(None, error="t")):
        assert read_id(answer) is None


def test_a_refusal_says_that_the_rollout_goes_on() -> None:
    told = refusal(Answer(None, error="connection", detail="refused"), "http://mon1:9093", "silence gpu1-chat")
    assert "refused" in told and told.endswith("the rollout goes on.")
    assert "400 bad" in refusal(Answer(400, b"bad"), "u", "w")
