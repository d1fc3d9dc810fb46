# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a lock, and when another one may take it over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._lock_holder import (
    controller_id,
    holder_alive,
    process_start_ticks,
    refusal,
    take_over_reason,
    this_holder,
    told,
)

MINE = {"rollout_id": "new", "controller_id": "c1", "controller_boot_id": "b1", "pid": 10, "pid_start_ticks": 5}
THEIRS = {
    "rollout_id": "old",
    "controller": "bastion",
    "controller_id": "c1",
    "controller_boot_id": "b1",
    "pid": 9,
    "pid_start_ticks": 4,
    "user": "ops",
    "command": "ansible-playbook upgrade.yml",
    "started_at": "2026-01-01T00:00:00Z",
    "ttl_seconds": 60,
}


@pytest.mark.parametrize(
    ("lock", "expired", "alive", "asked_for", "word"),
    [
        ({}, False, True, None, None),
        ({}, True, True, None, None),
        ({}, False, False, None, "gone"),
        ({"controller_boot_id": "b0"}, False, True, None, "restarted"),
        ({"controller_id": "c2"}, False, False, None, None),
        ({"controller_id": "c2"}, False, True, None, None),
        ({"controller_id": "c2"}, True, False, None, "60 seconds"),
        ({"controller_id": "c2"}, True, True, None, "60 seconds"),
        ({"controller_id": ""}, False, False, None, None),
        ({"controller_id": "c2"}, False, True, "old", "by name"),
        ({"controller_id": "c2"}, False, True, "another", None),
    ],
)
def test_only_a_holder_that_is_gone_is_replaced(
    lock: dict[str, Any], expired: bool, alive: bool, asked_for: str | None, word: str | None
) -> None:
    reason = take_over_reason({**THEIRS, **lock}, MINE, expired=expired, alive=alive, asked_for=asked_for)
    assert (reason is None) if word is None else (reason is not None and word in reason)


def test_a_controller_that_cannot_name_itself_never_trusts_process_ids() -> None:
    lock = {**THEIRS, "controller_id": ""}
    assert take_over_reason(lock, {**MINE, "controller_id": ""}, expired=False, alive=False, asked_for=None) is None


def test_a_living_process_is_known_by_its_start() -> None:
    ticks = process_start_ticks(os.getpid())
    assert ticks is not None
    assert holder_alive({"pid": os.getpid(), "pid_start_ticks": ticks})
    assert not holder_alive({"pid": os.getpid(), "pid_start_ticks": ticks + 1})
    assert not holder_alive({"pid": None})


def test_a_process_that_ended_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        ticks = process_start_ticks(child.pid)
        assert holder_alive({"pid": child.pid, "pid_start_ticks": ticks})
        child.kill()
        child.wait()
    assert not holder_alive({"pid": child.pid, "pid_start_ticks": ticks})


@pytest.mark.parametrize(("text", "ticks"), [("7 (a b) c) S" + " 0" * 18 + " 42 0", 42), ("7 (x) Z" + " 0" * 20, None)])
def test_odd_program_names_and_zombies_are_read_right(tmp_path: Path, text: str, ticks: int | None) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(text, encoding="utf-8")
    assert process_start_ticks(7, tmp_path) == ticks


def test_without_a_machine_id_a_controller_has_no_name(tmp_path: Path) -> None:
    assert controller_id(etc=tmp_path) == ""
    (tmp_path / "machine-id").write_text("0123\n", encoding="utf-8")
    assert len(controller_id(etc=tmp_path)) == 32


def test_the_holder_names_who_where_and_since_when() -> None:
    holder = this_holder("r", os.getpid(), "ansible-playbook x.yml")
    assert holder["pid_start_ticks"] == process_start_ticks(os.getpid())
    assert {"rollout_id", "controller", "controller_id", "user", "pid", "command"} <= set(holder)


def test_a_refusal_says_who_how_to_look_and_how_to_take_over() -> None:
    text = refusal("gw1", "/var/lib/local_llm/gateway/rollout.lock", {**THEIRS, "halted": "verdict inconclusive"}, 12.3)
    for word in ("gw1", "old", "ops", "bastion", "9", "2026-01-01", "12 s ago", "60 s", "ps -o", "rollout.lock"):
        assert word in text
    assert "-e local_llm_rollout_take_over=old" in text
    assert "verdict inconclusive" in text


@pytest.mark.parametrize(
    ("name", "who", "way"),
    [
        ("20260101T000000Z-abcd", "Rollout 20260101T000000Z-a", "run upgrade to go on, or rollback to go back"),
        ("models-20260101T000000Z", "models, as models-20260101T000000Z holds", "run models once with -e local_llm"),
        ("recovery-bastion", "A recovery of GPU hosts, recovery-b", "run health once with -e remediate=true"),
    ],
)
def test_whoever_must_wait_is_told_the_playbook_that_ends_this_holder(name: str, who: str, way: str) -> None:
    text = told("gw1", {**THEIRS, "rollout_id": name})
    assert who in text and "on gw1 (by ops on bastion)" in text and "If it is dead" in text
    assert way in text and ("run upgrade" in text) == (not name.startswith(("models", "recovery")))
    assert "It halted: verdict. End it first" in told("gw1", {**THEIRS, "rollout_id": name, "halted": "verdict"})


@pytest.mark.parametrize(
    ("held", "mine"), [("driver-1", "20261121T070623Z"), ("20261121T070623Z", "driver-1"), ("driver-1", "recovery-a")]
)
def test_what_a_dead_driver_rollout_left_is_ended_by_its_own_playbook(held: str, mine: str) -> None:
    lock, holder = {**THEIRS, "rollout_id": held}, {**MINE, "rollout_id": mine}
    assert take_over_reason(lock, holder, expired=True, alive=False, asked_for=None) is None
    assert take_over_reason(lock, holder, expired=True, alive=False, asked_for=held) is not None
    again = {**MINE, "rollout_id": "driver-2" if held.startswith("driver-") else "20261122T070623Z"}
    assert take_over_reason(lock, again, expired=False, alive=False, asked_for=None) is not None


def test_a_refusal_names_the_playbook_that_ends_a_dead_driver_rollout() -> None:
    lock = {**THEIRS, "rollout_id": "driver-1"}
    assert "run driver" in told("gw1", lock)
    assert "run driver" in refusal("gw1", "/lock", lock, 3.0)
