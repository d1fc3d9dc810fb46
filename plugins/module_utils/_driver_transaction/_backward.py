# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The way back: the packages of the snapshot, from the cache, checked as the new ones were. And no driver at all."""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _apt as apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _changes as changes_of
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _kernel as kernel
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _protect as protection
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _units as units
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._forward import ask_for_reboot, put_in
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._record import CLOSED
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._work import (
    Work,
    free_the_driver,
    query,
    units_of,
)


def rolled_back(work: Work) -> None:
    """Bring the host back to what it was before the transaction, from any state of it."""
    state = work.open_transaction["state"]
    if state == "rolled_back":
        return
    if state in CLOSED:
        raise DriverError(
            f"Transaction {work.open_transaction['id']} is {state}: it is over. To go to an older driver, plan it: its "
            f"packages are still in {work.host.cache}."
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
    """Return the units that ran before the transaction, in the order in which they start."""
    ran = units.active(work.snapshot["units"])
    return [unit for unit in reversed(units_of(work.plan)) if unit in ran]


def touched(work: Work) -> bool:
    """Return whether the package transaction may have begun."""
    transaction = work.open_transaction
    before = {name: version for name, (version, _after) in work.changes.items()}
    return "has begun" in transaction["detail"] or bool(changes_of.missing(before, query(work)))


def go_back(work: Work) -> None:
    """Reinstall the snapshot, load its driver, and check and protect it as it was."""
    snapshot, changes = work.snapshot, work.changes
    free_the_driver(work)
    units.open_window(work.host, work.window_seconds)
    wanted = changes_of.targets(changes_of.reverse(changes))
    if changes_of.missing(wanted, query(work)):
        with work.timed("packages"):
            apt.apply(work.host, wanted, work.cache.files(wanted))
        work.move("rolling_back", "the packages are those of before", boot_id=work.host.boot_id())
    apt.forget_settings(work.host, [name for name in wanted if name not in snapshot["packages"]])
    apt.mark_automatic(work.host, snapshot["automatic"])
    restore_protection(work)
    version = snapshot["loaded_version"]
    if version:
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


def absent(work: Work, names: list[str]) -> None:
    """Remove the driver: no package, hold or file of it is left. names: the packages that the caller knows of."""
    plan = (
        work.transaction["plan"] if work.transaction else {"pin": [], "hold": [], "stop_units": [], "start_units": []}
    )
    packages = query(work)
    brought = (work.record.read("installed.json") or {}).get("packages", [])
    version = (work.transaction or {}).get("to") or kernel.read_versions(work.host).loaded or ""
    driver = changes_of.closure(packages, version, [*names, *plan["hold"]]) if version else []
    driver = sorted({*driver, *(name for name in [*names, *plan["hold"]] if name in packages)})
    if work.transaction is None:
        work.transaction = {"plan": plan}
    free_the_driver(work)
    problem = kernel.unload(work.host)
    if driver:
        units.open_window(work.host, work.window_seconds)
        apt.unhold(work.host, driver)
        apt.purge(work.host, driver)
        work.changed = True
    rest = apt.no_longer_needed(work.host, [name for name in brought if name not in driver])
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
