# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""llm_benchmark with another load tool: a stand-in that writes a recorded result, against a fake server."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.modules import llm_benchmark
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer

RECORDED = Path(__file__).parents[1] / "module_utils" / "bench" / "peer_results" / "vllm_bench_closed.json"
TOOL = f"""#!{sys.executable}
import json, os, shutil, sys
if sys.argv[1:] == ["--version"]:
    print("0.32.0")
    sys.exit(0)
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "seen.json"), "w") as stream:
    json.dump({{"argv": sys.argv, "key": os.environ.get("OPENAI_API_KEY"), "cwd": os.getcwd()}}, stream)
directory = sys.argv[sys.argv.index("--result-dir") + 1]
shutil.copy({str(RECORDED)!r}, os.path.join(directory, sys.argv[sys.argv.index("--result-filename") + 1]))
"""


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    program = tmp_path / "vllm"
    program.write_text(TOOL, encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    return program


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(capsys: pytest.CaptureFixture[str], tool: Path, **given: Any) -> dict[str, Any]:
    with FakeStreamServer(Behaviour(ttft_seconds=0.01)) as fake:
        options = {
            "url": fake.url, "model": "chat", "requests": 14, "gpu_telemetry": False, "client": "vllm_bench",
            "client_command": str(tool), "client_tokenizer": str(tool.parent), "output_tokens": 4, **given,
        }  # fmt: skip
        with patch_module_args(options), pytest.raises(SystemExit):
            llm_benchmark.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_named_tool_measures_and_its_version_is_recorded(capsys: pytest.CaptureFixture[str], tool: Path) -> None:
    path = tool.parent / "report.json"
    result = run(capsys, tool, api_key="sk-1", result_path=str(path))
    report = result["report"]
    assert report["engine_version_tool"] == "vllm_bench/0.32.0" and report["requests"]["succeeded"] == 14
    assert report["warmup"]["succeeded"] == 4, "our own client warms up"
    assert json.loads(path.read_text())["engine_version_tool"] == "vllm_bench/0.32.0"
    seen = json.loads((tool.parent / "seen.json").read_text())
    assert seen["key"] == "sk-1" and "sk-1" not in " ".join(seen["argv"])
    assert not Path(seen["cwd"]).exists(), "what the tool wrote is removed"


def test_without_its_name_a_tool_is_never_used(capsys: pytest.CaptureFixture[str], tool: Path) -> None:
    result = run(capsys, tool, client="builtin", client_command=None, client_tokenizer=None)
    assert result["report"]["engine_version_tool"].startswith("builtin/")
    assert not (tool.parent / "seen.json").exists()


def test_a_tool_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], tool: Path) -> None:
    result = run(capsys, tool, client_command=str(tool.parent / "nothing"))
    assert result["failed"] and "is no program on this host" in result["msg"]
