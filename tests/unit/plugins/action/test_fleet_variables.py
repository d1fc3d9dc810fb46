# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A misspelt variable stops every playbook of a fleet before a host is asked, in real runs of ansible-playbook."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.local_llm.ops.tests.unit.plugins.action.playbook_runs import run_playbook

ROOT = Path(__file__).parents[4]
# Nothing listens there: a host that is asked would be unreachable.
NOWHERE = {"ansible_host": "127.0.0.1", "ansible_port": 1}
INVENTORY = {"gpu_hosts": {"hosts": {"gpu1": NOWHERE, "gpu2": NOWHERE}}}
# It compares two files, and has no fleet.
WITHOUT_FLEET = {"benchmark_compare"}


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("[!_]*.yml")), ids=lambda path: path.stem)
def test_every_playbook_begins_with_the_fleet(path: Path) -> None:
    plays = yaml.safe_load(path.read_text(encoding="utf-8"))
    first = plays[0].get("ansible.builtin.import_playbook")
    assert first == "_fleet.yml" or path.stem in WITHOUT_FLEET


@pytest.mark.parametrize(
    ("playbook", "arguments", "words"),
    [
        ("benchmark", ["-e", "local_llm_benchmark_rnu=1"], ["local_llm_benchmark_rnu", "local_llm_benchmark_run"]),
        ("models", ["-e", "local_llm_model_apply=true"], ["local_llm_model_apply", "local_llm_models_apply"]),
        ("capacity", ["-e", "local_llm_pool={}"], ["local_llm_pool ", "local_llm_pools"]),
        ("health", ["--limit", "gpu1", "-e", "local_llm_healthrot=/x"], ["_healthrot", "local_llm_health_root"]),
        ("benchmark", ["-e", '{"local_llm_benchmark_run": {"time_scale": "x"}}'], ["run.time_scale", "found: x"]),
    ],
)  # fmt: skip
def test_a_misspelt_variable_stops_the_playbook_before_a_host_is_asked(
    tmp_path: Path, playbook: str, arguments: list[str], words: list[str]
) -> None:
    code, output = run_playbook(tmp_path, playbook, INVENTORY, *arguments)
    assert code != 0
    assert all(word in output for word in words), output[-2000:]
    assert "UNREACHABLE" not in output and "1 thing to mend" in output


def test_a_public_address_of_a_serving_host_stops_the_playbook_before_a_host_is_asked(tmp_path: Path) -> None:
    serving = {
        "gpu1": {**NOWHERE, "local_llm_address": "8.8.4.4"},
        "gpu2": {**NOWHERE, "local_llm_address": "10.0.0.2"},
    }
    # A gateway is where clients come in: its address is no fault.
    gateway = {"gw1": {**NOWHERE, "local_llm_address": "8.8.8.8"}}
    inventory = {"gpu_hosts": {"hosts": serving}, "gateway": {"hosts": gateway}}
    code, output = run_playbook(tmp_path, "health", inventory)
    told = " ".join(output.split())
    assert code != 0 and "1 thing to mend" in told and "UNREACHABLE" not in told, output[-2000:]
    for words in ("local_llm_address on gpu1", "8.8.4.4", "Set local_llm_address to the private address"):
        assert words in told, output[-2000:]
    _code, output = run_playbook(tmp_path, "health", inventory, "-e", "local_llm_allow_public_address=true")
    assert "to mend before" not in output and "UNREACHABLE" in output
