# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role monitoring leaves on a host: real Prometheus, real Alertmanager, files that both take."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from testinfra.host import Host
from waiting import wait_for

testinfra_hosts = ["ansible://monitoring"]
PLACE = "/etc/prometheus/local_llm"
SECRETS = tuple(f"scrape-secret-{number}" for number in range(1, 6))
# Prints the status and the answer of an address. mon1 wants TLS and a password, which is read from a file there: a
# command of a test would stand in the journal.
ASK = """python3 - '%s' '%s' <<'EOF'
import base64, ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cafile="/etc/prometheus/local_llm/secrets/local_llm_node.ca")
request = urllib.request.Request(sys.argv[1])
if sys.argv[2]:
    name, path = sys.argv[2].split(":")
    pair = name + ":" + open(path).read()
    request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
try:
    answer = urllib.request.urlopen(request, timeout=10, context=context)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
EOF"""


KNOWN = f"local-llm:{PLACE}/secrets/local_llm_prometheus.password"
READER = f"reader:{PLACE}/secrets/local_llm_node.password"


def address(host: Host) -> str:
    return str(host.ansible.get_variables()["ansible_host"])


def guarded(host: Host) -> bool:
    return host.ansible.get_variables()["inventory_hostname"] == "mon1"


def scheme(host: Host) -> str:
    return "https" if guarded(host) else "http"


def answer(host: Host, port: int, path: str, user: str, scheme: str) -> tuple[int, str]:
    status, _space, text = host.check_output(ASK % (f"{scheme}://{address(host)}:{port}{path}", user)).partition(" ")
    return int(status), text


def ask(host: Host, port: int, path: str) -> Any:
    user = KNOWN if guarded(host) else ""
    status, text = answer(host, port, path, user, scheme(host))
    assert status == 200, text
    return json.loads(text)


@pytest.mark.parametrize(("unit", "port"), [("prometheus", 9090), ("prometheus-alertmanager", 9093)])
def test_it_listens_on_the_private_address_and_never_did_on_another(host: Host, unit: str, port: int) -> None:
    found = host.check_output("ss -Hltn")
    assert f"{address(host)}:{port}" in found
    for other in ("0.0.0.0", "*", "[::]", "127.0.0.1"):
        assert f"{other}:{port}" not in found
    assert ":9094" not in found
    if unit == "prometheus" and host.ansible.get_variables()["inventory_hostname"] == "mon3":
        # It had a Prometheus of its own before.
        return
    log = host.check_output(f"journalctl --unit {unit} --output cat --no-pager")
    listened = [line for line in log.splitlines() if "istening on" in line]
    assert listened
    assert all(f"{address(host)}:{port}" in line for line in listened), listened


@pytest.mark.parametrize("unit", ["prometheus", "prometheus-alertmanager"])
def test_it_runs_now_and_at_boot(host: Host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled


@pytest.mark.parametrize(
    "command",
    [
        "promtool check config prometheus.yml",
        "promtool check web-config web.yml",
        "promtool check rules rules/local_llm_rules.yml",
        "promtool test rules tests/local_llm_rules_test.yml",
        "amtool check-config alertmanager.yml",
    ],
)
def test_the_installed_files_pass_their_own_tools(host: Host, command: str) -> None:
    host.run_expect([0], f"cd {PLACE} && {command}")


def test_targets_carry_what_the_hosts_run(host: Host) -> None:
    targets = {
        one["labels"]["server"]: one
        for one in json.loads(host.file(f"{PLACE}/targets/local_llm_engine.json").content_string)
    }
    assert targets["gpu1-chat"] == {
        "targets": ["192.0.2.11:8001"],
        "labels": {
            "host": "gpu1", "server": "gpu1-chat", "pool": "chat", "engine": "llamacpp", "model": "tiny-old",
            "release": "aaaaaaaaaaaa",
        },
    }  # fmt: skip
    assert targets["gpu2-chat"]["labels"]["release"] == "unknown"
    assert sorted(targets) == ["gpu1-chat", "gpu1-code", "gpu2-chat", "gpu2-code"]


def test_prometheus_found_the_targets_of_every_job(host: Host) -> None:
    def jobs() -> dict[str, int]:
        found: dict[str, int] = {}
        for one in ask(host, 9090, "/api/v1/targets?state=active")["data"]["activeTargets"]:
            found[one["scrapePool"]] = found.get(one["scrapePool"], 0) + 1
        return found

    wanted = {
        "local_llm_engine": 4, "local_llm_gateway": 1, "local_llm_node": 6, "local_llm_gpu": 2,
        "local_llm_prometheus": 3, "local_llm_alertmanager": 3, "own": 1,
    }  # fmt: skip
    wait_for("all targets are found", lambda: jobs() == wanted)


def test_prometheus_scrapes_itself_and_sends_to_its_alertmanager(host: Host) -> None:
    def up() -> dict[str, str]:
        answer = ask(host, 9090, "/api/v1/query?query=up")["data"]["result"]
        here = [one for one in answer if one["metric"].get("instance", "").startswith(f"{address(host)}:")]
        return {one["metric"]["job"]: one["value"][1] for one in here}

    wait_for("Prometheus is up for itself", lambda: up().get("local_llm_prometheus") == "1")
    wait_for("Alertmanager is up", lambda: up().get("local_llm_alertmanager") == "1")
    there = ask(host, 9090, "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    assert [one["url"] for one in there] == [f"{scheme(host)}://{address(host)}:9093/api/v2/alerts"]


def test_an_alert_of_prometheus_reaches_its_alertmanager(host: Host) -> None:
    def heard() -> list[str]:
        return [one["labels"]["alertname"] for one in ask(host, 9093, "/api/v2/alerts")]

    wait_for("the alert that always fires", lambda: "ScenarioAlways" in heard())


def test_exporters_are_scraped_over_tls_with_a_password_and_a_checked_certificate(host: Host) -> None:
    def up() -> dict[str, str]:
        query = "up%7Bjob=%22local_llm_node%22,host=~%22mon.%22%7D"
        found = ask(host, 9090, f"/api/v1/query?query={query}")["data"]["result"]
        return {one["metric"]["host"]: one["value"][1] for one in found}

    wait_for("the exporters are up", lambda: up() == dict.fromkeys(("mon1", "mon2", "mon3"), "1"))
    (job,) = [
        one
        for one in yaml.safe_load(host.file(f"{PLACE}/prometheus.yml").content_string)["scrape_configs"]
        if one["job_name"] == "local_llm_node"
    ]
    assert job["scheme"] == "https" and "insecure_skip_verify" not in job["tls_config"]


@pytest.mark.parametrize(("port", "path"), [(9090, "/api/v1/query?query=1"), (9093, "/api/v2/status")])
def test_only_who_knows_a_password_is_answered_and_only_over_tls(host: Host, port: int, path: str) -> None:
    if not guarded(host):
        pytest.skip("mon2 is open to its network")
    for user, status in (("", 401), ("local-llm:/etc/hostname", 401), (KNOWN, 200), (READER, 200)):
        assert answer(host, port, path, user, "https")[0] == status, user
    status, text = answer(host, port, path, KNOWN, "http")
    assert status == 400 and "HTTPS" in text


def test_error_budgets_are_kept_for_longer_than_they_count(host: Host) -> None:
    flags = ask(host, 9090, "/api/v1/status/flags")["data"]
    assert flags["storage.tsdb.retention.time"] in ("40d", "960h")
    assert flags["web.enable-admin-api"] == "false"


def test_secrets_are_in_files_that_others_cannot_read_and_nowhere_else(host: Host) -> None:
    assert host.file(f"{PLACE}/secrets/local_llm_node.password").content_string == SECRETS[0]
    assert host.file(f"{PLACE}/secrets/local_llm_engine.token").content_string == SECRETS[1]
    if guarded(host):
        for job in ("prometheus", "alertmanager"):
            assert host.file(f"{PLACE}/secrets/local_llm_{job}.password").content_string == SECRETS[4]
        assert host.file(f"{PLACE}/web.yml").content_string.count("$2b$10$") == 2
        assert host.file(f"{PLACE}/web.key").content_string.startswith("-----BEGIN")
    else:
        assert not host.file(f"{PLACE}/web.key").exists
    for path in host.check_output(f"find {PLACE} -type f -not -name '.loaded-*'").split():
        assert host.file(path).mode == 0o640, path
        assert (host.file(path).user, host.file(path).group) == ("root", "prometheus"), path
    places = ["cat /proc/[0-9]*/cmdline | tr '\\0' ' '", "journalctl --no-pager"]
    places.append(f"cat {PLACE}/prometheus.yml {PLACE}/web.yml")
    for place in places:
        found = host.check_output(place)
        assert not [number for number, secret in enumerate(SECRETS, start=1) if secret in found], place
    assert "scrape-secret" not in json.dumps(ask(host, 9090, "/api/v1/status/config"))


def test_a_host_that_is_down_silences_what_follows_from_it(host: Host) -> None:
    config = yaml.safe_load(host.file(f"{PLACE}/alertmanager.yml").content_string)
    rule = config["inhibit_rules"][0]
    assert rule["source_matchers"] == ['alertname="LocalLlmHostDown"']
    assert "LocalLlmInstanceDown" in rule["target_matchers"][0]
    assert rule["equal"] == ["host"]


def test_alerts_take_the_routes_of_the_operator(host: Host) -> None:
    base = f"amtool config routes test --config.file {PLACE}/alertmanager.yml"
    assert host.check_output(f"{base} severity=critical") == "mail"
    assert host.check_output(f"{base} severity=warning") == "team"


def test_a_change_is_reloaded_and_not_restarted(host: Host) -> None:
    before = host.check_output("systemctl show -p InvocationID --value prometheus")
    host.run_expect([0], f"touch {PLACE}/prometheus.yml && systemctl reload prometheus")
    assert host.check_output("systemctl show -p InvocationID --value prometheus") == before
