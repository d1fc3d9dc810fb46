# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is scraped comes from the inventory, and its labels from what the hosts run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_targets import (
    DEFAULT_GATEWAY_BIND,
    DEFAULT_PORTS,
    TargetsError,
    fleet_targets,
    hosts_of,
    joined,
    wants_gpu_exporter,
)

ROOT = Path(__file__).parents[4]
GROUPS = {"gpu_hosts": ["gpu1", "gpu2"], "gateway": ["gw1"], "monitoring": ["mon1"]}


def instance(**changes: Any) -> dict[str, Any]:
    return {
        "name": "chat", "engine": "llamacpp", "engine_version": "0.7.0", "model": "new", "served_name": "chat",
        "port": 8001, "gpus": "none", "pool": "chat", **changes,
    }  # fmt: skip


def running(**changes: Any) -> dict[str, Any]:
    description = {"engine": "llamacpp", "engine_version": "0.7.0", "model": "old", "port": 8001, **changes}
    return {"instances": [{"instance": "chat", "current": "0123456789ab", "current_description": description}]}


def hostvars(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    base: dict[str, dict[str, Any]] = {
        "gpu1": {"ansible_host": "192.0.2.11", "local_llm_instances": [instance()], "_r": running()},
        "gpu2": {"ansible_host": "192.0.2.12", "local_llm_instances": [instance()], "_r": running()},
        "gw1": {"ansible_host": "192.0.2.5", "gateway_metrics_bind": "192.0.2.5:8405"},
        "mon1": {"ansible_host": "192.0.2.6"},
    }
    return {name: {**variables, **changes.get(name, {})} for name, variables in base.items()}


def targets(before: Any = None, scraper: str = "mon1", **changes: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    known = hostvars(**changes)
    return fleet_targets(hosts_of(known, known, "_r"), GROUPS, scraper, before)


def places(groups: list[dict[str, Any]]) -> list[str]:
    return [place for group in groups for place in group["targets"]]


def test_every_job_finds_its_hosts_on_their_private_addresses() -> None:
    found = targets()
    assert places(found["engine"]) == ["192.0.2.11:8001", "192.0.2.12:8001"]
    assert places(found["gateway"]) == ["192.0.2.5:8405"]
    assert places(found["node"]) == ["192.0.2.11:9100", "192.0.2.12:9100", "192.0.2.5:9100", "192.0.2.6:9100"]
    assert places(found["prometheus"]) == ["192.0.2.6:9090"]
    assert places(found["alertmanager"]) == ["192.0.2.6:9093"]
    assert found["gpu"] == []
    assert found["node"][2]["labels"] == {"host": "gw1"}


def test_an_engine_is_labelled_with_what_runs_and_not_with_what_is_wanted() -> None:
    assert targets()["engine"][0]["labels"] == {
        "host": "gpu1", "server": "gpu1-chat", "pool": "chat", "engine": "llamacpp", "model": "old",
        "release": "0123456789ab",
    }  # fmt: skip


def test_an_instance_that_was_never_installed_is_watched_all_the_same() -> None:
    label = targets(gpu1={"_r": {"instances": []}})["engine"][0]["labels"]
    assert (label["model"], label["release"]) == ("new", "none")


@pytest.mark.parametrize("answer", [None, {"unreachable": True, "msg": "no route"}])
def test_a_host_that_gives_no_answer_keeps_its_labels(answer: Any) -> None:
    before = targets(gpu1={"_r": running(model="older")})
    kept = targets(before, gpu1={"_r": answer})["engine"][0]["labels"]
    assert (kept["model"], kept["release"]) == ("older", "0123456789ab")
    assert targets(gpu1={"_r": answer})["engine"][0]["labels"]["release"] == "unknown"


def test_an_engine_without_metrics_has_no_target() -> None:
    ollama = {"local_llm_instances": [instance(engine="ollama", engine_version="0.32.15")], "_r": {"instances": []}}
    assert places(targets(gpu1=ollama)["engine"]) == ["192.0.2.12:8001"]


def test_during_a_change_of_engine_the_one_that_runs_decides() -> None:
    wanted = {"local_llm_instances": [instance(engine="ollama", engine_version="0.32.15")]}
    assert targets(gpu1=wanted)["engine"][0]["labels"]["engine"] == "llamacpp"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"local_llm_instances": [instance()]}, False),
        ({"local_llm_instances": [instance(gpus="all")]}, True),
        ({"local_llm_instances": [instance(), instance(name="b", gpus=[0])]}, True),
        ({"local_llm_instances": [{"name": "no word about GPUs"}]}, True),
        ({"local_llm_instances": [instance()], "host_gpu": True}, True),
        ({"local_llm_instances": [instance(gpus="all")], "gpu_exporter_state": "absent"}, False),
        ({}, False),
    ],
)
def test_gpus_are_watched_where_they_are_declared(variables: dict[str, Any], wanted: bool) -> None:
    assert wants_gpu_exporter(variables) is wanted


def test_ports_and_addresses_of_the_inventory_count() -> None:
    found = targets(
        gpu1={"node_exporter_port": 9101, "local_llm_address": "10.0.0.1", "host_gpu": True, "gpu_exporter_port": 9400},
        gpu2={"node_exporter_state": "absent"},
        mon1={"monitoring_listen_address": "10.0.0.9"},
    )
    assert places(found["node"]) == ["10.0.0.1:9101", "192.0.2.5:9100", "192.0.2.6:9100"]
    assert places(found["gpu"]) == ["10.0.0.1:9400"]
    assert places(found["prometheus"]) == ["10.0.0.9:9090"]


def test_metrics_of_a_gateway_that_nobody_else_can_read_are_refused_with_the_mend() -> None:
    with pytest.raises(TargetsError, match=r'gateway_metrics_bind of gw1 is 127\.0\.0\.1:8405.*"192\.0\.2\.5:8405"'):
        targets(gw1={"gateway_metrics_bind": "127.0.0.1:8405"})
    with pytest.raises(TargetsError, match=DEFAULT_GATEWAY_BIND):
        targets(gw1={"gateway_metrics_bind": None})


def test_an_exporter_on_loopback_is_refused_where_another_host_asks() -> None:
    with pytest.raises(TargetsError, match=r"node_exporter_listen_address of gpu1 is 127\.0\.0\.1.*set it to 192"):
        targets(gpu1={"node_exporter_listen_address": "127.0.0.1"})
    assert places(targets(mon1={"node_exporter_listen_address": "127.0.0.1"})["node"])[-1] == "127.0.0.1:9100"


def test_a_gateway_may_read_its_own_loopback() -> None:
    assert places(targets(scraper="gw1", gw1={"gateway_metrics_bind": None})["gateway"]) == ["127.0.0.1:8405"]


@pytest.mark.parametrize("bind", ["*:8405", ":8405", "0.0.0.0:8405"])
def test_a_gateway_on_every_address_is_read_on_the_private_one(bind: str) -> None:
    assert places(targets(gw1={"gateway_metrics_bind": bind})["gateway"]) == ["192.0.2.5:8405"]


def test_an_address_of_ipv6_gets_its_brackets() -> None:
    assert [joined("fd00::1", 9100), joined("[fd00::1]", 9100), joined("h", 1)] == [
        "[fd00::1]:9100", "[fd00::1]:9100", "h:1",
    ]  # fmt: skip


def test_the_known_defaults_are_those_of_the_roles() -> None:
    defaults: dict[str, Any] = {}
    for role in ("gateway", "node_exporter", "gpu_exporter", "monitoring"):
        path = ROOT / f"roles/{role}/defaults/main.yml"
        defaults.update(yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {})
    assert {name: port for name, port in DEFAULT_PORTS.items() if defaults.get(name, port) != port} == {}
    assert defaults["gateway_metrics_bind"] == DEFAULT_GATEWAY_BIND
