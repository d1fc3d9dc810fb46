# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is watched, under which labels, also through a change of the engine; and what a second run does."""

from __future__ import annotations

from monitoring_fleet import ENGINE, FIRST_ENGINE, SERVING, SHOWN_RUNS, WITH_OWN_RULES, Moved, Ruled, Watched
from rollouts import journal
from waiting import wait_for

TOLD = {
    *(("local_llm_node", host) for host in ("gw1", "gpu1", "gpu2", "mon1")),
    *(("local_llm_gpu", host) for host in SERVING),
    ("local_llm_gateway", "gw1"),
    ("local_llm_prometheus", "mon1"),
    ("local_llm_alertmanager", "mon1"),
}
ENGINES = {("local_llm_engine", host) for host in SERVING}


def told(watched: Watched) -> set[tuple[str, str]]:
    """Return (job, host) of every target that answers."""
    return {(one["metric"]["job"], one["metric"]["host"]) for one in watched.fleet.query("up == 1")}


def by_host(watched: Watched, expression: str, *labels: str) -> dict[str, tuple[str, ...]]:
    """Return {host: these labels, then the value} of a query."""
    return {
        one["metric"]["host"]: (*(one["metric"].get(label, "") for label in labels), one["value"][1])
        for one in watched.fleet.query(expression)
    }


def test_every_job_answers_and_ollama_which_has_no_metrics_is_told_by_its_hosts_and_the_gateway(
    on_ollama: Watched,
) -> None:
    assert told(on_ollama) == TOLD
    seen_at_gateway = {host: (FIRST_ENGINE, "1") for host in SERVING}
    wait_for(
        "the hosts to tell of Ollama",
        lambda: by_host(on_ollama, "local_llm_ollama_up") == {host: ("1",) for host in SERVING},
        90,
    )
    wait_for(
        "the rules to tell of it by what the gateway sees",
        lambda: by_host(on_ollama, "local_llm:instance_up", "engine") == seen_at_gateway,
        30,
    )


def test_serving_hosts_tell_what_remediation_would_do_and_do_nothing(watched: Watched) -> None:
    acting = "local_llm_remediation_acting"
    wait_for("remediation to be told of", lambda: by_host(watched, acting) == {host: ("0",) for host in SERVING}, 90)


def test_a_change_of_the_engine_is_held_against_the_rules_and_the_targets_follow(
    on_ollama: Watched, moved: Moved
) -> None:
    """By the rollout alone: the playbook monitoring does not run."""
    assert moved.run.outcome == "completed"
    assert moved.traffic.failed == 0, moved.traffic
    lines = journal(moved.run.made_rollout)
    for event in ("metric_contract", "metrics_known", "metrics_watched"):
        assert {line["host"] for line in lines if line["event"] == event} == set(SERVING), event
    for line in lines:
        if line["event"] == "metric_contract":
            read = {reason["measure"].split(":", maxsplit=1)[0] for reason in line["evidence"]["reasons"]}
            assert read == {f"metric {ENGINE}"}, "the rules for the new engine count"
        if line["event"] == "metrics_watched":
            figures = line["evidence"]["figures"]
            assert figures["requests"] > 0 and figures["failed"] == 0, figures
            assert figures["release_label"] == "unknown", "Ollama had no target, and targets are written at the end"
    now = {host: (ENGINE, moved.after[host], "1") for host in SERVING}
    assert all(moved.after[host] != moved.before[host] for host in SERVING)
    wait_for(
        lambda: f"targets of the new engine with its release; there are {told(on_ollama) - TOLD}",
        lambda: by_host(on_ollama, 'up{job="local_llm_engine"}', "engine", "release") == now,
        30,
    )
    assert told(on_ollama) == TOLD | ENGINES
    wait_for("nobody to tell of Ollama any more", lambda: not on_ollama.fleet.query("local_llm_ollama_up"), 90)


def test_new_rules_are_loaded_without_a_restart_and_a_second_run_on_all_hosts_changes_nothing(
    watched: Watched, ruled: Ruled
) -> None:
    assert ruled.run.changed > 0
    again = watched.fleet.playbook("monitoring", *WITH_OWN_RULES)
    assert (again.code, again.changed) == (0, 0), again.output[-6000:]
    groups = watched.fleet.ask(9090, "/api/v1/rules")["data"]["groups"]
    assert "own" in {group["name"] for group in groups}
    assert watched.fleet.shell("mon1", SHOWN_RUNS) == ruled.after == ruled.before


def test_the_rules_tell_of_the_new_engine_with_the_release_that_its_host_runs(watched: Watched, ruled: Ruled) -> None:
    now = {host: (ENGINE, release, "1") for host, release in watched.fleet.current_releases().items()}
    wait_for(
        "the rules to tell of the new engine",
        lambda: by_host(watched, "local_llm:instance_up", "engine", "release") == now,
        30,
    )
