# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast models go to hosts: the limit is for all hosts together, and one that is no number is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.roles.stubbed_roles import run, said, tell

FILES = {"model.gguf": "0" * 64}
MODEL = {"source": "http", "url": "http://127.0.0.1:9/m", "revision": "r1", "files": FILES}
ANSWERS: dict[str, list[Any]] = {
    "model_directory": [
        [{"state": "checked"}, {"published": False}],
        [{"state": "incoming"}, {"incoming_path": "/nonexistent", "missing_files": []}],
    ],
    "model_store": [[{"state": "restored"}, {"published": False}]],
    "model_artifact": [[{"state": "manifest"}, {"files": FILES, "sizes": {"model.gguf": 1}}]],
}


def bring(
    place: Path, limit: Any, hosts: tuple[str, ...] = ("gpu1", "gpu2"), **variables: Any
) -> tuple[int, str, list[dict[str, Any]]]:
    """Bring a model to hosts; return exit code, output, and the options of every fetch on a host."""
    given = {
        "_model_name": "m", "local_llm_models": {"m": MODEL}, "local_llm_model_cache": str(place / "cache"),
        "local_llm_model_share_bytes_per_second": limit, **variables,
    }  # fmt: skip
    tasks = [{"name": "Bring", "ansible.builtin.include_role": {"name": "_model"}}]
    code, output, calls = run(place, {"vars": given, "tasks": tasks}, ANSWERS, hosts=hosts)
    fetches = [options for name, options in calls if name == "model_artifact" and options["state"] == "fetched"]
    return code, output, [one for one in fetches if one["directory"] == "/nonexistent"]


MIRROR: dict[str, Any] = {"local_llm_model_fan_out": "mirror", "local_llm_model_mirror_url": "http://127.0.0.1:9"}


def test_each_host_of_those_at_work_has_an_equal_part_at_a_mirror(tmp_path: Path) -> None:
    many = tuple(f"gpu{number}" for number in range(1, 7))
    code, output, fetches = bring(tmp_path, "5000003", many, **MIRROR)
    assert code == 0, output
    assert [str(one["bytes_per_second"]) for one in fetches] == ["1000000"] * 6, "ansible has five hosts at work"


def test_the_controllers_own_server_gets_the_limit_whole(tmp_path: Path) -> None:
    code, output, fetches = bring(tmp_path, 3_000_000)
    assert code == 0, output
    assert {str(one["controller_bytes_per_second"]) for one in fetches} == {"3000000"}


@pytest.mark.parametrize("why", ["the files lie on the controller", "a host cannot reach the controller"])
def test_the_limit_is_shared_where_files_go_over_the_connection_of_ansible(tmp_path: Path, why: str) -> None:
    (tmp_path / "model.gguf").write_text("x", encoding="utf-8")
    directory = {"source": "directory", "path": str(tmp_path), "revision": "r1", "files": FILES}
    given = {
        "_model_name": "m", "local_llm_models": {"m": directory if "lie" in why else MODEL},
        "local_llm_model_cache": str(tmp_path / "cache"), "local_llm_model_share_bytes_per_second": 5_000_000,
    }  # fmt: skip
    fetch = {"model_artifact": [*ANSWERS["model_artifact"], [{"state": "fetched"}, {"reachable": False}]]}
    stubs = {"_model/copy": tell("{{ _model_part_bytes_per_second }}")}
    tasks = [{"name": "Bring", "ansible.builtin.include_role": {"name": "_model"}}]
    code, output, calls = run(tmp_path, {"vars": given, "tasks": tasks}, {**ANSWERS, **fetch}, stubs)
    assert code == 0, output
    assert [str(one) for one in said(calls)] == ["2500000", "2500000"]


def test_a_limit_that_is_no_number_is_refused_and_not_read_as_none(tmp_path: Path) -> None:
    code, output, fetches = bring(tmp_path, "50 MB", **MIRROR)
    assert code != 0
    assert "local_llm_model_share_bytes_per_second = 50 MB: write a whole number of bytes" in output, output
    assert fetches == []
