# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input is refused before anything changes; the message has the key, the value and the fix."""

from __future__ import annotations

import json

import pytest
from fleet import Fleet

GOOD = {
    "name": "chat", "engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "served_name": "chat",
    "port": 8001, "gpus": "none", "pool": "chat", "slo_tier": "lab", "config": {"context_tokens": 1024},
}  # fmt: skip
TINY = {"source": "directory", "path": "/nonexistent/model", "revision": "r1", "files": {"model.gguf": "0" * 64}}

ALWAYS_FROZEN = {"name": "stop", "from": "2020-01-01", "until": "2120-01-01"}


def with_instance(**changes: object) -> dict[str, object]:
    """The good inventory with some keys of its instance changed."""
    return {"local_llm_instances": [{**GOOD, **changes}]}


# What is wrong -> (the variables that make it so, the words that the message must have).
CASES = {
    "unknown engine": (with_instance(engine="lamacpp"), ["engine", "lamacpp", "llamacpp"]),
    "unknown key": (with_instance(prot=8001), ["prot", "port"]),
    "unknown option": (with_instance(config={"contxt_tokens": 1}), ["contxt_tokens", "context_tokens"]),
    "two on one port": ({"local_llm_instances": [GOOD, {**GOOD, "name": "other"}]}, ["port", "8001"]),
    "pool without gateway": (with_instance(pool="nowhere"), ["pool", "nowhere"]),
    "malformed tier": (
        {"local_llm_slo_tiers": {"lab": {"ttft_p95_max_seconds": "fast"}}},
        ["ttft_p95_max_seconds", "fast"],
    ),
    "typo in a variable": ({"local_llm_rollout_serail": [1]}, ["local_llm_rollout_serail", "local_llm_rollout_serial"]),
    "missing model file": ({"local_llm_models": {"tiny": TINY}}, ["/nonexistent/model"]),
    "more context than memory": (
        with_instance(config={"context_tokens": 4194304, "parallel_requests": 256}),
        ["llamacpp on RAM", "expected: at most", "Set context_tokens to"],
    ),
    "freeze window": (
        {"local_llm_freeze_windows": [ALWAYS_FROZEN], "lab_parallel_requests": 7},
        ["freeze window stop", "local_llm_ignore_freeze=stop"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_inventory_is_refused_before_anything_changes(fleet: Fleet, case: str) -> None:
    variables, words = CASES[case]
    before = fleet.releases()
    done = fleet.playbook("upgrade", "-e", json.dumps(variables))
    assert done.code != 0
    for word in words:
        assert word in done.output, done.output[-3000:]
    assert done.changed == 0
    assert fleet.releases() == before


def test_wrong_checksum_of_a_model_is_refused(fleet: Fleet) -> None:
    index = json.loads((fleet.work.parents[1] / "artefacts" / "index.json").read_text(encoding="utf-8"))
    model = {**TINY, "path": index["models"]["tiny"]["directory"], "files": {"model.gguf": "f" * 64}}
    done = fleet.playbook("upgrade", "-e", json.dumps({"local_llm_models": {"tiny": model}}))
    assert done.code != 0
    assert "f" * 64 in done.output and "model.gguf" in done.output
    assert done.changed == 0


def test_port_that_something_else_holds_is_refused(fleet: Fleet) -> None:
    fleet.shell("gpu3", "systemd-run --unit=squatter python3 -m http.server 8055")
    try:
        second = {**GOOD, "name": "second", "port": 8055}
        done = fleet.playbook("site", "-e", json.dumps({"local_llm_instances": [GOOD, second]}))
    finally:
        fleet.shell("gpu3", "systemctl stop squatter")
    assert done.code != 0
    assert "8055" in done.output and "python3" in done.output, done.output[-3000:]
    assert done.changed == 0


def test_release_cannot_move_the_port_that_the_gateway_sends_to(fleet: Fleet) -> None:
    done = fleet.playbook("upgrade", "-e", json.dumps({"local_llm_instances": [{**GOOD, "port": 8056}]}))
    assert done.code != 0
    assert "8056" in done.output and "8001" in done.output
    assert done.changed == 0


def test_model_larger_than_the_disk_is_refused(fleet: Fleet) -> None:
    fleet.shell("gpu2", "mount -t tmpfs -o size=1m tmpfs /var/lib/local_llm/models")
    try:
        done = fleet.playbook("upgrade", "-e", "lab_model=tiny-other")
    finally:
        fleet.shell("gpu2", "umount /var/lib/local_llm/models")
    assert done.code != 0
    assert "gpu2" in done.output and "/var/lib/local_llm/models" in done.output and "MiB" in done.output
    assert done.changed == 0


def test_gateway_whose_socket_does_not_answer_is_refused(fleet: Fleet) -> None:
    before = fleet.releases()
    fleet.shell("gw1", "systemctl stop haproxy")
    try:
        done = fleet.playbook("upgrade", "-e", "lab_parallel_requests=6")
    finally:
        fleet.shell("gw1", "systemctl start haproxy")
    assert done.code != 0
    assert ".sock" in done.output, done.output[-3000:]
    assert fleet.releases() == before


def test_site_refuses_to_cut_off_an_instance_that_serves(fleet: Fleet) -> None:
    done = fleet.playbook("site", "-e", json.dumps({"local_llm_instances": []}))
    assert done.code != 0
    assert "chat" in done.output and "gpu1" in done.output, done.output[-3000:]
    assert done.changed == 0
