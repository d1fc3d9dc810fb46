# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock file: one holder, atomic, taken over only as it was seen."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._rollout_lock import (
    LOCK_NAME,
    LockError,
    age_seconds,
    hold,
    is_expired,
    lock_digest,
    read_lock,
    release,
)

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


def holder(rollout_id: str = "r1", pid: int = 10) -> dict[str, Any]:
    return {
        "rollout_id": rollout_id,
        "controller": "bastion",
        "controller_id": "c",
        "controller_boot_id": "b",
        "user": "ops",
        "pid": pid,
        "pid_start_ticks": 5,
        "command": "ansible-playbook upgrade.yml",
    }


def take(directory: Path, who: dict[str, Any], later_seconds: float = 0, **options: Any) -> dict[str, Any]:
    return hold(str(directory), who, 60, now=NOW + timedelta(seconds=later_seconds), **options)


def test_the_first_gets_it_and_the_second_is_refused(tmp_path: Path) -> None:
    assert take(tmp_path / "new", holder())["outcome"] == "acquired"
    second = take(tmp_path / "new", holder("r2", 11))
    assert second["outcome"] == "refused"
    assert second["lock"]["rollout_id"] == "r1"


def test_the_holder_renews_it_and_its_start_stays(tmp_path: Path) -> None:
    take(tmp_path, holder(), halted="waits")
    renewed = take(tmp_path, holder(), 30)
    assert renewed["outcome"] == "renewed"
    assert renewed["lock"]["started_at"] == "2026-11-01T12:00:00.000Z"
    assert renewed["lock"]["renewed_at"] == "2026-11-01T12:00:30.000Z"
    assert renewed["lock"]["halted"] == "waits"


def test_the_same_rollout_in_another_process_is_another_holder(tmp_path: Path) -> None:
    take(tmp_path, holder("r1", 10))
    assert take(tmp_path, holder("r1", 11))["outcome"] == "refused"


def test_a_lost_lock_is_not_taken_back_by_a_renewal(tmp_path: Path) -> None:
    assert take(tmp_path, holder(), renew_only=True)["outcome"] == "lost"
    assert read_lock(str(tmp_path)) is None
    take(tmp_path, holder("r2", 11))
    assert take(tmp_path, holder(), renew_only=True)["outcome"] == "lost"


def test_a_take_over_counts_only_for_the_lock_that_was_seen(tmp_path: Path) -> None:
    seen = take(tmp_path, holder())["lock"]
    take(tmp_path, holder(), 5)
    digest = lock_digest(seen)
    assert take(tmp_path, holder("r2", 11), replace_sha256=digest)["outcome"] == "refused"
    now = read_lock(str(tmp_path))
    assert now is not None
    done = take(tmp_path, holder("r2", 11), replace_sha256=lock_digest(now))
    assert (done["outcome"], done["before"]["rollout_id"]) == ("took_over", "r1")


def test_only_the_own_lock_is_released(tmp_path: Path) -> None:
    take(tmp_path, holder())
    assert release(str(tmp_path), "r2")["outcome"] == "other_holder"
    assert read_lock(str(tmp_path)) is not None
    assert release(str(tmp_path), "r1")["outcome"] == "released"
    assert release(str(tmp_path), "r1")["outcome"] == "free"


def test_check_mode_changes_nothing(tmp_path: Path) -> None:
    assert take(tmp_path / "new", holder(), check_mode=True)["outcome"] == "acquired"
    assert not (tmp_path / "new").exists()
    take(tmp_path, holder())
    assert release(str(tmp_path), "r1", check_mode=True)["outcome"] == "released"
    assert read_lock(str(tmp_path)) is not None


def test_a_lock_lapses_by_the_clock_of_its_own_host(tmp_path: Path) -> None:
    lock = take(tmp_path, holder())["lock"]
    assert not is_expired(lock, NOW + timedelta(seconds=60))
    assert is_expired(lock, NOW + timedelta(seconds=61))
    assert age_seconds(lock, NOW - timedelta(seconds=500)) == 0.0
    assert is_expired({"ttl_seconds": 60, "renewed_at": "nonsense"}, NOW)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_lock_is_never_taken_for_a_free_one(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(LockError, match=r"rollout\.lock"):
        take(tmp_path, holder())


def _race(directory: str, number: int, results: Any) -> None:
    results.put(hold(directory, holder(f"r{number}", number), 60, now=NOW)["outcome"])


def test_of_many_at_once_exactly_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: Any = context.Queue()
    workers = [context.Process(target=_race, args=(str(tmp_path), number, results)) for number in range(6)]
    for worker in workers:
        worker.start()
    outcomes = sorted(results.get(timeout=30) for _worker in workers)
    for worker in workers:
        worker.join(30)
    assert outcomes == ["acquired", *["refused"] * 5]
