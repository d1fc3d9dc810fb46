# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No server starts on a driver that is half changed; on any other it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.roles.task_runs import run_tasks, tasks_of

FILE = "refuse_open.yml"


def run(place: Path, transaction: dict[str, Any] | None) -> tuple[int, str]:
    path = place / "transaction.json"
    if transaction is not None:
        path.write_text(json.dumps({"from": "535.247.01", "to": "535.261.03", **transaction}), encoding="utf-8")
    variables = {"_driver_transaction_path": str(path)}
    code, output, _calls = run_tasks(place, tasks_of("_driver", FILE), FILE, variables, {}, modules=())
    return code, output


@pytest.mark.parametrize(
    "transaction",
    [
        None,
        {"state": "downloaded", "closed": False},
        {"state": "rolled_back", "closed": True},
    ],
    ids=["none", "changed nothing yet", "gone back and proven"],
)
def test_servers_start_where_no_change_is_open(tmp_path: Path, transaction: dict[str, Any] | None) -> None:
    code, output = run(tmp_path, transaction)
    assert code == 0, output


@pytest.mark.parametrize("state", ["installed", "rolled_back"])
def test_an_open_change_is_refused_with_the_playbook_that_ends_it(tmp_path: Path, state: str) -> None:
    code, output = run(tmp_path, {"state": state})
    assert code != 0
    assert f"from 535.247.01 to 535.261.03 is open here ({state}). Run driver" in " ".join(output.split())
