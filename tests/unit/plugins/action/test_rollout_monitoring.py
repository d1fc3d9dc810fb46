# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts beside Prometheus and Alertmanager: the actions in real runs of ansible-playbook, the servers played."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
METRICS = Path(__file__).resolve().parents[2] / "fixtures/llamacpp_b11669/metrics.txt"
INSTANCE = {
    "name": "chat", "engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "pool": "chat",
    "slo_tier": "standard", "config": {},
}  # fmt: skip
PLAN = {"hosts": {"gpu1": {"chat": {"pool": "chat", "action": "upgrade"}}}}
NOBODY = "http://127.0.0.1:9"


class Server(ThreadingHTTPServer):
    """Plays Prometheus, Alertmanager and an engine at once; told what to answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.series: dict[str, list[Any]] = {}
        self.metrics = METRICS.read_text(encoding="utf-8")
        self.silences: list[tuple[str, Any]] = []
        self.asked: list[str] = []
        self.headers_seen: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/metrics":
            self._send(self.server.metrics.encode())
            return
        query = parse_qs(parts.query)["query"][0]
        self.server.asked.append(query)
        self.server.headers_seen.append(self.headers.get("Authorization", ""))
        now = time.time()
        if query == "time()":
            data: dict[str, Any] = {"resultType": "scalar", "result": [now, str(now)]}
        elif query.endswith("s]"):
            name = query.partition("{")[0]
            data = {"resultType": "matrix", "result": self.server.series.get(name, [])}
        else:
            data = {"resultType": "vector", "result": self.server.series.get(query.partition("{")[0], [])}
        self._send(json.dumps({"status": "success", "data": data}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.silences.append(("POST", body))
        self._send(json.dumps({"silenceID": f"id-{len(self.server.silences)}"}).encode())

    def do_DELETE(self) -> None:
        self.server.silences.append(("DELETE", self.path))
        self._send(b"")


@pytest.fixture
def server() -> Iterator[Server]:
    it = Server()
    thread = threading.Thread(target=it.serve_forever, daemon=True)
    thread.start()
    yield it
    it.shutdown()
    it.server_close()


def run(place: Path, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run tasks on a host called gpu1, which is this machine; return what each registered."""
    steps: list[dict[str, Any]] = []
    for number, task in enumerate(tasks):
        steps.append({**task, "register": f"told_{number}", "ignore_errors": True})
    told = [f"{{{{ told_{number} }}}}" for number in range(len(tasks))]
    copy = {"content": "{{ told | to_json }}", "dest": str(place / "told.json"), "mode": "0600"}
    steps.append({"ansible.builtin.copy": copy, "vars": {"told": told}})
    play = {"hosts": "gpu1", "gather_facts": False, "tasks": steps}
    (place / "play.json").write_text(json.dumps([play]), encoding="utf-8")
    values = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": {"gpu1": values}}}
    (place / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "HOME": str(place)}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(place / "inventory.yml")]
    done = subprocess.run(
        [*command, str(place / "play.json")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads((place / "told.json").read_text(encoding="utf-8"))
    return found


def matrix(labels: dict[str, str], *values: float, step: float = 1.0) -> dict[str, Any]:
    """Return a series whose newest sample lies two steps ahead, as if the next scrapes had come."""
    now = time.time()
    first = now - step * (len(values) - 3)
    return {"metric": labels, "values": [[first + place * step, str(value)] for place, value in enumerate(values)]}


def live(failed: float = 0.0, step: float = 30.0) -> dict[str, Any]:
    gateway = {"host": "gw1", "code": "2xx"}
    return {
        "haproxy_server_http_responses_total": [
            matrix(gateway, 5, 5, 5, 10, 20, step=step),
            matrix({**gateway, "code": "5xx"}, 0, 0, 0, 0, failed, step=step),
        ],
        "haproxy_server_server_aborts_total": [matrix({"host": "gw1"}, 0, 0, 0, 0, 0, step=step)],
        "up": [matrix({"release": "old"}, 1, 1, 1, 1, 1, step=step)],
        "llamacpp:requests_deferred": [matrix({}, 0, 0, 0, 0, 0, step=step)],
    }


def watch(url: str, phase: str, **values: Any) -> dict[str, Any]:
    arguments = {
        "url": url, "phase": phase, "instance": INSTANCE, "release": "a1b2c3d4e5f6", "gateways": ["gw1"],
        "wait_seconds": 1, **values,
    }  # fmt: skip
    return {"local_llm.ops.rollout_watch": arguments}


def test_watch_begins_judges_and_never_passes_without_data(tmp_path: Path, server: Server) -> None:
    server.series = live()
    since = time.time() - 45
    begun, passed, stale, gone, wrong = run(
        tmp_path,
        [
            watch(server.url, "begin", headers={"Authorization": "Bearer planted-secret"}),
            watch(server.url, "judge", started_seconds=since, requests_seen=9),
            watch(server.url, "judge", started_seconds=since, gateways=["gw2"]),
            watch(NOBODY, "judge", started_seconds=since, wait_seconds=0),
            watch(server.url, "judge"),
        ],
    )
    assert begun["verdict"]["verdict"] == "pass", begun
    assert abs(begun["started_seconds"] - time.time()) < 60 and not begun["failed"]
    assert "Bearer planted-secret" in server.headers_seen and "planted-secret" not in json.dumps(begun)
    assert passed["verdict"]["verdict"] == "pass", passed
    assert passed["figures"]["release_label"] == "stale" and passed["figures"]["requests"] == 15
    assert stale["verdict"]["verdict"] == "inconclusive" and "gw2" in stale["msg"]
    assert gone["verdict"]["verdict"] == "error" and "does not answer" in gone["msg"] and not gone["failed"]
    assert wrong["failed"] and "started_seconds" in wrong["msg"]


def test_watch_after_an_engine_without_metrics_takes_what_the_gateways_tell(tmp_path: Path, server: Server) -> None:
    server.series = {name: series for name, series in live().items() if name.startswith("haproxy_")}
    since = time.time() - 45
    ollama = {"engine": "ollama", "engine_version": "0.32.15", "model": "tiny"}
    begun, passed, unknown = run(
        tmp_path,
        [
            watch(server.url, "begin", previous=ollama),
            watch(server.url, "judge", started_seconds=since, requests_seen=10, previous=ollama),
            watch(server.url, "begin"),
        ],
    )
    assert begun["verdict"]["verdict"] == "pass"
    assert passed["verdict"]["verdict"] == "pass" and passed["figures"]["release_label"] == "unknown"
    assert any("since ollama has no metrics" in note for note in passed["notes"])
    assert unknown["verdict"]["verdict"] == "inconclusive" and "up{" in unknown["msg"]


def test_watch_fails_what_prometheus_saw_fail(tmp_path: Path, server: Server) -> None:
    server.series = live(failed=5)
    (found,) = run(tmp_path, [watch(server.url, "judge", started_seconds=time.time() - 45)])
    assert found["verdict"]["verdict"] == "fail" and "must go back" in found["msg"]


def test_alerts_refuse_unless_a_person_stands_for_it(tmp_path: Path, server: Server) -> None:
    def asked(**values: Any) -> dict[str, Any]:
        return {"local_llm.ops.rollout_alerts": {"url": server.url, "plan": PLAN, "gateways": ["gw1"], **values}}

    (no_rules,) = run(tmp_path, [asked()])
    assert no_rules["failed"] and "rules of local_llm.ops" in no_rules["msg"]
    server.series["count(local_llm:instance_expected)"] = [{"metric": {}, "value": [1, "1"]}]
    (quiet,) = run(tmp_path, [asked(accept="m.rossi: in case something fires")])
    assert not quiet["failed"] and quiet["accepted"] == "" and quiet["findings"][0]["status"] == "ok"
    labels = {"alertname": "LocalLlmGpuVeryHot", "host": "gpu1", "alertstate": "firing", "severity": "critical"}
    server.series["ALERTS"] = [{"metric": labels, "value": [1, "1"]}]
    spent = {"metric": {"pool": "chat", "slo": "errors"}, "value": [1, "-0.5"]}
    server.series["local_llm:slo_budget_remaining:ratio"] = [spent]
    refused, accepted, unsigned, silent = run(
        tmp_path,
        [asked(), asked(accept="m.rossi: this mends it"), asked(accept="because"), asked(url=NOBODY)],
    )
    assert refused["failed"] and "local_llm_accept_alerts" in refused["msg"]
    assert "LocalLlmGpuVeryHot (host gpu1)" in refused["msg"] and "error budget errors of pool chat" in refused["msg"]
    assert not accepted["failed"] and accepted["accepted"] == "m.rossi: this mends it"
    assert len(accepted["findings"]) == 2 and "LocalLlmGpuVeryHot" in accepted["msg"]
    assert unsigned["failed"] and "who decides" in unsigned["msg"]
    assert silent["failed"] and "does not answer" in silent["msg"]


def test_silences_are_set_prolonged_and_ended_and_their_failure_is_a_warning(tmp_path: Path, server: Server) -> None:
    def silence(**values: Any) -> dict[str, Any]:
        return {"local_llm.ops.rollout_silence": {"url": server.url, "server": "gpu1-chat", "seconds": 60, **values}}

    first, again, ended, nothing, away = run(
        tmp_path,
        [
            silence(),
            silence(silence_id="{{ told_0.silence_id }}"),
            silence(silence_id="{{ told_1.silence_id }}", state="absent"),
            silence(state="absent"),
            silence(url=NOBODY),
        ],
    )
    assert (first["silence_id"], again["silence_id"], ended["silence_id"]) == ("id-1", "id-2", None)
    (_post, new), (_again, prolonged), deleted = server.silences
    assert "id" not in new and prolonged["id"] == "id-1" and deleted == ("DELETE", "/api/v2/silence/id-2")
    assert not nothing["changed"] and len(server.silences) == 3
    assert not away["failed"] and away["silence_id"] is None and "goes on" in away["warnings"][0]


def test_metric_contract_is_worked_out_here_and_held_against_the_page_there(tmp_path: Path, server: Server) -> None:
    def contract(**values: Any) -> dict[str, Any]:
        instance = {**INSTANCE, **values.pop("instance", {})}
        arguments = {"url": server.url, "instance": instance, **values}
        return {"local_llm.ops.llm_metric_contract": arguments}

    (good,) = run(tmp_path, [contract()])
    assert good["verdict"]["verdict"] == "pass" and good["measured"], good
    server.metrics = server.metrics.replace("llamacpp:requests_deferred", "llamacpp:requests_waiting")
    bad, newer, failing, no_metrics, away, unknown = run(
        tmp_path,
        [
            contract(),
            contract(instance={"engine_version": "0.99.0"}),
            contract(fail_unless_pass=True),
            contract(instance={"engine": "ollama", "engine_version": "0.32.15"}),
            contract(url=NOBODY),
            contract(instance={"slo_tier": "nonsense"}),
        ],
    )
    assert bad["verdict"]["verdict"] == "fail" and not bad["failed"]
    assert "llamacpp:requests_deferred" in bad["verdict"]["summary"]
    assert "called llamacpp:requests_waiting" in bad["verdict"]["summary"]
    assert newer["verdict"]["verdict"] == "inconclusive" and "llamacpp 0.99.0" in newer["verdict"]["summary"]
    assert failing["failed"] and failing["msg"] == bad["verdict"]["summary"]
    assert no_metrics["verdict"]["verdict"] == "pass" and not no_metrics["measured"]
    assert away["verdict"]["verdict"] == "error" and not away["failed"]
    assert unknown["failed"] and "nonsense" in unknown["msg"]


def test_marks_are_written_where_there_is_a_directory_and_never_fail(tmp_path: Path) -> None:
    place = tmp_path / "textfile"
    place.mkdir()
    blocked = tmp_path / "blocked"
    (blocked / "local_llm_rollout.prom").mkdir(parents=True)

    def mark(directory: Path, **values: Any) -> dict[str, Any]:
        arguments = {"rollout_id": "r1", "started_seconds": 5, "directory": str(directory), **values}
        return {"local_llm.ops.rollout_mark": arguments}

    begun, ended, missing, full, half = run(
        tmp_path,
        [
            mark(place),
            mark(place, ended_seconds=9, outcome="completed", playbook="rollback", pools=["chat"]),
            mark(tmp_path / "none"),
            mark(blocked),
            mark(place, ended_seconds=9),
        ],
    )
    assert begun["changed"] and ended["changed"]
    assert 'outcome="completed",pool="chat"' in (place / "local_llm_rollout.prom").read_text(encoding="utf-8")
    assert not missing["changed"] and missing["path"] is None and "no node_exporter" in missing["detail"]
    assert not full["failed"] and full["path"] is None and "cannot be written" in full["detail"]
    assert half["failed"] and "outcome" in half["msg"]
