# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers a release is held against: never those that run what the rollout brings."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._live_others import OthersError, unchanged_servers
from ansible_collections.local_llm.ops.plugins.plugin_utils._plan import build_plan

OLD = {"schema": 1, "engine": "llamacpp", "engine_version": "0.7.0", "port": 8001, "config": {"threads": 4}}
NEW = {**OLD, "engine_version": "0.7.1"}


def wanted(description: dict[str, Any], pool: str = "chat") -> dict[str, Any]:
    """Return a desired release; the id of a release is its version and its port."""
    return {"release_id": identity(description), "pool": pool, "slo_tier": "lab", "description": description}


def identity(description: dict[str, Any]) -> str:
    return f"{description['engine_version']}-{description['port']}"


def found(description: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what llm_release_info says of a host that runs this."""
    one = {
        "instance": "chat",
        "current": identity(description),
        "previous": None,
        "armed": None,
        "instance_state": {"state": "healthy"},
        "current_description": description,
        "active_state": "active",
        **more,
    }
    return {"instances": [one]}  # fmt: skip


def plan(desired: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Return the plan of hosts one after the other."""
    return build_plan(
        rollout_id="r1",
        desired={host: {"chat": item} for host, item in desired.items()},
        current=current,
        serial=[1],
    )


HOSTS = ("gpu1", "gpu2", "gpu3", "gpu4")
FOUR = plan(dict.fromkeys(HOSTS, wanted(NEW)), dict.fromkeys(HOSTS, found(OLD)))


@pytest.mark.parametrize(
    ("server", "others"),
    [
        ("gpu1-chat", {"gpu2-chat", "gpu3-chat", "gpu4-chat"}),
        ("gpu2-chat", {"gpu3-chat", "gpu4-chat"}),
        ("gpu4-chat", set()),
    ],
)
def test_hosts_of_earlier_batches_do_not_count(server: str, others: set[str]) -> None:
    assert unchanged_servers(FOUR, server) == others


def test_hosts_of_the_same_batch_do_not_count() -> None:
    together = {**FOUR, "batches": [["gpu1"], ["gpu2", "gpu3"], ["gpu4"]]}
    assert unchanged_servers(together, "gpu2-chat") == {"gpu4-chat"}


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"config": {"threads": 8}}, True),  # another setting of its own
        ({"engine_version": "0.6.9"}, True),
        ({"engine_version": "0.7.1"}, False),  # the new release, by a rollout before
        ({"engine_version": "0.7.1", "port": 8002}, False),  # by another id, and still the new engine
    ],
)
def test_who_has_nothing_to_do_counts_unless_it_has_what_the_rollout_brings(
    change: dict[str, Any], counts: bool
) -> None:
    stays = {**OLD, **change}
    made = plan({"gpu1": wanted(NEW), "gpu2": wanted(stays)}, {"gpu1": found(OLD), "gpu2": found(stays)})
    assert made["hosts"]["gpu2"]["chat"]["action"] == "none"
    assert unchanged_servers(made, "gpu1-chat") == ({"gpu2-chat"} if counts else set())


def test_a_changed_setting_is_looked_for_in_the_settings() -> None:
    new = {**OLD, "engine_version": "0.7.0", "port": 8001, "config": {"threads": 8}}
    desired = {
        "gpu1": {**wanted(new), "release_id": "new"},
        "gpu2": wanted(OLD),
        "gpu3": {**wanted(new), "release_id": "n3"},
    }
    current = {"gpu1": found(OLD), "gpu2": found(OLD), "gpu3": found(new, current="n3")}
    assert unchanged_servers(plan(desired, current), "gpu1-chat") == {"gpu2-chat"}


def test_other_pools_armed_releases_and_unknown_changes_do_not_count() -> None:
    desired = {"gpu1": wanted(NEW), "gpu2": wanted(OLD, "code"), "gpu3": wanted(NEW)}
    armed = found(NEW, armed={"revert_to": identity(OLD)})
    made = plan(desired, {"gpu1": found(OLD), "gpu2": found(OLD), "gpu3": armed})
    assert made["hosts"]["gpu3"]["chat"]["action"] == "resume"
    assert unchanged_servers(made, "gpu1-chat") == set()
    resumed = plan({"gpu1": wanted(NEW), "gpu2": wanted(OLD)}, {"gpu1": armed, "gpu2": found(OLD)})
    assert unchanged_servers(resumed, "gpu1-chat") == set(), "what changes is not known here"


def test_a_server_that_the_plan_does_not_have_is_named() -> None:
    with pytest.raises(OthersError, match="'gpu9-chat', which the plan does not have; it has gpu1-chat, gpu2-chat"):
        unchanged_servers(FOUR, "gpu9-chat")
