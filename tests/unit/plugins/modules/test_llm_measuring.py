# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""llm_info, llm_benchmark and llm_quality as modules: options in, results out, against a fake server."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.action import rollout_verdict as verdict_action
from ansible_collections.local_llm.ops.plugins.doc_fragments.llm_endpoint import ModuleDocFragment
from ansible_collections.local_llm.ops.plugins.doc_fragments.llm_load import ModuleDocFragment as LoadFragment
from ansible_collections.local_llm.ops.plugins.doc_fragments.llm_suite import ModuleDocFragment as SuiteDocFragment
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import ENDPOINT_ARGS
from ansible_collections.local_llm.ops.plugins.modules import llm_benchmark, llm_info, llm_quality, rollout_verdict
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a module's main with options and return its result."""

    def _run(module: Any, check: bool = False, **options: Any) -> dict[str, Any]:
        with patch_module_args({**options, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return _run


@pytest.fixture
def fake() -> Iterator[FakeStreamServer]:
    with FakeStreamServer(Behaviour(ttft_seconds=0.02, answers={"capital": "Paris", "number": "12"})) as server:
        yield server


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


SMALL = {"model": "chat", "requests": 12, "users": 3, "output_tokens": 4, "prompt_tokens": 4}


def test_benchmark_reports_and_writes_the_same_report(run: Run, fake: FakeStreamServer, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    result = run(llm_benchmark, url=fake.url, result_path=str(path), **SMALL)
    report = result["report"]
    assert result["changed"] is False and report["valid"] and report["requests"]["succeeded"] == 12
    assert json.loads(path.read_text()) == report and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert report["workload"]["warmup_requests"] == 4 and len(fake.bodies) == 16
    prompts = [body["messages"][0]["content"] for body in fake.bodies]
    assert len(set(prompts)) == 16 and not [prompt for prompt in prompts if prompt in json.dumps(result)]


def test_benchmark_where_everything_failed_fails_and_says_why(run: Run, fake: FakeStreamServer, tmp_path: Path) -> None:
    fake.behaviour.fault = "http_404"
    result = run(llm_benchmark, url=fake.url, result_path=str(tmp_path / "r.json"), **SMALL)
    assert result["failed"] and re.search(r"every one of ([345]) requests failed: \1 x http_404", result["msg"])
    assert "check url, api and model" in result["msg"]
    assert result["report"]["valid"] is False and (tmp_path / "r.json").exists()


@pytest.mark.parametrize(("allowed", "failed"), [(1.0, False), (0.1, True)])
def test_benchmark_fails_above_the_error_share_that_is_allowed(
    run: Run, fake: FakeStreamServer, allowed: float, failed: bool
) -> None:
    fake.behaviour.fault, fake.behaviour.fault_every = "stream_error", 4
    result = run(llm_benchmark, url=fake.url, max_error_share=allowed, **SMALL)
    assert result.get("failed", False) is failed
    assert result["report"]["requests"]["errors"] == {"stream_error": 3}


def test_benchmark_sends_nothing_in_check_mode(run: Run, fake: FakeStreamServer) -> None:
    assert run(llm_benchmark, check=True, url=fake.url, **SMALL)["report"] is None
    assert fake.bodies == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": 0}, "users: 0 is outside 1 to 500"),
        ({"max_error_share": 2}, "max_error_share: 2.0 is outside 0 to 1"),
        ({"url": "h:1"}, "url: 'h:1' does not start with http://"),
    ],
)
def test_benchmark_refuses_bad_options_with_value_and_range(run: Run, options: dict[str, Any], message: str) -> None:
    result = run(llm_benchmark, **{"url": "http://127.0.0.1:1", **SMALL, **options})
    assert result["failed"] and message in result["msg"]


def test_benchmark_keeps_what_it_has_when_it_is_ended(run: Run, fake: FakeStreamServer, tmp_path: Path) -> None:
    fake.behaviour.ttft_seconds = 0.01

    def end_it() -> None:
        limit = time.monotonic() + 5
        while len(fake.bodies) < 20 and time.monotonic() < limit:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end_it)
    thread.start()
    path = tmp_path / "r.json"
    result = run(llm_benchmark, url=fake.url, result_path=str(path), **{**SMALL, "requests": 100000})
    thread.join(5)
    assert result["failed"] and "interrupted after" in result["msg"] and str(path) in result["msg"]
    report = json.loads(path.read_text())
    assert report["requests"]["succeeded"] >= 10 and report["requests"]["failed"] == 0 and not report["valid"]


def test_benchmark_does_not_show_the_key(run: Run, fake: FakeStreamServer) -> None:
    result = run(llm_benchmark, url=fake.url, api_key="k3y-of-mine", **SMALL)
    assert "k3y-of-mine" not in json.dumps(result)


SUITE = [{"id": "a", "prompt": "capital"}, {"id": "b", "prompt": "number", "pattern": "^12$"}]


def test_quality_records_once_and_then_compares(run: Run, fake: FakeStreamServer, tmp_path: Path) -> None:
    path = str(tmp_path / "golden.json")
    options = {"url": fake.url, "model": "chat", "suite": SUITE, "golden_path": path}
    assert run(llm_quality, check=True, record=True, **options)["changed"] is True
    assert not os.path.exists(path)
    recorded = run(llm_quality, record=True, **options)
    assert recorded["changed"] is True and "Paris" not in json.dumps(recorded)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert run(llm_quality, record=True, **options)["changed"] is False
    assert run(llm_quality, **options)["report"]["ok"] is True
    fake.behaviour.answers["capital"] = "London"
    result = run(llm_quality, **options)
    assert not result.get("failed") and result["report"]["ok"] is False and "London" not in json.dumps(result)
    assert run(llm_quality, fail_unless_ok=True, **options)["failed"] is True


def test_quality_records_nothing_that_it_cannot_trust(run: Run, fake: FakeStreamServer, tmp_path: Path) -> None:
    fake.behaviour.answers["number"] = "13"
    path = tmp_path / "golden.json"
    result = run(llm_quality, url=fake.url, model="chat", suite=SUITE, golden_path=str(path), record=True)
    assert result["failed"] and "nothing was recorded" in result["msg"] and not path.exists()


def test_quality_without_a_recording_says_how_to_make_one(run: Run, fake: FakeStreamServer, tmp_path: Path) -> None:
    path = str(tmp_path / "none.json")
    report = run(llm_quality, url=fake.url, model="chat", suite=SUITE, golden_path=path)["report"]
    assert report["errors"] == 1 and "record=true" in report["items"][0]["detail"]


def test_quality_mends_a_damaged_file_by_recording_anew(run: Run, fake: FakeStreamServer, tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    path.write_text("{")
    options = {"url": fake.url, "model": "chat", "suite": SUITE, "golden_path": str(path)}
    assert "record=true" in run(llm_quality, **options)["msg"]
    assert run(llm_quality, record=True, **options)["changed"] is True


def test_info_tells_dead_loading_and_ready_apart(run: Run, fake: FakeStreamServer) -> None:
    options = {"url": fake.url, "engine": "llamacpp"}
    assert run(llm_info, **options)["status"] == "dead"
    fake.behaviour.pages["/health"] = (503, "{}")
    assert run(llm_info, **options)["status"] == "loading"
    fake.behaviour.pages["/health"] = (200, "{}")
    fake.behaviour.pages["/v1/models"] = (200, '{"data": [{"id": "chat"}]}')
    result = run(llm_info, check=True, **options)
    assert (result["status"], result["served_models"], result["changed"]) == ("ready", ["chat"], False)


def test_info_names_the_engines_it_knows(run: Run) -> None:
    result = run(llm_info, url="http://127.0.0.1:1", engine="lama")
    assert result["failed"] and "use one of: llamacpp" in result["msg"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (llm_benchmark, llm_benchmark.ARGUMENTS),
        (llm_quality, llm_quality.ARGUMENTS),
        (rollout_verdict, verdict_action.ARGUMENTS),
    ],
)
def test_documentation_and_argument_specification_agree(module: Any, arguments: dict[str, Any]) -> None:
    documented = dict(yaml.safe_load(module.DOCUMENTATION)["options"])
    if "url" in arguments:
        documented.update(yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"])
        if "load" in arguments:
            documented.update(yaml.safe_load(LoadFragment.DOCUMENTATION)["options"])
        assert {name: arguments[name] for name in ENDPOINT_ARGS} == ENDPOINT_ARGS
    if module is llm_quality:
        documented.update(yaml.safe_load(SuiteDocFragment.DOCUMENTATION)["options"])
    assert set(documented) == set(arguments)
    for name, spec in arguments.items():
        for key in ("type", "default", "choices", "required", "elements"):
            assert documented[name].get(key) == spec.get(key), f"{name}.{key}"
