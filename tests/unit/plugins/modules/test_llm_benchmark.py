# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""llm_benchmark as a module: loads, refusals in the first second, files, and its documentation."""

from __future__ import annotations

import gzip
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.action.llm_benchmark import follow
from ansible_collections.local_llm.ops.plugins.doc_fragments.llm_load import ModuleDocFragment
from ansible_collections.local_llm.ops.plugins.module_utils._bench._options import ARGUMENTS
from ansible_collections.local_llm.ops.plugins.modules import llm_benchmark
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer

Run = Callable[..., dict[str, Any]]
SMALL = {"model": "chat", "output_tokens": 4, "prompt_tokens": 4, "warmup_requests": 2, "gpu_telemetry": False}


@pytest.fixture
def fake() -> Iterator[FakeStreamServer]:
    with FakeStreamServer(Behaviour(ttft_seconds=0.01)) as server:
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], fake: FakeStreamServer) -> Iterator[Run]:
    """Run the module against the fake server and return its result."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def _run(**given: Any) -> dict[str, Any]:
        with patch_module_args({"url": fake.url, **SMALL, **given}), pytest.raises(SystemExit):
            llm_benchmark.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    yield _run
    for number, handler in before.items():
        signal.signal(number, handler)


def test_an_open_loop_counts_from_the_schedule(run: Run) -> None:
    load = {"mode": "open", "stages": [{"rate_per_second": 100, "seconds": 0.5, "arrivals": "constant"}]}
    report = run(load=load, slo={"ttft_seconds": 5.0})["report"]
    assert report["scheduled_latency_seconds"]["count"] == report["requests"]["issued"] == 50
    assert report["attainment"]["share"] == 1.0 and report["workload"]["users"] is None


def test_a_sweep_has_one_stage_for_each_strength(run: Run) -> None:
    report = run(sweep={"users": [4, 1, 2], "requests": 12})["report"]
    assert [stage["users"] for stage in report["stages"]] == [1, 2, 4]
    assert [stage["requests"]["issued"] for stage in report["stages"]] == [12, 12, 12]


def test_a_search_uses_other_prompts_for_every_probe(run: Run, fake: FakeStreamServer) -> None:
    search = {"start_rate": 400, "max_rate": 400, "requests": 20, "confirmations": 1}
    result = run(search=search, slo={"ttft_seconds": 5.0, "attainment": 0.5})
    assert result["report"]["search"]["rate_per_second"] == 400
    prompts = [body["messages"][0]["content"] for body in fake.bodies]
    assert len(prompts) > 40 and len(set(prompts)) == len(prompts)


def test_prompts_of_the_user_are_sent_and_are_in_no_result(run: Run, fake: FakeStreamServer, tmp_path: Path) -> None:
    path, samples = tmp_path / "p.jsonl", tmp_path / "s.gz"
    path.write_text('"my very own words"\n{"prompt": "and mine", "output_tokens": 3}\n')
    result = run(prompts_path=str(path), requests=12, samples_path=str(samples))
    sent = {body["messages"][0]["content"] for body in fake.bodies[2:]}
    assert sent == {"my very own words", "and mine"}
    assert "very own" not in json.dumps(result) and b"very own" not in gzip.decompress(samples.read_bytes())
    assert len(gzip.decompress(samples.read_bytes()).splitlines()) == 13


@pytest.mark.parametrize(
    ("given", "page", "said"),
    [
        ({}, (200, '{"data": [{"id": "other"}]}'), "model: 'chat' is not served"),
        ({}, (200, "<html>a router</html>"), "is no OpenAI-style model server: GET /v1/models gave no list of models"),
        ({}, (302, ""), "is no OpenAI-style model server: GET /v1/models gave HTTP 302"),
        ({}, (503, '{"error": {"message": "Loading model"}}'), "is not ready: GET /v1/models gave HTTP 503"),
        ({}, (401, "{}"), "refuses the key"),
        ({"url": "http://127.0.0.1:1"}, None, "cannot connect to http://127.0.0.1:1"),
        (
            {"load": {"mode": "open", "stages": [{"rate_per_second": 1e7, "seconds": 1}]}},
            None,
            "is outside 0.001 to 2000",
        ),
        ({"sweep": {"rates": [-1]}}, None, "sweep.rates[0]: -1.0 is outside"),
        ({"scenario": "peak"}, None, "scenario: 'peak' is resolved on the controller"),
    ],
)
def test_mistakes_are_refused_in_the_first_second_without_a_request(
    run: Run, fake: FakeStreamServer, given: dict[str, Any], page: tuple[int, str] | None, said: str
) -> None:
    if page:
        fake.behaviour.pages["/v1/models"] = page
    began = time.monotonic()
    result = run(**given)
    assert result["failed"] and said in result["msg"] and fake.bodies == []
    assert time.monotonic() - began < 5


def test_a_key_that_only_completions_ask_for_is_refused_before_the_load(run: Run, fake: FakeStreamServer) -> None:
    """llama.cpp shows its models to anybody."""
    fake.behaviour.api_key, fake.behaviour.open_list = "right", True
    result = run(api_key="wrong")
    assert "/v1/chat/completions refuses the key" in result["msg"] and fake.bodies == []
    assert "wrong" not in json.dumps({**result, "invocation": None})


def test_a_service_that_is_up_is_not_restarted_for_a_mistake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    restarted: list[str] = []
    monkeypatch.setattr(llm_benchmark.Systemd, "begin_restart", lambda _self, name: restarted.append(name))
    result = run(model="other", instance="chat", cold_start={"restart": True})
    assert "model: 'other' is not served" in result["msg"] and restarted == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"result_path": "/nowhere/r.json"}, "result_path: /nowhere/r.json cannot be written"),
        ({"samples_path": "/"}, "samples_path: / cannot be written"),
        ({"engine": "vllm", "engine_url": "h:1"}, "engine_url: "),
    ],
)
def test_a_place_that_cannot_be_is_told_before_the_run_and_to_whoever_watches(
    run: Run, fake: FakeStreamServer, tmp_path: Path, given: dict[str, str], said: str
) -> None:
    path = tmp_path / "progress.json"
    assert run(progress_path=str(path), **given)["msg"].startswith(said) and fake.bodies == []
    assert json.loads(path.read_text())["finished"] is True


def test_an_empty_file_of_prompts_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    assert "it holds no prompt" in run(prompts_path=str(path))["msg"]
    assert "cannot be read" in run(prompts_path=str(tmp_path / "none"))["msg"]


def test_progress_ends_with_finished(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    run(requests=12, progress_path=str(path))
    assert json.loads(path.read_text())["finished"] is True


def test_suboptions_are_documented_as_they_are() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    for name, spec in documented.items():
        _same(spec, ARGUMENTS[name], name)


def _same(documented: dict[str, Any], spec: dict[str, Any], name: str) -> None:
    for key in ("type", "default", "choices", "required", "elements"):
        assert documented.get(key) == spec.get(key), f"{name}.{key}"
    inner = spec.get("options") or {}
    assert set(documented.get("suboptions") or {}) == set(inner), name
    for key, value in inner.items():
        _same(documented["suboptions"][key], value, f"{name}.{key}")


def test_a_run_in_the_background_is_asked_only_when_it_says_that_it_has_ended() -> None:
    def state(seconds: float, finished: bool = False) -> dict[str, Any]:
        line = {"seconds": seconds, "count": seconds, "line": f"{seconds:.0f} answers", "finished": finished}
        return {"stdout": json.dumps(line)}

    looks = iter([{"stdout": ""}, state(5), state(12), state(14), state(0, finished=True)])
    asked: list[str] = []
    shown: list[str] = []

    def ask() -> dict[str, Any]:
        asked.append("asked")
        return {"finished": True, "ansible_job_id": "j1", "report": {"valid": True}}

    done = follow(lambda: next(looks), ask, "gpu1", sleep=lambda _seconds: None, show=shown.append)
    assert done == {"report": {"valid": True}} and asked == ["asked"] and shown == ["gpu1: 12 answers"]


def test_a_run_whose_file_is_gone_or_stands_still_is_asked_after() -> None:
    answers: Any = iter([{"finished": False}, {"failed": True, "msg": "could not find job"}])
    looks = iter([{"stdout": "{}"}, *[{"stdout": ""}] * 50])
    done = follow(lambda: next(looks), lambda: next(answers), "h", sleep=lambda _seconds: None, show=lambda _line: None)
    assert done["failed"]
