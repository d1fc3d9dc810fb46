# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Why nothing may be done to an instance now: a rollout, a recovery, a change of models, or a person has it."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_mark import MarkError, read_document
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import read_json
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore, Paths
from ansible_collections.local_llm.ops.plugins.module_utils._rollout_lock import LockError, is_expired, read_lock

# States of an instance while a rollout works on it. A controller that died leaves them behind: after the longest step
# of a rollout they are nobody's any more, and the dead-man has long gone back.
UNDER_WAY = ("switching", "warming", "verifying", "rolling_back")
UNDER_WAY_SECONDS = 3600
# A person has to look at these; doing anything would hide what happened.
WAITS_FOR_PERSON = ("rollback_failed",)
HOLDS = "holds.json"
# How a rollout or a recovery calls itself.
_WORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


def held_by_state(armed: Any, state: Mapping[str, Any] | None, now: float) -> str:
    """Return why the instance's own files say that it is being changed; empty when they do not."""
    if armed is not None:
        return f"a rollout has it: the dead-man is armed until {armed.get('deadline_at', '?')}"
    if state is None:
        return ""
    word = state.get("state")
    if word in WAITS_FOR_PERSON:
        return f"it waits for a person: {word}"
    if word in UNDER_WAY and now - unix_time(state.get("updated_at")) < UNDER_WAY_SECONDS:
        return f"a rollout has it: {word} since {state.get('updated_at')}"
    return ""


def held_by_recovery(document: Mapping[str, Any], instance: str) -> str:
    """Return why the recovery of this host's GPUs has the instance; empty when it has not."""
    mark = document.get("mark")
    if not mark:
        return ""
    names = {server.get("instance") for server in mark.get("servers", ())}
    if names and instance not in names:
        return ""
    return f"a GPU recovery has it since {mark.get('since')} ({mark.get('rung') or mark.get('waits_for') or 'begun'})"


def held_by_lock(lock: Mapping[str, Any] | None, now: float) -> str:
    """Return why a fleet lock that lies on this very host keeps everybody away; empty when it does not."""
    if lock is None or lock.get("halted") or is_expired(lock, datetime.fromtimestamp(now, timezone.utc)):
        return ""
    return f"{lock['rollout_id']} holds the fleet lock"


def held_by_person(holds: Mapping[str, Any] | None, instance: str, now: float) -> str:
    """Return why a person said not to touch it; empty when nobody did or the time is over."""
    for name in (instance, "*"):
        hold = ((holds or {}).get("holds") or {}).get(name)
        if hold and now < float(hold["until"]):
            return f"held by {hold['by']}: {hold['reason']}"
    return ""


def held_by_work(holds: Mapping[str, Any] | None, now: float) -> str:
    """Return which rollout or recovery has the host for the length of its turn; empty when none has."""
    work = (holds or {}).get("work")
    return f"{work['id']} works on this host" if work and now < float(work["until"]) else ""


def is_work(text: str) -> bool:
    """Tell whether a text can be the name of a rollout or a recovery."""
    return _WORK.fullmatch(text) is not None


def unix_time(text: Any) -> float:
    """Return an ISO 8601 time as Unix time; 0 for what is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def lock_is_free(path: str) -> bool:
    """Tell whether nobody is changing the instance this very moment. A lock that is not there is free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def why_held(paths: Paths, directory: str, health: str, instance: str, now: float, ask_lock: bool = True) -> str:
    """Return why nothing may be done to an instance. What cannot be read counts as a reason: better too careful."""
    store = InstanceStore(paths, instance)
    try:
        reason = held_by_state(store.armed(), store.state(), now)
        reason = reason or held_by_recovery(read_document(health), instance)
        gateway = os.path.join(paths.base, "gateway")
        for place in (gateway, os.path.join(gateway, "recovery")):
            reason = reason or held_by_lock(read_lock(place), now)
        holds = read_json(os.path.join(directory, HOLDS))
        reason = reason or held_by_person(holds, instance, now) or held_by_work(holds, now)
    except (ReleaseError, MarkError, LockError, OSError, ValueError, KeyError, TypeError) as error:
        return f"it is not known whether something has it: {error}"
    if not reason and ask_lock and not lock_is_free(os.path.join(paths.base, "locks", f"{instance}.lock")):
        reason = "another change of this instance runs"
    return reason
