# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts beside the real Prometheus, Alertmanager and node_exporter, which are never trusted when they are silent."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from fleet import CHECKOUT, Client, Fleet
from rollouts import HOSTS, Rollout, journal, release_arguments
from waiting import wait_for

sys.path.insert(0, str(CHECKOUT / ".build/collections"))

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules import compile_rules

PACKAGES = "prometheus prometheus-alertmanager prometheus-node-exporter"
TIER = {"ttft_p95_max_seconds": 1.2, "error_rate_max_percent": 0}
INSTANCE = {
    "name": "chat", "engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "served_name": "chat",
    "port": 8001, "pool": "chat", "slo_tier": "lab", "config": {},
}  # fmt: skip
PLANTED = "/etc/prometheus/planted.yml"
SCRAPE_SECONDS = 2


@dataclass
class Monitoring:
    """Prometheus and Alertmanager on the gateway host of a lab."""

    fleet: Fleet
    address: str

    @property
    def arguments(self) -> list[str]:
        """Arguments that tell a playbook of them."""
        values = {
            "local_llm_prometheus_url": f"http://{self.address}:9090",
            "local_llm_alertmanager_url": f"http://{self.address}:9093",
            "local_llm_prometheus_wait_seconds": 30,
        }
        return ["-e", json.dumps(values)]

    def get(self, port: int, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}:{port}{path}", timeout=10) as answer:
            return json.load(answer)

    def value(self, query: str) -> float | None:
        """Return the first value of a query, None when Prometheus has none or is not there yet."""
        try:
            found = self.get(9090, f"/api/v1/query?query={quote(query)}")["data"]["result"]
        except OSError:
            return None
        return float(found[0]["value"][1]) if found else None

    def plant(self, alert: bool) -> None:
        """Let a critical alert about gpu2 fire, or not."""
        rule = {"alert": "Planted", "expr": "vector(1)", "labels": {"severity": "critical", "host": "gpu2"}}
        groups = [{"name": "planted", "rules": [rule] if alert else []}]
        self.write(PLANTED, {"groups": groups})
        self.fleet.shell("gw1", "systemctl reload prometheus")
        wanted = 1.0 if alert else None
        wait_for("the planted alert", lambda: self.value('ALERTS{alertname="Planted"}') == wanted, 30)

    def write(self, path: str, document: Any) -> None:
        self.fleet.shell("gw1", f"cat > {path} <<'END'\n{json.dumps(document)}\nEND")


def prometheus_config(fleet: Fleet) -> dict[str, Any]:
    """Return a scrape configuration as docs/slo_rules.md asks for; the label release stays behind on purpose."""
    engines = [
        {
            "targets": [f"{fleet.lab.hosts[host].address}:8001"],
            "labels": {
                "host": host, "server": f"{host}-chat", "pool": "chat", "engine": "llamacpp", "model": "tiny",
                "release": "000000000000",
            },
        }
        for host in HOSTS
    ]  # fmt: skip
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
        "rule_files": ["/etc/prometheus/local_llm_rules.yml", PLANTED],
        "scrape_configs": [
            {"job_name": "local_llm_engine", "static_configs": engines},
            {
                "job_name": "local_llm_gateway",
                "static_configs": [{"targets": ["127.0.0.1:8405"], "labels": {"host": "gw1"}}],
            },
            {
                "job_name": "local_llm_node",
                "static_configs": [{"targets": ["127.0.0.1:9100"], "labels": {"host": "gw1"}}],
            },
        ],
    }


@pytest.fixture(scope="module")
def monitoring(fleet: Fleet) -> Iterator[Monitoring]:
    """The distribution's packages on the gateway host, with the rules of this fleet."""
    it = Monitoring(fleet, fleet.lab.hosts["gw1"].address)
    install = f"DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends {PACKAGES}"
    fleet.shell("gw1", f"apt-get update -q && {install}")
    rules = compile_rules({host: [INSTANCE] for host in HOSTS}, tiers={"lab": TIER})["rules_yaml"]
    it.write("/etc/prometheus/local_llm_rules.yml", yaml.safe_load(rules))
    it.write(PLANTED, {"groups": []})
    it.write("/etc/prometheus/prometheus.yml", prometheus_config(fleet))
    fleet.shell("gw1", "promtool check config /etc/prometheus/prometheus.yml")
    fleet.shell("gw1", "systemctl restart prometheus prometheus-alertmanager prometheus-node-exporter")
    wait_for("Prometheus to see the fleet", lambda: it.value("count(local_llm:instance_up == 1)") == len(HOSTS), 60)
    # A counter must have been seen before it can grow.
    wait_for("the gateway's counters", lambda: it.value("count(haproxy_server_server_aborts_total)"), 60)
    yield it
    fleet.shell("gw1", "systemctl stop prometheus prometheus-alertmanager prometheus-node-exporter")


def lines_of(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


def test_good_upgrade_passes_with_data_silences_its_restarts_and_marks_itself(
    fleet: Fleet, client: Client, monitoring: Monitoring, other_release: list[str], settled: Callable[[], None]
) -> None:
    done = fleet.playbook("upgrade", *other_release, *monitoring.arguments)
    assert done.code == 0, done.output[-4000:]
    assert done.outcome == "completed"
    lines = journal(done.made_rollout)
    for event in ("metric_contract", "metrics_known", "metrics_watched"):
        assert {line["host"] for line in lines_of(lines, event)} == set(HOSTS), event
    for line in lines_of(lines, "metrics_watched"):
        figures = line["evidence"]["figures"]
        assert figures["requests"] > 0 and figures["failed"] == 0, figures
        assert figures["release_label"] == "stale", "targets are written when the rollout is over"
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic

    silences = [one for one in monitoring.get(9093, "/api/v2/silences") if one["createdBy"] == "local_llm.ops"]
    servers = {matcher["value"] for one in silences for matcher in one["matchers"]}
    assert servers == {f"{host}-chat" for host in HOSTS}
    assert {one["status"]["state"] for one in silences} == {"expired"}, silences

    name = done.made_rollout.name
    ended = f'local_llm_rollout_ended_timestamp_seconds{{rollout_id="{name}",outcome="completed",pool="chat"}}'
    started = f'local_llm_rollout_started_timestamp_seconds{{rollout_id="{name}",playbook="upgrade",pool="chat"}}'
    wait_for("the end of the rollout in Prometheus", lambda: monitoring.value(ended), 30)
    assert (monitoring.value(ended) or 0) > (monitoring.value(started) or 0) > 0


def test_prometheus_that_stops_during_the_watch_halts_the_rollout_and_nobody_notices(
    fleet: Fleet,
    client: Client,
    monitoring: Monitoring,
    rollout: Callable[..., Rollout],
    other_release: list[str],
    settled: Callable[[], None],
) -> None:
    before = fleet.releases()
    one = rollout(*other_release, *monitoring.arguments, "-e", "local_llm_prometheus_wait_seconds=5")
    one.wait_event("admitted", "gpu1")
    fleet.shell("gw1", "systemctl stop prometheus")
    try:
        done = one.finish()
        lines = journal(done.made_rollout)
        assert done.code != 0
        assert done.outcome == "halted", done.output[-3000:]
        (judged,) = [line for line in lines_of(lines, "step_failed") if line["evidence"]["step"] == "metrics_watched"]
        assert judged["evidence"]["verdict"] == "error" and "does not answer" in judged["detail"]
        after = fleet.releases()
        assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
        assert after["gpu1"]["state"] == "rolled_back_verified"
        settled()

        refused = fleet.playbook("upgrade", *other_release, *monitoring.arguments)
        assert refused.code != 0 and refused.rollout is None, "it must be refused before it made a rollout"
        assert "Nothing was touched" in refused.output and "does not answer" in refused.output
    finally:
        fleet.shell("gw1", "systemctl start prometheus")
    traffic = client.finish()
    assert traffic.failed == 0, traffic
    wait_for("Prometheus to see the fleet", lambda: monitoring.value("count(up == 1)") == len(HOSTS) + 2, 60)


def test_renamed_metric_is_taken_back_and_named_also_when_a_person_accepts_the_alerts(
    fleet: Fleet, client: Client, monitoring: Monitoring, settled: Callable[[], None]
) -> None:
    before = fleet.releases()
    monitoring.plant(True)
    try:
        refused = fleet.playbook("upgrade", *release_arguments("renamed_metric"), *monitoring.arguments)
        assert refused.code != 0 and refused.rollout is None
        assert "alert Planted (host gpu2)" in refused.output and "local_llm_accept_alerts" in refused.output
        accept = ["-e", json.dumps({"local_llm_accept_alerts": "m.rossi: a rehearsal"})]
        done = fleet.playbook("upgrade", *release_arguments("renamed_metric"), *monitoring.arguments, *accept)
    finally:
        monitoring.plant(False)
    assert done.code != 0
    assert done.outcome == "rolled_back_verified", done.output[-3000:]
    lines = journal(done.made_rollout)
    (accepted,) = lines_of(lines, "accepted_alerts")
    assert "m.rossi: a rehearsal" in accepted["detail"] and "Planted" in accepted["detail"]
    (contract,) = [line for line in lines_of(lines, "step_failed") if line["evidence"]["step"] == "metric_contract"]
    assert contract["host"] == "gpu1"
    assert "llamacpp:requests_deferred" in contract["detail"]
    assert "llamacpp:requests_waiting now" in contract["detail"]
    assert not lines_of(lines, "admitted"), "no client may have reached it"
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    assert after["gpu1"]["state"] == "rolled_back_verified"
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic
