# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Switching an instance to a release and back: the steps that change what serves."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError, armed_record
from ansible_collections.local_llm.ops.plugins.module_utils._release_context import Context, Outcome, WaitingFor

_REVERTED_STATES = ("rolling_back", "rolled_back_verified")


def _in_progress(context: Context, armed: dict[str, Any]) -> str:
    who = f"rollout {armed['rollout_id']}" if armed.get("rollout_id") else "a change without a rollout id"
    due = context.armed_due(armed)
    until = f"its dead-man is going back now: {due}" if due else f"its dead-man goes back at {armed.get('deadline_at')}"
    return f"{who} is changing it to release {armed.get('release')}; {until}"


def _damage(context: Context, identity: str) -> list[str]:
    store = context.store
    if identity not in [known for known, _time in store.releases()]:
        raise ReleaseError(
            f"instance {store.instance} has no release {identity} on this host; known: {context.known_releases()}. "
            "Stage it first."
        )
    return store.damage(identity)


def _must_be_whole(context: Context, identity: str) -> None:
    store = context.store
    damaged = _damage(context, identity)
    if damaged:
        raise ReleaseError(
            f"instance {store.instance}: release {identity} was changed after it was staged ({', '.join(damaged)}). "
            "Stage it again: that puts it right."
        )


def switch(context: Context, identity: str, commit_timeout_seconds: int) -> Outcome:
    """Make a staged release the one that serves, with the dead-man armed before anything changes."""
    store = context.store
    if context.check_mode:
        return _plan_switch(context, identity, commit_timeout_seconds)
    with store.lock(context.lock_timeout_seconds):
        outcome = _plan_switch(context, identity, commit_timeout_seconds)
        if not outcome.changed:
            return outcome
        before = outcome.predicted.pop("before")
        already_current = before["current"] == identity
        start_only = already_current and before["armed"] is None
        if outcome.predicted["armed"] is not None:
            _arm(context, identity, before, commit_timeout_seconds)
        if not already_current and before["current"] is not None:
            store.point("previous", before["current"])
        context.systemd.enable(store.instance)
        store.point("current", identity)
        restart = not (already_current and context.serves())
        # Only a change of the release changes the state; a later deadline or a start of what is current does not.
        context.record(
            ("starting" if restart else "rearmed") if already_current else "switching",
            (before["instance_state"] or {}).get("state", "pending") if already_current else "switching",
            f"from {before['current'] or 'no release'} to {identity}",
            write_state=not already_current,
        )
        # Only a later deadline: any run counts that was not restarted by the service manager since the switch.
        waiting_for = context.begin_restart() if restart else ("", time.monotonic())
    # Without the lock: the dead-man must be able to take it while an engine does not become ready.
    outcome.seconds = context.wait(identity, *waiting_for, event="switch")
    with store.lock(context.lock_timeout_seconds):
        _read_back(context, identity, outcome.predicted["armed"] is not None)
        context.record(
            "ready",
            outcome.predicted["instance_state"]["state"] or "unknown",
            f"release {identity} answers",
            seconds=outcome.seconds.get("ready"),
            evidence=dict(outcome.seconds),
            write_state=not start_only,
        )
    return outcome


def _plan_switch(context: Context, identity: str, commit_timeout_seconds: int) -> Outcome:
    """Decide what a switch will do. predicted carries `before`, and the armed record as far as it is known."""
    store = context.store
    before = store.snapshot()
    armed = before["armed"]
    if armed is not None and (armed.get("release") != identity or context.armed_due(armed)):
        raise ReleaseError(
            f"instance {store.instance}: the switch to {identity} is refused: {_in_progress(context, armed)}. "
            "Commit or revert that change first (state=committed or state=reverted)."
        )
    outcome = Outcome(True, identity)
    if context.check_mode and identity not in before["releases"]:
        outcome.warnings.append(f"release {identity} is not staged yet; a real run needs it staged first")
    else:
        _must_be_whole(context, identity)
    same = before["current"] == identity
    if same and armed is None and context.serves():
        return Outcome(False, identity, before)
    # Starting the release that is current anyway, with nothing armed, has nowhere to go back to.
    arm = commit_timeout_seconds > 0 and not (same and armed is None)
    if armed is not None and commit_timeout_seconds == 0:
        raise ReleaseError(
            f"instance {store.instance}: commit_timeout_seconds is 0, yet {_in_progress(context, armed)}. "
            "Give a timeout, or commit or revert that change first."
        )
    state = {**(before["instance_state"] or {}), "release": identity}
    outcome.predicted = {
        **before,
        "current": identity,
        "previous": before["previous"] if same else (before["current"] or before["previous"]),
        "armed": {"release": identity, "revert_to": armed["revert_to"] if armed else before["current"]}
        if arm
        else None,
        "instance_state": {**state, "state": state.get("state") if same and armed is None else "verifying"},
    }
    if not context.check_mode:
        outcome.predicted["before"] = before
    return outcome


def _arm(context: Context, identity: str, before: dict[str, Any], commit_timeout_seconds: int) -> None:
    """Write armed.json and start its timer. A change that is armed already keeps what it goes back to."""
    store, clock = context.store, context.clock
    old = before["armed"] or {"revert_to": before["current"], "previous_before": before["previous"], "rollout_id": None}
    store.write_armed(
        armed_record(
            boot_id=clock.boot_id(),
            uptime_seconds=clock.uptime_seconds(),
            commit_timeout_seconds=commit_timeout_seconds,
            deadline_at=clock.later(commit_timeout_seconds),
            release=identity,
            revert_to=old["revert_to"],
            previous_before=old["previous_before"],
            rollout_id=context.rollout_id or old["rollout_id"],
        )
    )
    try:
        context.systemd.start_timer(store.instance)
    except ReleaseError:
        if before["armed"] is None:
            store.disarm()
        raise


def _read_back(context: Context, identity: str, armed: bool) -> None:
    """After the wait: the links and the dead-man must still be what this step made them."""
    store = context.store
    found = store.link("current")
    if found != identity or (armed and (store.armed() or {}).get("release") != identity):
        raise ReleaseError(
            f"instance {store.instance}: release {identity} became ready, but meanwhile it was taken back (current "
            f"is {found}). "
            "See journal.jsonl; raise commit_timeout_seconds if the dead-man was too early."
        )
    if armed and not context.systemd.timer_active(store.instance):
        raise ReleaseError(
            f"instance {store.instance}: the dead-man's timer was stopped meanwhile. Revert (state=reverted) and "
            "look who did it."
        )


def revert(context: Context, identity: str | None, verified: bool) -> Outcome:
    """Go back: to what is armed, to a named release, or to `previous`. verified only writes down that it was."""
    if verified:
        return _confirm_revert(context, identity)
    store = context.store
    if context.check_mode:
        return _plan_revert(context, identity)
    with store.lock(context.lock_timeout_seconds):
        outcome = _plan_revert(context, identity)
        target, previous = outcome.predicted["current"], outcome.predicted["previous"]
        if outcome.changed:
            waiting_for, rollout_id = _go_back(context, target, previous)
        else:
            waiting_for, rollout_id = context.no_restart(), None
    if target is None:
        return outcome
    # Also where nothing changed: a host that went back by itself may still be loading its engine.
    seconds = context.wait(target, *waiting_for, event="revert")
    if outcome.changed:
        outcome.seconds = seconds
        with store.lock(context.lock_timeout_seconds):
            context.record(
                "reverted",
                "rolling_back",
                f"release {target} answers again, not verified yet",
                rollout_id=rollout_id,
                seconds=seconds.get("ready"),
                evidence=dict(seconds),
            )
    return outcome


def _go_back(context: Context, target: str | None, previous: str | None) -> tuple[WaitingFor, str | None]:
    """Point the links back, restart or stop the service, disarm. Return what to wait for, and whose rollout it was."""
    store = context.store
    armed, left = store.armed(), store.link("current")
    moved = left != target
    store.point("current", target)
    store.point("previous", previous)
    rollout_id = context.rollout_id or (armed or {}).get("rollout_id")
    detail = f"from {left or 'no release'} back to {target or 'no release'}, not verified yet"
    context.record("reverting", "rolling_back", detail, rollout_id=rollout_id)
    restart = target is not None and (moved or armed is not None or not context.serves())
    waiting_for = context.begin_restart() if restart else context.no_restart()
    if target is None:
        context.systemd.stop(store.instance)
        context.systemd.disable(store.instance)
    # Last, so that a power cut before this line leaves the dead-man to finish the work.
    store.disarm()
    context.systemd.stop_timer(store.instance)
    return waiting_for, rollout_id


def _plan_revert(context: Context, identity: str | None) -> Outcome:
    store = context.store
    before = store.snapshot()
    armed, current, state = before["armed"], before["current"], before["instance_state"] or {}
    previous = before["previous"]
    if armed is not None and identity in (None, armed.get("revert_to")):
        target, previous = armed.get("revert_to"), armed.get("previous_before")
    elif identity is not None:
        target = identity
    elif state.get("state") in _REVERTED_STATES:
        target = current  # gone back already, by the dead-man or by an earlier call
    elif previous is None:
        raise ReleaseError(
            f"instance {store.instance} has no previous release to go back to; known: {context.known_releases()}. "
            "Name one as release_id."
        )
    else:
        target = previous
    warnings = []
    damaged = [] if target is None else _damage(context, target)
    if damaged:
        # The way back must not end at a changed file mode: say it, and go.
        warnings.append(
            f"release {target} was changed after it was staged ({', '.join(damaged)}); stage it again after this revert"
        )
    if armed is None and target != current:
        previous = current
    changed = armed is not None or target != current or state.get("state") not in _REVERTED_STATES
    if not changed and target is not None and not context.serves():
        changed = True
    outcome = Outcome(changed, target, warnings=warnings)
    outcome.predicted = {**before, "current": target, "previous": previous, "armed": None}
    outcome.predicted["instance_state"] = (
        {**state, "state": "rolling_back", "release": target} if changed else before["instance_state"]
    )
    return outcome


def _confirm_revert(context: Context, identity: str | None) -> Outcome:
    if context.check_mode:
        return _confirm_under_lock(context, identity)
    with context.store.lock(context.lock_timeout_seconds):
        return _confirm_under_lock(context, identity)


def _confirm_under_lock(context: Context, identity: str | None) -> Outcome:
    store = context.store
    before = store.snapshot()
    state = before["instance_state"] or {}
    current = before["current"]
    if (
        before["armed"] is not None
        or (identity is not None and identity != current)
        or state.get("state") not in _REVERTED_STATES
    ):
        raise ReleaseError(
            f"instance {store.instance}: there is no finished revert to call verified (current {current}, state "
            f"{state.get('state')}"
            + (", a change is armed" if before["armed"] is not None else "")
            + "). Call state=reverted without verified first, verify, then call it again."
        )
    outcome = Outcome(state.get("state") != "rolled_back_verified", current)
    outcome.predicted = {**before, "instance_state": {**state, "state": "rolled_back_verified"}}
    if outcome.changed and not context.check_mode:
        context.record(
            "revert_verified",
            "rolled_back_verified",
            f"release {current or 'none'} serves again and was verified",
            rollout_id=context.rollout_id or state.get("rollout_id"),
        )
    return outcome
