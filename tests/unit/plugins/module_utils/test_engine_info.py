# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server says about itself: dead, loading and ready, in one shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._engine_info import (
    METRIC_KEYS,
    UnknownEngine,
    collect,
    engine_info,
)
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer

PAGES = Path(__file__).parents[2] / "fixtures" / "llamacpp_b11669"
OK = Answer(200, b'{"status":"ok"}')


def ask(**pages: Answer) -> tuple[dict[str, Any], list[str]]:
    asked: list[str] = []
    answers = {
        "/health": OK,
        "/v1/models": Answer(200, (PAGES / "models.json").read_bytes()),
        "/props": Answer(200, (PAGES / "props.json").read_bytes()),
        "/metrics": Answer(200, (PAGES / "metrics.txt").read_bytes()),
        **{f"/{name}": answer for name, answer in pages.items()},
    }

    def fetch(path: str) -> Answer:
        asked.append(path)
        return answers[path]

    return collect("llamacpp", fetch), asked


def test_a_real_llama_server_is_read() -> None:
    info, _asked = ask()
    assert info["status"] == "ready" and info["detail"] == "" and info["version"] == "b11669-Debian"
    assert info["served_models"] == ["tiny"]
    assert set(info["metrics"]) == set(METRIC_KEYS)
    assert info["queue_depth"] == 0 and info["in_flight"] == 0
    assert info["metrics"]["requests_max"] == 4
    assert info["metrics"]["generated_tokens_total"] > 0 and isinstance(info["metrics"]["generated_tokens_total"], int)
    assert info["metrics"]["kv_cache_used_share"] is None


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (Answer(503, b'{"error":{"message":"Loading model"}}'), "loading", "loading"),
        (Answer(None, error="connection", detail="ConnectionRefusedError"), "dead", "Refused"),
        (Answer(None, error="timeout", detail="no complete answer within 5.0 s"), "dead", "hangs"),
        (Answer(404), "dead", "another program"),
        (Answer(500), "dead", "500"),
    ],
)
def test_what_is_not_ready_is_not_asked_further(answer: Answer, status: str, word: str) -> None:
    info, asked = ask(health=answer)
    assert info["status"] == status and word in info["detail"] and asked == ["/health"]
    assert set(info["metrics"].values()) == {None} and info["served_models"] == [] and info["version"] is None


def test_pages_that_are_closed_are_null_and_said() -> None:
    info, _asked = ask(metrics=Answer(501), props=Answer(401))
    assert info["status"] == "ready" and info["version"] is None and info["queue_depth"] is None
    assert "--metrics" in info["detail"] and "api_key" in info["detail"]


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"data": 3}', b'{"data": [3, {"id": null}]}'])
def test_odd_answers_do_not_break_it(body: bytes) -> None:
    info, _asked = ask(models=Answer(200, body), props=Answer(200, body), metrics=Answer(200, body))
    assert info["status"] == "ready" and info["version"] is None


def test_odd_model_lists_name_no_model() -> None:
    answer = Answer(200, json.dumps({"data": [{"id": "a", "aliases": ["b", "a"]}, {"id": 3}]}).encode())
    info, _asked = ask(**{"v1/models": answer})
    assert info["served_models"] == ["a", "b"]


def test_an_unknown_engine_names_the_known_ones() -> None:
    with pytest.raises(UnknownEngine, match="'lama' is not known; use one of: llamacpp"):
        engine_info("lama", None, 1.0)  # type: ignore[arg-type]
