# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is watched, under which labels, and what a second run of the playbook does."""

from __future__ import annotations

from monitoring_fleet import SERVING, Upgraded, Watched
from waiting import wait_for


def test_every_job_of_the_fleet_answers(watched: Watched) -> None:
    found = {(one["metric"]["job"], one["metric"]["host"]) for one in watched.fleet.query("up == 1")}
    nodes = {("local_llm_node", host) for host in ("gw1", "gpu1", "gpu2", "mon1")}
    engines = {(job, host) for job in ("local_llm_engine", "local_llm_gpu") for host in SERVING}
    others = {("local_llm_gateway", "gw1"), ("local_llm_prometheus", "mon1"), ("local_llm_alertmanager", "mon1")}
    assert found == nodes | engines | others


def labels_match(watched: Watched) -> bool:
    told = {one["metric"]["host"]: one["metric"]["release"] for one in watched.fleet.query("local_llm:instance_up")}
    return told == watched.fleet.current_releases()


def test_an_engine_carries_the_release_that_its_host_runs(watched: Watched) -> None:
    wait_for("the labels are those of the releases that run", lambda: labels_match(watched), 30)


def test_serving_hosts_tell_what_remediation_would_do_and_do_nothing(watched: Watched) -> None:
    def acting() -> dict[str, str]:
        found = watched.fleet.query("local_llm_remediation_acting")
        return {one["metric"]["host"]: one["value"][1] for one in found}

    wait_for("remediation to be told of", lambda: acting() == {"gpu1": "0", "gpu2": "0"}, 90)


def test_new_rules_are_loaded_without_a_restart_and_a_second_run_changes_nothing(watched: Watched) -> None:
    shown = "systemctl show -p InvocationID prometheus prometheus-alertmanager"
    before = watched.fleet.shell("mon1", shown)
    own = '{"monitoring_extra_rule_groups": [{"name": "own", "rules": [{"record": "own:one", "expr": "vector(1)"}]}]}'
    for first in (True, False):
        done = watched.fleet.playbook("monitoring", "-e", own)
        assert done.code == 0, done.output[-6000:]
        assert (done.changed > 0) is first, done.output[-6000:]
        groups = watched.fleet.ask(9090, "/api/v1/rules")["data"]["groups"]
        assert "own" in {group["name"] for group in groups}
    assert watched.fleet.shell("mon1", shown) == before


def test_after_an_upgrade_the_targets_carry_the_new_release(watched: Watched, upgraded: Upgraded) -> None:
    assert all(upgraded.after[host] != upgraded.before[host] for host in SERVING)
    wait_for("the labels are those of the releases that run now", lambda: labels_match(watched), 30)
