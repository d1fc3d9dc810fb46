# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has an instance, what HAProxy's agent check is told, and what the host shows: read from files as they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _textfile
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import locked
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import Paths
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._holds import (
    HOLDS,
    UNDER_WAY_SECONDS,
    held_by_lock,
    held_by_recovery,
    held_by_state,
    why_held,
)
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._look import count_oom_kills, engine_facts
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._service import UP, document, reply

NOW = 1_000_000.0


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("word", ["switching", "warming", "verifying", "rolling_back"])
def test_a_rollout_that_works_on_it_has_it_and_one_that_died_long_ago_has_not(word: str) -> None:
    fresh = {"state": word, "updated_at": iso(NOW - 60)}
    old = {"state": word, "updated_at": iso(NOW - UNDER_WAY_SECONDS - 1)}
    assert "rollout" in held_by_state(None, fresh, NOW)
    assert held_by_state(None, old, NOW) == ""
    # However long ago: while the dead-man is armed, it is the dead-man's.
    assert "armed until" in held_by_state({"deadline_at": "x"}, old, NOW)


@pytest.mark.parametrize("word", ["healthy", "rolled_back_verified", "staged", "drained", "pending"])
def test_an_instance_at_rest_is_nobodys(word: str) -> None:
    assert held_by_state(None, {"state": word, "updated_at": iso(NOW)}, NOW) == ""
    assert held_by_state(None, None, NOW) == ""


def test_an_instance_that_waits_for_a_person_is_left_to_the_person() -> None:
    assert "person" in held_by_state(None, {"state": "rollback_failed", "updated_at": iso(0)}, NOW)


@pytest.mark.parametrize(
    ("servers", "held"),
    [([], True), ([{"instance": "chat"}], True), ([{"instance": "code"}], False)],
)
def test_a_recovery_of_gpus_has_the_instances_that_it_drained(servers: list[dict[str, str]], held: bool) -> None:
    mark = {"since": "x", "rung": "reset_gpu", "servers": servers}
    assert bool(held_by_recovery({"mark": mark}, "chat")) is held
    assert held_by_recovery({"mark": None}, "chat") == ""


@pytest.mark.parametrize(
    ("lock", "held"),
    [
        (None, False),
        ({"rollout_id": "models-x", "renewed_at": iso(NOW - 5), "ttl_seconds": 60, "halted": None}, True),
        ({"rollout_id": "x", "renewed_at": iso(NOW - 500), "ttl_seconds": 60, "halted": None}, False),
        ({"rollout_id": "x", "renewed_at": iso(NOW - 5), "ttl_seconds": 60, "halted": "a host failed"}, False),
    ],
)
def test_a_fleet_lock_on_the_same_host_counts_while_it_is_fresh(lock: dict[str, Any] | None, held: bool) -> None:
    assert bool(held_by_lock(lock, NOW)) is held


def host(tmp_path: Path) -> tuple[Paths, str, str]:
    instance = tmp_path / "instances" / "chat"
    instance.mkdir(parents=True)
    (tmp_path / "locks").mkdir()
    (tmp_path / "remediation").mkdir()
    return Paths(base=str(tmp_path)), str(tmp_path / "remediation"), str(tmp_path / "health")


def test_a_host_with_nothing_under_way_holds_nothing(tmp_path: Path) -> None:
    assert why_held(*host(tmp_path), "chat", NOW) == ""


@pytest.mark.parametrize(
    "place",
    [
        "instances/chat/armed.json",
        "instances/chat/state.json",
        "health/recovery.json",
        "gateway/rollout.lock",
        "gateway/recovery/rollout.lock",
        f"remediation/{HOLDS}",
    ],
)
def test_what_cannot_be_read_holds_everything(place: str, tmp_path: Path) -> None:
    paths = host(tmp_path)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text('{"half', encoding="utf-8")
    assert "not known" in why_held(*paths, "chat", NOW)


def test_a_change_of_this_very_moment_holds_it(tmp_path: Path) -> None:
    paths = host(tmp_path)
    with locked(str(tmp_path / "locks" / "chat.lock"), 1):
        assert "another change" in why_held(*paths, "chat", NOW)
    assert why_held(*paths, "chat", NOW) == ""


@pytest.mark.parametrize(("name", "held"), [("chat", True), ("*", True), ("code", False)])
def test_a_person_holds_one_or_all_for_a_while(name: str, held: bool, tmp_path: Path) -> None:
    paths = host(tmp_path)
    holds = {"holds": {name: {"until": NOW + 60, "by": "ann", "reason": "new fans"}}}
    (tmp_path / "remediation" / HOLDS).write_text(json.dumps(holds), encoding="utf-8")
    assert why_held(*paths, "chat", NOW) == ("held by ann: new fans" if held else "")
    assert why_held(*paths, "chat", NOW + 61) == ""


OUT = json.dumps(document({"gpu1-chat": "it crashed 3 times\nwithin 600 s; $(x)"}, 500.0, 90.0))


@pytest.mark.parametrize(
    ("request_line", "text", "uptime", "answer"),
    [
        ("gpu1-chat\n", OUT, 501.0, "down #it crashed 3 times within 600 s; x\n"),
        ("gpu1-chat\r\n", OUT, 589.0, "down #it crashed 3 times within 600 s; x\n"),
        # Nobody renewed the lease.
        ("gpu1-chat\n", OUT, 590.0, UP),
        ("gpu1-code\n", OUT, 501.0, UP),
        ("gpu1-chat\n", None, 501.0, UP),
        ("gpu1-chat\n", '{"out": {"gpu1-chat": 7}}', 501.0, UP),
        ("gpu1-chat\n", "[1]", 501.0, UP),
        ("gpu1-chat\n", '{"half', 501.0, UP),
        ("../../etc\n", OUT, 501.0, UP),
        ("", OUT, 501.0, UP),
    ],
)
def test_the_agent_says_down_only_of_a_server_with_a_lease(
    request_line: str, text: str | None, uptime: float, answer: str
) -> None:
    assert reply(request_line, text, uptime) == answer


def test_the_agent_never_says_a_word_that_changes_what_operators_and_rollouts_set() -> None:
    reasons = ("drain", "ready", "maint", "50%", "maxconn:1", "up", "\ndrain\n", "#drain", " drain")
    for reason in reasons:
        text = json.dumps(document({"a": reason}, 0.0, 60.0))
        said = reply("a\n", text, 1.0)
        # What stands behind the # is a text to HAProxy.
        assert said.partition("#")[0] == "down " and said.count("\n") == 1
    assert UP == "up\n"


ENGINE_METRICS = {"prompt_tokens_total": 5, "generated_tokens_total": 7}


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"engine": "vllm", "status": "ready", "in_flight": 2, "metrics": ENGINE_METRICS}, (True, False, 2, 12.0)),
        (
            {"engine": "vllm", "status": "loading", "in_flight": None, "metrics": ENGINE_METRICS},
            (False, True, None, 12.0),
        ),
        (
            {"engine": "vllm", "status": "ready", "in_flight": 1, "metrics": dict.fromkeys(ENGINE_METRICS)},
            (True, False, 1, None),
        ),
        # It answers, and has put its model away because nobody asked.
        (
            {"engine": "ollama", "status": "loading", "in_flight": None, "metrics": dict.fromkeys(ENGINE_METRICS)},
            (True, False, None, None),
        ),
        (
            {"engine": "llamacpp", "status": "dead", "in_flight": None, "metrics": dict.fromkeys(ENGINE_METRICS)},
            (False, False, None, None),
        ),
    ],
)
def test_what_counts_of_an_engines_answer(info: dict[str, Any], expected: tuple[Any, ...]) -> None:
    facts = engine_facts(info)
    assert (facts["answers"], facts["loading"], facts["running"], facts["tokens"]) == expected


def test_kills_are_counted_by_instance_and_not_twice() -> None:
    lines = "\n".join(
        json.dumps({"UNIT": unit, "__REALTIME_TIMESTAMP": str(int(at * 1e6))})
        for unit, at in (
            ("local-llm@chat.service", NOW + 1),
            ("local-llm@chat.service", NOW + 2),
            ("local-llm@chat.service", NOW - 0.5),
            ("other.service", NOW + 1),
        )
    )
    assert count_oom_kills(lines + "\nnot json\n{}\n", ["chat", "code"], NOW) == {"chat": 2}


def test_metrics_are_text_that_prometheus_reads_and_appear_whole(tmp_path: Path) -> None:
    families = [
        _textfile.Family("a_total", "counter", "What\nit is", [({"x": 'say "hi"\\', "b": "1"}, 2.0), ({}, 0.25)]),
        _textfile.Family("empty", "gauge", "Nothing", []),
    ]
    text = _textfile.render(families)
    assert text == (
        "# HELP a_total What\\nit is\n# TYPE a_total counter\n"
        + 'a_total{b="1",x="say \\"hi\\"\\\\"} 2\n'
        + "a_total 0.25\n"
    )
    assert _textfile.write(str(tmp_path), "x.prom", text)
    assert (tmp_path / "x.prom").read_text(encoding="utf-8") == text
    assert (tmp_path / "x.prom").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["x.prom"]
    assert not _textfile.write(str(tmp_path / "missing"), "x.prom", text)
