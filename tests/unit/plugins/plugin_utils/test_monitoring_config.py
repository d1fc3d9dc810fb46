# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations of Prometheus and Alertmanager: complete, without secrets, and told apart when they differ."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_compare import (
    config_differences,
    rule_differences,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_config import (
    ConfigError,
    access_files,
    alertmanager_config,
    check_access,
    inhibit_rules,
    prometheus_config,
    whole_access,
)

ROOT = Path(__file__).parents[4]
ACCESS = {
    "node": {"scheme": "https", "ca": "PEM", "server_name": "x", "username": "u", "password": "p-secret"},
    "engine": {"bearer_token": "t-secret"},
}
SETTINGS: dict[str, Any] = {
    "scrape_interval_seconds": 15, "scrape_timeout_seconds": 10, "evaluation_interval_seconds": 15,
    "alertmanager": "192.0.2.6:9093", "access": ACCESS, "group_by": ["alertname"], "group_wait_seconds": 30,
    "group_interval_seconds": 300, "repeat_interval_seconds": 14400,
}  # fmt: skip


def job(name: str, **changes: Any) -> dict[str, Any]:
    made = prometheus_config({**SETTINGS, **changes}, "/etc/x")
    return next(one for one in made["scrape_configs"] if one["job_name"] == name)


def test_every_job_of_the_page_on_rules_is_there() -> None:
    page = (ROOT / "docs/slo_rules.md").read_text(encoding="utf-8")
    wanted = set(
        re.findall(r"^\| `(local_llm_\w+)` \| (?:`/metrics`|HAProxy|node_exporter|our GPU)", page, re.MULTILINE)
    )
    made = {one["job_name"] for one in prometheus_config(SETTINGS, "/etc/x")["scrape_configs"]}
    assert len(wanted) == 4
    assert wanted <= made


def test_secrets_stand_in_files_of_their_own() -> None:
    made = prometheus_config(SETTINGS, "/etc/x")
    assert "secret" not in json.dumps(made).replace("/etc/x/secrets/", "")
    assert job("local_llm_node")["basic_auth"] == {
        "username": "u", "password_file": "/etc/x/secrets/local_llm_node.password",
    }  # fmt: skip
    assert access_files(check_access(ACCESS)) == {
        "local_llm_node.password": "p-secret", "local_llm_node.ca": "PEM\n", "local_llm_engine.token": "t-secret",
    }  # fmt: skip


def test_tls_is_asked_for_only_where_it_is_wanted() -> None:
    assert job("local_llm_node")["tls_config"] == {"ca_file": "/etc/x/secrets/local_llm_node.ca", "server_name": "x"}
    assert "scheme" not in job("local_llm_gateway")


def test_prometheus_reaches_itself_and_its_alertmanager_as_they_want_it() -> None:
    own = {"scheme": "https", "ca": "PEM", "username": "u", "password": "o-secret"}
    (told,) = prometheus_config({**SETTINGS, "own_access": own}, "/etc/x")["alerting"]["alertmanagers"]
    assert told == {
        "scheme": "https",
        "tls_config": {"ca_file": "/etc/x/secrets/local_llm_alertmanager.ca"},
        "basic_auth": {"username": "u", "password_file": "/etc/x/secrets/local_llm_alertmanager.password"},
        "static_configs": [{"targets": ["192.0.2.6:9093"]}],
    }
    assert job("local_llm_prometheus", own_access=own)["basic_auth"]["username"] == "u"
    files = access_files(whole_access({**SETTINGS, "own_access": own}))
    assert files["local_llm_alertmanager.password"] == files["local_llm_prometheus.password"] == "o-secret"
    assert "local_llm_gateway.password" not in files


def test_access_of_a_job_comes_before_what_holds_for_both() -> None:
    given = {"access": {"alertmanager": {"username": "v", "password": "q"}}, "own_access": {"scheme": "https"}}
    assert whole_access(given)["alertmanager"] == {"username": "v", "password": "q"}
    assert whole_access(given)["prometheus"] == {"scheme": "https"}
    assert whole_access({}) == {}


@pytest.mark.parametrize(
    ("access", "words"),
    [
        ({"nodes": {}}, "there is no such job; use one of engine, gateway, node"),
        ({"node": {"pasword": "p-secret"}}, "monitoring_access.node.pasword: is not known"),
        ({"node": {"username": "u"}}, "give both or none"),
        ({"node": {"ca": "PEM"}}, "set scheme to https"),
        ({"node": {"scheme": "ftp"}}, "use http or https"),
        ({"node": {"username": "u", "password": "p-secret", "bearer_token": "t-secret"}}, "one of them"),
        ({"node": "p-secret"}, "write a mapping"),
    ],
)
def test_a_wrong_access_is_refused_without_its_secret(access: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_access(access)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_scrape_that_takes_longer_than_the_time_between_two_is_refused() -> None:
    with pytest.raises(ConfigError, match="set it to 5 or less"):
        prometheus_config({**SETTINGS, "scrape_interval_seconds": 5}, "/etc/x")


def test_a_rehearsal_is_a_label_of_every_alert() -> None:
    made = prometheus_config({**SETTINGS, "time_scale": 60, "external_labels": {"site": "a"}}, "/etc/x")
    assert made["global"]["external_labels"] == {"site": "a", "local_llm_time_scale": "60"}
    assert "external_labels" not in prometheus_config({**SETTINGS, "time_scale": 1.0}, "/etc/x")["global"]


def test_without_receivers_alerts_have_a_place_to_be_seen() -> None:
    made = alertmanager_config(SETTINGS)
    assert (made["route"]["receiver"], made["receivers"]) == ("nobody", [{"name": "nobody"}])


def test_the_first_receiver_gets_what_no_route_takes() -> None:
    receivers = [{"name": "a"}, {"name": "b"}]
    assert alertmanager_config({**SETTINGS, "receivers": receivers})["route"]["receiver"] == "a"
    assert alertmanager_config({**SETTINGS, "receivers": receivers, "receiver": "b"})["route"]["receiver"] == "b"
    with pytest.raises(ConfigError, match="'c', which monitoring_receivers does not have; use one of a, b"):
        alertmanager_config({**SETTINGS, "receivers": receivers, "receiver": "c"})


def test_a_host_that_is_down_silences_its_instances_and_never_itself_or_a_pool() -> None:
    (matcher,) = inhibit_rules()[0]["target_matchers"]
    names = matcher.partition('"')[2].strip('"').split("|")
    assert {"LocalLlmInstanceDown", "LocalLlmGpuHot", "LocalLlmHostDiskFull"} <= set(names)
    assert not {"LocalLlmHostDown", "LocalLlmPoolDown", "LocalLlmGatewayDown"} & set(names)


def test_a_server_may_tell_more_and_hide_secrets() -> None:
    wanted = {"global": {"scrape_interval": "90s"}, "receivers": [{"name": "a", "url": "http://s"}], "routes": []}
    running = yaml.safe_load(
        "global: {scrape_interval: 1m30s, extra: 1}\nreceivers: [{name: a, url: <secret>, send_resolved: true}]"
    )
    assert config_differences(wanted, running) == []


@pytest.mark.parametrize(
    ("running", "words"),
    [
        ({"a": {"b": 2}}, "a.b: 1 was written, 2 runs"),
        ({"a": {}}, "a.b: is missing"),
        ({"a": [1]}, "was written"),
        ({}, "a: is missing"),
    ],
)
def test_a_difference_is_told_with_its_place(running: Any, words: str) -> None:
    assert any(words in line for line in config_differences({"a": {"b": 1}}, running))


def test_two_lists_of_different_length_differ() -> None:
    assert config_differences({"a": [1, 2]}, {"a": [1]}) == ["a: 2 entries were written, 1 run"]


WRITTEN = {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "x", "for": "1m"}, {"record": "r", "expr": "y"}]}]}


@pytest.mark.parametrize(
    ("groups", "count"),
    [
        ([{"name": "g", "rules": [{"name": "A", "duration": 60}, {"name": "r"}]}], 0),
        ([{"name": "g", "rules": [{"name": "A", "duration": 5}, {"name": "r"}]}], 1),
        ([{"name": "g", "rules": [{"name": "A", "duration": 60}]}], 1),
        ([{"name": "old", "rules": []}], 2),
        ([], 1),
    ],
)
def test_rules_that_were_not_loaded_are_told(groups: list[dict[str, Any]], count: int) -> None:
    assert len(rule_differences(WRITTEN, {"groups": groups})) == count
