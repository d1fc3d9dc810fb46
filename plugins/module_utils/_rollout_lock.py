# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The lock of a rollout, one file on each gateway host. Changes happen under flock and land whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex

SCHEMA = 1
LOCK_NAME = "rollout.lock"
_GUARD_NAME = ".rollout.lock.guard"
# What tells one process that holds the lock from every other.
IDENTITY_KEYS = ("rollout_id", "controller_id", "controller_boot_id", "pid", "pid_start_ticks")
HOLDER_KEYS = (*IDENTITY_KEYS, "controller", "user", "command")


class LockError(Exception):
    """The lock file cannot be used; the message names the file and the way out."""


def lock_path(directory: str) -> str:
    """Return the path of the lock file."""
    return os.path.join(directory, LOCK_NAME)


def read_lock(directory: str) -> dict[str, Any] | None:
    """Return the content of the lock, or None when nobody holds it."""
    path = lock_path(directory)
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LockError(f"{path} cannot be read ({error}). Look at it; remove it once no rollout runs.") from error
    if not isinstance(content, dict) or not content.get("rollout_id"):
        raise LockError(f"{path} is no lock of a rollout. Look at it; remove it once no rollout runs.")
    return content


def lock_digest(lock: Mapping[str, Any]) -> str:
    """Return the digest that names exactly this state of the lock."""
    return sha256_hex(canonical_json(lock))


def age_seconds(lock: Mapping[str, Any], now: datetime) -> float:
    """Return the seconds since the holder last showed itself; never below 0, also when the clock was set back."""
    try:
        renewed = datetime.fromisoformat(str(lock.get("renewed_at")).replace("Z", "+00:00"))
        return max(0.0, (now - renewed).total_seconds())
    except (ValueError, TypeError):
        return float("inf")


def is_expired(lock: Mapping[str, Any], now: datetime) -> bool:
    """Tell whether the holder has not shown itself within its time."""
    ttl = lock.get("ttl_seconds")
    return not isinstance(ttl, int) or age_seconds(lock, now) > ttl


def same_holder(lock: Mapping[str, Any], holder: Mapping[str, Any]) -> bool:
    """Tell whether the lock belongs to this very process."""
    return all(lock.get(key) == holder.get(key) for key in IDENTITY_KEYS)


def hold(
    directory: str,
    holder: Mapping[str, Any],
    ttl_seconds: int,
    *,
    now: datetime,
    replace_sha256: str | None = None,
    renew_only: bool = False,
    halted: str | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Take or renew the lock. Return {"outcome", "lock", "before"}.

    outcome: acquired, renewed, took_over; or refused (another process holds it), lost (renew_only, and it is not ours).
    replace_sha256 is the digest of the lock that the caller decided to take over; it counts for that state only.
    """
    with _guard(directory, check_mode):
        before = read_lock(directory)
        mine = before is not None and same_holder(before, holder)
        if renew_only and not mine:
            return {"outcome": "lost", "lock": before, "before": before}
        if before is None:
            outcome = "acquired"
        elif mine:
            outcome = "renewed"
        elif replace_sha256 == lock_digest(before):
            outcome = "took_over"
        else:
            return {"outcome": "refused", "lock": before, "before": before}
        stamp = _iso(now)
        lock = {
            "schema": SCHEMA,
            **{key: holder.get(key) for key in HOLDER_KEYS},
            "started_at": before["started_at"] if mine and before is not None else stamp,
            "renewed_at": stamp,
            "ttl_seconds": ttl_seconds,
            "halted": halted if halted is not None or before is None or not mine else before.get("halted"),
        }
        if not check_mode:
            write_json_atomic(lock_path(directory), lock, 0o644)
        return {"outcome": outcome, "lock": lock, "before": before}


def release(
    directory: str, rollout_id: str, *, replace_sha256: str | None = None, check_mode: bool = False
) -> dict[str, Any]:
    """Give back the lock of this rollout. Return {"outcome", "lock", "before"}.

    outcome: released, free (nobody held it), other_holder (another rollout holds it; it stays).
    """
    with _guard(directory, check_mode):
        before = read_lock(directory)
        if before is None:
            return {"outcome": "free", "lock": None, "before": None}
        if before["rollout_id"] != rollout_id and replace_sha256 != lock_digest(before):
            return {"outcome": "other_holder", "lock": before, "before": before}
        if not check_mode:
            os.unlink(lock_path(directory))
            _fsync(directory)
        return {"outcome": "released", "lock": None, "before": before}


@contextmanager
def _guard(directory: str, check_mode: bool) -> Iterator[None]:
    """Let one process at a time look and change. The guard file stays; only the flock on it counts."""
    if check_mode:
        yield
        return
    os.makedirs(directory, mode=0o755, exist_ok=True)
    handle = os.open(os.path.join(directory, _GUARD_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _fsync(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
