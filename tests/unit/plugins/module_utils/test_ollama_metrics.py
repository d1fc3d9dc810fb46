# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of Ollama from its answers, as 0.32 gives them: which series there are, and what stays out of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_metrics import (
    PROBE_PATH,
    Instance,
    Look,
    families,
    find_instances,
    look,
)
from ansible_collections.local_llm.ops.plugins.module_utils._textfile import render

INSTANCE = Instance("gpu1-chat", "chat", "127.0.0.1", 8001, True)
LOADED = {
    "name": "chat:latest",
    "size": 1000,
    "size_vram": 750,
    "expires_at": "2026-11-21T18:00:00.123456789+01:00",
    "details": {"family": "llama"},
}


def asking(pages: dict[str, Any], asked: list[tuple[str, Any]]) -> Callable[[str, Any], tuple[Answer, float]]:
    """Return a function that answers with these pages."""

    def ask(path: str, payload: Any) -> tuple[Answer, float]:
        asked.append((path, payload))
        if path not in pages:
            return Answer(None, error="connection", detail="refused"), 0.5
        page = pages[path]
        return (page if isinstance(page, Answer) else Answer(200, json.dumps(page).encode())), 0.25

    return ask


def metrics(one: Look) -> dict[str, str]:
    lines = render(families([one], 1000.5)).splitlines()
    return {name: value for name, _space, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_a_model_partly_outside_of_gpu_memory_is_seen() -> None:
    asked: list[tuple[str, Any]] = []
    found = look(
        INSTANCE, asking({"/api/version": {"version": "0.32.15"}, "/api/ps": {"models": [LOADED]}}, asked), False
    )
    assert [path for path, _body in asked] == ["/api/version", "/api/ps"]
    assert metrics(found) == {
        'local_llm_ollama_up{server="gpu1-chat"}': "1",
        'local_llm_ollama_version_info{server="gpu1-chat",version="0.32.15"}': "1",
        'local_llm_ollama_models_loaded{server="gpu1-chat"}': "1",
        'local_llm_ollama_model_loaded_bytes{model="chat:latest",server="gpu1-chat"}': "1000",
        'local_llm_ollama_model_vram_bytes{model="chat:latest",server="gpu1-chat"}': "750",
        'local_llm_ollama_model_spill_ratio{model="chat:latest",server="gpu1-chat"}': "0.25",
        'local_llm_ollama_model_expires_timestamp_seconds{model="chat:latest",server="gpu1-chat"}': "1795280400",
        'local_llm_ollama_answer_seconds{path="/api/ps",server="gpu1-chat"}': "0.25",
        'local_llm_ollama_answer_seconds{path="/api/version",server="gpu1-chat"}': "0.25",
        "local_llm_ollama_last_run_timestamp_seconds": "1000.5",
    }


def test_an_instance_without_gpus_has_nothing_to_spill_from() -> None:
    bare = Instance("gpu1-chat", "chat", "127.0.0.1", 8001, False)
    found = look(
        bare, asking({"/api/version": {"version": "1"}, "/api/ps": {"models": [{**LOADED, "size_vram": 0}]}}, []), False
    )
    assert not [name for name in metrics(found) if "spill" in name]


@pytest.mark.parametrize(
    ("pages", "up"),
    [
        ({}, "0"),
        ({"/api/version": Answer(200, b"<html>another program</html>")}, "0"),
        ({"/api/version": {"version": "1"}, "/api/ps": Answer(500, b"")}, "0"),
        ({"/api/version": {"version": "1"}, "/api/ps": {"models": None}}, "1"),
        ({"/api/version": {"version": "1"}, "/api/ps": {"models": ["x", {"name": "a", "size": "big"}]}}, "1"),
        ({"/api/version": {"version": "1"}, "/api/ps": {"models": [{**LOADED, "expires_at": "never"}]}}, "1"),
    ],
)
def test_whatever_it_answers_there_is_an_up_or_a_down(pages: dict[str, Any], up: str) -> None:
    assert metrics(look(INSTANCE, asking(pages, []), False))['local_llm_ollama_up{server="gpu1-chat"}'] == up


def test_the_probe_asks_for_one_token_and_keeps_no_word_of_it() -> None:
    asked: list[tuple[str, Any]] = []
    pages = {
        "/api/version": {"version": "1"},
        "/api/ps": {"models": []},
        PROBE_PATH: {"choices": [{"message": {"content": "Secret"}}]},
    }
    found = look(INSTANCE, asking(pages, asked), True)
    assert asked[-1][1]["max_tokens"] == 1 and asked[-1][1]["model"] == "chat"
    text = render(families([found], 0.0))
    assert "Secret" not in text and "ping" not in text
    assert metrics(found)['local_llm_ollama_probe_success{server="gpu1-chat"}'] == "1"
    # Down is down: no probe, and no series of one.
    assert not [name for name in metrics(look(INSTANCE, asking({}, []), True)) if "probe" in name]


def test_only_current_releases_of_this_engine_are_asked_where_they_listen(tmp_path: Path) -> None:
    def instance(name: str, engine: str, gpus: Any, address: str = "") -> None:
        place = tmp_path / "instances" / name / "current"
        place.mkdir(parents=True)
        description = {"engine": engine, "served_name": "chat", "port": 8001, "gpus": gpus}
        (place / "release.json").write_text(json.dumps({"description": description}), encoding="utf-8")
        if address:
            (place.parent / "host.env").write_text(f'LOCAL_LLM_ADDRESS="{address}"\n', encoding="utf-8")

    instance("a", "ollama", "all", "192.0.2.1")
    instance("b", "ollama", "none", "0.0.0.0")
    instance("c", "vllm", "all")
    (tmp_path / "instances" / "empty").mkdir()
    (tmp_path / "instances" / "half" / "current").mkdir(parents=True)
    (tmp_path / "instances" / "half" / "current" / "release.json").write_text("{", encoding="utf-8")
    assert find_instances(str(tmp_path), "gpu1") == [
        Instance("gpu1-a", "chat", "192.0.2.1", 8001, True),
        Instance("gpu1-b", "chat", "127.0.0.1", 8001, False),
    ]
    assert find_instances(str(tmp_path / "missing"), "gpu1") == []
