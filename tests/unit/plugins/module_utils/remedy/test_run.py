# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of remediation on a made-up host: what is done, written down, counted and told, and in which order."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._metrics_text import parse_metrics
from ansible_collections.local_llm.ops.plugins.module_utils._release import release_id, release_text
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import locked
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import Paths
from ansible_collections.local_llm.ops.plugins.module_utils._remedy import _alertmanager as alertmanager
from ansible_collections.local_llm.ops.plugins.module_utils._remedy import _files as files
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._run import Host, run_once

DESCRIPTION: dict[str, Any] = {
    "schema": 1, "engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "model_revision": "r1",
    "model_manifest_sha256": "a" * 64, "model_entry": "model.gguf", "served_name": "chat", "port": 1, "gpus": "none",
    "config": {},
}  # fmt: skip
RULE: dict[str, Any] = {
    "name": "crashes", "condition": "crashes", "threshold": 3, "window_seconds": 600,
    "actions": ["take_out", "restart", "notify"], "cooldown_seconds": 100, "limit": 2, "limit_window_seconds": 9000,
}  # fmt: skip
START = 1_000_000.0


class FakeSystem:
    """systemctl and journalctl of the made-up host."""

    def __init__(self) -> None:
        self.restarts = 0
        self.enabled = "enabled"
        self.refuses = False
        self.calls: list[str] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if command[:2] == ["systemctl", "show"]:
            text = f"ActiveState=activating\nNRestarts={self.restarts}\nInvocationID=i{self.restarts}\n"
            return 0, f"{text}UnitFileState={self.enabled}\n", ""
        if command[0] == "systemctl":
            self.calls.append(" ".join(command[1:]))
            if "restart" in command and self.refuses:
                return 1, "", "Unit is masked."
            self.restarts = 0 if "reset-failed" in command else self.restarts
        return 0, "", ""


class MadeUp:
    """A host with one instance that crashes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.system = FakeSystem()
        self.said: list[str] = []
        self.now = START
        self.host_class = Host
        release = directory / "base/instances/chat/releases" / release_id(DESCRIPTION)
        release.mkdir(parents=True)
        (release / "release.json").write_text(release_text(DESCRIPTION), encoding="utf-8")
        (directory / "base/instances/chat/current").symlink_to(f"releases/{release.name}")
        for name in ("remediation", "textfile", "base/locks"):
            (directory / name).mkdir()
        self.content: dict[str, Any] = {
            "schema": 1, "host": "gpu1", "mode": "act", "rules": [RULE], "interval_seconds": 30, "settle_seconds": 60,
            "probe_timeout_seconds": 1, "agent": True, "alertmanager": {"url": ""}, "runbook_url": "runbook",
            "textfile_directory": str(directory / "textfile"), "directory": str(directory / "remediation"),
            "health_directory": str(directory / "health"),
        }  # fmt: skip

    def run(self, crashes: int = 0) -> None:
        """Let it crash so many times, then run once."""
        self.system.restarts += crashes
        self.now += 30
        settings = files.parse_settings(self.content)
        out = str(self.directory / "run/out.json")
        host = self.host_class(settings, self.system, self.said.append, Paths(base=str(self.directory / "base")), out)
        run_once(host, self.now)

    def journal(self) -> list[dict[str, Any]]:
        path = self.directory / "remediation/journal.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def told(self) -> list[tuple[str, str]]:
        return [(line["action"], line["result"]) for line in self.journal()]

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "remediation/state.json").read_text(encoding="utf-8"))
        return found

    def out(self) -> list[str]:
        return list(json.loads((self.directory / "run/out.json").read_text(encoding="utf-8"))["out"])

    def metrics(self) -> dict[tuple[str, str], float]:
        text = (self.directory / "textfile/local_llm_remediation.prom").read_text(encoding="utf-8")
        short = "local_llm_remediation_"
        return {
            (s.name.removeprefix(short), "/".join(value for _key, value in s.labels)): s.value
            for s in parse_metrics(text)
        }


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUp:
    return MadeUp(tmp_path)


def test_a_crash_loop_is_taken_out_restarted_counted_and_then_given_up(made_up: MadeUp) -> None:
    made_up.run()
    made_up.run(crashes=3)
    assert made_up.system.calls == ["reset-failed local-llm@chat.service", "--no-block restart local-llm@chat.service"]
    assert made_up.told() == [("take_out", "done"), ("restart", "begun"), ("restart", "done"), ("notify", "done")]
    assert made_up.out() == ["gpu1-chat"]
    made_up.now += 100
    made_up.run(crashes=3)
    made_up.now += 100
    made_up.run(crashes=3)
    made_up.now += 100
    made_up.run(crashes=3)
    assert len(made_up.system.calls) == 4
    assert made_up.told()[-1] == ("give_up", "done")
    assert made_up.state()["instances"]["chat"]["rules"]["crashes"]["gave_up_at"] is not None
    metrics = made_up.metrics()
    assert metrics[("actions_total", "restart/crashes/gpu1-chat")] == 2
    assert metrics[("actions_total", "give_up/crashes/gpu1-chat")] == 1
    assert metrics[("gave_up", "crashes/gpu1-chat")] == 1
    assert metrics[("out_of_service", "gpu1-chat")] == 1
    assert metrics[("acting", "")] == 1


def test_every_line_of_the_journal_follows_the_one_before(made_up: MadeUp) -> None:
    made_up.run()
    made_up.run(crashes=3)
    lines = made_up.journal()
    previous = CHAIN_START
    for number, line in enumerate(lines, start=1):
        assert set(line) == set(files.JOURNAL_KEYS)
        assert (line["seq"], line["previous_sha256"]) == (number, previous)
        previous = sha256_hex(canonical_json(line))


def test_observing_writes_down_the_same_and_does_nothing(made_up: MadeUp) -> None:
    made_up.content["mode"] = "observe"
    made_up.run()
    made_up.run(crashes=3)
    assert made_up.system.calls == []
    assert made_up.told() == [("take_out", "observed"), ("restart", "observed"), ("notify", "observed")]
    assert made_up.out() == []
    metrics = made_up.metrics()
    assert metrics[("observed_actions_total", "restart/crashes/gpu1-chat")] == 1
    assert metrics[("out_of_service", "gpu1-chat")] == 0
    assert not [key for key in metrics if key[0] == "actions_total"]


def test_what_was_observed_does_not_count_as_tried_once_it_acts(made_up: MadeUp) -> None:
    made_up.content["mode"] = "observe"
    made_up.run()
    for _number in range(4):
        made_up.now += 100
        made_up.run(crashes=3)
    assert made_up.metrics()[("gave_up", "crashes/gpu1-chat")] == 1
    made_up.content["mode"] = "act"
    made_up.run()
    made_up.run(crashes=3)
    assert ("restart", "done") in made_up.told()


def test_a_turn_of_mode_observe_gives_back_no_attempt_and_ends_no_giving_up(made_up: MadeUp) -> None:
    made_up.run()
    for _number in range(5):
        made_up.now += 100
        made_up.run(crashes=3)
    assert made_up.told()[-1] == ("give_up", "done")
    calls = list(made_up.system.calls)
    made_up.content["mode"] = "observe"
    made_up.run()
    # A person still has to come.
    assert made_up.metrics()[("gave_up", "crashes/gpu1-chat")] == 1
    made_up.now += 100
    made_up.run(crashes=3)
    assert made_up.told()[-1] == ("notify", "observed")
    made_up.content["mode"] = "act"
    for _number in range(3):
        made_up.now += 100
        made_up.run(crashes=3)
    assert made_up.system.calls == calls
    assert made_up.metrics()[("gave_up", "crashes/gpu1-chat")] == 1


@pytest.mark.parametrize(
    ("key", "value", "why"), [("mode", "observe", "the mode is observe"), ("agent", False, "without the agent")]
)
def test_who_is_out_is_let_in_when_nobody_may_be_out_any_more(made_up: MadeUp, key: str, value: Any, why: str) -> None:
    made_up.run()
    made_up.run(crashes=3)
    assert made_up.out() == ["gpu1-chat"]
    made_up.content[key] = value
    made_up.run()
    assert made_up.out() == []
    assert made_up.told()[-1] == ("let_in", "done") and why in made_up.journal()[-1]["reason"]
    assert made_up.metrics()[("out_of_service", "gpu1-chat")] == 0
    made_up.run()
    assert made_up.told().count(("let_in", "done")) == 1


def test_nothing_is_done_while_a_rollout_has_the_host_and_it_acts_afterwards(made_up: MadeUp) -> None:
    made_up.run()
    holds = made_up.directory / "remediation/holds.json"
    work = {"id": "20261121T070623Z-54db", "until": made_up.now + 600}
    holds.write_text(json.dumps({"schema": 1, "holds": {}, "work": work}), encoding="utf-8")
    made_up.run(crashes=9)
    assert made_up.system.calls == []
    assert made_up.metrics()[("held", "gpu1-chat")] == 1
    # The controller died: nobody says that it has ended.
    made_up.now += 600
    made_up.run()
    assert made_up.system.calls == []
    made_up.run(crashes=3)
    assert ("restart", "done") in made_up.told()


def test_nothing_is_done_while_a_rollout_is_armed(made_up: MadeUp) -> None:
    made_up.run()
    made_up.run(crashes=3)
    armed = made_up.directory / "base/instances/chat/armed.json"
    armed.write_text('{"deadline_at": "soon"}', encoding="utf-8")
    calls = list(made_up.system.calls)
    for _number in range(6):
        made_up.now += 60
        made_up.run(crashes=5)
    assert made_up.system.calls == calls
    # It was out; from here on the rollout says who serves.
    assert made_up.out() == []
    assert made_up.told()[-1] == ("let_in", "done")
    assert made_up.metrics()[("held", "gpu1-chat")] == 1
    armed.unlink()
    made_up.run()
    assert made_up.system.calls == calls


def test_a_change_that_begins_between_look_and_deed_goes_first(made_up: MadeUp) -> None:
    made_up.run()
    asked: list[bool] = []

    class Late(Host):
        def held(self, instance: str, now: float, ask_lock: bool = True) -> str:
            asked.append(ask_lock)
            # The look sees nothing; the second question, under the lock, sees the rollout.
            return "" if ask_lock else "a rollout has it"

    made_up.host_class = Late
    made_up.run(crashes=3)
    assert asked == [True, False]
    assert made_up.system.calls == []
    assert ("restart", "skipped") in made_up.told()
    assert made_up.state()["instances"]["chat"]["rules"]["crashes"]["acted"] == []


def test_an_instance_whose_lock_is_held_is_left_alone(made_up: MadeUp) -> None:
    made_up.run()
    with locked(str(made_up.directory / "base/locks/chat.lock"), 1):
        made_up.run(crashes=3)
    assert made_up.system.calls == []


def test_an_instance_that_is_not_meant_to_run_is_left_alone(made_up: MadeUp) -> None:
    made_up.run()
    made_up.system.enabled = "disabled"
    made_up.run(crashes=9)
    assert made_up.system.calls == [] and made_up.told() == []


def test_a_restart_that_fails_is_told_and_counts_as_an_attempt(made_up: MadeUp) -> None:
    made_up.system.refuses = True
    made_up.run()
    made_up.run(crashes=3)
    assert ("restart", "failed") in made_up.told()
    assert "masked" in made_up.journal()[2]["detail"]
    assert made_up.metrics()[("failures_total", "restart/crashes/gpu1-chat")] == 1
    assert len(made_up.state()["instances"]["chat"]["rules"]["crashes"]["acted"]) == 1


def test_without_the_agent_nobody_is_taken_out(made_up: MadeUp) -> None:
    made_up.content["agent"] = False
    made_up.run()
    made_up.run(crashes=3)
    assert made_up.out() == []
    assert "take_out" not in {action for action, _result in made_up.told()}
    made_up.content["rules"] = [{**RULE, "actions": ["take_out"]}]
    with pytest.raises(files.RemedyError, match="remediation_agent"):
        files.parse_settings(made_up.content)


def test_a_damaged_state_is_moved_away_and_told(made_up: MadeUp) -> None:
    made_up.run()
    (made_up.directory / "remediation/state.json").write_text('{"half', encoding="utf-8")
    made_up.run()
    assert made_up.told() == [("state_lost", "done")]
    assert (made_up.directory / "remediation/state.json.damaged").exists()


def test_no_directory_of_the_exporter_is_no_trouble(made_up: MadeUp) -> None:
    made_up.content["textfile_directory"] = str(made_up.directory / "missing")
    made_up.run()
    assert made_up.said == []


class Receiver(BaseHTTPRequestHandler):
    """An Alertmanager that keeps what it gets."""

    status = 200
    got: ClassVar[list[Any]] = []
    headers_got: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.__class__.status == 200:
            self.__class__.got.append((self.path, json.loads(body)))
            self.__class__.headers_got.append(self.headers.get("Authorization", ""))
        self.send_response(self.__class__.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[type[Receiver], str]]:
    class Mine(Receiver):
        got: ClassVar[list[Any]] = []
        headers_got: ClassVar[list[str]] = []

    server = HTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield Mine, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_alertmanager_is_told_of_what_was_done(made_up: MadeUp, receiver: tuple[type[Receiver], str]) -> None:
    mine, url = receiver
    made_up.content["alertmanager"] = {"url": url}
    made_up.run()
    made_up.run(crashes=3)
    ((path, (alert,)),) = mine.got
    assert path == "/api/v2/alerts"
    assert alert["labels"] == {
        "alertname": "LocalLlmRemediationActed", "severity": "warning", "host": "gpu1", "server": "gpu1-chat",
        "rule": "crashes", "action": "notify",
    }  # fmt: skip
    assert alert["annotations"]["runbook_url"] == "runbook" and "crashed 3 times" in alert["annotations"]["summary"]
    assert alert["startsAt"] < alert["endsAt"]


def test_what_cannot_be_told_waits_in_bounds_and_is_told_later(
    made_up: MadeUp, receiver: tuple[type[Receiver], str]
) -> None:
    mine, url = receiver
    mine.status = 503
    made_up.content["alertmanager"] = {"url": url}
    made_up.run()
    made_up.run(crashes=3)
    spool = str(made_up.directory / "remediation/spool")
    assert len(alertmanager.waiting(spool)) == 1 and "HTTP 503" in made_up.said[-1]
    assert made_up.metrics()[("waiting_messages", "")] == 1
    for number in range(alertmanager.MOST_WAITING + 20):
        alertmanager.put_aside(spool, {"number": number}, made_up.now + number / 1000)
    assert len(alertmanager.waiting(spool)) == alertmanager.MOST_WAITING
    mine.status = 200
    made_up.run()
    assert alertmanager.waiting(spool) == []
    assert len(mine.got[0][1]) == alertmanager.MOST_WAITING


def test_a_message_of_yesterday_is_dropped(made_up: MadeUp) -> None:
    spool = str(made_up.directory / "remediation/spool")
    alertmanager.put_aside(spool, {"x": 1}, START)
    endpoint = alertmanager.endpoint_of({"url": "http://127.0.0.1:1"})
    assert alertmanager.send_waiting(spool, endpoint, 1.0, START + alertmanager.MOST_AGE_SECONDS + 1) == (0, 0, "")
    assert alertmanager.waiting(spool) == []


def test_a_name_and_a_password_travel_in_a_header_only(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n", encoding="utf-8")
    settings = {"url": "http://127.0.0.1:9093", "user": "ann", "password_path": str(tmp_path / "password")}
    assert alertmanager.endpoint_of(settings).headers == (("Authorization", "Basic YW5uOnNlY3JldA=="),)


def test_settings_that_are_wrong_are_refused_with_all_that_is_wrong(made_up: MadeUp) -> None:
    with pytest.raises(files.RemedyError) as caught:
        files.parse_settings({**made_up.content, "mode": "maybe", "rules": [{**RULE, "limit": 0}], "host": None})
    assert "maybe" in str(caught.value) and "limit is 0" in str(caught.value)
    with pytest.raises(files.RemedyError, match="missing"):
        files.parse_settings({key: value for key, value in made_up.content.items() if key != "host"})
    settings = files.parse_settings(made_up.content)
    assert replace(settings, interval_seconds=10).lease_seconds == 90
