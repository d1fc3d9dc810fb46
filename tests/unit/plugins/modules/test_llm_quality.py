# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""llm_quality between two releases of an instance, and the suites that the controller reads for it."""

from __future__ import annotations

import json
import logging
import stat
import syslog
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.doc_fragments.llm_suite import ModuleDocFragment
from ansible_collections.local_llm.ops.plugins.module_utils import _quality_sets as sets
from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import SUITE_OPTIONS, SuiteError
from ansible_collections.local_llm.ops.plugins.modules import llm_quality
from ansible_collections.local_llm.ops.plugins.plugin_utils._quality_files import load_suite, quality_findings
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.plans import description

Run = Callable[..., dict[str, Any]]
SUITE = [
    {"id": "capital", "prompt": "capital", "pattern": "(?i)paris", "relative": True},
    {"id": "story", "prompt": "story"},
]


class Host:
    """A host with one instance; `serve` moves it to another release."""

    def __init__(self) -> None:
        self.links: dict[str, str | None] = {"current": "old", "previous": None}
        self.releases = {"old": description(), "new": description(engine="vllm"), "tuned": description(port=9000)}

    def serve(self, release: str) -> None:
        self.links = {"current": release, "previous": self.links["current"]}

    def link(self, name: str) -> str | None:
        return self.links[name]

    def description(self, identity: str | None) -> Any:
        return self.releases.get(identity or "")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    it = Host()
    monkeypatch.setattr(sets, "InstanceStore", lambda _paths, _name: it)
    return it


@pytest.fixture
def fake() -> Iterator[FakeStreamServer]:
    with FakeStreamServer(Behaviour(answers={"capital": "Paris", "story": "Once upon a time"})) as server:
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], fake: FakeStreamServer, host: Host, tmp_path: Path) -> Run:
    def _run(**options: Any) -> dict[str, Any]:
        given = {"url": fake.url, "model": "chat", "suite": SUITE, "instance": "chat",
                 "golden_directory": str(tmp_path / "golden"), **options}  # fmt: skip
        with patch_module_args(given), pytest.raises(SystemExit):
            llm_quality.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return _run


def test_another_engine_may_say_it_in_other_words(run: Run, host: Host, fake: FakeStreamServer) -> None:
    run(record=True)
    host.serve("new")
    fake.behaviour.answers.update(capital="It is Paris.", story="There was a king")
    report = run(compare_with="previous")["report"]
    assert report["ok"] and report["compared"]["mode"] == "checks"
    assert report["compared"]["reference"]["engine"] == "llamacpp"
    assert [item["match"] for item in report["items"]] == ["none", "none"]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"capital": "London"}, "capital"),
        ({"story": "!" * 32}, "story"),
    ],
)
def test_another_engine_must_not_be_worse_or_insane(
    run: Run, host: Host, fake: FakeStreamServer, answers: dict[str, str], why: str
) -> None:
    run(record=True)
    host.serve("new")
    fake.behaviour.answers.update(answers)
    report = run(compare_with="previous")["report"]
    assert not report["ok"] and [item["id"] for item in report["items"] if item["status"] == "fail"] == [why]


def test_the_same_engine_and_model_must_say_the_same(run: Run, host: Host, fake: FakeStreamServer) -> None:
    run(record=True)
    host.serve("tuned")
    assert run(compare_with="previous")["report"]["ok"]
    fake.behaviour.answers["story"] = "There was a king"
    report = run(compare_with="previous")["report"]
    assert not report["ok"] and report["compared"]["mode"] == "exact"
    assert run(compare_with="previous", compare="checks")["report"]["ok"]


def test_going_back_is_held_against_the_own_words(run: Run, host: Host, fake: FakeStreamServer) -> None:
    run(record=True)
    host.serve("new")
    host.serve("old")
    assert run()["report"]["compared"]["mode"] == "exact" and run()["report"]["ok"]


def test_a_release_without_answers_of_its_own_gets_them_when_it_passes(
    run: Run, host: Host, fake: FakeStreamServer, tmp_path: Path
) -> None:
    first = run(record_missing=True)
    assert first["changed"] and stat.S_IMODE(Path(first["golden_path"]).stat().st_mode) == 0o600
    assert not run(record_missing=True)["changed"]
    host.serve("new")
    fake.behaviour.answers["capital"] = "London"
    assert not run(record_missing=True)["report"]["ok"], "worse than the release before"
    assert len(list((tmp_path / "golden/tiny").iterdir())) == 1
    fake.behaviour.answers["capital"] = "Paris, of course"
    assert run(record_missing=True)["changed"]
    assert run(record_missing=True)["report"]["compared"]["mode"] == "exact"


def test_what_the_old_release_cannot_do_is_recorded_on_demand(run: Run, fake: FakeStreamServer) -> None:
    suite = [{"id": "capital", "prompt": "capital", "pattern": "(?i)rome"}]
    refused = run(record=True, suite=suite)
    assert refused["failed"] and "nothing was recorded" in refused["msg"]
    done = run(record=True, record_failing=True, suite=suite)
    assert done["changed"] and not done["report"]["ok"]
    fake.behaviour.answers["capital"] = "Rome"
    assert run(suite=suite, compare="checks")["report"]["compared"]["better"] == 1


GARBAGE = [("!" * 32, "the answer ends in endless repetition"), ("  ", "the answer is empty"), ("", "has no text")]


@pytest.mark.parametrize(("answer", "why"), GARBAGE)
def test_garbage_does_not_become_the_golden_answer_of_a_first_release(
    run: Run, fake: FakeStreamServer, tmp_path: Path, answer: str, why: str
) -> None:
    fake.behaviour.answers["story"] = answer
    done = run(record=True)
    assert done["failed"] and "nothing was recorded" in done["msg"] and "story: " in done["msg"] and why in done["msg"]
    missing = run(record_missing=True)
    assert not missing["report"]["ok"] and not missing["changed"]
    assert not (tmp_path / "golden").exists()


def test_a_new_prompt_is_held_to_sanity_although_others_are_recorded(run: Run, fake: FakeStreamServer) -> None:
    assert run(record=True, suite=SUITE[:1])["changed"]
    fake.behaviour.answers["story"] = "!" * 32
    assert not run(record_missing=True)["report"]["ok"]
    fake.behaviour.answers["story"] = "Once upon a time"
    assert run(record_missing=True)["changed"]


def test_what_an_old_release_says_is_recorded_however_it_is(run: Run, fake: FakeStreamServer) -> None:
    fake.behaviour.answers["story"] = "!" * 32
    assert run(record=True, record_failing=True)["changed"]
    assert run(record_missing=True)["report"]["ok"], "it stands against its own recorded answer"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"suite": None}, "suite: it is missing"),
        ({"instance": None, "record": True}, "there is no place to record to"),
        ({"instance": "../x"}, "instance"),
        (
            {"suite": [{"id": "a", "prompt": "p", "check": "embedding", "min_similarity": 0.9}]},
            "embedding: it is missing",
        ),
        (
            {
                "suite": [{"id": "a", "prompt": "p", "check": "embedding", "min_similarity": 0.9}],
                "embedding": {"url": "h:1", "model": "e5"},
            },
            "embedding.url: 'h:1' does not start with",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    run: Run, fake: FakeStreamServer, options: dict[str, Any], word: str
) -> None:
    result = run(**options)
    assert result["failed"] and word in result["msg"] and not fake.bodies


def test_no_prompt_goes_into_the_log_of_the_host(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda *parts: logged.append(str(parts)))
    with caplog.at_level(logging.DEBUG):
        run(suite=[{"id": "a", "prompt": "SECRET PROMPT", "check": "any"}])
    assert "SECRET" not in "".join(logged) + caplog.text


def test_the_options_of_an_item_are_documented() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]["suite"]["suboptions"]
    assert set(documented) == set(SUITE_OPTIONS)
    for name, spec in SUITE_OPTIONS.items():
        for key in ("type", "default", "choices", "required", "elements"):
            assert documented[name].get(key) == spec.get(key), f"{name}.{key}"


# Suites in files.


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", r"chat.yml: items: it is a NoneType; write a list"),
        ("- {id: a, prompt: p", r"chat.yml, line \d+ is no YAML"),
        ("- {id: a, promt: p}", r"chat.yml: items\[0\] \(id 'a'\): promt is no key of an item; did you mean prompt"),
        ("items: []", r"chat.yml: items: it is empty"),
        ("suite: []", r"chat.yml has the key suite; write the items as a list under the one key items"),
        ("- {id: a, prompt: p, check: json_schema, schema: {allOf: []}}", r"schema.allOf is not supported"),
    ],
)
def test_a_suite_file_is_refused_with_file_item_key_and_fix(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "chat.yml").write_text(text)
    with pytest.raises(SuiteError, match=word):
        load_suite("chat.yml", str(tmp_path))


def test_a_suite_file_lies_beside_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "chat.yml").write_text("items:\n- {id: a, prompt: p, check: any}\n")
    assert load_suite("chat.yml", str(tmp_path)) == [{"id": "a", "prompt": "p", "check": "any"}]
    assert load_suite(str(tmp_path / "chat.yml"), None)[0]["id"] == "a"
    with pytest.raises(SuiteError, match=r"looked for .*other\.yml"):
        load_suite("other.yml", str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"suite_file": "none.yml"}, "none.yml is not there"),
        ({"suite": [{"id": "a"}]}, "prompt is empty and messages is missing"),
        ({"suite": [], "suite_file": "x"}, "both given"),
        ({"embedding": {"url": "http://e"}}, "model"),
        ({"models": {"tiny": {"suit": []}}}, "Did you mean suite"),
        ({"pools": {"chat": {"suite": []}}}, "it is empty"),
        ({"pools": {"chat": {"min_pass_share": 90}}}, "from 0 to 1"),
    ],
)
def test_wrong_settings_of_the_gate_are_found_before_a_rollout(settings: dict[str, Any], word: str) -> None:
    found = quality_findings({"gpu1": settings, "gpu2": settings, "gpu3": None}, "/nowhere")
    assert len(found) == 1 and word in f"{found[0]['action']} {found[0]['expected']}"
    assert "gpu1, gpu2" in found[0]["subject"]


def test_right_settings_of_the_gate_are_let_through() -> None:
    suite = [{"id": "a", "prompt": "p"}]
    settings = {
        "suite": suite,
        "compare": "auto",
        "models": {"m": {"suite": suite}},
        "pools": {"p": {"compare": "exact"}},
    }
    assert quality_findings({"gpu1": settings}, None) == []
