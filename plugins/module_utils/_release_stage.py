# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Staging a release, confirming it, removing an instance: the steps that do not change what serves."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._release import (
    ReleaseError,
    release_id,
    validate_description,
)
from ansible_collections.local_llm.ops.plugins.module_utils._release_context import Context, Outcome
from ansible_collections.local_llm.ops.plugins.module_utils._release_evidence import evidence_problem
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore, input_problems

# (description, paths) -> {"run": text, "environment": text}
Render = Callable[[dict[str, Any], dict[str, str]], dict[str, str]]


def _host_environment(address: str) -> str:
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise ReleaseError(
            f"listen_address {address!r} is not an IP address. Set local_llm_address to the host's private address."
        ) from error
    return f"LOCAL_LLM_ADDRESS={address}\n"


def _staging_plan(store: InstanceStore, identity: str, rendered: dict[str, str]) -> tuple[bool, str | None]:
    """Return (write the release, what to tell the user)."""
    if identity not in [known for known, _time in store.releases()]:
        return True, None
    damaged = store.damage(identity)
    if damaged:
        return True, f"release {identity} was changed after it was staged ({', '.join(damaged)}); it is put right"
    if store.rendered(identity) == rendered:
        return False, None
    armed = store.armed() or {}
    if identity in (store.link("current"), store.link("previous"), armed.get("release"), armed.get("revert_to")):
        return False, (
            f"release {identity} is in use and stays as it was first staged, although this version of the collection "
            "would write its start script differently; the next release gets the new form"
        )
    return True, None


def stage(context: Context, description: Any, listen_address: str, render: Render) -> Outcome:
    """Write the release beside the others; the service is untouched."""
    store = context.store
    problems = validate_description(description)
    if problems:
        raise ReleaseError(f"instance {store.instance}: the release is refused: " + "; ".join(problems))
    host_environment = _host_environment(listen_address)
    identity = release_id(description)
    outcome = Outcome(False, identity)
    missing = input_problems(store.paths, description)
    if missing and not context.check_mode:
        raise ReleaseError(f"instance {store.instance}: the release {identity} cannot be staged: " + " ".join(missing))
    # In check mode an earlier task of the same run has not done what it will do.
    outcome.warnings += [f"{problem} Where this very run will do so, all is well." for problem in missing]
    rendered = render(
        description,
        {
            "engine_directory": store.paths.engine_directory(description),
            "model_directory": store.paths.model_directory(description),
            "instance_directory": store.directory,
        },
    )
    if context.check_mode:
        _stage_under_lock(context, outcome, description, rendered, host_environment)
        return outcome
    with store.lock(context.lock_timeout_seconds):
        _stage_under_lock(context, outcome, description, rendered, host_environment)
    return outcome


def _stage_under_lock(
    context: Context, outcome: Outcome, description: dict[str, Any], rendered: dict[str, str], host_environment: str
) -> None:
    store, identity = context.store, str(outcome.release_id)
    before = store.snapshot()
    write, note = _staging_plan(store, identity, rendered)
    write_environment = not store.host_environment_is(host_environment)
    if note:
        outcome.warnings.append(note)
    outcome.changed = write or write_environment
    known = before["releases"]
    outcome.predicted = {**before, "releases": known if identity in known else [identity, *known]}
    if context.check_mode or not outcome.changed:
        return
    store.make_directories()
    store.remove_leftovers()
    if write_environment:
        store.write_host_environment(host_environment)
    if write:
        store.write_release(description, rendered)
        damaged = store.damage(identity)
        if damaged:
            raise ReleaseError(
                f"release {identity} is not whole after it was written ({', '.join(damaged)}). Look at the disk."
            )
    # Staging does not touch what serves: only an instance that never served changes its state.
    old = (before["instance_state"] or {}).get("state", "pending")
    first = before["current"] is None and before["armed"] is None
    detail = note or (
        f"release {identity} staged" if write else "listen address written; it takes effect with the next start"
    )
    context.record(
        "staged", "staged" if first else old, detail, evidence={"staged_release": identity}, write_state=first
    )


def commit(context: Context, identity: str | None, keep_releases: int, require_evidence: bool = False) -> Outcome:
    """Confirm the release that serves: disarm, write healthy, remove old releases."""
    if context.check_mode:
        return _commit_under_lock(context, identity, keep_releases, require_evidence)
    with context.store.lock(context.lock_timeout_seconds):
        return _commit_under_lock(context, identity, keep_releases, require_evidence)


def _commit_under_lock(context: Context, identity: str | None, keep_releases: int, require_evidence: bool) -> Outcome:
    store = context.store
    before = store.snapshot()
    current, armed, state = before["current"], before["armed"], before["instance_state"] or {}
    if context.check_mode and armed is None and (current is None or identity not in (None, current)):
        # The switch before this one was only predicted.
        return Outcome(
            True,
            identity,
            {**before, "current": identity, "armed": None},
            warnings=["the commit follows a switch that was not made"],
        )
    if current is None:
        raise ReleaseError(
            f"instance {store.instance} has no current release to commit. Switch to one first (known: "
            f"{context.known_releases()})."
        )
    wanted = identity or (armed or {}).get("release") or current
    if wanted != current or (armed is not None and armed.get("release") != current):
        raise ReleaseError(
            f"instance {store.instance}: commit of release {wanted} is refused, because {current} is current"
            + (f" and the change to {armed.get('release')} is armed" if armed else "")
            + ". It was reverted meanwhile, or another one was switched to: look at state.json and journal.jsonl."
        )
    due = context.armed_due(armed) if armed is not None else None
    if due:
        raise ReleaseError(
            f"instance {store.instance}: commit of {current} comes too late, the dead-man is going back: {due}."
        )
    remove = store.prune_candidates(keep_releases)
    confirm = armed is not None or state.get("state") != "healthy" or state.get("release") != current
    outcome = Outcome(confirm or bool(remove), current)
    outcome.predicted = {
        **before,
        "armed": None,
        "releases": [known for known in before["releases"] if known not in remove],
    }
    if confirm:
        if not context.check_mode and not context.serves():
            raise ReleaseError(
                f"instance {store.instance}: commit of {current} is refused, because its service does not run. "
                "Start or revert it."
            )
        unproven = evidence_problem(store.evidence(current), current, context.rollout_id) if require_evidence else None
        if unproven and not context.check_mode:
            raise ReleaseError(
                f"instance {store.instance}: commit of {current} is refused: {unproven}. Run upgrade again, so that "
                "it is measured."
            )
        outcome.predicted["instance_state"] = {**state, "state": "healthy", "release": current}
    if context.check_mode:
        return outcome
    if confirm:
        store.disarm()
        context.systemd.stop_timer(store.instance)
        context.record("committed", "healthy", f"release {current} confirmed")
    for unneeded in remove:
        store.remove_release(unneeded)
    if remove:
        context.record("pruned", "healthy", "removed " + ", ".join(remove), write_state=False)
    return outcome


def remove_instance(context: Context) -> Outcome:
    """Stop the instance and remove its directory; models and engines stay."""
    store = context.store
    if not store.exists():
        return Outcome(False)
    outcome = Outcome(True)
    outcome.predicted = {"current": None, "previous": None, "releases": [], "armed": None, "instance_state": None}
    if context.check_mode:
        return outcome
    with store.lock(context.lock_timeout_seconds):
        store.disarm()
        context.systemd.stop_timer(store.instance)
        context.systemd.stop(store.instance)
        context.systemd.disable(store.instance)
        store.remove()
    return outcome
