# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The way back: the packages of the snapshot, from the cache, checked as the new ones were. And no driver at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import closure, installed_version
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _apt as apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _changes as changes_of
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _kernel as kernel
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _protect as protection
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _units as units
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._forward import ask_for_reboot, put_in
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._record import SETTLED
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._work import (
    Work,
    free_the_driver,
    query,
    to_start,
    touched,
    units_of,
)

# What to do when the way back lacks a package file, and no source of the host has it either.
ADVICE = (
    "Give the host a source that has just these versions, or put their package files into /var/cache/apt/archives; "
    "then run state rolled_back again."
)


def pairs(wanted: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Return (package, version) of what is wanted installed."""
    return [(name, version) for name, version in wanted.items() if version is not None]


def rolled_back(work: Work) -> None:
    """Bring the host back to what it was before the transaction, from any state of it."""
    state = work.open_transaction["state"]
    if state == "rolled_back":
        return
    if state in SETTLED:
        raise DriverError(
            f"Transaction {work.open_transaction['id']} is {state}: it is over. To go to an older driver, plan it; a "
            "source of the host must have its packages."
        )
    if state == "planned":
        work.move("rolled_back", "nothing had been changed")
        return
    if state == "downloaded" or (state == "stopped" and not touched(work)):
        units.start(work.host, ran_before(work))
        units.close_window(work.host)
        work.move("rolled_back", "no package had been changed")
        return
    if state not in ("rolling_back", "failed"):
        work.move("rolling_back", f"was {state}")
    try:
        go_back(work)
    except DriverError as error:
        work.move("failed", str(error), boot_id=work.open_transaction["boot_id"])
        raise


def ran_before(work: Work) -> list[str]:
    """Return the units that ran before the transaction, in the order in which they start; no model servers."""
    ran = units.active(work.snapshot["units"])
    return to_start([unit for unit in reversed(units_of(work.plan)) if unit in ran])


def go_back(work: Work) -> None:
    """Reinstall the snapshot, load its driver, and check and protect it as it was."""
    snapshot, changes = work.snapshot, work.changes
    wanted = changes_of.targets(changes_of.reverse(changes))
    stays = not changes and kernel.is_loaded(work.host, snapshot["loaded_version"], snapshot["loaded_flavour"])
    if not stays:
        free_the_driver(work)
    units.open_window(work.host, work.window_seconds)
    if changes_of.missing(wanted, query(work)):
        with work.timed("packages"):
            if work.cache.absent(pairs(wanted)):
                work.cache.bring(pairs(wanted))
            apt.apply(work.host, wanted, work.cache.files(wanted, ADVICE), go_on_over_broken=True)
        work.move("rolling_back", "the packages are those of before", boot_id=work.host.boot_id())
    apt.forget_settings(work.host, [name for name in wanted if name not in snapshot["packages"]])
    apt.mark_automatic(work.host, snapshot["automatic"])
    restore_protection(work)
    version = snapshot["loaded_version"]
    if stays:
        pass  # Only holds were changed: nothing was built or loaded.
    elif version:
        # What was not built for the newest kernel before is no fault of this transaction.
        if all(found == version for found in snapshot["module_on_disk_version"].values()):
            work.findings += kernel.check_built(work.host, version)
        reason = put_in(work, version, snapshot["loaded_flavour"], snapshot["loaded_modules"], "")
        if reason:
            ask_for_reboot(work, "rolling_back", reason)
            return
        kernel.check_loaded(work.host, version, snapshot["loaded_flavour"])
    else:
        problem = kernel.unload(work.host)
        if problem:
            ask_for_reboot(work, "rolling_back", problem)
            return
    with work.timed("start"):
        units.start(work.host, ran_before(work))
    units.close_window(work.host)
    work.move("rolled_back", f"{version or 'no driver'} is loaded as before")


def restore_protection(work: Work) -> None:
    """Hold what was held before and nothing else of the transaction; put the files back as they were."""
    snapshot = work.snapshot
    held = [name for name, one in snapshot["packages"].items() if one["held"]]
    ours = {*work.changes, *work.plan["hold"], *snapshot["packages"]}
    protection.protect(work.host, snapshot["files"], held, sorted(ours))


def leaving(work: Work, names: Sequence[str], packages: changes_of.Packages) -> list[str]:
    """Return the packages of the driver that go for state absent. names: those that the caller knows of."""
    found = work.transaction or {}
    known = {*names, *(found.get("plan") or {}).get("hold", [])}
    versions = [found.get("from"), found.get("to"), kernel.read_versions(work.host).loaded, installed_version(packages)]
    ours = {name for version in versions for name in closure(packages, version)}
    return sorted(name for name in {*known, *ours} if name in packages)


def absent(work: Work, names: list[str]) -> None:
    """Remove the driver: no package, hold or file of it is left. names: the packages that the caller knows of."""
    packages = query(work)
    driver = leaving(work, names, packages)
    found = work.transaction or {"plan": {"pin": [], "hold": []}, "from": None, "to": None}
    plan = found["plan"]
    came = work.record.read("installed.json") or {"packages": [], "named": []}
    work.transaction = found
    free_the_driver(work)
    problem = kernel.unload(work.host)
    if driver:
        units.open_window(work.host, work.window_seconds)
        apt.unhold(work.host, driver)
        apt.purge(work.host, driver)
        work.changed = True
    # What came with the driver and was named by a plan, such as kernel headers, is needed by nobody now.
    named = [name for name in came["named"] if name not in driver]
    apt.mark_automatic(work.host, [name for name in named if changes_of.installed_version(packages, name)])
    rest = apt.no_longer_needed(work.host, [name for name in came["packages"] if name not in driver])
    if rest:
        apt.purge(work.host, rest)
        work.changed = True
    if protection.write_files(work.host, dict.fromkeys(protection.pinned_files(plan))):
        work.changed = True
    units.close_window(work.host)
    work.reboot_needed = problem is not None
    if work.record.clear():
        work.changed = True
    work.transaction = None
