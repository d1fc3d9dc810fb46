# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One run of the module gpu_driver: take the step that was asked for, or say what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _backward as backward
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _changes as changes_of
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _forward as forward
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _protect as protection
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _units as units
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._cache import Cache
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._holders import (
    holders_now,
    holders_text,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError, Host
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._record import (
    Record,
    begin,
    is_open,
    rank,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._work import (
    Work,
    only_holds,
    query,
    units_of,
)

STATES = ("downloaded", "stopped", "installed", "loaded", "held", "committed", "rolled_back", "absent")
# The state of the transaction after a step that went well.
AFTER = {"held": "verified"}
# The packages of the host, and (package, version) of those in the cache.
Look = tuple[changes_of.Packages, set[tuple[str, str]]]


def run(options: Mapping[str, Any], host: Host, check_mode: bool) -> dict[str, Any]:
    """Return the answer of the module. options: those of the module."""
    record = Record(host.directory)
    work = Work(host, record, Cache(host), options["window_seconds"])
    if check_mode:
        work.transaction = record.transaction()
        if is_open(work.transaction):
            demand_identity(work, options)
        before, cached = query(work), cached_packages(work)
        after = predict(work, options, before)
        will_be = set(cached)
        if options["state"] == "downloaded" and work.changed:
            will_be |= set(forward.both_versions(forward.predict(work)))
        return answer(work, options, (before, cached), (after, will_be))
    with record.locked():
        work.transaction = record.transaction()
        demand_identity(work, options)
        before, cached = query(work), cached_packages(work)
        plan_names = names_of(work, options)
        try:
            step(work, options)
        except DriverError as error:
            if work.transaction is not None and "id" in work.transaction and is_open(work.transaction):
                record.log(work.transaction, "error", sum(work.seconds.values()), str(error))
            raise
        return answer(work, options, (before, cached), (query(work), cached_packages(work)), plan_names)


def cached_packages(work: Work) -> set[tuple[str, str]]:
    """Return (package, version) of what lies in the cache."""
    return {(one["package"], one["version"]) for one in work.cache.manifest().values()}


def demand_identity(work: Work, options: Mapping[str, Any]) -> None:
    """Refuse to touch the transaction of somebody else."""
    wanted, found = options["transaction_id"], work.transaction
    if wanted and found and options["state"] not in ("downloaded", "absent") and found["id"] != wanted:
        raise DriverError(
            f"The driver transaction of this host is {found['id']} ({found['state']}), not {wanted}. Look at "
            f"{work.record.path('transaction.json')} and name that one."
        )


def step(work: Work, options: Mapping[str, Any]) -> None:
    """Take the step."""
    state = options["state"]
    if state == "downloaded":
        forward.downloaded(work, options["transaction_id"], options["plan"], options["was_drained"])
    elif state == "rolled_back":
        backward.rolled_back(work)
    elif state == "absent":
        backward.absent(work, to_remove(options["plan"]))
    else:
        forward.STEPS[state](work)


def to_remove(plan: Mapping[str, Any] | None) -> list[str]:
    """Return the packages that the caller knows to be of the driver, for state absent."""
    return [*(plan or {}).get("remove", []), *(plan or {}).get("hold", [])]


def names_of(work: Work, options: Mapping[str, Any]) -> set[str]:
    """Return the packages that the answer tells of."""
    names: set[str] = set()
    for plan in (options["plan"] or {}, (work.transaction or {}).get("plan") or {}):
        names |= {*plan.get("install", {}), *plan.get("remove", []), *plan.get("hold", [])}
    if work.transaction and work.transaction.get("snapshot_sha256") and is_open(work.transaction):
        names |= {*work.changes, *work.snapshot["packages"]}
    return names


def predict(work: Work, options: Mapping[str, Any], before: changes_of.Packages) -> changes_of.Packages:
    """Return the packages as they would be; sets what else would change. Changes nothing."""
    state, plan = options["state"], options["plan"]
    found = work.transaction
    if state == "absent":
        names = backward.leaving(work, to_remove(plan), before)
        pins = protection.read_files(work.host, list(protection.pinned_files((found or {}).get("plan"))))
        work.changed = bool(names) or work.record.is_there() or any(text is not None for text in pins.values())
        return {name: one for name, one in before.items() if name not in names}
    if state == "committed" and found is not None and not is_open(found) and not found.get("closed", False):
        work.changed = True
        return before
    if found is None or not is_open(found):
        if plan is None:
            work.changed = False
            return before
        work.transaction = begin(options["transaction_id"] or "check", plan, None, work.host.boot_id(), False)
        changes = forward.predict(work)
    else:
        changes = work.changes if found["snapshot_sha256"] else forward.predict(work)
    here = work.open_transaction["state"]
    work.changed = here != "rolled_back" if state == "rolled_back" else rank(here) < rank(AFTER.get(state, state))
    if state == "downloaded":
        forward.refuse_broken(work)
    stops = state == "stopped" and work.changed and not only_holds(work, changes)
    if stops and not units.active(units.unit_states(work.host, units_of(work.plan))):
        holders = holders_now(work.host.procfs_root)
        if holders:
            raise DriverError(holders_text(holders))
    if state == "loaded":
        work.reboot_needed = work.changed and work.plan.get("reboot") == "needed"
    if state in ("installed", "rolled_back") and work.changed:
        wanted = changes_of.targets(changes_of.reverse(changes) if state == "rolled_back" else changes)
        return with_versions(before, wanted)
    return before


def with_versions(packages: changes_of.Packages, wanted: Mapping[str, str | None]) -> changes_of.Packages:
    """Return packages with others installed or gone."""
    result = {name: one for name, one in packages.items() if wanted.get(name, "") is not None}
    for name, version in wanted.items():
        if version is not None:
            result[name] = {"version": version, "status": "installed", "held": False, "broken": False}
    return result


def answer(
    work: Work, options: Mapping[str, Any], before: Look, after: Look, more_names: set[str] | None = None
) -> dict[str, Any]:
    """Return what the module tells. before, after: the packages of the host and those in the cache."""
    moved = {name for name in {*before[0], *after[0]} if before[0].get(name) != after[0].get(name)}
    names = sorted(moved | names_of(work, options) | (more_names or set()))
    return {
        "changed": work.changed,
        "transaction": work.transaction,
        "packages_before": versions(before[0], names),
        "packages_after": versions(after[0], names),
        "reboot_needed": work.reboot_needed,
        "findings": work.findings,
        "seconds": work.seconds,
        "diff": {"before": shown(before, names), "after": shown(after, names)},
    }


def shown(look: Look, names: list[str]) -> str:
    """Return packages for a diff: those of the host, then those in the cache."""
    return changes_of.lines(look[0], names) + "".join(f"cache: {name} {version}\n" for name, version in sorted(look[1]))


def versions(packages: changes_of.Packages, names: list[str]) -> dict[str, str]:
    """Return {package: version} of those that are installed."""
    found = {name: changes_of.installed_version(packages, name) for name in names}
    return {name: version for name, version in found.items() if version is not None}
