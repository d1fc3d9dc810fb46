# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that is watched by a real Prometheus and a real Alertmanager, which tell a receiver in this process."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from engine_fleet import PATTERNS, EngineFleet
from fleet import PlaybookRun, Traffic
from gpu_fleet import FakeGpus, Scenario, healthy

from ansible_collections.local_llm.ops.tests.fakes.nvml import scenarios

HERE = Path(__file__).resolve().parents[1] / "monitoring"
LAB = os.environ.get("LOCAL_LLM_TEST_LAB", "monitoring")
KEEP = os.environ.get("LOCAL_LLM_KEEP_LAB", "") != ""
LAB_HOSTS = ("gw1=bookworm", "gpu1=trixie", "gpu2=bookworm", "mon1=bookworm:monitoring")
SERVING = ("gpu1", "gpu2")
# What a fresh fleet serves with, and what it is moved to. Both are releases of tests/engines/variables.yml.
FIRST_ENGINE, ENGINE = "ollama", "llamacpp"
GPU_PROFILES = {"gpu1": "hgx_h100_8", "gpu2": "l4_1"}
# What the profiles do not say, so that panels have something to show: a card that works, bytes sent and received over
# PCIe and NVLink (fields of NVML by number), a little memory of a process that has ended, and some of one that has not.
AT_WORK = {
    "utilization.gpu": 60,
    **{f"field.{number}": 1 << 30 for number in (197, 198)},
    **{f"field.{number}": 1 << 20 for number in (138, 139)},
}
PROCESSES = {"process.0": "compute 999999 8192", "process.1": "compute 1 4096"}

# Rules of one's own beside those of the collection, and what tells a reload from a restart.
WITH_OWN_RULES = (
    "-e",
    '{"monitoring_extra_rule_groups": [{"name": "own", "rules": [{"record": "own:one", "expr": "vector(1)"}]}]}',
)
SHOWN_RUNS = "systemctl show -p InvocationID prometheus prometheus-alertmanager"

# What lab hosts tell of the machine that they share, which is busy with these tests: that is no fault of the fleet.
SHARED_MACHINE = {
    "LocalLlmHostCpuHigh": "lab hosts show the processors of the machine below",
    "LocalLlmHostMemoryHigh": "lab hosts show the memory of the machine below",
    "LocalLlmHostDiskBusy": "lab hosts show the disks of the machine below",
    "LocalLlmHostSwaps": "lab hosts show the swapping of the machine below",
    "LocalLlmHostOomKill": "lab hosts show the kills of the machine below, also those of other tests",
}


@dataclass(frozen=True)
class Told:
    """One alert in one message: its name, its labels, firing or resolved, and when it came (monotonic)."""

    name: str
    labels: Mapping[str, str]
    status: str
    at: float


class Webhook:
    """A receiver of Alertmanager."""

    def __init__(self, address: str) -> None:
        self._told: list[Told] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer._take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self._server.server_address[1]}/alerts"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _take(self, body: Mapping[str, Any]) -> None:
        now = time.monotonic()
        for alert in body["alerts"]:
            self._told.append(Told(alert["labels"]["alertname"], alert["labels"], alert["status"], now))

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()

    def told(self, since: float = 0.0) -> list[Told]:
        """Return what came since a time of the monotonic clock."""
        return [one for one in list(self._told) if one.at >= since]

    def find(self, name: str, status: str, since: float = 0.0, **labels: str) -> Told | None:
        """Return the first message about such an alert, or None."""
        for one in self.told(since):
            if one.name == name and one.status == status and labels.items() <= dict(one.labels).items():
                return one
        return None


def at_work(profile: str) -> Scenario:
    """Return healthy hardware that is in use."""
    found: Scenario = scenarios.gpu_change(healthy(profile), None, AT_WORK)
    return scenarios.gpu_change(found, 0, PROCESSES)


class MonitoringFleet(FakeGpus, EngineFleet):
    """A fleet with a monitoring host, fake GPUs, and an engine that is changed while it is watched."""

    webhook_url = "http://127.0.0.1:9/nobody"
    serves = FIRST_ENGINE

    def playbook_command(self, playbook: str, *extra: str) -> list[str]:
        """Return the command line of a playbook with the variables of these tests."""
        ours = [*PATTERNS, "-e", f"@{HERE / 'variables.yml'}", "-e", f"webhook_url={self.webhook_url}"]
        return super().playbook_command(playbook, *ours, "-e", f"engine_release={self.serves}", *extra)

    def find_engine(self) -> None:
        """Take over what hosts serve with that were kept from an earlier run."""
        known = self.shell(self.hosts[0], "ls /var/lib/local_llm/instances 2>/dev/null || true").split()
        self.serves = self.description(self.hosts[0])["engine"] if "chat" in known else FIRST_ENGINE

    def change_engine(self, engine: str) -> PlaybookRun:
        """Run an upgrade to another engine, which asks this Prometheus and silences at this Alertmanager."""
        self.serves = engine
        address = self.lab.host("mon1").address
        told = {f"local_llm_{name}_url": f"http://{address}:{port}" for name, port in
                (("prometheus", 9090), ("alertmanager", 9093))}  # fmt: skip
        done = self.playbook("upgrade", "-e", json.dumps(told))
        assert done.code == 0, done.output[-6000:]
        return done

    def ask(self, port: int, path: str, **query: str) -> Any:
        """Return what Prometheus (9090) or Alertmanager (9093) answers."""
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        url = f"http://{self.lab.host('mon1').address}:{port}{path}{text}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an expression: a list of {metric, value}."""
        found: list[dict[str, Any]] = self.ask(9090, "/api/v1/query", query=expression)["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """Return the one value of an expression."""
        (found,) = self.query(expression)
        return float(found["value"][1])

    def current_releases(self) -> dict[str, str]:
        """Return {host: the release that it runs}."""
        return {host: str(state["current"]) for host, state in self.releases().items()}

    def all_answer(self) -> bool:
        """Tell whether every target that is known was scraped, and answered."""
        targets = self.ask(9090, "/api/v1/targets", state="active")["data"]["activeTargets"]
        return bool(targets) and all(one["health"] == "up" for one in targets)

    def firing(self) -> set[tuple[str, str]]:
        """Return (alert, host) of everything that Prometheus sees firing now."""
        alerts = self.ask(9090, "/api/v1/alerts")["data"]["alerts"]
        return {
            (one["labels"]["alertname"], one["labels"].get("host", "")) for one in alerts if one["state"] == "firing"
        }

    def fired(self, seconds: float) -> set[str]:
        """Return the names of everything that fired within so many seconds, told or not."""
        return {
            one["metric"]["alertname"]
            for one in self.query(f'max_over_time(ALERTS{{alertstate="firing"}}[{seconds:.0f}s])')
        }

    @contextmanager
    def receiver(self) -> Iterator[Webhook]:
        """Open a receiver on this machine's address on the lab's bridge."""
        webhook = Webhook(self.lab.gateway_address)
        self.webhook_url = webhook.url
        try:
            yield webhook
        finally:
            webhook.close()


@dataclass
class Watched:
    """A fleet with its receiver.

    undisturbed_since, undisturbed_looks: when a test broke something last, and how often rules had been looked at then.
    """

    fleet: MonitoringFleet
    webhook: Webhook
    undisturbed_since: float = 0.0
    undisturbed_looks: float = 0.0

    def is_calm(self) -> bool:
        """Tell whether nothing fires that could."""
        return not {name for name, _host in self.fleet.firing()} - SHARED_MACHINE.keys()

    def unexpected(self, *expected: tuple[str, str], since: float) -> set[tuple[str, str]]:
        """Return (alert, host) of what came since then and is neither expected nor of the machine below."""
        told = {(one.name, one.labels.get("host", "")) for one in self.webhook.told(since)}
        return {one for one in told - set(expected) if one[0] not in SHARED_MACHINE}

    def looks(self) -> float:
        """Return how often the group of alerts that was looked at least was looked at."""
        groups = 'rule_group=~".*;local_llm_.*_alerts"'
        return self.fleet.value(f"min(prometheus_rule_group_iterations_total{{{groups}}})")

    def leave_alone(self) -> None:
        """Begin a time in which nothing may fire."""
        self.undisturbed_since, self.undisturbed_looks = time.monotonic(), self.looks()


@dataclass(frozen=True)
class Moved:
    """The change of the engine of the watched fleet: releases by host before and after, the run, its requests."""

    before: Mapping[str, str]
    after: Mapping[str, str]
    run: PlaybookRun
    traffic: Traffic


@dataclass(frozen=True)
class Ruled:
    """The first run of the playbook monitoring with rules of one's own: the run, and what runs before and after it."""

    run: PlaybookRun
    before: str
    after: str
