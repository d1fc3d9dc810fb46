# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway lets through: nothing that manages an engine, and nothing odd without a word about it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_paths import check_allowed_paths
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import load_engine_facts

ENGINES = {"vllm": "0.33.0", "ollama": "0.32.15", "llamacpp": "0.7.0"}


def check(variables: dict[str, Any], *engines: str) -> list[str]:
    """Return status and line of each finding about a gateway in front of a pool chat with these engines."""
    out = Collector()
    used = {"chat": [(engine, ENGINES.get(engine, "1.0")) for engine in engines or ("vllm",)]}
    check_allowed_paths({"gw1": variables}, used, out)
    return [finding_line(item) for item in out.findings()]


def allow(*paths: Any) -> dict[str, Any]:
    return {"local_llm_pools": {"chat": {"allowed_paths": [{"path": path, "methods": ["POST"]} for path in paths]}}}


def test_nothing_said_and_the_usual_paths_are_fine() -> None:
    assert check({}) == []
    assert check({"local_llm_pools": None, "gateway_pools": {"chat": None}}) == []
    for engine, lines in load_engine_facts()["engines"].items():
        paths = [item["path"] for item in lines[0]["ranges"][0]["allowed_paths"]]
        assert check(allow(*paths), engine) == []


@pytest.mark.parametrize(
    ("engine", "path"),
    [
        ("vllm", "/invocations"),
        ("vllm", "/v1/load_lora_adapter"),
        ("vllm", "/update_weights"),
        ("ollama", "/api/create"),
        ("ollama", "/api/blobs/sha256:abc"),
        ("ollama", "/api/pull"),
        ("llamacpp", "/slots"),
        ("llamacpp", "/props"),
    ],
)
def test_a_path_that_manages_the_engine_is_refused_by_name(engine: str, path: str) -> None:
    (line,) = check(allow("/v1/models", path), engine)
    assert line.startswith("FAIL local_llm_pools.chat.allowed_paths[1].path on gw1")
    assert path in line and engine in line


def test_a_version_that_is_not_known_is_held_to_the_newest_facts() -> None:
    out = Collector()
    check_allowed_paths({"gw1": allow("/invocations")}, {"chat": [("vllm", "mine")]}, out)
    assert [item["check"] for item in out.findings()] == ["blocked_path"]
    assert check(allow("/anything"), "sglang") == []


def test_a_path_that_the_engine_leaves_open_is_a_warning() -> None:
    (line,) = check(allow("/metrics"))
    assert line.startswith("WARN") and "answers it to everybody" in line
    assert check(allow("/api/chat"), "ollama")[0].startswith("WARN")
    assert check(allow("/v1/chat/completions"), "ollama") == []


def test_one_pool_with_several_engines_is_held_to_each() -> None:
    lines = check(allow("/slots"), "vllm", "llamacpp")
    assert len(lines) == 1 and "llamacpp" in lines[0]


def test_the_paths_of_all_pools_and_of_the_role_count_too() -> None:
    paths = [{"path": "/slots", "methods": ["GET"]}]
    assert check({"gateway_allowed_paths": paths}, "llamacpp")[0].startswith(
        "FAIL gateway_allowed_paths[0].path on gw1"
    )
    assert "gateway_pools.chat" in check({"gateway_pools": {"chat": {"allowed_paths": paths}}}, "llamacpp")[0]
    # What a pool says itself wins over what is said for all.
    own = {**allow("/v1/models"), "gateway_allowed_paths": paths}
    assert check(own, "llamacpp") == []


@pytest.mark.parametrize(
    "item",
    [
        "/v1/models",
        {"path": "-m beg /", "methods": ["GET"]},
        {"path": "/x y", "methods": ["GET"]},
        {"path": "/v1/models"},
        {"path": "/v1/models", "methods": []},
        {"path": "/v1/models", "methods": ["get"]},
    ],
)
def test_an_entry_that_would_mean_something_else_to_the_gateway_is_refused(item: Any) -> None:
    (line,) = check({"gateway_allowed_paths": [item]})
    assert line.startswith("FAIL gateway_allowed_paths[0] on gw1")


def test_no_list_is_refused() -> None:
    assert check({"gateway_allowed_paths": "/v1"})[0].startswith("FAIL gateway_allowed_paths on gw1")
