# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a vLLM server says about itself: dead, loading and ready, in one shape."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _engine_info as info_module
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._engine_info import METRIC_KEYS, collect, engine_info
from ansible_collections.local_llm.ops.plugins.module_utils._engines._vllm_info import loading_here
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer

PAGES = Path(__file__).parents[2] / "fixtures" / "vllm_0.32.0"


def ask(**pages: Answer) -> dict[str, Any]:
    answers = {
        "/health": Answer(200),
        "/version": Answer(200, (PAGES / "version.json").read_bytes()),
        "/v1/models": Answer(200, (PAGES / "models.json").read_bytes()),
        "/metrics": Answer(200, (PAGES / "metrics.txt").read_bytes()),
        **{f"/{name.replace('_', '/')}": answer for name, answer in pages.items()},
    }
    return collect("vllm", lambda path: answers[path])


def test_a_real_server_is_read() -> None:
    info = ask()
    assert (info["status"], info["detail"], info["version"]) == ("ready", "", "0.32.0")
    assert info["served_models"] == ["tiny"]
    assert (info["queue_depth"], info["in_flight"]) == (0, 0)
    metrics = info["metrics"]
    assert set(metrics) == set(METRIC_KEYS)
    assert metrics["requests_finished_total"] == 3
    assert (metrics["prompt_tokens_total"], metrics["generated_tokens_total"]) == (63, 36)
    assert metrics["ttft_seconds_count"] == 3 and metrics["ttft_seconds_sum"] == pytest.approx(0.0386, abs=0.001)
    assert metrics["kv_cache_used_share"] == 0.0 and metrics["preemptions_total"] == 0


def test_the_older_name_of_the_cache_is_known() -> None:
    info = ask(metrics=Answer(200, b'vllm:gpu_cache_usage_perc{engine="0"} 0.25\n'))
    assert info["metrics"]["kv_cache_used_share"] == 0.25


def test_a_server_whose_engine_died_is_dead() -> None:
    info = ask(health=Answer(503))
    assert info["status"] == "dead" and "engine behind the server has died" in info["detail"]


def test_a_missing_key_is_named() -> None:
    info = ask(v1_models=Answer(401, b"{}"))
    assert info["status"] == "ready" and "HTTP 401" in info["detail"] and "api_key" in info["detail"]


def proc(tmp_path: Path, *commands: str) -> str:
    for number, command in enumerate(commands, start=100):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
    (tmp_path / "self").mkdir()
    return str(tmp_path)


ENGINE = "/opt/x/bin/python /opt/x/bin/vllm serve /m --port 8001 --config /c --host 10.0.0.1"


@pytest.mark.parametrize(
    ("host", "port", "commands", "found"),
    [
        ("127.0.0.1", 8001, [ENGINE], True),
        ("127.0.0.1", 8002, [ENGINE], False),
        ("127.0.0.1", 8001, ["/usr/bin/vim --port 8001", "sh"], False),
        ("192.0.2.1", 8001, [ENGINE], False),  # another machine's address
    ],
)
def test_a_process_that_loads_is_found(tmp_path: Path, host: str, port: int, commands: list[str], found: bool) -> None:
    assert loading_here(host, port, proc(tmp_path, *commands)) is found


def test_a_closed_port_with_its_process_is_loading_and_without_it_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound and not listening, as the engine does while it loads
        endpoint = parse_endpoint(f"http://127.0.0.1:{holder.getsockname()[1]}")
        for there, status in ((True, "loading"), (False, "dead")):
            monkeypatch.setitem(info_module.LOADING_HERE, "vllm", Mock(return_value=there))
            assert engine_info("vllm", endpoint, 2.0)["status"] == status
